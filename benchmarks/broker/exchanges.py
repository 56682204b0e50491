"""Exchanges and their bindings: which destinations a routing key leads to.

Pure data: no queue contents, no connections. Routing through several exchanges and the cache of
its results are the core's (``core.Broker.route``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from .queues import Queue

KINDS = frozenset(("direct", "fanout", "topic"))


class Binding(NamedTuple):
    """One binding. Arguments are kept as text: two bindings that differ in them are two."""

    destination: Destination
    routing_key: str
    arguments: str


class Exchange:
    """One exchange. ``bindings`` is an ordered set."""

    __slots__ = ("auto_delete", "bindings", "durable", "internal", "kind", "name")

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.bindings: dict[Binding, None] = {}

    def __repr__(self) -> str:
        return f"<Exchange {self.name!r} {self.kind} bindings={len(self.bindings)}>"

    def matches(self, routing_key: str) -> list[Destination]:
        """The destinations of this exchange's bindings that match, in order, with repetitions."""
        if self.kind == "fanout":
            return [binding.destination for binding in self.bindings]
        if self.kind == "direct":
            return [b.destination for b in self.bindings if b.routing_key == routing_key]
        return [b.destination for b in self.bindings if topic_matches(b.routing_key, routing_key)]


Destination: TypeAlias = "Queue | Exchange"


def topic_matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic pattern (``*`` one word, ``#`` any number of words) takes a routing key.

    Keeps the set of pattern positions that are still possible, so that no pattern, however many
    ``#`` it holds, costs more than words times positions.
    """
    words = pattern.split(".")
    positions = _skip_hashes(words, {0})
    for word in routing_key.split(".") if routing_key else ():
        reached = set()
        for at in positions:
            if at < len(words):
                if words[at] == "#":
                    reached.add(at)
                elif words[at] in ("*", word):
                    reached.add(at + 1)
        positions = _skip_hashes(words, reached)
    if not pattern:
        return not routing_key
    return len(words) in positions


def _skip_hashes(words: list[str], positions: set[int]) -> set[int]:
    """Add the positions that are reached because ``#`` may stand for no word at all."""
    result = set(positions)
    for at in positions:
        while at < len(words) and words[at] == "#":
            at += 1
            result.add(at)
    return result
