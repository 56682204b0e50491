"""The control: a race of a real client that the search must find, or its zeros mean nothing.

kombu-pyamqp-threadsafe 0.6.0 hands each waiting thread what the draining thread had in
`sys.exc_info()`. That is the error of the drain, if there was one; if there was none it is whatever
a caller further up is handling just then, and py-amqp opens each channel inside the handler of a
`KeyError(None)`. So a thread that waits while another opens a channel may be told `KeyError: None`
on a healthy connection. 0.6.1 mended it.

It owns the search for that one invariant, past all others that this version breaks too, and the
verdict: found and told again from its token each time, or missed. The search runs in the process
that calls it, for as long as its budget says; it has to be one of an environment of the library's
own. `supervised.control_of` makes both, for asv and for `python -m benchmarks.schedules.control`
(0 found, 1 missed, 2 the library cannot be had, 3 the search itself failed).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks.clients.loader import ClientError

from . import real
from .explore import Report, replay, strategy
from .outcome import Choice, Outcome
from .program import Program, Runner
from .scenarios import find
from .shrink import shrink
from .story import story
from .strategies import Default, Replay, Strategy
from .tokens import Token, encode

DISTRIBUTION: Final = "kombu-pyamqp-threadsafe"
PINNED: Final = "0.6.0"
#: The environment of the control. What it stands on is pinned too, or the number of schedules would
#: change with the day.
REQUIREMENTS: Final = (f"{DISTRIBUTION}=={PINNED}", "kombu==5.7.0", "amqp==5.4.2")
SCENARIO: Final = "kombu_threadsafe:publish+rpc.2"
INVARIANT: Final = "keyerror_none"
#: PCT's. The race needs four ordered hand-overs: a thread about to wait, another that drains, the
#: first in its wait, and the wait's end before its next drain.
DEPTH: Final = 5
#: Four times what the worst of 20 seeds took; half of them took fewer than 60.
SCHEDULES: Final = 4000
SECONDS: Final = 60.0
REPLAYS: Final = 10
#: Runs that shrinking may take.
SHRINK_RUNS: Final = 300

FOUND, MISSED, UNAVAILABLE, FAILED = 0, 1, 2, 3


def unavailable() -> str | None:
    """Why the control cannot be run in this process, or None: it can."""
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return f"{DISTRIBUTION} is not installed; try: pip install {DISTRIBUTION}=={PINNED}"
    if version != PINNED:
        return f"{DISTRIBUTION} is {version}; try: pip install {DISTRIBUTION}=={PINNED}"
    try:
        find(SCENARIO)
    except ClientError as error:
        return str(error)
    return None


def searched(seed: int) -> dict[str, Any]:
    """One search as data: `missed` is 0 when its race was found and came again each time, else 1.

    Raises SchedulerFailure, and ClientError where the library is not there.
    """
    report = control(seed)
    return {
        "missed": missed(report),
        "seed": seed,
        "schedules": report.schedules,
        "seconds": round(report.seconds, 3),
        "replays": 0 if report.found is None else REPLAYS,
        "token": report.token,
        "story": "" if report.found is None else story(report.found),
    }


def control(
    seed: int = 1, *, schedules: int = SCHEDULES, seconds: float = SECONDS, depth: int = DEPTH
) -> Report:
    """The search itself. Raises SchedulerFailure, ClientError."""
    program = find(SCENARIO)
    search = strategy("pct", seed=seed, depth=depth, early=program.early)
    return hunt(program, search, INVARIANT, schedules=schedules, seconds=seconds)


def missed(report: Report, look_up: Callable[[str], Program] = find) -> int:
    """0 when what the report found comes again from its token each time, else 1."""
    if report.found is None:
        return MISSED
    again = replay(report.token, look_up, REPLAYS)
    same = all(each.finding == report.found.finding and not each.diverged for each in again)
    return FOUND if same else MISSED


def hunt(
    program: Program, search: Strategy, invariant: str, *, schedules: int, seconds: float
) -> Report:
    """Search for a break of one invariant; what else is broken on the way is passed over.

    Raises SchedulerFailure.
    """
    report = Report(program.name)
    started = real.monotonic()
    with Runner(program) as runner:
        # Caches fill in the first run, and make it another than the later ones.
        runner.run(Default())
        while report.schedules < schedules and real.monotonic() - started < seconds:
            if not search.begin():
                report.exhausted = True
                break
            outcome = runner.run(search)
            search.end(outcome.steps)
            report.schedules += 1
            report.steps = max(report.steps, outcome.steps)
            if outcome.finding is not None and outcome.finding.invariant == invariant:
                report.found = outcome
                break
        report.seconds = real.monotonic() - started
        if report.found is not None:
            report.found = _small(runner, report.found)
            report.token = encode(Token(program.name, program.digest(), report.found.choices))
    return report


def _small(runner: Runner, found: Outcome) -> Outcome:
    """The same finding from fewer choices, recorded."""

    def attempt(choices: list[Choice]) -> Outcome:
        return runner.run(Replay(choices))

    small = shrink(found, attempt, SHRINK_RUNS)
    return runner.run(Replay(small.choices), recording=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """One search in a child; prints what it came to as JSON, its story included."""
    from .supervised import control_of  # which knows this module

    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedules.control")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    result = control_of(parser.parse_args(arguments).seed, 2 * SECONDS)
    if "refused" in result:
        print(f"error: {result['refused']}", file=sys.stderr)
        return UNAVAILABLE
    if "failure" in result:
        print(f"error: {result['failure']}", file=sys.stderr)
        return FAILED
    print(json.dumps(result))
    return int(result["missed"])


if __name__ == "__main__":
    sys.exit(main())
