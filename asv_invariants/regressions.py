"""Every violation on asv's own *Regressions* page, and in its Atom feed.

asv lists a step that stays, and not the blip, the flaky series and the constant. Its list of the
unit ``violations`` is replaced by one that misses none: an entry for each column that was ever
violated, with a jump wherever the count became another one. The old value of the first is 0, the
bound that was broken. Failures have no number, and the page shows numbers only: they are on the
page of invariants and in the gate.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from asv.plugins.regressions import Regressions
from asv.util import is_na

from asv_invariants.document import Sheet
from benchmarks.harness.gate import VIOLATED, VIOLATIONS

#: What asv stores of a regression: name, graph, parameters of the graph, index, last, best, jumps.
Entry = list[Any]


def jumps(points: list[tuple[int, float | None]]) -> list[list[Any]]:
    """``[None, revision, old, new]`` for each revision whose count is new and not 0.

    What was not measured or failed tells nothing about the count, and is passed over.
    """
    found: list[list[Any]] = []
    old = 0.0
    for revision, value in points:
        if value is None or value != value:
            continue
        if value and value != old:
            found.append([None, revision, old, value])
        old = value
    return found


def entries(benchmarks: Mapping[str, Any], graphs: Any) -> list[Entry]:
    """The list for all benchmarks of the unit ``violations``, from asv's graphs."""
    several = {name for name, values in graphs.get_params().items() if len(values) > 1}
    found: list[Entry] = []
    for name, benchmark in benchmarks.items():
        if benchmark.get("unit") != VIOLATIONS:
            continue
        for graph in graphs.get_graph_group(name):
            points = _points(graph, benchmark)
            which = {key: value for key, value in graph.params.items() if key in several}
            for number, parameters in enumerate(itertools.product(*benchmark["params"])):
                series = [(revision, values[number]) for revision, values in points]
                rises = jumps(series)
                if not rises:
                    continue
                known = [value for _, value in series if value is not None and value == value]
                title = f"{name}({', '.join(parameters)})" if parameters else name
                index = number if parameters else None
                path = f"{graph.path}.json"
                found.append([title, path, which, index, known[-1], min(known), rises])
    return found


def beside(
    sheets: Sequence[Sheet],
    benchmarks: Mapping[str, Any],
    graphs: Any,
    revisions: Mapping[str, int],
) -> list[Entry]:
    """The same for commits that are on no published branch: asv has no point of them in a graph.

    Each violation is an entry of its own, since such a commit comes behind no other. What git does
    not reach at all has no revision, and so no place in asv's list.
    """
    points = drawn(graphs)
    found: list[Entry] = []
    for sheet in sheets:
        for commit, measured in sheet.measured.items():
            revision = revisions.get(commit)
            if revision is None or revision in points:
                continue
            for name, group in groupby(measured.cells, key=lambda cell: cell.benchmark):
                path = _path(graphs, name, sheet)
                combinations = list(itertools.product(*benchmarks[name]["params"]))
                for number, cell in enumerate(group):
                    if cell.state == VIOLATED:
                        title = f"{name}({', '.join(combinations[number])})"
                        index = number if combinations[number] else None
                        rise = [[None, revision, 0.0, cell.value]]
                        entry = [title if index is not None else name, path, sheet.graph, index]
                        found.append([*entry, cell.value, 0.0, rise])
    return found


def drawn(graphs: Any) -> set[int]:
    """The revisions of which asv draws anything."""
    return {revision for _, graph in graphs for revision in graph.data_points}


def _path(graphs: Any, name: str, sheet: Sheet) -> str:
    """A graph of the same benchmark and environment; empty when there is none."""
    for graph in graphs.get_graph_group(name):
        if all(graph.params.get(key) == value for key, value in sheet.graph.items()):
            return f"{graph.path}.json"
    return ""


def _points(graph: Any, benchmark: Mapping[str, Any]) -> list[tuple[int, list[float | None]]]:
    """Revision and the largest value of each cell: asv's own graph has the mean of several."""
    width = len(list(itertools.product(*benchmark["params"])))
    found = []
    for revision, several in sorted(graph.data_points.items()):
        row: list[float | None] = []
        for number in range(width):
            numbers = [v[number] for v in several if not is_na(v[number])]
            row.append(max(numbers, default=None))
        found.append((revision, row))
    return found


def publish(
    conf: Any,
    benchmarks: Any,
    graphs: Any,
    revisions: Mapping[str, int],
    sheets: Sequence[Sheet],
) -> int:
    """Rewrite ``regressions.json`` and the feed; returns how many entries are ours."""
    path = Path(conf.html_dir) / "regressions.json"
    stock = json.loads(path.read_text())["regressions"]
    ours = [*entries(benchmarks, graphs), *beside(sheets, benchmarks, graphs, revisions)]
    kept = [entry for entry in stock if benchmarks[_name(entry)].get("unit") != VIOLATIONS]
    merged = [*ours, *kept]
    Regressions._save(conf, {"regressions": merged})
    hashes = {revision: commit for commit, revision in revisions.items()}
    Regressions._save_feed(conf, benchmarks, merged, revisions, hashes)
    return len(ours)


def _name(entry: Entry) -> str:
    return str(entry[0]).partition("(")[0]
