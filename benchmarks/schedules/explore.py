"""Searching for an order that breaks something, and running one again: the way in.

`explore` runs a program in many orders and stops at the first finding, which it runs again, shrinks
and tells as a story with a token. `replay` runs exactly the order of a token. A search that ran out
of its budget says so: "nothing found" is all it claims, and only an exhausted one says that no
order of its kind breaks anything. Before the search the default order is run three times, and the
last two compared, and of the search one run in a hundred is run again: a program that is not
deterministic would make every token worthless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from . import real
from .outcome import Choice, Outcome, SchedulerFailure
from .program import Program, Runner
from .shrink import shrink
from .story import story
from .strategies import Default, Exhaustive, Pct, RandomWalk, Replay, Strategy
from .tokens import BadToken, Token, decode, encode

#: Runs that shrinking may take: some seconds.
SHRINK_RUNS: Final = 600
#: Runs between two reports of progress.
PROGRESS_EVERY: Final = 50
#: One run in so many is run again and compared: a hundredth of the time, and no search goes on for
#: long on a program that slips out of control.
SAMPLE_EVERY: Final = 100
#: A finding must come again this often before it is reported.
CONFIRM: Final = 2

STRATEGIES: Final = ("pct", "random", "dfs")


def strategy(name: str, *, seed: int = 0, depth: int = 3, early: float = 0.0) -> Strategy:
    """By name. `depth` is PCT's, and the number of interruptions of the exhaustive search."""
    if name == "pct":
        return Pct(seed, early, depth)
    if name == "random":
        return RandomWalk(seed, early)
    if name == "dfs":
        return Exhaustive(depth, timers=early > 0)
    raise ValueError(f"no strategy {name!r}: choose from {', '.join(STRATEGIES)}")


@dataclass(slots=True)
class Report:
    """What a search came to."""

    program: str
    #: Runs of the search itself, without the proof of determinism, the replays and the shrinking.
    schedules: int = 0
    #: Every order of the strategy's kind was tried.
    exhausted: bool = False
    seconds: float = 0.0
    #: The longest run, in decisions.
    steps: int = 0
    #: The finding, shrunk and recorded, or None.
    found: Outcome | None = None
    token: str = ""

    @property
    def text(self) -> str:
        """For a terminal."""
        if self.found is not None:
            return f"{self.program}, schedule {self.schedules}: {story(self.found, self.token)}"
        how = "exhausted" if self.exhausted else "not exhausted"
        return (
            f"{self.program}: nothing found in {self.schedules} schedules, {how},"
            f" {self.seconds:.1f} s"
        )


def explore(
    program: Program,
    search: Strategy,
    *,
    schedules: int | None = 1000,
    seconds: float | None = None,
    progress: Callable[[Report], None] | None = None,
    tokens: Iterable[str] = (),
) -> Report:
    """Search until something is found, all orders were tried, or the budget is used up.

    `seconds` of real time; None for no bound, likewise `schedules`. `tokens` are replayed first:
    those of another source or program are passed over. Raises SchedulerFailure.
    """
    report = Report(program.name)
    started = real.monotonic()
    with Runner(program) as runner:
        outcome = _warm_up(runner) or _known(runner, tokens, report)
        while outcome is None and _in_budget(report, started, schedules, seconds):
            if not search.begin():
                report.exhausted = True
                break
            outcome = runner.run(search)
            search.end(outcome.steps)
            report.schedules += 1
            report.steps = max(report.steps, outcome.steps)
            report.seconds = real.monotonic() - started
            if report.schedules % SAMPLE_EVERY == 0:
                _compare(runner, outcome)
            if progress is not None and report.schedules % PROGRESS_EVERY == 0:
                progress(report)
            if outcome.finding is None:
                outcome = None
        report.seconds = real.monotonic() - started
        if outcome is not None:
            report.found = _pin_down(runner, outcome)
            report.token = _token(program, report.found.choices)
    if progress is not None:
        progress(report)
    return report


def _in_budget(
    report: Report, started: float, schedules: int | None, seconds: float | None
) -> bool:
    if schedules is not None and report.schedules >= schedules:
        return False
    return seconds is None or real.monotonic() - started < seconds


def _warm_up(runner: Runner) -> Outcome | None:
    """The default order: caches fill in the first run, the next two must be the same."""
    runner.run(Default())
    first, second = (runner.run(Default(), recording=True) for _ in range(2))
    if (first.steps, first.switches) != (second.steps, second.switches):
        raise SchedulerFailure(
            f"{runner.program.name} is not deterministic: its default order took {first.steps} and"
            f" {second.steps} steps; look for unseeded chance, real clocks, or orders of sets"
        )
    return first if first.finding is not None else None


def _compare(runner: Runner, outcome: Outcome) -> None:
    """One of the runs again, from its choices alone. Raises SchedulerFailure when it differs."""
    again = runner.run(Replay(outcome.choices))
    if (again.steps, again.choices, again.finding) != (
        outcome.steps,
        outcome.choices,
        outcome.finding,
    ):
        raise SchedulerFailure(
            f"{runner.program.name} is not deterministic: the same choices took {outcome.steps} and"
            f" {again.steps} steps"
        )


def _known(runner: Runner, tokens: Iterable[str], report: Report) -> Outcome | None:
    """What a token found before and finds again."""
    program = runner.program
    for text in tokens:
        token = decode(text)
        if (token.name, token.digest) != (program.name, program.digest()):
            continue
        report.schedules += 1
        outcome = runner.run(Replay(token.choices))
        if outcome.finding is not None:
            return outcome
    return None


def _pin_down(runner: Runner, found: Outcome) -> Outcome:
    """The same finding: again, smaller, and recorded. Raises SchedulerFailure if it will not come.

    A finding that does not come again is the scheduler's fault: everything it runs is under its
    control, so it was not.
    """
    finding = found.finding
    assert finding is not None

    def attempt(choices: list[Choice]) -> Outcome:
        return runner.run(Replay(choices))

    for _ in range(CONFIRM):
        again = attempt(found.choices)
        if not finding.alike(again.finding):
            raise SchedulerFailure(
                f"{runner.program.name}: {finding.invariant} ({finding.detail}) did not come again"
                f" from its own choices: {again.finding}"
            )
    small = shrink(again, attempt, SHRINK_RUNS)
    recorded = runner.run(Replay(small.choices), recording=True)
    return recorded if finding.alike(recorded.finding) else small


def _token(program: Program, choices: list[Choice]) -> str:
    return encode(Token(program.name, program.digest(), choices))


def replay(text: str, find: Callable[[str], Program], times: int = 1) -> list[Outcome]:
    """Run a token's order `times` times. `find` gives the program of a name, or raises KeyError.

    Raises BadToken for a token that does not fit what is there, SchedulerFailure.
    """
    token = decode(text)
    try:
        program = find(token.name)
    except KeyError:
        raise BadToken(f"there is no program {token.name!r}") from None
    if program.digest() != token.digest:
        raise BadToken(
            f"the token is for another source, or another Python, than {token.name} has now:"
            " search again"
        )
    with Runner(program) as runner:
        runner.run(Default())
        return [runner.run(Replay(token.choices), recording=True) for _ in range(times)]
