"""Six classic races are found, in seconds and never by plain runs; the sound ones are clean."""

from __future__ import annotations

import pytest

from benchmarks.schedules.explore import explore, replay, strategy
from benchmarks.schedules.hunts import find_program
from benchmarks.schedules.models import BROKEN, FOUND_AS, SOUND
from benchmarks.schedules.outcome import Violation

#: Schedules that PCT may take; five seeds each took 1 to 968 (a second has some 500).
SCHEDULES = 4_000
#: Interruptions up to which a sound model is exhausted here; more would take minutes.
PREEMPTIONS = {"double-release": 2, "inverted-locks": 2}


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("name", BROKEN)
def test_each_race_is_found_and_its_token_shows_it_ten_times_of_ten(name: str, seed: int) -> None:
    program = BROKEN[name]
    search = strategy("pct", seed=seed, depth=3, early=program.early)
    report = explore(program, search, schedules=SCHEDULES)
    assert report.found is not None
    assert report.found.finding is not None
    assert report.found.finding.invariant == FOUND_AS[name]
    assert len(report.token) <= 100
    outcomes = replay(report.token, find_program, 10)
    assert [(each.finding, each.diverged) for each in outcomes] == [
        (report.found.finding, False)
    ] * 10


@pytest.mark.parametrize("name", SOUND)
def test_the_sound_one_is_clean_when_all_orders_were_tried(name: str) -> None:
    program = SOUND[name]
    search = strategy("dfs", depth=PREEMPTIONS.get(name, 1), early=program.early)
    report = explore(program, search, schedules=None)
    assert (report.found, report.exhausted) == (None, True)
    assert report.schedules > 40


@pytest.mark.parametrize("name", BROKEN)
def test_the_exhaustive_search_finds_each_of_them_too(name: str) -> None:
    program = BROKEN[name]
    # Who is served after its time was up needs an early timer and an interruption.
    search = strategy("dfs", depth=2, early=program.early)
    report = explore(program, search, schedules=10_000)
    assert report.found is not None
    assert report.found.finding is not None
    assert report.found.finding.invariant == FOUND_AS[name]


@pytest.mark.parametrize("name", BROKEN)
def test_plain_runs_hardly_ever_find_them(name: str) -> None:
    """1,000 runs with threads of the operating system's own found none of the six when tried."""
    found = 0
    for _ in range(200):
        try:
            BROKEN[name].body()
        except Violation:
            found += 1
    assert found < 10
