"""Which tokens of the corpus are stale, and new ones for those.

``python -m tools.corpus`` prints one line for each finding that is kept: its token *fits*, and
shows its finding ten times of ten; or it is *stale*, for the source has changed since, or it is for
another Python. ``--refresh`` searches for each stale one again, and for each race that has no entry
where it is looked for, and writes `benchmarks/schedules/corpus.json` anew. What was mended has no
token; the tests search for it.

Exit status: 0 all tokens fit (with ``--refresh``: now), 1 some are stale or show nothing any more
(with ``--refresh``: were searched for in vain), 3 a search itself failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.schedules.corpus import Entry, load, save
from benchmarks.schedules.hunts import Hunt
from benchmarks.schedules.races import MODELS, RACES, SCHEDULES, Race
from benchmarks.schedules.supervised import pursue_all, replay_of

FRESH, STALE, FAILED = 0, 1, 3
#: How often a token is run.
TIMES = 10
#: Seeds that are tried for a new token, from the entry's own on.
TRIES = 3
#: Seconds for one search; the slowest races take 30 on a machine that does other things as well.
SECONDS = 90.0


def state(entry: Entry) -> str:
    """`fits`, `stale`, or what is wrong with its token. Raises ClientError."""
    if not entry.token:
        return "has no token yet"
    if entry.stale:
        return "stale"
    # In a process of its own: a mutant patches the pool for good.
    result = replay_of(entry.token, TIMES, SECONDS)
    if "shown" not in result:
        return str(result.get("refused") or result["failure"])
    if result["invariant"] not in _signs(entry):
        return f"shows {result['invariant'] or 'nothing'} instead"
    return "fits" if result["shown"] == TIMES else f"shows it {result['shown']} of {TIMES} times"


def renewed(entry: Entry) -> Entry | dict[str, Any] | None:
    """The entry with a new token; the document of a search that failed; None: in vain."""
    for seed in range(entry.seed, entry.seed + TRIES):
        hunt = Hunt(entry.program, entry.strategy, entry.depth, seed, SCHEDULES, SECONDS)
        (result,) = pursue_all([hunt], SECONDS)
        if "schedules" not in result:
            return result
        finding = result["finding"]
        # What the default order shows is no race: the mutant's patch does not fit the pool.
        if finding is not None and finding["invariant"] in _signs(entry) and result["schedules"]:
            return Entry.from_result(result, entry.of)
    return None


def _signs(entry: Entry) -> tuple[str, ...]:
    for race in (*RACES, *MODELS):
        if race.program == entry.program:
            return race.invariants
    return (entry.invariant,)


def _new(race: Race) -> Entry:
    """An entry that is yet to be found; its empty token fits nothing."""
    return Entry(race.name, race.program, "pct", race.depth, 1, SCHEDULES, race.invariants[0])


def _planned(entries: Sequence[Entry]) -> list[Entry]:
    """With those of all races, and without those of a race that is looked for elsewhere by now."""
    races = {race.name: race for race in (*RACES, *MODELS)}
    kept = [
        each for each in entries if each.of not in races or each.program == races[each.of].program
    ]
    there = {entry.of for entry in kept}
    return [*kept, *(_new(race) for name, race in races.items() if name not in there)]


def _look(entries: Sequence[Entry]) -> list[Entry]:
    """Those whose token is of no use; each one is told."""
    states = [(entry, state(entry)) for entry in entries]
    for entry, what in states:
        print(f"{entry.of:32} {what}", flush=True)
    return [entry for entry, what in states if what != "fits"]


def main(words: Sequence[str] | None = None) -> int:
    """Look, and with `--refresh` search again."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--refresh", action="store_true", help="search again for what is stale")
    options = parser.parse_args(words)
    entries = _planned(load())
    useless = _look([entry for entry in entries if not entry.mended])
    if not options.refresh:
        if useless:
            print(f"\n{len(useless)} stale: python -m tools.corpus --refresh")
        return STALE if useless else FRESH
    status = FRESH
    for entry in useless:
        new = renewed(entry)
        if isinstance(new, Entry):
            print(f"{entry.of:32} found again after {new.schedules} schedules", flush=True)
            entries[entries.index(entry)] = new
        elif new is None:
            print(f"{entry.of:32} was not found again with {TRIES} seeds", flush=True)
            status = status or STALE
        else:
            print(f"{entry.of:32} {new.get('refused') or new['failure']}", flush=True)
            status = FAILED
    save([entry for entry in entries if entry.token or entry.mended])
    return status


if __name__ == "__main__":
    sys.exit(main())
