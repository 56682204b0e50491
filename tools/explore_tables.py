"""How the searches of `tools.explore` and `tools.explore_races` are told: lines and tables.

Pure, but for `keep`, which puts a table into a document.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.schedules.hunts import Hunt
from benchmarks.schedules.races import Race
from benchmarks.schedules.scenarios import catalogue

Result = dict[str, Any]
Row = Sequence[str]

EXHAUSTIVE_HEAD = ("scenario", "interrupted at", "at most", "schedules", "", "races", "seconds")
DEEP_HEAD = ("scenario", "PCT 3", "PCT 5", "races")
RACES_HEAD = (
    "race", "found as", "scenario", "found", "schedules", "most", "seconds", "slowest",
)  # fmt: skip
#: PCT's, of the deep search.
DEPTHS = (3, 5)
#: The granularity of a name without one.
ACCESS = "access"


def line(result: Mapping[str, Any]) -> str:
    """One search, for a terminal."""
    hunt = Hunt(**result["hunt"])
    if "schedules" not in result:
        what = result.get("refused") or result["failure"]
        return f"{hunt.program:32} {hunt.how:9} failed: {what}"
    return (
        f"{hunt.program:32} {hunt.how:9} {result['schedules']:7} schedules  {_how(result):13}"
        f"  {result['races']} races  {result['seconds']:6.1f} s"
    )


def _how(result: Mapping[str, Any]) -> str:
    return "exhausted" if result["exhausted"] else "not exhausted"


def exhaustive_table(results: Iterable[Result]) -> list[Row]:
    """One row for each search of all orders."""
    rows = []
    for result in results:
        hunt = Hunt(**result["hunt"])
        if hunt.strategy != "dfs":
            continue
        scenario, _at, granularity = hunt.program.partition("@")
        head = (f"`{scenario}`", granularity or ACCESS, str(hunt.depth))
        if "schedules" not in result:
            rows.append((*head, "failed", "", "", ""))
            continue
        schedules, seconds = f"{result['schedules']:,}", f"{result['seconds']:.0f}"
        rows.append((*head, schedules, _how(result), str(result["races"]), seconds))
    return rows


def deep_table(results: Iterable[Result]) -> list[Row]:
    """One row for each scenario: schedules of each search of it that is never exhausted."""
    rows: dict[str, dict[int, Result]] = {}
    for result in results:
        hunt = Hunt(**result["hunt"])
        if hunt.strategy == "pct":
            rows.setdefault(hunt.program, {})[hunt.depth] = result
    return [
        (
            f"`{name}`",
            *(_schedules(rows[name].get(depth)) for depth in DEPTHS),
            str(sum(each.get("races", 0) for each in rows[name].values())),
        )
        for name in catalogue()
        if name in rows
    ]


def _schedules(result: Result | None) -> str:
    if result is None:
        return ""
    return f"{result['schedules']:,}" if "schedules" in result else "failed"


def race_row(race: Race, results: Sequence[Mapping[str, Any]]) -> Row:
    """One row: the medians of all its searches, and the worst."""
    found = [each for each in results if race.found(each)]
    signs = ", ".join(sorted({each["finding"]["invariant"] for each in found}))
    scenario = f"`{race.program.rpartition(':')[2]}`, PCT {race.depth}"
    return (f"`{race.name}`", signs, scenario, *found_cells(found, len(results)))


def found_cells(found: Sequence[Mapping[str, Any]], of: int) -> Row:
    """How many, and the median and the worst of their schedules and seconds."""
    share = f"{len(found)} of {of}"
    if not found:
        return (share, "", "", "", "")
    schedules = [each["schedules"] for each in found]
    seconds = [each["seconds"] for each in found]
    return (
        share,
        f"{statistics.median(schedules):,.0f}",
        f"{max(schedules):,}",
        f"{statistics.median(seconds):.1f}",
        f"{max(seconds):.1f}",
    )


def markdown(head: Row, rows: Iterable[Row], how: str) -> str:
    """The table as it is kept, with how it was made."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} processors"
    lines = [f"{how}; {machine}.", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines)


def keep(path: Path, which: str, table: str) -> None:
    """Put the table into the document, between its marks."""
    begin, end = f"<!-- {which}, by tools/explore.py -->", f"<!-- end of {which} -->"
    before, mark, rest = path.read_text().partition(begin)
    _, close, after = rest.partition(end)
    if not mark or not close:
        sys.exit(f"{path} has no place for the table: write {begin} and {end} into it")
    path.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")
