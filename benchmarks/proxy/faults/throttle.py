"""Let through so many bytes a second, in each direction of each connection.

A token bucket that begins empty: from the beginning on, never more than rate times the time went
out. Once it is empty it fills up to its half before more goes out: else each look at it would find
another byte, and the bytes would go out one by one. What waits is bounded by the link's high-water
mark, and then the source is no longer read. It prevents a client from buffering without bound, or
from timing out what still makes progress.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from benchmarks.proxy.faults.base import Slowing
from benchmarks.proxy.valve import Shape

#: Fastest rate that can be asked for, in bytes a second: beyond what this proxy forwards.
FASTEST: Final = 10**10
#: Seconds' worth of tokens that a direction without traffic saves up: a few of the kernel's
#: timer ticks, so that a rate is reached although wake-ups come late.
SAVED: Final = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class Throttle(Slowing):
    """``rate`` bytes a second."""

    kind: ClassVar[str] = "throttle"
    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("rate", 1, FASTEST)

    def make(self, generation: int, direction: int) -> Shape:
        """A bucket of its own for each direction."""
        return _Bucket(self)


class _Bucket(Shape):
    def __init__(self, owner: Throttle) -> None:
        super().__init__(owner)
        self._rate = owner.rate
        self._most = max(1.0, owner.rate * SAVED)
        self._least = max(1.0, self._most / 2)
        self._filling = True
        self._tokens = 0.0
        self._filled = 0.0

    def begin(self, queued: int, now: float) -> None:
        self._filled = now

    def limit(self, sent: int, now: float) -> int:
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens >= self._least:
            self._filling = False
        return sent if self._filling else sent + int(self._tokens)

    def gone(self, size: int, now: float) -> None:
        self._tokens -= size
        if self._tokens < 1.0:
            self._filling = True

    def wake(self, now: float) -> float | None:
        return now + max(1.0, self._least - self._tokens) / self._rate
