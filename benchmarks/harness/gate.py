"""The gate: one judge for what asv stored of a commit. Pure functions of plain data.

asv itself says "not changed" of a violation that is in both commits, exits 0 after a benchmark
that gave None, and takes what was skipped for sound. Here every benchmark of the unit
``violations`` must have been measured, in each required environment, for each parameter, and be
0; of every other benchmark only a failure counts. What was not measured never passes for 0.

It reads no file and knows no asv; ``gate_results`` brings the data, ``gate_report`` shows the
outcome. It never decides what is stored, so a change in it measures nothing again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

#: The unit of what must be 0.
VIOLATIONS = "violations"
#: The label of an environment whose matrix says nothing of a broker.
EMBEDDED = "embedded"
#: Exit statuses, as everywhere on the command line.
HOLDS, BROKEN, INCOMPLETE = 0, 1, 2

#: What a cell can be. A measure other than a violation has no good or bad value: it is ``value``.
ZERO, VIOLATED, FAILED, NOT_MEASURED, VALUE = "0", "violated", "failed", "not measured", "value"
#: A zero beside a count needs a word.
WORDS = {ZERO: "measured and 0"}


@dataclass(frozen=True)
class Cell:
    """One benchmark with one set of parameters in one environment of one machine.

    ``value`` is None where the benchmark failed or gave no verdict, and NaN where it was not
    measured; ``reason`` then says why. ``interval`` holds asv's 99 % bounds of a measure.
    """

    machine: str
    environment: str
    label: str
    benchmark: str
    parameters: tuple[tuple[str, str], ...]
    unit: str
    value: float | None
    reason: str = ""
    interval: tuple[float, float] | None = None
    spread: float | None = None

    @property
    def state(self) -> str:
        if self.value is None:
            return FAILED
        if math.isnan(self.value):
            return NOT_MEASURED
        if self.unit != VIOLATIONS:
            return VALUE
        return VIOLATED if self.value else ZERO

    @property
    def name(self) -> str:
        """As asv writes it: the benchmark and the values of its parameters."""
        values = ", ".join(value for _, value in self.parameters)
        return f"{self.benchmark}({values})" if values else self.benchmark


@dataclass(frozen=True)
class Sheet:
    """All cells of one environment on one machine. ``planned``: it is in today's matrix."""

    machine: str
    environment: str
    label: str
    planned: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Planned:
    """An environment of the matrix, whether or not it was measured."""

    label: str
    description: str
    measured: bool


@dataclass(frozen=True)
class Change:
    """A measure that differs from the base by more than noise. Interval: 99 %, of the ratio."""

    cell: Cell
    before: float
    after: float
    ratio: float
    interval: tuple[float, float] | None

    @property
    def slower(self) -> bool:
        return self.ratio > 1


@dataclass(frozen=True)
class Stored:
    """What is known of a commit. ``problems`` are reasons why it cannot be known in whole."""

    commit: str
    sheets: tuple[Sheet, ...]
    planned: tuple[Planned, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the gate found. ``gaps`` are one line each: required, and not measured."""

    commit: str
    required: tuple[str, ...]
    labels: dict[str, str]
    violated: tuple[Cell, ...]
    failed: tuple[Cell, ...]
    gaps: tuple[str, ...]
    #: Not measured and not required: listed, and without effect on the status.
    others: tuple[str, ...]
    zeros: int
    base: str | None = None
    changes: tuple[Change, ...] = field(default=())

    @property
    def status(self) -> int:
        if self.violated or self.failed:
            return BROKEN
        return INCOMPLETE if self.gaps else HOLDS


def judge(
    stored: Stored,
    required: Sequence[str],
    base: str | None = None,
    changes: Iterable[Change] = (),
) -> Verdict:
    """Judge what was stored of a commit; see the module for the rules.

    A violation counts in whichever environment it was found. What is missing counts in the
    environments of today's matrix whose label is required; elsewhere it is listed.
    """
    cells = [cell for sheet in stored.sheets for cell in sheet.cells]
    gaps = list(stored.problems)
    others: list[str] = []
    for label in required:
        known = [plan for plan in stored.planned if plan.label == label]
        if not known and not any(s.label == label and s.planned for s in stored.sheets):
            gaps.append(f"{label}: no such environment was measured")
    for plan in stored.planned:
        if not plan.measured:
            line = f"{plan.label}: the whole environment {plan.description}"
            (gaps if plan.label in required else others).append(line)
    for sheet in stored.sheets:
        needed = sheet.planned and sheet.label in required
        where = f"{sheet.label}, {sheet.machine}, {sheet.environment}"
        if needed and not any(cell.unit == VIOLATIONS for cell in sheet.cells):
            gaps.append(f"{where}: no benchmark of the unit {VIOLATIONS}")
        for unit, line in _missing(sheet):
            (gaps if needed and unit == VIOLATIONS else others).append(f"{where}: {line}")
    return Verdict(
        commit=stored.commit,
        required=tuple(required),
        labels=_labels(stored),
        violated=tuple(cell for cell in cells if cell.state == VIOLATED),
        failed=tuple(cell for cell in cells if cell.state == FAILED),
        gaps=tuple(dict.fromkeys(gaps)),
        others=tuple(dict.fromkeys(others)),
        zeros=sum(cell.state == ZERO for cell in cells),
        base=base,
        changes=tuple(sorted(changes, key=lambda change: -change.ratio)),
    )


def _missing(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """Unit and line of what was not measured; what is missing in whole is one line."""
    reasons = {cell.reason if cell.state == NOT_MEASURED else None for cell in sheet.cells}
    units = {cell.unit for cell in sheet.cells}
    if len(reasons) == 1 and None not in reasons:
        # A violation is the most that can be missing.
        unit = VIOLATIONS if VIOLATIONS in units else min(units)
        yield unit, f"everything: {reasons.pop()}"
        return
    for name, group in groupby(sheet.cells, key=lambda cell: cell.benchmark):
        cells = list(group)
        gone = [cell for cell in cells if cell.state == NOT_MEASURED]
        if len(gone) == len(cells) > 1 and len({cell.reason for cell in gone}) == 1:
            yield gone[0].unit, f"{name}, all {len(gone)} parameters: {gone[0].reason}"
        else:
            yield from ((cell.unit, f"{cell.name}: {cell.reason}") for cell in gone)


def _labels(stored: Stored) -> dict[str, str]:
    """Each label that is known, and how it stands."""
    order = [EMBEDDED, *(p.label for p in stored.planned), *(s.label for s in stored.sheets)]
    found: dict[str, str] = {}
    for label in dict.fromkeys(order):
        states = [
            cell.state
            for sheet in stored.sheets
            if sheet.label == label
            for cell in sheet.cells
            if cell.unit == VIOLATIONS
        ]
        counts = {state: states.count(state) for state in (VIOLATED, FAILED, NOT_MEASURED, ZERO)}
        words = [f"{count} {WORDS.get(state, state)}" for state, count in counts.items() if count]
        found[label] = ", ".join(words) or NOT_MEASURED
    return found
