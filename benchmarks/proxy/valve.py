"""How much of what waits in one direction may go out now: the shapes of faults and the marks of
rules.

It owns positions in the stream (bytes since the valve was put in), never the bytes, which stay in
the outbox in their order: whatever a fault does to the time, it cannot reorder, and when it is
taken away all that it held goes out by itself. Nor does it read a clock. A direction without
faults and without a rule that waits has no valve, so that forwarding costs nothing for it. It
prevents a fault from holding more than the outbox may: back-pressure is the same for all.
"""

from __future__ import annotations

import sys
from bisect import insort
from typing import ClassVar, Final

from benchmarks.proxy.rules import Armed

#: A position that is never reached.
EVERYTHING: Final = sys.maxsize


class Shape:
    """What one lasting fault does to one direction of one connection. This one does nothing."""

    #: Whether the source is read while it lasts.
    reads: ClassVar[bool] = True
    #: Whether what is read is thrown away.
    discards: ClassVar[bool] = False

    def __init__(self, owner: object) -> None:
        #: The fault it belongs to, which takes it away again.
        self.owner = owner

    def begin(self, queued: int, now: float) -> None:
        """It takes effect, also on what waits already, which ends at position ``queued``."""

    def queue(self, end: int, now: float) -> None:
        """A frame that ends at position ``end`` begins to wait."""

    def limit(self, sent: int, now: float) -> int:
        """The position up to which bytes may go, when those up to ``sent`` have gone."""
        return EVERYTHING

    def gone(self, size: int, now: float) -> None:
        """So many bytes went out."""

    def wake(self, now: float) -> float | None:
        """When to look again after nothing may go; None: not before something happens."""
        return None


class Valve:
    """The shapes and marks of one direction that has ``pending`` bytes waiting."""

    def __init__(self, pending: int) -> None:
        self.queued = pending
        self.sent = 0
        self._shapes: list[Shape] = []
        self._marks: list[tuple[int, Armed]] = []

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do and can be taken out."""
        return not self._shapes and not self._marks

    @property
    def reads(self) -> bool:
        """Whether the source is to be read."""
        return all(shape.reads for shape in self._shapes)

    @property
    def discards(self) -> bool:
        """Whether what is read is thrown away."""
        return any(shape.discards for shape in self._shapes)

    def add(self, shape: Shape, now: float) -> None:
        """Let a shape take effect."""
        self._shapes.append(shape)
        shape.begin(self.queued, now)

    def remove(self, owner: object) -> list[Shape]:
        """Take away the shapes of one fault, and return them."""
        removed = [shape for shape in self._shapes if shape.owner is owner]
        self._shapes = [shape for shape in self._shapes if shape.owner is not owner]
        return removed

    def queue(self, size: int, now: float) -> None:
        """Note a frame of ``size`` bytes that was put into the outbox."""
        self.queued += size
        for shape in self._shapes:
            shape.queue(self.queued, now)

    def mark(self, position: int, armed: Armed) -> None:
        """Stop at ``position`` until the rule has fired there; equal positions keep their order."""
        insort(self._marks, (position, armed), key=lambda mark: mark[0])

    def room(self, now: float) -> int:
        """How many bytes may go out now."""
        limits = [shape.limit(self.sent, now) for shape in self._shapes]
        if self._marks:
            limits.append(self._marks[0][0])
        return min(limits, default=EVERYTHING) - self.sent

    def gone(self, size: int, now: float) -> None:
        """Note that so many bytes went out."""
        self.sent += size
        for shape in self._shapes:
            shape.gone(size, now)

    def reached(self) -> Armed | None:
        """Take out the next rule whose point is reached."""
        if self._marks and self._marks[0][0] <= self.sent:
            return self._marks.pop(0)[1]
        return None

    def wake(self, now: float) -> float | None:
        """When there may be room again, None when time alone brings none."""
        latest = now
        for shape in self._shapes:
            if shape.limit(self.sent, now) <= self.sent:
                due = shape.wake(now)
                if due is None:
                    return None
                latest = max(latest, due)
        return latest

    def clear(self) -> None:
        """What waited is gone: give the rules back that stood in it."""
        for _, armed in self._marks:
            armed.held = False
        self._marks.clear()
        self.queued = self.sent
