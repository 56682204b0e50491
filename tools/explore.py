"""The deep search of the pool, and the tables of docs/schedules.md.

``python -m tools.explore`` searches the whole catalogue for ten minutes: the small scenarios first,
until all their orders with at most so many interruptions were tried, then every scenario with PCT 3
and PCT 5, with what is left of the time shared out evenly. It prints one line for each scenario:
how many schedules, exhausted or not, how many races.

``--races`` looks instead for the races that must be found, with several seeds, and prints how many
schedules and seconds that took. ``--write docs/schedules.md`` keeps the table there, and with
``--races`` the tokens in the corpus as well.

Exit status: 0 nothing was found (with ``--races``: all of them were, in time), 1 something was (or
was not), 3 a search itself failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.schedules.corpus import Entry, load, save
from benchmarks.schedules.hunts import Hunt
from benchmarks.schedules.races import MODELS, RACES, SECONDS, SEEDS, Race
from benchmarks.schedules.scenarios import catalogue
from benchmarks.schedules.supervised import pursue_all

#: Scenarios small enough for all orders with two interruptions, minutes each, and with one.
SMALL = {
    2: ("acquire+release.1", "release+release.1"),
    1: (
        "release+release.2", "acquire+acquire.1", "acquire+acquire.2", "acquire+timeout.1",
        "timeout+timeout.1", "release+timeout.1", "acquire+drain.1", "release+drain.1",
        "release+publish.1", "acquire+publish.1", "release+close.1", "acquire+close.1",
    ),
}  # fmt: skip
#: One exhaustive search takes no more than this share of all the time there is.
SHARE = 0.5
DEPTHS = (3, 5)
#: Scenarios that one process searches: its start, a second, is then a small part of it.
BATCH = 7
#: Seconds beyond its own bound after which a search is ended from outside: one run, the shrinking
#: of a finding, and a machine that does other things as well.
SLACK = 60.0
SEED = 1

Result = dict[str, Any]


class Deep:
    """The deep search. Searches are handed out in batches; each learns how much time is left."""

    def __init__(self, minutes: float, jobs: int, names: Sequence[str]) -> None:
        self._deadline = time.monotonic() + 60 * minutes
        self._jobs = jobs
        self._share = SHARE * 60 * minutes
        self._names = names
        self._waiting = len(names) * len(DEPTHS)

    def run(self, show: Callable[[Result], None]) -> list[Result]:
        """Everything, two searches of an exhaustive kind at a time, then the rest."""
        results: list[Result] = []
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="search") as pool:
            jobs: list[Future[list[Result]]] = []
            for depth, names in sorted(SMALL.items(), reverse=True):
                jobs += [
                    pool.submit(self._exhaust, name, depth) for name in names if name in self._names
                ]
            for depth in DEPTHS:
                jobs += [
                    pool.submit(self._sample, self._names[start : start + BATCH], depth)
                    for start in range(0, len(self._names), BATCH)
                ]
            try:
                for job in jobs:
                    for result in job.result():
                        results.append(result)
                        show(result)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return results

    def _exhaust(self, name: str, depth: int) -> list[Result]:
        seconds = max(1.0, min(self._share, self._deadline - time.monotonic()))
        return pursue_all([Hunt(name, "dfs", depth, SEED, None, seconds)], seconds + SLACK)

    def _sample(self, names: Sequence[str], depth: int) -> list[Result]:
        left = max(0.0, self._deadline - time.monotonic()) * self._jobs
        each = max(0.2, left / max(1, self._waiting) - 0.2)
        self._waiting -= len(names)
        hunts = [Hunt(name, "pct", depth, SEED, None, round(each, 2)) for name in names]
        return pursue_all(hunts, each * len(hunts) + SLACK)


def line(result: Result) -> str:
    """One search, for a terminal."""
    hunt = Hunt(**result["hunt"])
    if "schedules" not in result:
        what = result.get("refused") or result["failure"]
        return f"{hunt.program:32} {hunt.how:9} failed: {what}"
    how = "exhausted" if result["exhausted"] else "not exhausted"
    return (
        f"{hunt.program:32} {hunt.how:9} {result['schedules']:7} schedules  {how:13}"
        f"  {result['races']} races  {result['seconds']:6.1f} s"
    )


def deep_table(results: Iterable[Result]) -> list[Sequence[str]]:
    """One row for each scenario: what each search of it came to."""
    rows: dict[str, dict[str, Result]] = {}
    for result in results:
        hunt = Hunt(**result["hunt"])
        rows.setdefault(hunt.program, {})[hunt.how if hunt.strategy == "pct" else "dfs"] = result
    order = [name for name in catalogue() if name in rows]
    return [
        (
            f"`{name}`",
            *(_cell(rows[name].get(f"pct {depth}")) for depth in DEPTHS),
            _cell(rows[name].get("dfs")),
            str(sum(each.get("races", 0) for each in rows[name].values())),
        )
        for name in order
    ]


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    if "schedules" not in result:
        return "failed"
    number = f"{result['schedules']:,}"
    if result["hunt"]["strategy"] != "dfs":
        return number
    how = "exhausted" if result["exhausted"] else "not exhausted"
    return f"{result['hunt']['depth']}: {number}, {how}"


DEEP_HEAD = ("scenario", "PCT 3", "PCT 5", "all with at most n interruptions", "races")
RACES_HEAD = ("race", "found as", "scenario", "found", "schedules", "seconds", "slowest")


def race_row(race: Race, results: Sequence[Result]) -> Sequence[str]:
    """One row: the medians of all its searches, and the slowest."""
    found = [each for each in results if race.found(each)]
    seconds = [each["seconds"] for each in found]
    return (
        f"`{race.name}`",
        ", ".join(sorted({each["finding"]["invariant"] for each in found})),
        f"`{race.program.rpartition(':')[2]}`, PCT {race.depth}",
        f"{len(found)} of {len(results)}",
        f"{statistics.median(each['schedules'] for each in found):,.0f}" if found else "",
        f"{statistics.median(seconds):.1f}" if found else "",
        f"{max(seconds):.1f}" if found else "",
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], how: str) -> str:
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


def _deep(options: argparse.Namespace) -> int:
    names = options.scenario or catalogue()
    unknown = set(names) - set(catalogue())
    if unknown:
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}")
    results = Deep(options.minutes, options.jobs, names).run(
        lambda each: print(line(each), flush=True)
    )
    for each in results:
        if each.get("finding"):
            of = each["finding"]
            print(f"\n{each['hunt']['program']}: {of['story']}")
            print(f"\npython -m benchmarks.harness replay {of['token']}")
    races = sum(each.get("races", 0) for each in results)
    failed = sum("schedules" not in each for each in results)
    total = sum(each.get("schedules", 0) for each in results)
    exhausted = sum(each.get("exhausted", False) for each in results)
    print(
        f"\n{len(names)} scenarios, {len(results)} searches ({exhausted} of them exhausted,"
        f" {failed} failed), {total:,} schedules, {races} races"
    )
    if options.write:
        how = f"{options.minutes:g} minutes, {options.jobs} searches at a time, seed {SEED}"
        keep(options.write, "the deep search", markdown(DEEP_HEAD, deep_table(results), how))
    return 1 if races else 3 if failed else 0


def _races(options: argparse.Namespace) -> int:
    seeds = range(1, options.seeds + 1)
    races = (*RACES, *MODELS)
    rows, entries, missed, failed = [], [], 0, 0
    with ThreadPoolExecutor(options.jobs, thread_name_prefix="search") as pool:
        jobs = [
            pool.submit(pursue_all, [race.hunt(seed) for seed in seeds], 2 * SECONDS * len(seeds))
            for race in races
        ]
        for race, job in zip(races, jobs, strict=True):
            results = job.result()
            for each in results:
                print(line(each), flush=True)
            failed += sum("schedules" not in each for each in results)
            # Later than this is too late, also when it is found in the end.
            missed += sum(not race.found(each) or each["seconds"] > SECONDS for each in results)
            rows.append(race_row(race, results))
            entries += [Entry.from_result(each, race.name) for each in results if race.found(each)][
                :1
            ]
    if options.write:
        how = f"Seeds 1 to {options.seeds}, {options.jobs} searches at a time"
        keep(options.write, "the races", markdown(RACES_HEAD, rows, how))
        known = {race.name for race in races}
        save([*(entry for entry in load() if entry.of not in known), *entries])
    print(f"\n{len(races)} races, {options.seeds} seeds each, {missed} searches missed theirs")
    return 1 if missed else 3 if failed else 0


def main(words: Sequence[str] | None = None) -> int:
    """Search, print as it goes, judge."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.explore",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="all, if none is named")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="(10)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="searches at a time (2)")
    parser.add_argument(
        "--races", action="store_true", help="look for the races that must be found"
    )
    parser.add_argument("--seeds", type=int, default=len(SEEDS), metavar="N", help="of --races (3)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table in FILE")
    options = parser.parse_args(words)
    if options.minutes <= 0 or options.jobs < 1 or options.seeds < 1:
        parser.error("--minutes, --jobs and --seeds are above 0")
    return _races(options) if options.races else _deep(options)


if __name__ == "__main__":
    sys.exit(main())
