"""End a connection in front of a frame, behind it, or in the middle of it.

Where is the rule's business: by the time this fires, exactly the bytes that the rule lets through
are with the kernel. The rest of the frame is thrown away with whatever follows. A frame that was
cut is not booked, since its last byte never went. It prevents a client from being tested only at
the frame boundaries that a kill at a random moment nearly always hits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.proxy.faults.base import Fault
from benchmarks.proxy.faults.fin import finish
from benchmarks.proxy.faults.rst import reset
from benchmarks.proxy.link import Link

_HOW = {"rst": reset, "fin": finish}


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut(Fault):
    """The end at a frame, ``how``: by rst or by fin."""

    kind: ClassVar[str] = "cut"
    ends: ClassVar[bool] = True
    needs_rule: ClassVar[bool] = True
    how: str = "rst"

    def __post_init__(self) -> None:
        if not isinstance(self.how, str) or self.how not in _HOW:
            raise ValueError(f"cut: how is one of {', '.join(_HOW)}")

    def fire(self, links: Sequence[Link]) -> float:
        """End the links where they are."""
        return _HOW[self.how](links, self.kind)
