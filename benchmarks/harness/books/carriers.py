"""Which connections can have carried a publish that was invoked and returned at these times.

It owns the life of a connection as a client sees it. A client learns late that its connection is
gone, so a faulted one can swallow publishes until its replacement is ready. A client may hold many
connections (one for each thread, say): when all are killed at once, the first to come back says
nothing of the others, so each counts until as many came up as had gone. That prevents the false
alarm, and with one connection it is exact: nothing is excused behind a reconnect.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable

from benchmarks.harness.books.application import Publish
from benchmarks.harness.books.wire import Generation

NEVER = float("inf")


class Carriers:
    def __init__(self, generations: Iterable[Generation]) -> None:
        #: A connection that was never ready carried nothing.
        self._alive = [(one, one.ready) for one in generations if one.ready is not None]
        self._until = _until([one for one, _ in self._alive])
        self._starts, self._ends = _merged(
            [(ready, self._until[one.number]) for one, ready in self._alive if not one.sound]
        )

    def of(self, publish: Publish, homes: Collection[int]) -> list[Generation]:
        """The connections that can have carried it; of those, the ones known as its home."""
        assert publish.t1 is not None  # it returned
        candidates = [
            one
            for one, ready in self._alive
            if ready <= publish.t1 and publish.t0 <= self._until[one.number]
        ]
        return [one for one in candidates if one.number in homes] or candidates

    def excuse(self, publish: Publish) -> bool:
        """Might any connection that was faulted have carried it?"""
        assert publish.t1 is not None  # it returned
        place = bisect_right(self._starts, publish.t1) - 1
        return place >= 0 and publish.t0 <= self._ends[place]


def _until(generations: list[Generation]) -> dict[int, float]:
    """Until when each of them can have taken a publish: its end, or that of a late discovery."""
    until = {one.number: NEVER if one.closed is None else one.closed for one in generations}
    moments: list[tuple[float, int, Generation]] = []
    for one in generations:
        assert one.ready is not None
        moments.append((one.ready, 1, one))
        if not one.sound:
            until[one.number] = NEVER
            if one.closed is not None:
                moments.append((one.closed, 0, one))
    gone: list[Generation] = []
    back = 0
    for t, came_up, one in sorted(moments, key=lambda moment: moment[:2]):
        if not came_up:
            gone.append(one)
        elif gone:
            back += 1
            if back == len(gone):
                until.update((lost.number, t) for lost in gone)
                gone, back = [], 0
    return until


def _merged(spans: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The union of the spans, as the lists of its starts and of its ends."""
    starts: list[float] = []
    ends: list[float] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
