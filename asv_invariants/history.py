"""What happened to each column of the invariants, commit by commit: pure functions of cells.

It reads no file. asv's own regressions page looks for steps that stay and so misses a blip, a
flaky series and what was never 0; here every commit with a violation or a failure makes a story.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.harness.gate import FAILED, NOT_MEASURED, VIOLATIONS, Cell

#: A value as the page shows it: a count, "failed", or None for not measured.
Value = float | str | None

#: Kinds of stories, the worst first.
NEW, CONSTANT, FLAKY, BROKEN, RECOVERED = "new", "constant", "flaky", "still broken", "recovered"
ORDER = (NEW, CONSTANT, BROKEN, FLAKY, RECOVERED)


@dataclass(frozen=True)
class Column:
    """One column: a benchmark and its parameters. ``group`` is all but the invariant."""

    benchmark: str
    index: int
    scenario: str
    load: str
    invariant: str


@dataclass(frozen=True)
class Story:
    """Columns of one scenario and load that have the same, not spotless, history."""

    kind: str
    columns: tuple[int, ...]
    values: tuple[Value, ...]
    words: str


def columns_of(cells: Iterable[Cell]) -> list[Column]:
    """The columns of the matrix, in the order of the benchmarks and of their parameters."""
    found: list[Column] = []
    counts: dict[str, int] = {}
    for cell in cells:
        if cell.unit != VIOLATIONS:
            continue
        index = counts.get(cell.benchmark, 0)
        counts[cell.benchmark] = index + 1
        parameters = dict(cell.parameters)
        name = cell.benchmark.rpartition(".")[2]
        invariant = parameters.pop("invariant", name.removeprefix("track_"))
        scenario = ".".join(cell.benchmark.split(".")[-2:-1]) or cell.benchmark
        load = ", ".join(parameters.values())
        found.append(Column(cell.benchmark, index, scenario, load, invariant))
    return found


def shown(cell: Cell) -> Value:
    """A cell as the page shows it."""
    if cell.state == FAILED:
        return FAILED
    return None if cell.state == NOT_MEASURED else cell.value


def is_bad(value: Value) -> bool:
    return value is not None and value != 0


def stories(columns: Sequence[Column], rows: Sequence[Sequence[Value]]) -> list[Story]:
    """One story for each group of columns that was ever bad; ``rows`` from old to new."""
    grouped: dict[tuple[str, str, tuple[Value, ...]], list[int]] = {}
    for number, column in enumerate(columns):
        values = tuple(row[number] for row in rows)
        if any(map(is_bad, values)):
            grouped.setdefault((column.scenario, column.load, values), []).append(number)
    found = []
    for (_, _, values), numbers in grouped.items():
        kind, words = _told(values)
        found.append(Story(kind, tuple(numbers), values, words))
    return sorted(found, key=lambda story: (ORDER.index(story.kind), FAILED in story.values))


def _told(values: Sequence[Value]) -> tuple[str, str]:
    """The kind of a history, and it in words."""
    measured = [value for value in values if value is not None]
    bad = [is_bad(value) for value in measured]
    starts = [n for n, now in enumerate(bad) if now and (n == 0 or not bad[n - 1])]
    worst = _text(max((v for v in measured if isinstance(v, float | int)), default=0))
    if all(bad):
        same = len(set(measured)) == 1
        return CONSTANT, f"{_text(measured[0]) if same else 'never 0'} at every commit measured"
    if len(starts) > 1:
        return FLAKY, f"bad at {sum(bad)} of {len(bad)} commits, in {len(starts)} spells"
    length = sum(bad)
    what = "failed" if FAILED in measured and worst == "0" else f"up to {worst}"
    if not bad[-1]:
        return RECOVERED, f"{what} for {length} commit{'s' * (length > 1)}, 0 since"
    if length == 1:
        return NEW, f"0 before, {_text(measured[-1])} at the newest commit"
    return BROKEN, f"{what} for the last {length} commits"


def _text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"
