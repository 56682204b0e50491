"""The faults that only a real broker has, by name, as data.

Each looks first and acts then: ``aim`` finds the victim and changes nothing, so that a fault that
has nothing to hit is known before anything has happened, and its time is that of the blow and not
that of the search. ``act`` returns when the effect is there, ``heal`` when its cause is gone;
that the broker answers again, everywhere, the keeper sees to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from .cluster import together
from .node import DISK_LIMIT, MEMORY_MARK, Node

if TYPE_CHECKING:
    from .keeper import Keeper

#: What the harness's own client calls itself: its connections are never the victim.
OWN_PRODUCT: Final = "amqpool wire client"
#: What the client is told.
CLOSE_TEXT: Final = "closed by an operator"
#: Seconds for an alarm to be raised or cleared after the limit was set: it is checked at once.
ALARM_SECONDS: Final = 20.0
#: Seconds for both sides of a cut cable to act on it, after they have dropped the link.
#: Measured: 1-3.
PARTED_SECONDS: Final = 60.0
#: How the limits are set so that the alarm is raised, and back.
LIMITS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = MappingProxyType(
    {
        "memory": (
            ("set_vm_memory_high_watermark", "0"),
            ("set_vm_memory_high_watermark", MEMORY_MARK),
        ),
        # More than any disk has: a petabyte.
        "disk": (("set_disk_free_limit", str(10**15)), ("set_disk_free_limit", DISK_LIMIT)),
    }
)

Options = dict[str, Any]


class NothingToHit(Exception):
    """There is no victim; the text says why."""


class BadOption(ValueError):
    """An option has no such value; the text says which there are."""


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault with its victim, ready to happen."""

    node: Node
    act: Callable[[], object]
    #: Takes the cause away. None: it happens at once, and nothing is left to heal.
    heal: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class RabbitFault:
    """One row: what it is, what it needs, and which options it knows."""

    name: str
    summary: str
    aim: Callable[[Keeper, Options], Blow]
    options: tuple[str, ...] = ()
    lasting: bool = True
    #: Nodes that it takes: 3 for what makes sense in a cluster alone.
    nodes: int = 1
    #: Needs each node in a network namespace of its own.
    isolated: bool = False


def _at(
    act: Callable[[Node], object],
    heal: Callable[[Node], object],
    *,
    always: str | None = None,
    usually: str | None = None,
) -> Callable[[Keeper, Options], Blow]:
    """A fault of one node. Where that leads the queue, the effect is that another one does.

    ``always``: leader or follower of the queue, whatever the options say; ``usually``: where a
    queue is given and they say nothing.
    """

    def aim(keeper: Keeper, options: Options) -> Blow:
        wanted = options if always is None else {**options, "which": always}
        victim = keeper.victim(wanted, usually)

        def strike() -> None:
            act(victim.node)
            if victim.leads is not None:
                keeper.leadership.wait_for_another(victim.leads, victim.node)

        return Blow(victim.node, strike, lambda: heal(victim.node))

    return aim


def _pause(keeper: Keeper, options: Options) -> Blow:
    def go_on(node: Node) -> None:
        node.resume()
        if len(keeper.nodes) > 1:
            # A leader that stood still drops what it was asked meanwhile, and whose channel waits
            # for the answer hangs for a minute or for good (seen in 3 of 8 pauses with 3.10.8).
            # Where the leader's process has ended the question is put to its successor.
            node.stop_app()
            node.start_app()

    return _at(Node.pause, go_on, usually="leader")(keeper, options)


def _partition(keeper: Keeper, options: Options) -> Blow:
    def cut(node: Node) -> None:
        keeper.network.cut(keeper.nodes.index(node))
        others = [other for other in keeper.nodes if other is not node]
        # Left alone, each side waits for what the other does not say: most of net_ticktime.
        # Dropping the link is what it does then, and is no news to whoever is still connected.
        node.ctl("eval", "[erlang:disconnect_node(N) || N <- nodes()].")
        for other in others:
            other.ctl("eval", f"erlang:disconnect_node('{node.erlang_name}').")
        keeper.lifeline.until(
            lambda: together(others, others[0]), PARTED_SECONDS, "the others did not notice"
        )
        keeper.lifeline.until(
            lambda: not node.app_runs(), PARTED_SECONDS, f"{node.name} alone did not pause"
        )

    def mend(node: Node) -> None:
        keeper.network.mend(keeper.nodes.index(node))

    return _at(cut, mend, usually="leader")(keeper, options)


def _operator_close(keeper: Keeper, options: Options) -> Blow:
    """Close a client's connection, the first by name, or ``all``; on any node, or on ``node``.

    RabbitMQ's answer does not tell a connection that it closed from one that had just ended.
    """
    every = options.get("all", False)
    if not isinstance(every, bool):
        raise BadOption(f"all is true or false, not {every!r}")
    where = keeper.victim(options).node if "node" in options else None
    asked = where or keeper.sound()
    listed = asked.ctl("list_connections", "name", "pid", "client_properties", "--no-table-headers")
    pids = [
        pid
        for _name, pid, properties in sorted(line.split("\t", 2) for line in listed.splitlines())
        if OWN_PRODUCT not in properties and (where is None or f"<{where.erlang_name}." in pid)
    ]
    if not pids:
        raise NothingToHit(f"no client has a connection{f' to {where.name}' if where else ''}")

    def close() -> None:
        for pid in pids if every else pids[:1]:
            asked.ctl("close_connection", pid, CLOSE_TEXT)

    return Blow(asked, close)


def _alarm(keeper: Keeper, options: Options) -> Blow:
    resource = options.get("resource", "memory")
    if resource not in LIMITS:
        raise BadOption(f"resource is {' or '.join(LIMITS)}, not {resource!r}")
    node = keeper.victim(options).node
    low, usual = LIMITS[resource]

    def limit(order: tuple[str, ...], raised: bool) -> None:
        node.ctl(*order)
        keeper.lifeline.until(
            lambda: (node.ctl("eval", "rabbit_alarm:get_alarms().") != "[]") is raised,
            ALARM_SECONDS,
            f"the {resource} alarm of {node.name} was not {'raised' if raised else 'cleared'}",
        )

    return Blow(node, lambda: limit(low, True), lambda: limit(usual, False))


#: Which node: its number, or ``which`` of the queue's (``leader`` or ``follower``). Where a
#: ``queue`` is given, a heal is over when all of its replicas run again.
VICTIM: Final = ("node", "which", "queue")

_ROWS: Final = (
    RabbitFault(
        "node_kill",
        "kill -9 of a node, then a restart on the same data",
        _at(Node.kill, Node.restart),
        VICTIM,
    ),
    RabbitFault(
        "node_stop",
        "an orderly stop of a node, then a start",
        _at(Node.stop, Node.restart),
        VICTIM,
    ),
    RabbitFault(
        "app_stop",
        "rabbitmqctl stop_app, then start_app",
        _at(Node.stop_app, Node.start_app),
        VICTIM,
    ),
    RabbitFault(
        "node_pause",
        "SIGSTOP of a node (the leader, unless another is said), then SIGCONT; app restarted "
        "in a cluster",
        _pause,
        VICTIM,
    ),
    RabbitFault(
        "operator_close",
        "rabbitmqctl close_connection",
        _operator_close,
        ("node", "all"),
        lasting=False,
    ),
    RabbitFault(
        "alarm",
        "a memory or disk alarm: publishers are blocked, then unblocked",
        _alarm,
        ("node", "resource"),
    ),
    RabbitFault(
        "leader_kill",
        "kill -9 of the node that leads the quorum queue",
        _at(Node.kill, Node.restart, always="leader"),
        ("queue",),
        nodes=3,
    ),
    RabbitFault(
        "follower_kill",
        "kill -9 of a node that follows in the quorum queue",
        _at(Node.kill, Node.restart, always="follower"),
        ("queue",),
        nodes=3,
    ),
    RabbitFault(
        "partition",
        "the cable of a node (the leader, unless another is said) is cut, then put back",
        _partition,
        VICTIM,
        nodes=3,
        isolated=True,
    ),
)

#: All of them.
RABBIT_FAULTS: Final[Mapping[str, RabbitFault]] = MappingProxyType({row.name: row for row in _ROWS})
