"""What asv stored for one commit, as tables on a terminal, and what is wrong with it.

It reads results and measures nothing. asv itself exits 0 with violations and after a benchmark
that gave None; here every benchmark that asv knows must have a value for every parameter, and
every value of the unit ``violations`` must be 0. Nothing that was not measured passes for sound.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The unit of what must be 0.
VIOLATIONS = "violations"
#: Columns that the tables need.
WIDTH = 110


@dataclass(frozen=True)
class Cell:
    """One value: None is a failure, NaN a benchmark that was skipped or not run at all."""

    benchmark: str
    parameters: tuple[tuple[str, str], ...]
    unit: str
    value: float | None
    error: float | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with it, in a few words; None when nothing is."""
        if self.value is None:
            return "failed"
        if math.isnan(self.value):
            return "not measured"
        if self.unit == VIOLATIONS and self.value != 0:
            return f"{self.value:g} violations"
        return None

    @property
    def name(self) -> str:
        values = ", ".join(value for _, value in self.parameters)
        return f"{self.benchmark}({values})" if values else self.benchmark


def read(folder: Path, commit: str) -> list[Cell]:
    """Every cell of that commit on this machine, in today's environment and versions.

    ``folder`` holds asv.conf.json. Raises asv's UserError when there are no results at all.
    """
    from asv import benchmarks, config, environment, machine, results
    from asv_runner.statistics import get_err

    # asv changes into the folder as well: everything in its configuration is relative to it.
    conf = config.Config.load(str(folder / "asv.conf.json"))
    known = benchmarks.Benchmarks.load(conf)
    name = machine.Machine.load(machine_name=None, interactive=False).machine
    wanted = {e.name for e in environment.get_environments(conf, None, verbose=False)}
    stored = [
        result
        for result in results.iter_results_for_machine_and_hash(conf.results_dir, name, commit)
        if result.env_name in wanted
    ]
    cells = []
    for key, benchmark in known.items():
        names, lists = benchmark["param_names"], benchmark["params"]
        combinations = list(itertools.product(*lists))
        for result in stored:
            if key in result.get_result_keys(known):
                values = result.get_result_value(key, lists) or [None] * len(combinations)
                stats = result.get_result_stats(key, lists) or [None] * len(combinations)
            else:
                values, stats = [math.nan] * len(combinations), [None] * len(combinations)
            for combination, value, stat in zip(combinations, values, stats, strict=True):
                parameters = tuple(zip(names, map(_plain, combination), strict=True))
                error = get_err(value, stat) if stat and value is not None else None
                cells.append(Cell(key, parameters, benchmark["unit"], value, error))
    return cells


def _plain(parameter: str) -> str:
    """asv stores the repr of a parameter; of a string only the string is wanted."""
    value = ast.literal_eval(parameter)
    return value if isinstance(value, str) else parameter


def problems(cells: Iterable[Cell]) -> list[str]:
    """One line for each cell that has a problem; one when there is no cell at all."""
    cells = list(cells)
    if not cells:
        return ["nothing was measured"]
    return [f"{cell.name}: {cell.problem}" for cell in cells if cell.problem]


def show(cells: list[Cell]) -> None:
    """Print the tables: violations by scenario, load and invariant, and everything else."""
    from rich.console import Console

    console = Console(highlight=False)
    # In a pipe, where rich assumes eighty columns, no cell is to be cut off.
    console.width = max(console.width, WIDTH)
    console.print(_violations([cell for cell in cells if cell.unit == VIOLATIONS]))
    console.print()
    console.print(_measures([cell for cell in cells if cell.unit != VIOLATIONS]))


def _violations(cells: list[Cell]) -> Any:
    from rich.table import Table

    invariants = list(dict.fromkeys(dict(cell.parameters)["invariant"] for cell in cells))
    rows: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        parameters = dict(cell.parameters)
        scenario = cell.benchmark.split(".")[-2]
        rows.setdefault((scenario, parameters["load"]), {})[parameters["invariant"]] = cell
    table = Table(box=None, pad_edge=False, title="violations", title_justify="left")
    table.add_column("scenario")
    table.add_column("load")
    for invariant in invariants:
        # On two lines, or the names alone would fill a terminal.
        table.add_column(invariant.replace("_", "\n"), justify="right", no_wrap=True)
    for (scenario, load), row in rows.items():
        table.add_row(scenario, load, *(_count(row.get(name)) for name in invariants))
    return table


def _count(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.problem is None:
        return "0"
    if cell.value is None or math.isnan(cell.value):
        return f"[yellow]{cell.problem}[/]"
    return f"[bold red]{cell.value:g}[/]"


def _measures(cells: list[Cell]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title="measures", title_justify="left")
    table.add_column("benchmark")
    table.add_column("parameters")
    table.add_column("value", justify="right")
    for cell in cells:
        shown = f"[yellow]{cell.problem}[/]"
        if cell.problem is None:
            shown = _value(cell)
        parameters = ", ".join(f"{name} {value}" for name, value in cell.parameters)
        table.add_row(cell.benchmark, parameters, shown)
    return table


def _value(cell: Cell) -> str:
    from asv.util import human_value

    if cell.unit == "seconds":
        return str(human_value(cell.value, cell.unit, err=cell.error))
    spread = "" if cell.error is None else f"±{cell.error:.2g}"
    return f"{cell.value:.4g}{spread} {cell.unit}"
