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

from .node import DISK_LIMIT, MEMORY_MARK, Node, any_of

if TYPE_CHECKING:
    from .keeper import Keeper

#: What the harness's own client calls itself: its connections are never the victim.
OWN_PRODUCT: Final = "amqpool wire client"
#: What the client is told.
CLOSE_TEXT: Final = "closed by an operator"
#: Seconds for an alarm to be raised or cleared after the limit was set: it is checked at once.
ALARM_SECONDS: Final = 20.0
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


def _node_kill(keeper: Keeper, options: Options) -> Blow:
    node = keeper.victim(options)
    return Blow(node, node.kill, node.restart)


def _node_stop(keeper: Keeper, options: Options) -> Blow:
    node = keeper.victim(options)
    return Blow(node, node.stop, node.restart)


def _app_stop(keeper: Keeper, options: Options) -> Blow:
    node = keeper.victim(options)
    return Blow(node, lambda: node.ctl("stop_app"), lambda: node.start_app())


def _node_pause(keeper: Keeper, options: Options) -> Blow:
    node = keeper.victim(options)
    return Blow(node, node.pause, node.resume)


def _operator_close(keeper: Keeper, options: Options) -> Blow:
    """Close a client's connection, the first by name, or ``all``; on any node, or on ``node``.

    RabbitMQ's answer does not tell a connection that it closed from one that had just ended.
    """
    every = options.get("all", False)
    if not isinstance(every, bool):
        raise BadOption(f"all is true or false, not {every!r}")
    where = keeper.victim(options) if "node" in options else None
    asked = where or any_of(keeper.nodes)
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
    node = keeper.victim(options)
    low, usual = LIMITS[resource]

    def limit(order: tuple[str, ...], raised: bool) -> None:
        node.ctl(*order)
        keeper.lifeline.until(
            lambda: (node.ctl("eval", "rabbit_alarm:get_alarms().") != "[]") is raised,
            ALARM_SECONDS,
            f"the {resource} alarm of {node.name} was not {'raised' if raised else 'cleared'}",
        )

    return Blow(node, lambda: limit(low, True), lambda: limit(usual, False))


_ROWS: Final = (
    RabbitFault("node_kill", "kill -9, then a restart on the same data", _node_kill, ("node",)),
    RabbitFault("node_stop", "an orderly stop, then a start", _node_stop, ("node",)),
    RabbitFault("app_stop", "rabbitmqctl stop_app, then start_app", _app_stop, ("node",)),
    RabbitFault("node_pause", "SIGSTOP, then SIGCONT", _node_pause, ("node",)),
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
)

#: All of them.
RABBIT_FAULTS: Final[Mapping[str, RabbitFault]] = MappingProxyType({row.name: row for row in _ROWS})
