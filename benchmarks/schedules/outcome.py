"""What one run came to: nothing found, or one finding with its evidence.

Pure data. A finding names the invariant in the words of the suite; two findings are *alike* when
the invariant and what raised it are the same, and only then may shrinking take one for the other.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass, field
from typing import NamedTuple

from .task import Place


class Violation(AssertionError):
    """Raised by a program's own check: an invariant that must never break was broken."""

    def __init__(self, invariant: str, detail: str, kind: str = "") -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail
        #: What tells it from another of the same invariant.
        self.kind = kind


class SchedulerFailure(RuntimeError):
    """The scheduler itself failed: nothing was proven, neither way."""


class Choice(NamedTuple):
    """At its own n-th decision, `task` had to hand over to `chosen` (by default it would not)."""

    task: int
    decision: int
    chosen: int


class Switch(NamedTuple):
    """One hand-over: who left where, and why; who went on."""

    step: int
    left: str
    place: Place | None
    why: str
    entered: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken invariant."""

    #: `deadlocks`, `livelocks`, `unexpected_errors`, `keyerror_none`, or what a check named.
    invariant: str
    detail: str
    #: What tells this finding from another of the same invariant.
    kind: str = ""

    def alike(self, other: Finding | None) -> bool:
        """Whether the other one is the same defect, as far as can be told."""
        return other is not None and (self.invariant, self.kind) == (other.invariant, other.kind)


@dataclass(slots=True)
class Outcome:
    """One run."""

    finding: Finding | None = None
    steps: int = 0
    #: Where the order departed from the default one; enough to run it again.
    choices: list[Choice] = field(default_factory=list)
    #: A choice that was asked for could not be made: this is not the run that was meant.
    diverged: bool = False
    #: The hand-overs, when they were recorded.
    switches: list[Switch] = field(default_factory=list)
    #: Threads that could not be ended; they stay until the process ends.
    leaked: int = 0


def from_error(error: BaseException, where: str) -> Finding:
    """The finding that an uncaught exception is."""
    if isinstance(error, Violation):
        return Finding(error.invariant, error.detail, error.kind)
    invariant = "unexpected_errors"
    if isinstance(error, KeyError) and error.args == (None,):
        invariant = "keyerror_none"
    name = type(error).__name__
    steps = traceback.extract_tb(error.__traceback__)
    if not steps:
        return Finding(invariant, f"{name} in {where}: {error}", name)
    last = steps[-1]
    place = f"{os.path.basename(last.filename)}:{last.lineno} in {last.name}: `{last.line}`"
    return Finding(invariant, f"{name} in {where}: {error} (at {place})", f"{name}@{last.name}")
