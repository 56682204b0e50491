"""Read and throw away, so that a peer's writes succeed for ever and nothing comes of them.

What waited to be forwarded is thrown away as well. None of it is booked, and the bytes are
counted. When the fault ends, or a side gives the connection up, both sides are reset: bytes are
missing for good, and whatever followed them could not be understood. It prevents a client from
taking a write that succeeded for a message that arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.proxy.faults.base import Shaping
from benchmarks.proxy.faults.rst import reset
from benchmarks.proxy.link import Link
from benchmarks.proxy.valve import Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Blackhole(Shaping):
    """Everything thrown away, in one direction or both."""

    kind: ClassVar[str] = "blackhole"
    ends: ClassVar[bool] = True
    silent: ClassVar[bool] = True

    def make(self, generation: int, direction: int) -> Shape:
        """The shape that swallows everything."""
        return _Swallowing(self)

    def heal(self, links: Sequence[Link]) -> None:
        """End the links."""
        reset(links, self.kind)


class _Swallowing(Shape):
    discards: ClassVar[bool] = True
