"""What asv stored for one commit under one label, as tables on a terminal, and what is wrong.

It reads results and measures nothing, and the gate is the judge. After a run of the whole suite a
benchmark that was skipped is wrong too: it skips itself when the client failed a short trial.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.harness.gate import (
    EMBEDDED,
    FAILED,
    INCOMPLETE,
    NOT_MEASURED,
    VIOLATED,
    VIOLATIONS,
    Cell,
    Sheet,
    Stored,
    judge,
)
from benchmarks.harness.gate_results import Store

#: Columns that the tables need.
WIDTH = 110
_WRONG = (VIOLATED, FAILED, NOT_MEASURED)
#: Needs an environment of its own, from a package index: where it is skipped, that is no problem.
OPTIONAL = frozenset(("races.Explore.track_control_missed",))


def read(folder: Path, commit: str, label: str = EMBEDDED) -> Stored:
    """All that asv stored of that commit under a label; ``folder`` holds asv.conf.json.

    Raises EnvironmentProblem when there are no results at all.
    """
    return under(label, Store(folder / "asv.conf.json").stored(commit))


def under(label: str, stored: Stored) -> Stored:
    """That of it which belongs to one label: another one may have been measured at another time."""
    return replace(
        stored,
        sheets=tuple(sheet for sheet in stored.sheets if sheet.label == label),
        planned=tuple(plan for plan in stored.planned if plan.label == label),
    )


def status(stored: Stored, label: str = EMBEDDED) -> int:
    """The gate's exit status, where every benchmark had to be measured."""
    found = judge(stored, [label]).status
    return found or (INCOMPLETE if problems(stored, label) else found)


def problems(stored: Stored, label: str = EMBEDDED) -> list[str]:
    """One line for each value that has a problem, and for whatever else was not measured."""
    lines = [
        f"{cell.name}: {_problem(cell)}"
        for sheet in _sheets(stored)
        for cell in sheet.cells
        if cell.state in _WRONG and not (cell.state == NOT_MEASURED and cell.benchmark in OPTIONAL)
    ]
    return lines or list(judge(stored, [label]).gaps)


def _problem(cell: Cell) -> str:
    return f"{cell.value:g} violations" if cell.state == VIOLATED else cell.state


def _sheets(stored: Stored) -> list[Sheet]:
    """Without those of environments that have left the matrix, which nobody measured just now."""
    return [sheet for sheet in stored.sheets if sheet.planned]


def show(stored: Stored) -> None:
    """Print the tables: violations by scenario, load and invariant, and everything else."""
    from rich.console import Console

    console = Console(highlight=False)
    # In a pipe, where rich assumes eighty columns, no cell is to be cut off.
    console.width = max(console.width, WIDTH)
    sheets = _sheets(stored)
    for sheet in sheets:
        if len(sheets) > 1:
            console.print(f"{sheet.label}, {sheet.machine}, {sheet.environment}")
        console.print(_violations([cell for cell in sheet.cells if cell.unit == VIOLATIONS]))
        console.print()
        console.print(_measures([cell for cell in sheet.cells if cell.unit != VIOLATIONS]))


def _violations(cells: list[Cell]) -> Any:
    """One row for each scenario and load: ten columns of zeros would fit no terminal."""
    from rich.table import Table

    rows: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        parameters = dict(cell.parameters)
        _, scenario, name = cell.benchmark.rsplit(".", 2)
        # Not every benchmark has a value for each invariant.
        invariant = parameters.pop("invariant", name.removeprefix("track_"))
        rows.setdefault((scenario, ", ".join(parameters.values())), {})[invariant] = cell
    table = Table(box=None, pad_edge=False, title="violations", title_justify="left")
    for column in ("scenario", "load"):
        table.add_column(column, no_wrap=True)
    table.add_column("violations")
    for (scenario, load), row in rows.items():
        table.add_row(scenario, load, _counts(row))
    return table


def _counts(row: dict[str, Cell]) -> str:
    """``0 in all 10``, or each that is not 0 by its name."""
    if list(row) == ["violations"]:
        cell = row["violations"]
        return _count(cell) if cell.state in _WRONG else "0"
    wrong = [f"{name} {_count(cell)}" for name, cell in row.items() if cell.state in _WRONG]
    if not wrong:
        return f"0 in all {len(row)}"
    held = len(row) - len(wrong)
    return ", ".join(wrong) + (f"; 0 in {held} of {len(row)}" if held else "")


def _count(cell: Cell) -> str:
    if cell.state == VIOLATED:
        return f"[bold red]{cell.value:g}[/]"
    return f"[yellow]{cell.state}[/]"


def _measures(cells: list[Cell]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title="measures", title_justify="left")
    table.add_column("benchmark")
    table.add_column("parameters")
    table.add_column("value", justify="right")
    for cell in cells:
        shown = f"[yellow]{cell.state}[/]" if cell.state in _WRONG else _value(cell)
        parameters = ", ".join(f"{name} {value}" for name, value in cell.parameters)
        table.add_row(cell.benchmark, parameters, shown)
    return table


def _value(cell: Cell) -> str:
    from asv.util import human_value

    if cell.unit == "seconds":
        return str(human_value(cell.value, cell.unit, err=cell.spread))
    spread = "" if cell.spread is None else f"±{cell.spread:.2g}"
    return f"{cell.value:.4g}{spread} {cell.unit}"
