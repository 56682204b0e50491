"""Figures, ratios and aims: empty, sane and pathological cells."""

from __future__ import annotations

import pytest

from benchmarks.harness.speed.aims import AIMS, BEST, BEST_SHARING, Aim
from benchmarks.harness.speed.bench import Sample
from benchmarks.harness.speed.compare import FAILED, FULL, MEASURED, QUICK, Cell, planned
from benchmarks.harness.speed.summary import by_place, cpu_us, figures_of, judge_aim, judge_aims
from benchmarks.harness.speed.works import WORKS


def cell(work: str, client: str, *samples: Sample, state: str = MEASURED) -> Cell:
    return Cell(work, client, state, samples=list(samples))


def rate(client: str, *seconds: float, work: str = "publish_50") -> Cell:
    """1,000 operations in so many seconds each, with half of that as CPU time."""
    return cell(work, client, *(Sample(1000, each, each / 2) for each in seconds))


def test_a_rate_is_the_median_of_its_rounds() -> None:
    measured = rate("amqpool", 1.0, 0.5, 0.1)
    assert figures_of(measured) == {
        "rate": {"value": 2000.0, "low": 1000.0, "high": 10000.0, "unit": "/s"}
    }
    assert cpu_us(measured) == 250.0


def test_a_percentile_is_that_of_all_events_together() -> None:
    rounds = [[1.0] * 50, [1.0] * 49 + [100.0]]
    samples = [Sample(50, 0.0, 0.0, {"recovery_ms": values}) for values in rounds]
    found = figures_of(cell("recovery", "amqpool", *samples))
    assert found["p50"]["value"] == 1.0
    assert 1.0 <= found["p99"]["value"] < found["p99"]["high"]
    assert cpu_us(cell("recovery", "amqpool", *samples)) is None


@pytest.mark.parametrize("empty", [cell("publish_50", "amqpool"),
                                   cell("publish_50", "amqpool", Sample(1, 1.0, 1.0),
                                        state=FAILED)])  # fmt: skip
def test_what_was_not_measured_has_no_figure(empty: Cell) -> None:
    assert figures_of(empty) == {}
    assert cpu_us(empty) is None


def test_the_best_peer_is_what_counts() -> None:
    aim = Aim("publish", "publish_50", "rate", BEST, least=5)
    cells = [rate("amqpool", 0.1), rate("pyamqp", 0.4), rate("amqpstorm", 0.8), rate("floor", 0.1)]
    found = judge_aim(aim, by_place(cells))
    assert found["against"] == "pyamqp"
    assert found["measured"] == pytest.approx(4.0)
    assert found["cpu"] == pytest.approx(4.0)
    assert found["met"] is False


def test_a_ratio_has_the_spread_of_rounds_by_turns() -> None:
    aim = Aim("publish", "publish_50", "rate", "pyamqp", least=2)
    found = judge_aim(aim, by_place([rate("amqpool", 0.1, 0.2), rate("pyamqp", 0.2, 0.8)]))
    assert (found["low"], found["high"]) == (pytest.approx(2.0), pytest.approx(4.0))
    assert found["met"] is True


def test_less_is_better_where_it_is_a_latency() -> None:
    def told(client: str, value: float) -> Cell:
        return cell("gone_50", client, Sample(1, 0.0, 0.0, {"apart_ms": [value]}))

    aim = Aim("gone", "gone_50", "p50", most=5)
    assert judge_aim(aim, by_place([told("amqpool", 4.0)]))["met"] is True
    assert judge_aim(aim, by_place([told("amqpool", 6.0)]))["met"] is False


def test_an_aim_against_itself() -> None:
    aim = Aim("growth", "turn_500", "rate", least=0.7, own=("turn_10", "rate"))
    cells = by_place([rate("amqpool", 1.0, work="turn_500"), rate("amqpool", 0.5, work="turn_10")])
    found = judge_aim(aim, cells)
    assert (found["measured"], found["met"]) == (pytest.approx(0.5), False)


@pytest.mark.parametrize(
    "cells",
    [[], [rate("amqpool", 1.0)], [rate("pyamqp", 1.0)],
     [rate("amqpool", 1.0), cell("publish_50", "pyamqp", state=FAILED)]],
)  # fmt: skip
def test_an_aim_without_both_sides_is_not_judged(cells: list[Cell]) -> None:
    aim = Aim("publish", "publish_50", "rate", "pyamqp", least=4)
    found = judge_aim(aim, by_place(cells))
    assert (found["measured"], found["met"]) == (None, None)


def test_every_aim_is_about_a_figure_that_is_there() -> None:
    assert len(judge_aims({}, WORKS)) == len(AIMS)
    assert judge_aims({}, ["publish_1"])[0]["aim"].startswith("publish, 1 thread")


def test_a_round_is_planned_from_the_warm_up() -> None:
    work = WORKS["publish_50"]
    assert planned(work, Sample(1000, 0.5, 0.1), FULL) == 600
    assert planned(work, Sample(1000, 0.0001, 0.1), FULL) == work.most
    assert planned(work, Sample(1000, 500.0, 0.1), FULL) == work.threads
    assert planned(WORKS["recovery"], Sample(20, 0.0, 0.0), FULL) == WORKS["recovery"].first


def test_many_threads_and_few_do_as_many_turns() -> None:
    few, many = WORKS["turn_10"], WORKS["turn_500"]
    slow = Sample(1000, 1.0, 0.1)
    assert planned(few, slow, FULL) == planned(many, slow, FULL) == few.least == 10_000
    assert planned(WORKS["lease_50"], slow, FULL) == 50_000
    assert planned(WORKS["lease_50"], slow, QUICK) == 100, "a quick look takes what it can get"


def test_an_aim_says_what_the_floor_reaches() -> None:
    aim = Aim("publish", "publish_50", "rate", BEST_SHARING, least=5)
    cells = [rate("amqpool", 0.2), rate("amqpstorm", 0.8), rate("floor", 0.1)]
    assert judge_aim(aim, by_place(cells))["floor"] == pytest.approx(8.0)
    cells.append(rate("floor_shared", 0.05))
    found = judge_aim(aim, by_place(cells))
    assert (found["floor"], found["against"]) == (pytest.approx(16.0), "amqpstorm")
    assert judge_aim(aim, by_place(cells[:2]))["floor"] is None
    near = Aim("recovery", "publish_50", "rate", "floor", most=2)
    assert judge_aim(near, by_place(cells))["floor"] is None


def test_an_aim_against_itself_is_the_floors_against_itself() -> None:
    aim = Aim("growth", "turn_500", "rate", least=0.7, own=("turn_10", "rate"))
    cells = [rate("amqpool", 1.0, work="turn_500"), rate("amqpool", 0.5, work="turn_10")]
    cells += [rate("floor_shared", 0.4, work="turn_500"), rate("floor_shared", 0.1, work="turn_10")]
    assert judge_aim(aim, by_place(cells))["floor"] == pytest.approx(0.25)
