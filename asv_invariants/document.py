"""The document that the page *Invariants* shows, made of cells and records.

One sheet for each environment of each machine, a row for each commit, a column for each invariant.
A value is a number, ``"failed"`` or null; null is not measured, and never 0.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from asv_invariants import records
from asv_invariants.history import Value, columns_of, is_bad, shown, stories
from benchmarks.harness.gate import VALUE, VIOLATIONS, Cell

#: Bins of the distribution of recoveries: narrow enough for two modes, wide enough for a thousand.
BINS = 32


@dataclass(frozen=True)
class Measured:
    """One result of asv: the cells of one commit in one environment."""

    commit: str
    cells: list[Cell]
    records: list[records.Record]


@dataclass
class Sheet:
    """What was measured in one environment of one machine; ``graph`` selects asv's own graphs."""

    machine: str
    environment: str
    label: str
    graph: dict[str, str]
    measured: dict[str, Measured] = field(default_factory=dict)


def sheet_document(
    sheet: Sheet, commits: Sequence[str], known: Mapping[str, Any], edges: Sequence[float]
) -> tuple[dict[str, Any], dict[str, dict[str, list[str]]]]:
    """One sheet for the page, and beside it the witnesses: commit, column, texts.

    ``commits`` are those of the whole site, the newest first; ``edges`` are of ``bins``.
    """
    rows = [sheet.measured.get(commit) for commit in commits]
    columns = columns_of(next(row.cells for row in rows if row))
    values: list[list[Value] | None] = []
    texts: dict[str, dict[str, list[str]]] = {}
    reasons: dict[str, dict[int, str]] = {}
    for row in rows:
        if row is None:
            values.append(None)
            continue
        judged = [cell for cell in row.cells if cell.unit == VIOLATIONS]
        values.append([shown(cell) for cell in judged])
        reasons[row.commit] = {n: cell.reason for n, cell in enumerate(judged) if cell.reason}
        for number, value in enumerate(values[-1] or ()):
            if is_bad(value):
                about = columns[number]
                found = records.witnesses(row.records, about.scenario, about.load, about.invariant)
                if found:
                    texts.setdefault(row.commit, {})[str(number)] = found
    old_to_new = [[None] * len(columns) if row is None else row for row in reversed(values)]
    document = {
        "machine": sheet.machine,
        "environment": sheet.environment,
        "label": sheet.label,
        "graph": sheet.graph,
        "columns": [
            {**asdict(column), "parameters": _parameters(known[column.benchmark], column.index)}
            for column in columns
        ],
        "rows": values,
        "reasons": reasons,
        "witnesses": {commit: sorted(found) for commit, found in texts.items()},
        "stories": [asdict(story) for story in stories(columns, old_to_new)],
        "recovery": [None if row is None else _recovery(row, edges) for row in rows],
        "times": _times(rows),
    }
    return document, texts


def bins(sheets: Sequence[Sheet]) -> list[float]:
    """Edges (ms) of one distribution for all commits, so that they compare; empty for none.

    In equal ratios: a recovery takes a millisecond or a second, and both must show.
    """
    numbers = [
        number
        for sheet in sheets
        for measured in sheet.measured.values()
        for number in (*records.cycles(measured.records), *_percentiles(measured.cells).values())
        if number is not None and number > 0
    ]
    if not numbers:
        return []
    low, high = min(numbers), max(max(numbers), min(numbers) * 1.01)
    return [low * (high / low) ** (number / BINS) for number in range(BINS + 1)]


def _percentiles(cells: Sequence[Cell]) -> dict[str, float | None]:
    return {
        cell.parameters[0][1]: cell.value if cell.state == VALUE else None
        for cell in cells
        if [name for name, _ in cell.parameters] == ["percentile"]
    }


def _recovery(row: Measured, edges: Sequence[float]) -> dict[str, Any] | None:
    """Percentiles as asv stored them, and, where a record is there, the largest and the shape."""
    found = _percentiles(row.cells)
    if all(value is None for value in found.values()):
        return None
    single = records.cycles(row.records)
    counts = [0] * BINS if single and edges else []
    for number in single if edges else ():
        # The last bin holds its upper edge too.
        counts[min(max(bisect_right(edges, number) - 1, 0), BINS - 1)] += 1
    return {
        "percentiles": found,
        "max": round(max(single), 3) if single else None,
        "cycles": len(single),
        "counts": counts,
    }


def _times(rows: Sequence[Measured | None]) -> list[dict[str, Any]]:
    """The columns of throughput: seconds for a fixed amount of work, commit by commit."""
    names: dict[str, dict[str, str]] = {}
    for row in rows:
        for cell in row.cells if row else ():
            if cell.benchmark.startswith("throughput."):
                parts = cell.benchmark.split(".")
                words = ", ".join(f"{name} {value}" for name, value in cell.parameters)
                names[cell.name] = {"name": parts[1], "parameters": words, "unit": cell.unit}
    found: list[dict[str, Any]] = []
    for name, about in names.items():
        values: list[Value] = []
        for row in rows:
            same = [cell for cell in row.cells if cell.name == name] if row else []
            values.append(shown(same[0]) if same else None)
        found.append({**about, "values": values})
    return found


def _parameters(benchmark: Mapping[str, Any], index: int) -> dict[str, str]:
    """Names and values as the addresses of asv's graphs have them."""
    found: dict[str, str] = {}
    for name, values in reversed(
        list(zip(benchmark["param_names"], benchmark["params"], strict=True))
    ):
        index, position = divmod(index, len(values))
        found[f"p-{name}"] = values[position]
    return dict(reversed(found.items()))


def finite(value: Any) -> Any:
    """The same without numbers that JSON does not know."""
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
