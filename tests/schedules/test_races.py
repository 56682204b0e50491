"""The races that the search must find, and what counts as having found one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.schedules.hunts import find_program
from benchmarks.schedules.program import Runner
from benchmarks.schedules.races import (
    RACES,
    SCHEDULES,
    SECONDS,
    Race,
    applicable,
    median_schedules,
    missed,
)
from benchmarks.schedules.strategies import Default
from benchmarks.schedules.supervised import pursue_all
from tools.mutants import catalogue

#: What the machine may be slower than an idle one: the races are found in 0.2 to 10 s there.
BUSY = 3
#: `python -m tools.explore --races` takes five; all of them find all.
SEED = 2
LOCKS = RACES[0]


def test_every_mutant_that_was_widened_is_looked_for_at_its_natural_width() -> None:
    natural = {
        mutant.__name__ for mutants in catalogue(unwidened=True).values() for mutant in mutants
    }
    assert natural <= {race.name for race in RACES}
    assert len({race.name for race in RACES}) == len(RACES)


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_each_race_is_found_in_time(race: Race) -> None:
    (result,) = pursue_all([race.hunt(SEED, BUSY * SECONDS)], BUSY * SECONDS)
    assert race.found(result), result
    assert applicable(race, [result]) is None


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_it_is_a_race_the_default_order_shows_nothing(race: Race) -> None:
    with Runner(find_program(race.program)) as runner:
        for _ in range(2):
            assert runner.run(Default()).finding is None


UNFIT = """
from benchmarks.clients.amqpool import AmqpoolClient

class Unfit(AmqpoolClient):
    def make_pool(self):
        import amqpool.nowhere
"""


def result(invariant: str | None = None, schedules: int = 7) -> dict[str, Any]:
    finding = None if invariant is None else {"invariant": invariant, "detail": "x"}
    return {"hunt": {}, "schedules": schedules, "finding": finding}


def test_what_counts_as_found() -> None:
    assert LOCKS.found(result("deadlocks"))
    assert not LOCKS.found(result())
    assert not LOCKS.found(result("leaks"))
    assert not LOCKS.found({"hunt": {}, "failure": "no result"})


def test_a_patch_that_does_not_fit_the_pool_is_not_a_race_that_was_found() -> None:
    """The default order shows it, before the first schedule of the search."""
    broken = result("unexpected_errors", schedules=0)
    any_error = replace(LOCKS, invariants=("unexpected_errors",))
    assert not any_error.found(broken)
    assert any_error.found(result("unexpected_errors"))
    assert applicable(any_error, [result(), broken]) == "it does not fit this pool: x"


def test_a_patch_that_finds_nothing_to_patch_shows_in_the_default_order(tmp_path: Path) -> None:
    file = tmp_path / "unfit.py"
    file.write_text(UNFIT)
    race = replace(LOCKS, program=f"{file}:Unfit:acquire+acquire.1")
    results = pursue_all([race.hunt(1)], 30)
    assert applicable(race, results) is not None
    assert not race.found(results[0])


def test_a_client_that_is_not_there_says_nothing_either() -> None:
    assert applicable(LOCKS, [{"hunt": {}, "refused": "no file"}]) == "no file"
    assert applicable(LOCKS, [result(), result("deadlocks")]) is None


def test_who_missed_it_counts_with_the_whole_bound() -> None:
    results = [result("deadlocks", schedules=3), result(schedules=4), result("leaks", schedules=5)]
    assert missed(LOCKS, results) == 2
    assert median_schedules(LOCKS, results) == SCHEDULES
    assert median_schedules(LOCKS, results[:1]) == 3
