"""Runs a body under the scheduler, many orders of it, for the tests here."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.schedules.outcome import Outcome
from benchmarks.schedules.program import Program, Runner
from benchmarks.schedules.strategies import Default, Pct, RandomWalk, Strategy


def once(
    body: Callable[[], object], *sources: str, granularity: str = "sync", max_steps: int = 50_000
) -> Outcome:
    """The default order."""
    program = Program("test", body, sources, granularity=granularity, max_steps=max_steps)
    with Runner(program) as runner:
        return runner.run(Default())


def often(body: Callable[[], object], *sources: str, runs: int = 30, early: float = 0.0) -> None:
    """Many orders; raises what the first that broke something says."""
    strategies: list[Strategy] = [Pct(1, early, depth=3), RandomWalk(2, early)]
    with Runner(Program("test", body, sources)) as runner:
        for strategy in strategies:
            for _ in range(runs):
                assert strategy.begin()
                outcome = runner.run(strategy)
                strategy.end(outcome.steps)
                assert outcome.finding is None, outcome.finding
                assert outcome.leaked == 0
