"""What asv is told: zeros only for what was searched, and nothing raised because of a client."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.races import Explore
from benchmarks.schedules import measured
from benchmarks.schedules.measured import (
    SCENARIOS,
    Searched,
    control_missed,
    require_clean,
    require_control,
    require_mutant,
    require_mutants,
    run_schedules,
    schedules_to_find,
    survived,
    violations,
)
from benchmarks.schedules.operations import OPERATIONS
from benchmarks.schedules.races import RACES, SCHEDULES, SEEDS
from benchmarks.schedules.scenarios import catalogue

Result = dict[str, Any]
FIRST = RACES[0].name


def clean(schedules: int = 60) -> Result:
    return {"schedules": schedules, "races": 0, "finding": None}


def found(invariant: str, schedules: int = 5) -> Result:
    finding = {
        "invariant": invariant, "detail": "d", "story": "the story", "token": "a~b~c",
    }  # fmt: skip
    return {"schedules": schedules, "races": 1, "finding": finding}


def searched(**changes: Any) -> Searched:
    """All is well, but for the changes."""
    return Searched(
        scenarios={name: clean() for name in SCENARIOS} | changes.pop("scenarios", {}),
        races={race.name: [found(race.invariants[0])] * len(SEEDS) for race in RACES}
        | changes.pop("races", {}),
        control=changes.pop("control", {"missed": 0}),
    )


FAILED = {"failure": "no result: the process ended with status -11"}
REFUSED = {"refused": "client 'amqpool' is not installed"}


def test_the_scenarios_are_of_the_catalogue_and_hold_every_kind_of_operation() -> None:
    assert set(SCENARIOS) <= set(catalogue())
    used = {operation for name in SCENARIOS for operation in name[:-2].split("+")}
    assert set(OPERATIONS) - used == {"end", "stall", "outage"}, "the variants of kill"


def test_all_is_well() -> None:
    well = searched()
    assert [violations(well, name) for name in SCENARIOS] == [0] * len(SCENARIOS)
    assert survived(well) == 0
    assert [schedules_to_find(well, race.name) for race in RACES] == [5.0] * len(RACES)
    assert control_missed(well) == 0
    require_mutants(well)
    require_mutant(well, FIRST)
    require_control(well)
    require_clean(well)


def test_a_race_in_the_pool_is_a_violation_with_its_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = SCENARIOS[0]
    broken = searched(scenarios={name: found("leaks")})
    assert violations(broken, name) == 1
    assert violations(broken, SCENARIOS[1]) == 0
    assert "the story\ntoken: a~b~c" in capsys.readouterr().err
    with pytest.raises(NotImplementedError):
        require_clean(broken)


@pytest.mark.parametrize("result", [FAILED, REFUSED])
def test_what_was_not_searched_has_no_number(
    result: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    name = SCENARIOS[0]
    broken = searched(scenarios={name: result})
    assert violations(broken, name) is None
    assert f"{name} was not searched: " in capsys.readouterr().err
    with pytest.raises(NotImplementedError):
        require_clean(broken)


def test_a_mutant_that_survives_is_counted_once_a_seed() -> None:
    results = [found("deadlocks"), clean(SCHEDULES), found("leaks")]
    broken = searched(races={FIRST: results})
    assert survived(broken) == 2
    assert schedules_to_find(broken, FIRST) == SCHEDULES


def test_a_mutant_that_was_not_searched_for_has_no_number() -> None:
    broken = searched(races={FIRST: [found("deadlocks"), FAILED, FAILED]})
    assert survived(broken) is None
    assert schedules_to_find(broken, FIRST) is None


def test_mutants_that_do_not_fit_the_commit_are_left_out() -> None:
    unfit = [found("unexpected_errors", schedules=0)] * 3
    some = searched(races={FIRST: unfit})
    assert survived(some) == 0
    require_mutants(some)
    with pytest.raises(NotImplementedError, match="does not fit this pool"):
        require_mutant(some, FIRST)
    none = searched(races={race.name: unfit for race in RACES})
    with pytest.raises(NotImplementedError, match="no mutant applies here"):
        require_mutants(none)
    with pytest.raises(NotImplementedError, match="is not installed"):
        require_mutant(searched(races={FIRST: [REFUSED] * 3}), FIRST)


def test_the_control_is_skipped_where_it_is_not_and_failed_where_it_died() -> None:
    with pytest.raises(NotImplementedError, match="not installed"):
        require_control(searched(control=REFUSED))
    died = searched(control=FAILED)
    require_control(died)
    assert control_missed(died) is None
    assert control_missed(searched(control={"missed": 1})) == 1


def test_asv_finds_each_setup_beside_its_benchmark() -> None:
    setups = {name: getattr(value, "setup", None) for name, value in vars(Explore).items()}
    assert {name: setup for name, setup in setups.items() if setup is not None} == {
        "track_mutants_survived": require_mutants,
        "track_schedules_to_find": require_mutant,
        "track_control_missed": require_control,
        "time_schedule": require_clean,
    }
    assert Explore.rounds == 1, "asv runs a cache again for each round"


def test_the_schedules_that_are_timed_run() -> None:
    run_schedules()


def test_the_searches_are_asked_for_in_children(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def pursue_all(hunts: list[Any], seconds: float) -> list[Result]:
        asked.extend(hunts)
        assert seconds == measured.DEADLINE
        return [clean() for _ in hunts]

    monkeypatch.setattr(measured, "pursue_all", pursue_all)
    monkeypatch.setattr(measured, "control_of", lambda seed, seconds: {"missed": 0})
    result = Explore().setup_cache()
    assert set(result.scenarios) == set(SCENARIOS)
    assert {name: len(each) for name, each in result.races.items()} == {
        race.name: len(SEEDS) for race in RACES
    }
    assert result.control == {"missed": 0}
    assert len(asked) == len(set(asked)) == len(SCENARIOS) + len(RACES) * len(SEEDS)
    assert all(hunt.schedules is not None and hunt.seconds is None for hunt in asked), (
        "fixed counts"
    )
