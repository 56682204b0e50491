"""``make soak``: the sound pool over all scenarios, many trials, every one with a seed of its own.

What it proves is that the detectors raise no false alarm, and that the pool holds longer than one
run of the tests. Every trial that is not ``valid`` is printed with the command that runs it again,
and none is repeated until it fits.

    python -m tools.soak [--trials 200] [--first-seed 1000] [--jobs 2] [--client NAME]

Exit status: 0 all valid, 1 an invariant was violated, 3 a trial gave no verdict, 130 interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from benchmarks.harness.request import Request
from benchmarks.harness.result import INVALID, VALID, TrialResult
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.harness.supervise import run_trial

HOLDS, VIOLATED, UNCLEAR, INTERRUPTED = 0, 1, 3, 130
#: The cycles of a trial whose load is so many: enough to recover often, few enough for a soak.
CYCLES = 200


def requests(trials: int, first_seed: int, client: str) -> Iterator[Request]:
    """``trials`` requests, round after round over every scenario and load. Pure."""
    rows = [(s.name, load) for s in SCENARIOS.values() for load in s.loads]
    for number, (name, load) in enumerate(itertools.islice(itertools.cycle(rows), trials)):
        if SCENARIOS[name].shape == ("cycles",):
            load = str(min(int(load), CYCLES))
        yield Request(name, load, first_seed + number, client)


def main() -> int:
    """Run them; returns the exit status."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__, allow_abbrev=False)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=1000)
    # Two at a time load the two cores of a small machine: schedules differ more than alone.
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--client", default="amqpool")
    options = parser.parse_args()
    started = time.monotonic()
    verdicts: Counter[str] = Counter()
    wanted = list(requests(options.trials, options.first_seed, options.client))
    with ThreadPoolExecutor(options.jobs, thread_name_prefix="soak") as pool:
        try:
            for future in as_completed([pool.submit(run_trial, request) for request in wanted]):
                verdicts[_told(future)] += 1
                _show(f"{sum(verdicts.values())} of {len(wanted)} trials")
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print(f"interrupted after {sum(verdicts.values())} trials", file=sys.stderr)
            return INTERRUPTED
    _show("")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    print(f"{len(wanted)} trials in {time.monotonic() - started:.0f} s: {counts}")
    if verdicts[INVALID]:
        return VIOLATED
    return HOLDS if set(verdicts) <= {VALID} else UNCLEAR


def _told(future: Future[TrialResult]) -> str:
    """The verdict; what is not valid is printed with its reasons and its command."""
    result = future.result()
    document = result.document
    if result.verdict != VALID:
        _show("")
        print(f"{result.verdict}: {document['replay']}")
        for reason in document["unknown_because"]:
            print(f"    unknown because {reason}")
        for witness in document["witnesses"]:
            print(f"    {witness['invariant']}: {witness['detail']}")
    return result.verdict


def _show(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
