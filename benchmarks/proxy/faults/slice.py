"""Forward in tiny segments: at most so many bytes at a time, one send per turn of the loop.

The sockets have TCP_NODELAY and each send ends a record (``MSG_EOR``), so that it is a segment of
its own however busy the machine is, and a reader that keeps up sees frames arrive in pieces that
end anywhere. Nothing is lost or delayed on purpose. It prevents a client from relying on a read
that returns a whole frame, which it nearly always does on loopback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from benchmarks.proxy.faults.base import Slowing
from benchmarks.proxy.valve import Shape

#: Largest segment that can be asked for; above it, loopback does not cut at all.
LARGEST: Final = 65_536


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Slowing):
    """Segments of at most ``size`` bytes."""

    kind: ClassVar[str] = "slice"
    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("size", 1, LARGEST, whole=True)

    def make(self, generation: int, direction: int) -> Shape:
        """The shape that cuts."""
        return _Sliced(self)


class _Sliced(Shape):
    def __init__(self, owner: Slice) -> None:
        super().__init__(owner)
        self._size = owner.size

    def limit(self, sent: int, now: float) -> int:
        return sent + self._size
