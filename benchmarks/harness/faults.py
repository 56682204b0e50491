"""What the nemesis knows of each fault, as data: who does it, what it means, how a seed draws it.

It owns no socket and injects nothing: proxy and broker do that, the nemesis asks them. What a
fault *means* for a trial stands here and nowhere else: whether it ends the connection (then a new
one must come up), whether it is silent (then only a heartbeat notices it), whether it lasts (then
it must be healed), and which errors it excuses. It prevents a fault that breaks nothing, such as a
slow line, from excusing a client that breaks by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any

from benchmarks.harness.kinds import CLUSTER, EMBEDDED, EXTERNAL, RABBITMQ
from benchmarks.harness.windows import CANCELLED, RECOVERABLE, UNANSWERED, UNCONFIRMED, refused

#: What a seed decides of one fault: its options, and its rule where it needs one.
Drawn = tuple[dict[str, Any], dict[str, Any] | None]

#: Frames that every load with faults sends all the time, so that a rule that waits for one of
#: them fires: all of them publish on channels in confirm mode, and consumers take what is routed.
CUT_AT: tuple[tuple[str, str], ...] = (
    ("to_broker", "any"),
    ("to_broker", "method"),
    ("to_broker", "header"),
    ("to_broker", "body"),
    ("to_broker", "basic.publish"),
    ("to_client", "any"),
    ("to_client", "method"),
    ("to_client", "basic.ack"),
)
#: A rule waits for one of the next few such frames, so that it fires near its mark.
NTH_AT_MOST = 6
#: Bytes of a frame that still go out: less than its header, its header, and into its payload.
CUT_BYTES = 40
#: With which the broker closes a channel when it is not told.
CLOSE_CODE = 541
DIRECTIONS = ("both", "to_broker", "to_client")


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. ``side`` says who does it: the proxy; the embedded broker; the keeper of RabbitMQ's
    nodes (``rabbitmq``, or ``cluster`` where one node is not enough); or the client."""

    name: str
    side: str
    summary: str
    draw: Callable[[Random], Drawn]
    #: The connection is gone when it has fired, or at the latest when it is healed.
    ends: bool = False
    #: Nothing tells the client: heartbeats must be on, or it waits for its own timeouts.
    silent: bool = False
    #: It goes on until it is healed. Its option ``seconds`` says when the nemesis does that.
    lasting: bool = False
    #: What a client may raise because of it, from the fault to the recovery deadline. A channel
    #: that is closed excuses its reply code beside them: see ``words_of``.
    excuses: tuple[str, ...] = ()
    #: Seconds that it may take beyond what a plan says, for the deadline of the trial: a node that
    #: was killed has to start again.
    takes: float = 0.0


def plain(source: Random) -> Drawn:
    """A fault without options."""
    return {}, None


def _cut(source: Random) -> Drawn:
    direction, frame = source.choice(CUT_AT)
    where: str | int = source.choice(("before", "after", "inside", "inside"))
    if where == "inside":
        where = source.randrange(CUT_BYTES)
    rule = {
        "direction": direction,
        "frame": frame,
        "nth": source.randint(1, NTH_AT_MOST),
        "where": where,
    }
    return {"how": source.choice(("rst", "fin"))}, rule


def _seconds(source: Random, low: float, high: float) -> float:
    return round(source.uniform(low, high), 3)


def _stall(source: Random) -> Drawn:
    # Half of them end before anybody can notice: all goes on then, and nothing may be lost. The
    # others outlast two heartbeats of a second, after which each side gives the other up.
    low, high = source.choice(((0.1, 0.4), (3.0, 3.5)))
    return {
        "direction": source.choice(DIRECTIONS),
        "seconds": _seconds(source, low, high),
    }, None


def _blackhole(source: Random) -> Drawn:
    # Longer than two heartbeats of a second: the client is to notice by itself.
    return {
        "direction": source.choice(DIRECTIONS),
        "seconds": _seconds(source, 3.0, 3.5),
    }, None


def _latency(source: Random) -> Drawn:
    # A few milliseconds on a loopback round trip of 0.1: slower by some tens of times.
    return {
        "ms": source.randint(1, 3),
        "jitter_ms": source.randint(0, 3),
        "seed": source.randrange(1 << 30),
        "seconds": _seconds(source, 0.2, 0.4),
    }, None


def _throttle(source: Random) -> Drawn:
    # A large body then takes a tenth of a second or two, and a trial some seconds.
    rate = source.randint(1_000_000, 4_000_000)
    return {"rate": rate, "seconds": _seconds(source, 0.2, 0.4)}, None


def _slice(source: Random) -> Drawn:
    # From less than a small message to a few of them in one segment.
    return {"size": source.randint(100, 4000), "seconds": _seconds(source, 0.2, 0.4)}, None


def _refuse(source: Random) -> Drawn:
    # Several tries of any client's back-off, and well below the recovery that clients promise.
    return {"seconds": _seconds(source, 0.6, 1.4)}, None


def _counted(name: str, low: int, high: int) -> Callable[[Random], Drawn]:
    """A lasting fault of the broker with one number as its option."""

    def draw(source: Random) -> Drawn:
        return {name: source.randint(low, high), "seconds": _seconds(source, 0.2, 0.4)}, None

    return draw


def _confirm_omit(source: Random) -> Drawn:
    # Each one that is missing may cost a whole timeout of the client's, and hold a channel as long:
    # a few of them, at the most one for every thread.
    return {"every": source.randint(5, 9), "seconds": _seconds(source, 0.05, 0.15)}, None


def _channel_close(source: Random) -> Drawn:
    return {"code": source.choice((406, 541))}, None


def _blocked(source: Random) -> Drawn:
    # Long enough for every thread to run into it, short of any timeout of a publish.
    return {"seconds": _seconds(source, 0.1, 0.4)}, None


def _outage(source: Random) -> Drawn:
    # How long a node is left alone; that it starts again takes seconds more.
    return {"seconds": _seconds(source, 0.0, 0.5)}, None


def _pause(source: Random) -> Drawn:
    # Longer than two heartbeats of a second: the client is to notice by itself.
    return {"seconds": _seconds(source, 3.0, 3.5)}, None


def _alarm(source: Random) -> Drawn:
    options, rule = _blocked(source)
    return {**options, "resource": source.choice(("memory", "disk"))}, rule


#: What a node of RabbitMQ that goes away, and what a cluster that is without one, excuses.
_NODE_GONE = (RECOVERABLE, UNCONFIRMED, UNANSWERED)

_ROWS = (
    Fault("rst", "proxy", "the connection is reset", plain, ends=True, excuses=(RECOVERABLE,)),
    Fault(
        "fin",
        "proxy",
        "the connection ends in good order",
        plain,
        ends=True,
        excuses=(RECOVERABLE,),
    ),
    Fault(
        "cut",
        "proxy",
        "the connection ends k bytes into a frame",
        _cut,
        ends=True,
        excuses=(RECOVERABLE,),
    ),
    Fault(
        "stall",
        "proxy",
        "nothing is read any more, for a while",
        _stall,
        silent=True,
        lasting=True,
        excuses=(RECOVERABLE,),
    ),
    Fault(
        "blackhole",
        "proxy",
        "everything is read and thrown away",
        _blackhole,
        ends=True,
        silent=True,
        lasting=True,
        excuses=(RECOVERABLE,),
    ),
    Fault("latency", "proxy", "every frame comes late, with jitter", _latency, lasting=True),
    Fault("throttle", "proxy", "few bytes a second", _throttle, lasting=True),
    Fault("slice", "proxy", "frames come in tiny segments", _slice, lasting=True),
    Fault(
        "refuse",
        "proxy",
        "nobody answers at the broker's port",
        _refuse,
        ends=True,
        lasting=True,
        excuses=(RECOVERABLE,),
    ),
    Fault(
        "confirm_nack",
        "broker",
        "some publishes are nacked and discarded",
        _counted("every", 3, 7),
        lasting=True,
    ),
    Fault(
        "confirm_omit",
        "broker",
        "some confirms never come",
        _confirm_omit,
        lasting=True,
        excuses=(UNCONFIRMED,),
    ),
    Fault("confirm_delay", "broker", "confirms come late", _counted("ms", 5, 40), lasting=True),
    Fault(
        "confirm_reorder",
        "broker",
        "confirms come in another order",
        _counted("window", 2, 8),
        lasting=True,
    ),
    Fault(
        "confirm_coalesce",
        "broker",
        "one ack confirms many",
        _counted("ms", 5, 30),
        lasting=True,
    ),
    Fault("channel_close", "broker", "the broker closes one channel", _channel_close),
    Fault(
        "connection_close",
        "broker",
        "the broker closes the connection (320)",
        plain,
        ends=True,
        excuses=(RECOVERABLE,),
    ),
    Fault(
        "consumer_cancel",
        "broker",
        "the broker cancels a consumer",
        plain,
        excuses=(CANCELLED,),
    ),
    Fault(
        "slow_declare",
        "broker",
        "the answer to queue.declare comes late",
        _counted("ms", 20, 100),
        lasting=True,
    ),
    Fault("blocked", "broker", "publishers are blocked, for a while", _blocked, lasting=True),
    Fault(
        "node_kill",
        "rabbitmq",
        "a node is killed (-9) and started again on the same data",
        _outage,
        ends=True,
        lasting=True,
        excuses=_NODE_GONE,
        takes=60.0,
    ),
    Fault(
        "node_stop",
        "rabbitmq",
        "a node is stopped in good order and started again",
        _outage,
        ends=True,
        lasting=True,
        excuses=_NODE_GONE,
        takes=60.0,
    ),
    Fault(
        "app_stop",
        "rabbitmq",
        "rabbitmqctl stop_app, then start_app",
        _outage,
        ends=True,
        lasting=True,
        excuses=_NODE_GONE,
        takes=60.0,
    ),
    Fault(
        "operator_close",
        "rabbitmq",
        "rabbitmqctl close_connection (320)",
        plain,
        ends=True,
        excuses=(RECOVERABLE,),
        takes=10.0,
    ),
    Fault(
        "alarm",
        "rabbitmq",
        "a memory or disk alarm blocks publishers, for a while",
        _alarm,
        lasting=True,
        # A node that is out of memory reads nothing from a publisher, questions included; and how
        # long it takes to say that it no longer is, is not ours to say.
        excuses=(UNCONFIRMED, UNANSWERED),
        takes=20.0,
    ),
    Fault(
        "node_pause",
        "rabbitmq",
        "a node stands still (SIGSTOP), then goes on",
        _pause,
        ends=True,
        silent=True,
        lasting=True,
        excuses=_NODE_GONE,
        takes=60.0,
    ),
    Fault(
        "leader_kill",
        "cluster",
        "the node that leads the quorum queue is killed (-9) and started again",
        _outage,
        ends=True,
        lasting=True,
        excuses=_NODE_GONE,
        takes=60.0,
    ),
    Fault(
        "follower_kill",
        "cluster",
        "a node that follows the quorum queue is killed (-9) and started again",
        _outage,
        ends=True,
        lasting=True,
        excuses=_NODE_GONE,
        takes=60.0,
    ),
    Fault(
        "partition",
        "cluster",
        "the leader's node is cut off from the network, then back",
        _pause,
        ends=True,
        silent=True,
        lasting=True,
        excuses=_NODE_GONE,
        takes=90.0,
    ),
)

#: All that can be asked for instead of a scenario's own faults, on a broker that can do it.
FAULTS: Mapping[str, Fault] = MappingProxyType({row.name: row for row in _ROWS})
#: The client's own close in the middle of its work: planned and reported as faults are, and
#: nothing that ``--fault`` could ask for.
CLOSE = Fault("close", "client", "the client is closed while it is busy", plain)
#: Which sides there are on each kind of broker.
SIDES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        EMBEDDED: frozenset(("proxy", "broker")),
        RABBITMQ: frozenset(("proxy", "rabbitmq")),
        CLUSTER: frozenset(("proxy", "rabbitmq", "cluster")),
        # A node that somebody else runs is nobody's to hurt.
        EXTERNAL: frozenset(("proxy",)),
    }
)
#: The sides that a keeper of RabbitMQ's nodes takes.
KEPT = frozenset(("rabbitmq", "cluster"))
#: Everything that may stand in a plan.
KINDS: Mapping[str, Fault] = MappingProxyType({**FAULTS, CLOSE.name: CLOSE})
#: Faults that end the connection at once and need no healing: what a recovery can be timed from.
#: An order to a node is on its way for a second, which nobody could tell from a recovery.
AT_ONCE: tuple[str, ...] = tuple(
    row.name for row in _ROWS if row.ends and not row.lasting and row.side not in KEPT
)


def possible(kind: str, broker: str) -> bool:
    """Can that fault be injected on that kind of broker?"""
    return FAULTS[kind].side in SIDES[broker]


def words_of(kind: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What that fault, with those options, excuses."""
    if kind == "channel_close":
        return (refused(options.get("code", CLOSE_CODE)),)
    return KINDS[kind].excuses
