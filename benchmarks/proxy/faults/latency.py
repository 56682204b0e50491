"""Delay every frame by some milliseconds and a seeded jitter; the order stays.

Each frame is due its delay after it was read, and never before the frame in front of it. What is
delayed counts as waiting, so at most the high-water mark of a link is on its way at a time, as in
a network with a window. It prevents a client from relying on answers that come at once, which
they nearly always do on loopback.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.proxy.faults.base import LONGEST, Slowing
from benchmarks.proxy.valve import Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Latency(Slowing):
    """``ms`` of delay, and up to ``jitter_ms`` more, drawn anew for each frame."""

    kind: ClassVar[str] = "latency"
    ms: float
    jitter_ms: float = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("ms", 0, LONGEST * 1000)
        self._number("jitter_ms", 0, LONGEST * 1000)
        self._number("seed", -(2**63), 2**64, whole=True)

    def make(self, generation: int, direction: int) -> Shape:
        """The shape with a chance of its own, decided by seed, connection and direction."""
        return _Delayed(self, random.Random(f"{self.seed}/{generation}/{direction}"))


class _Delayed(Shape):
    def __init__(self, owner: Latency, chance: random.Random) -> None:
        super().__init__(owner)
        self._ms, self._jitter, self._chance = owner.ms, owner.jitter_ms, chance
        #: When what ends at a position is due; what stands behind it waits for it.
        self._waiting: deque[tuple[float, int]] = deque()
        self._free = 0

    def begin(self, queued: int, now: float) -> None:
        self.queue(queued, now)

    def queue(self, end: int, now: float) -> None:
        delay = self._ms + self._chance.uniform(0, self._jitter)
        self._waiting.append((now + delay / 1000, end))

    def limit(self, sent: int, now: float) -> int:
        while self._waiting and self._waiting[0][0] <= now:
            self._free = self._waiting.popleft()[1]
        return max(sent, self._free)

    def wake(self, now: float) -> float | None:
        return self._waiting[0][0] if self._waiting else None
