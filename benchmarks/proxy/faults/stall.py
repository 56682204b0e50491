"""Stop reading, so that a peer's writes block in the end; then go on as if nothing had been.

Nothing is forwarded, and nothing is lost: what was read waits here, the rest in the kernel's
buffers and in the peers. Neither side is told anything, so only a timeout or a heartbeat of its
own can find out. A side that gives up meanwhile is noticed at the release, and the ledger charges
that to the fault. It prevents a client that waits for ever from looking merely slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.proxy.faults.base import Shaping
from benchmarks.proxy.valve import Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Stall(Shaping):
    """Reading stopped, in one direction or both."""

    kind: ClassVar[str] = "stall"
    ends: ClassVar[bool] = False
    silent: ClassVar[bool] = True

    def make(self, generation: int, direction: int) -> Shape:
        """The shape that lets nothing in or out."""
        return _Stopped(self)


class _Stopped(Shape):
    reads: ClassVar[bool] = False

    def limit(self, sent: int, now: float) -> int:
        return sent
