"""The races that the search must find: how many schedules and seconds that takes.

Those of the mutants, of the small models, and the control: the race of a real client, which needs
an environment of its own (`schedules.supervised`) and is told as not searched where that cannot be
made. Each is looked for with several seeds, in a child process for each race.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.schedules import control
from benchmarks.schedules.races import MODELS, RACES, SECONDS
from benchmarks.schedules.supervised import control_of, pursue_all
from tools.explore_tables import RACES_HEAD, Row, found_cells, keep, line, markdown, race_row


def search_races(seeds: Sequence[int], jobs: int, write: Path | None) -> int:
    """Search, print as it goes; 0: all were found in time, 1: some were not, 3: a search failed."""
    races = (*RACES, *MODELS)
    rows: list[Row] = []
    missed = failed = 0
    with ThreadPoolExecutor(jobs, thread_name_prefix="search") as pool:
        searches = [
            pool.submit(pursue_all, [race.hunt(seed) for seed in seeds], 2 * SECONDS * len(seeds))
            for race in races
        ]
        controls = [pool.submit(control_of, seed, 2 * control.SECONDS) for seed in seeds]
        for race, search in zip(races, searches, strict=True):
            results = search.result()
            for each in results:
                print(line(each), flush=True)
            failed += sum("schedules" not in each for each in results)
            # Later than this is too late, also when it is found in the end.
            missed += sum(not race.found(each) or each["seconds"] > SECONDS for each in results)
            rows.append(race_row(race, results))
        for seed, job in zip(seeds, controls, strict=True):
            print(_control_line(seed, job.result()), flush=True)
        told = [job.result() for job in controls]
    failed += sum("failure" in each for each in told)
    missed += sum(each.get("missed", 0) for each in told)
    rows.append(_control_row(told))
    if write:
        how = f"Seeds {seeds[0]} to {seeds[-1]}, {jobs} searches at a time"
        keep(write, "the races", markdown(RACES_HEAD, rows, how))
    print(f"\n{len(rows)} races, {len(seeds)} seeds each, {missed} searches missed theirs")
    return 1 if missed else 3 if failed else 0


def _control_line(seed: int, result: Mapping[str, Any]) -> str:
    head = f"{control.SCENARIO:32} pct {control.DEPTH}    "
    if "missed" not in result:
        return f"{head} not searched: {result.get('refused') or result['failure']}"
    what = "missed" if result["missed"] else f"found, {result['replays']} of its replays alike"
    return (
        f"{head} {result['schedules']:7} schedules  seed {seed}, {what}  {result['seconds']:6.1f} s"
    )


def _control_row(results: Sequence[Mapping[str, Any]]) -> Row:
    name = f"{control.DISTRIBUTION} {control.PINNED}"
    scenario = f"`{control.SCENARIO.rpartition(':')[2]}`, PCT {control.DEPTH}"
    searched = [each for each in results if "missed" in each]
    if not searched:
        return (name, "", scenario, "not searched", "", "", "", "")
    found = [each for each in searched if not each["missed"]]
    sign = control.INVARIANT if found else ""
    return (name, sign, scenario, *found_cells(found, len(results)))
