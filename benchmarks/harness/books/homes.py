"""On which connection and channel a lease was, as far as what crossed the wire tells.

It owns the inference, and trusts nobody's own count: a lease's key means only that leases with
equal keys were on the same channel number of the same connection. Where one of their operations
crossed is where all of them were. It prevents a loss from being excused by the cut of another
connection of the same client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from benchmarks.harness.books.application import Application, Get, Publish
from benchmarks.harness.books.matching import Matched
from benchmarks.harness.books.wire import Place, Wire

#: Generation and channel number.
Channel = tuple[int, int]


class Homes:
    """``acked``: by lease, where an ack of its crossed."""

    def __init__(
        self,
        wire: Wire,
        application: Application,
        matched: Matched,
        acked: Mapping[int, Place],
    ) -> None:
        self._keys = application.keys
        self._channels: defaultdict[str, set[Channel]] = defaultdict(set)
        # By key and generation: when the first operation that crossed had returned, and when the
        # last one that crossed was invoked.
        self._first: dict[tuple[str, int], float] = {}
        self._last: dict[tuple[str, int], float] = {}
        for publish in application.tried.values():
            for frame in wire.publishes.get(publish.identity, ()):
                self._add(publish.lease, frame.place, publish.t0, publish.t1)
        for consume in application.consumes.values():
            for frame in wire.consumes.get(consume.consumer, ()):
                self._add(consume.lease, frame.place, consume.t0, consume.t1)
        for row in wire.gets.values():
            for answer in row:
                get = matched.seen.get(answer.frame.number)
                if isinstance(get, Get):
                    self._add(get.lease, answer.frame.place, get.t0, get.t1)
        for lease, place in acked.items():
            self._channels[self._key(lease)].add(place[:2])

    def channels(self, lease: int) -> set[Channel]:
        """The channels that it, or a lease with the same key, was seen on."""
        return self._channels.get(self._key(lease), set())

    def generations(self, lease: int) -> set[int]:
        """The generations that it, or a lease with the same key, was seen on."""
        return {generation for generation, _ in self.channels(lease)}

    def sandwiched(self, publish: Publish) -> bool:
        """Did operations of the same channel before and after it cross, on one connection?"""
        assert publish.t1 is not None  # it returned
        key = self._key(publish.lease)
        return any(
            self._first.get((key, generation), float("inf")) <= publish.t0
            and self._last.get((key, generation), float("-inf")) >= publish.t1
            for generation in self.generations(publish.lease)
        )

    def _key(self, lease: int) -> str:
        # A lease that the history does not name is a channel of its own.
        return self._keys.get(lease, f"lease {lease}")

    def _add(self, lease: int, place: Place, t0: float, t1: float | None) -> None:
        key = self._key(lease)
        self._channels[key].add(place[:2])
        at = (key, place.generation)
        if t1 is not None:
            self._first[at] = min(self._first.get(at, float("inf")), t1)
        self._last[at] = max(self._last.get(at, float("-inf")), t0)
