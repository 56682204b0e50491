"""The deep search of the pool, and the tables of docs/schedules.md.

``python -m tools.explore`` searches the whole catalogue for ten minutes: the small scenarios first,
until all their orders with at most so many interruptions were tried, then every scenario with PCT 3
and PCT 5, with what is left of the time shared out evenly. It prints one line for each search: how
many schedules, exhausted or not, how many races.

``--races`` looks instead for the races that must be found, with several seeds (``--seeds 5``, or
``--seeds 101-110``), and prints how many schedules and seconds that took. ``--write
docs/schedules.md`` keeps the tables there.

Exit status: 0 nothing was found (with ``--races``: all of them were, in time), 1 something was (or
was not), 3 a search itself failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from benchmarks.schedules.hunts import Hunt
from benchmarks.schedules.races import SEEDS
from benchmarks.schedules.scenarios import catalogue
from benchmarks.schedules.supervised import pursue_all
from tools.explore_races import search_races
from tools.explore_tables import (
    DEEP_HEAD,
    DEPTHS,
    EXHAUSTIVE_HEAD,
    Result,
    deep_table,
    exhaustive_table,
    keep,
    line,
    markdown,
)

#: What is small enough for all orders with so many interruptions, the cheapest first: on a machine
#: that does other things as well, these at least get to their end. With two: at locks and the like
#: alone (`@sync`) each pair on one channel of which there are some thousand orders at most, and at
#: each access pairs that acquire and release. With one: the next larger ones. Left out are pairs
#: that consume or reconnect, and most that kill: ten thousand to thousands of millions of orders.
SMALL = (
    (2, (
        "release+release.1@sync", "release+release.2@sync", "acquire+release.1@sync",
        "release+drain.1@sync", "release+timeout.1@sync", "acquire+acquire.1@sync",
        "acquire+timeout.1@sync", "acquire+drain.1@sync", "drain+timeout.1@sync",
        "timeout+timeout.1@sync", "drain+drain.1@sync",
    )),
    (1, (
        "release+release.2", "release+drain.1", "release+timeout.1", "acquire+acquire.1",
        "acquire+timeout.1", "timeout+timeout.1", "acquire+drain.1", "acquire+acquire.2",
    )),
    (2, (
        "kill+kill.1@sync", "release+confirmed.1@sync", "release+rpc.1@sync",
        "release+publish.1@sync", "release+kill.1@sync",
    )),
    (2, ("release+release.1",)),
    (1, (
        "publish+drain.1@sync", "rpc+timeout.1@sync", "confirmed+timeout.1@sync",
        "rpc+drain.1@sync", "confirmed+drain.1@sync", "kill+close.1@sync", "close+timeout.1@sync",
        "drain+close.1@sync", "release+consume.1@sync", "publish+confirmed.1@sync",
        "rpc+rpc.1@sync", "confirmed+rpc.1@sync", "confirmed+confirmed.1@sync",
        "publish+close.1@sync", "publish+publish.1@sync", "publish+rpc.1@sync", "rpc+close.1@sync",
        "release+publish.1", "acquire+publish.1", "acquire+close.1", "release+close.1",
    )),
    (2, (
        "acquire+publish.1@sync", "acquire+rpc.1@sync", "acquire+confirmed.1@sync",
        "publish+timeout.1@sync",
    )),
    # More than twenty thousand orders: it has what time is left, and tells how far it came.
    (2, ("acquire+release.1",)),
)  # fmt: skip
#: All exhaustive searches together take no more than this share of the time there is.
SHARE = 0.6
#: Scenarios that one process searches: its start, a second, is then a small part of it.
BATCH = 7
#: Seconds beyond its own bound after which a search is ended from outside: one run, the shrinking
#: of a finding, and a machine that does other things as well.
SLACK = 60.0
SEED = 1


class Deep:
    """The deep search. Searches are handed out in batches; each learns how much time is left."""

    def __init__(self, minutes: float, jobs: int, names: Sequence[str]) -> None:
        began = time.monotonic()
        self._deadline = began + 60 * minutes
        self._exhaustive_deadline = began + 60 * minutes * SHARE
        self._jobs = jobs
        self._names = names
        self._waiting = len(names) * len(DEPTHS)

    def run(self, show: Callable[[Result], None]) -> list[Result]:
        """Everything: the exhaustive searches first, which know no more than their deadline."""
        results: list[Result] = []
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="search") as pool:
            jobs: list[Future[list[Result]]] = []
            for depth, names in SMALL:
                jobs += [
                    pool.submit(self._exhaust, name, depth)
                    for name in names
                    if name.partition("@")[0] in self._names
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
        seconds = max(1.0, self._exhaustive_deadline - time.monotonic())
        return pursue_all([Hunt(name, "dfs", depth, SEED, None, seconds)], seconds + SLACK)

    def _sample(self, names: Sequence[str], depth: int) -> list[Result]:
        left = max(0.0, self._deadline - time.monotonic()) * self._jobs
        each = max(0.2, left / max(1, self._waiting) - 0.2)
        self._waiting -= len(names)
        hunts = [Hunt(name, "pct", depth, SEED, None, round(each, 2)) for name in names]
        return pursue_all(hunts, each * len(hunts) + SLACK)


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
        for which, head, rows in (
            ("the exhaustive search", EXHAUSTIVE_HEAD, exhaustive_table(results)),
            ("the deep search", DEEP_HEAD, deep_table(results)),
        ):
            how = f"Of {options.minutes:g} minutes of search, {options.jobs} at a time, seed {SEED}"
            keep(options.write, which, markdown(head, rows, how))
    return 1 if races else 3 if failed else 0


def _seeds(text: str) -> range:
    """`5` is 1 to 5, `101-110` is these ten."""
    first, dash, last = text.partition("-")
    if not dash:
        first, last = "1", text
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise argparse.ArgumentTypeError(f"{text!r}: write 5, or 101-110")
    return range(int(first), int(last) + 1)


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
    parser.add_argument(
        "--seeds", type=_seeds, default=_seeds(f"{len(SEEDS)}"), metavar="N", help="of --races (3)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table in FILE")
    options = parser.parse_args(words)
    if options.minutes <= 0 or options.jobs < 1:
        parser.error("--minutes and --jobs are above 0")
    if options.races:
        return search_races(options.seeds, options.jobs, options.write)
    return _deep(options)


if __name__ == "__main__":
    sys.exit(main())
