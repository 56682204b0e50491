"""The options of one fault, as they came over the control port: taken one by one, each checked.

Every error is a ValueError whose text names the fault, the option and what it may be. What was
not taken is an error too (``done``), so that a misspelt option cannot make a fault weaker than
the plan says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

#: Longest time that anything is held up, in milliseconds: beyond it a client under test has long
#: been judged, and what is held back must end by itself.
LONGEST_MS = 60_000


class NothingToHit(Exception):
    """There is nothing that this fault could hit now; the text says what was missing."""


class Options:
    """Options of the fault ``kind``."""

    def __init__(self, kind: str, values: Mapping[str, object]) -> None:
        self.kind = kind
        self._values = dict(values)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number between two bounds, both included."""
        value = self._values.pop(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"{self.kind}: {name} is a whole number from {low} to {high}")
        return value

    def milliseconds(self, default: float) -> float:
        """The option ``ms``, in seconds."""
        return self._number("ms", default, LONGEST_MS) / 1000

    def seconds(self) -> float | None:
        """How long the fault lasts; None: until it is healed."""
        if self._values.get("seconds") is None:
            self._values.pop("seconds", None)
            return None
        return self._number("seconds", 0, LONGEST_MS / 1000)

    def choice(self, name: str, allowed: Sequence[str | int]) -> str | int:
        """One of these; the first is the default."""
        value = self._values.pop(name, allowed[0])
        if isinstance(value, bool) or value not in allowed:
            raise ValueError(f"{self.kind}: {name} is one of {', '.join(map(str, allowed))}")
        assert isinstance(value, str | int)
        return value

    def done(self) -> None:
        """Nothing else is known. Raises ValueError when there is more."""
        for name in sorted(self._values):
            raise ValueError(f"{self.kind} has no option {name!r}")

    def _number(self, name: str, default: float, high: float) -> float:
        value = self._values.pop(name, default)
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not math.isfinite(value)
            or not 0 < value <= high
        ):
            raise ValueError(f"{self.kind}: {name} is a number above 0, at most {high:g}")
        return float(value)
