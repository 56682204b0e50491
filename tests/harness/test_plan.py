"""The plan: one seed, one plan, in any process; another seed, another plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.digest import instrument_digest
from benchmarks.harness.faults import FAULTS, KINDS, possible
from benchmarks.harness.kinds import CLUSTER, EMBEDDED, EXTERNAL, NAMED, RABBITMQ
from benchmarks.harness.plan import (
    BATCH,
    BODY_BYTES,
    LARGE_BYTES,
    SENDS,
    SENDS_MANY,
    SOMETIMES_UNROUTABLE,
    FaultStep,
    Plan,
    body_of,
    make_plan,
)
from benchmarks.harness.scenarios import SCENARIOS, Load, ScenarioError, find_scenario

ROOT = Path(__file__).parents[2]
SEEDS = range(5)


def plan(name: str, seed: int = 1, load: str | None = None) -> Plan:
    return make_plan(name, find_scenario(name).load(load), seed)


KILLS = "chaos_with_connection_kills"


def digests() -> dict[str, str]:
    """By scenario and seed, and with every fault that can stand in for a scenario's own."""
    load = SCENARIOS[KILLS].load("4x9x3")
    return {f"{name}/{seed}": plan(name, seed).digest for name in SCENARIOS for seed in SEEDS} | {
        f"{fault}/{seed}": make_plan(KILLS, load, seed, fault, able(fault)).digest
        for fault in FAULTS
        for seed in SEEDS
    }


def able(fault: str) -> str:
    """A kind of broker that can do that fault."""
    return EMBEDDED if possible(fault, EMBEDDED) else CLUSTER


PROGRAM = """
import json
from tests.harness.test_plan import digests
from benchmarks.harness.digest import instrument_digest
print(json.dumps([digests(), instrument_digest()]))
"""


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_a_seed_means_the_same_plan_in_every_process(hash_seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == [digests(), instrument_digest()]


def test_two_plans_of_a_seed_are_equal_and_of_two_seeds_differ() -> None:
    found = digests()
    assert found == digests()
    assert len(set(found.values())) == len(found)


def test_the_plan_of_a_worker_does_not_depend_on_how_many_others_there_are() -> None:
    few = plan("chaos_no_deadlock", load="10x100")
    many = plan("chaos_no_deadlock", load="50x100")
    assert many.steps[:10] == few.steps
    assert many.digest != few.digest
    assert len(set(many.steps)) == 50


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("broker", NAMED)
def test_every_scenario_can_be_planned_on_every_broker_of_ours(broker: str, name: str) -> None:
    scenario = find_scenario(name)
    load, here = scenario.load(), plan(name)
    made = [make_plan(name, load, seed, broker=broker) for seed in range(40)]
    # The load is the same one; only the faults are those that this broker can do.
    assert made[1].steps == here.steps
    assert [step.mark for step in made[1].faults] == here.marks()
    if scenario.style != "closing":
        drawn = {step.kind for p in made for step in p.faults}
        assert drawn == set(scenario.instead.get(broker, scenario.faults))
    for p in made:
        p.check_broker(broker)
        assert p.seconds == scenario.seconds + sum(KINDS[s.kind].takes for s in p.faults)


def test_what_a_broker_cannot_do_is_not_planned_and_is_told() -> None:
    load = SCENARIOS["confirms_under_kills"].load()
    assert make_plan("confirms_under_kills", load, 1, broker=RABBITMQ).conditions == ()
    made = make_plan("confirms_under_kills", load, 1)
    with pytest.raises(ScenarioError, match="cannot be done on rabbitmq: one of rst"):
        made.check_broker(RABBITMQ)
    load = SCENARIOS["blocked_connection"].load()
    with pytest.raises(ScenarioError, match="cannot be asked of an external broker"):
        make_plan("blocked_connection", load, 1, broker=EXTERNAL)
    with pytest.raises(ScenarioError, match="leader_kill cannot be done on rabbitmq"):
        make_plan("blocked_connection", load, 1, "leader_kill", RABBITMQ)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_plan_fills_its_load_and_uses_every_operation(name: str) -> None:
    scenario, made = find_scenario(name), plan(name)
    load = made.load
    assert len(made.steps) == load.threads
    assert {len(steps) for steps in made.steps} == {scenario.steps(load)}
    steps = [step for worker in made.steps for step in worker]
    assert {step.operation for step in steps} == set(scenario.mix)
    low, high = BODY_BYTES
    assert all((low <= step.size <= high) == (step.operation in SENDS) for step in steps)
    large = [step.size for step in steps if step.operation == "publish_large"]
    assert all(LARGE_BYTES[0] <= size <= LARGE_BYTES[1] for size in large)
    low, high = BATCH
    assert all((low <= step.count <= high) == (step.operation in SENDS_MANY) for step in steps)
    assert {step.count for step in steps if step.operation not in SENDS_MANY} <= {1}
    publishes = [step for step in steps if step.operation in SOMETIMES_UNROUTABLE]
    share = sum(step.unroutable for step in publishes) / len(publishes)
    assert share == pytest.approx(scenario.unroutable, abs=0.09)
    others = {s.operation for s in steps if s.unroutable} - SOMETIMES_UNROUTABLE
    assert others == {"publish_returned"} & set(scenario.mix)
    assert made.planned()["unroutable"] == sum(step.unroutable for step in steps)


def test_the_faults_are_drawn_apart_from_the_steps() -> None:
    load = SCENARIOS[KILLS].load()
    resets, cuts = make_plan(KILLS, load, 1), make_plan(KILLS, load, 1, "cut")
    assert resets.steps == cuts.steps
    assert resets.digest != cuts.digest
    assert [step.kind for step in resets.faults] == ["rst"] * 4
    assert [step.kind for step in cuts.faults] == ["cut"] * 4


@pytest.mark.parametrize(
    ("name", "load", "marks"),
    [
        ("chaos_no_deadlock", None, []),
        ("chaos_with_connection_kills", "20x50x10", [200, 400, 600, 800]),
        ("chaos_with_connection_kills", "50x30x5", [250, 500, 750, 1000, 1250]),
        ("chaos_with_connection_kills", "2x3x1", [2, 4]),
        ("high_contention_stress", None, []),
        ("repeated_recovery_stress", "3", [0, 1, 2]),
        ("broker_gone", "8x45x15", [120, 240]),
        ("slow_network", None, []),
        ("parked_consumer", None, []),
    ],
)
def test_marks(name: str, load: str | None, marks: list[int]) -> None:
    made = plan(name, load=load)
    assert made.marks() == marks
    assert made.load.kills == len(marks)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_close_comes_in_the_middle_of_each_round(seed: int) -> None:
    made = plan("close_while_busy", seed)
    assert len(made.faults) == made.rounds() == made.load.cycles
    rounds = [made.round(number) for number in range(made.rounds())]
    for step, steps in zip(made.faults, rounds, strict=True):
        whole = sum(map(len, steps))
        assert step.kind == "close"
        assert whole // 4 <= step.mark <= whole * 6 // 10
    again = [tuple(step for round_ in rounds for step in round_[n]) for n in range(len(made.steps))]
    assert tuple(again) == made.steps


def test_blocks_need_not_be_full() -> None:
    made = plan("parked_consumer", load="2x120")
    assert [[len(steps) for steps in made.round(n)] for n in range(made.rounds())] == [
        [50, 50],
        [50, 50],
        [20, 20],
    ]


def test_each_scenario_draws_all_its_faults_and_conditions() -> None:
    for name, scenario in SCENARIOS.items():
        plans = [plan(name, seed) for seed in range(60)]
        if scenario.style != "closing":
            drawn = {step.kind for made in plans for step in made.faults}
            assert drawn == set(scenario.faults)
        for number, group in enumerate(scenario.conditions):
            assert {made.conditions[number].kind for made in plans} == set(group)
        assert {len(made.conditions) for made in plans} == {len(scenario.conditions)}


def test_what_holds_all_along_has_no_end_and_hits_new_connections_too() -> None:
    latency, slices = plan("slow_network").conditions
    assert (latency.kind, slices.kind) == ("latency", "slice")
    assert latency.options["future"] is slices.options["future"] is True
    for seed in range(20):
        (confirms,) = plan("confirms_under_kills", seed).conditions
        assert "future" not in confirms.options
        assert "seconds" not in confirms.options | latency.options | slices.options


@pytest.mark.parametrize(
    ("fault", "heartbeat"), [(None, 0), ("cut", 0), ("stall", 1), ("blackhole", 1)]
)
def test_a_silent_fault_brings_heartbeats(fault: str | None, heartbeat: int) -> None:
    assert make_plan(KILLS, SCENARIOS[KILLS].load(), 1, fault).heartbeat == heartbeat


def test_in_a_cycle_a_cut_waits_for_the_publish_of_that_cycle() -> None:
    made = make_plan("repeated_recovery_stress", Load(cycles=50), 1, "cut")
    rules = [step.rule for step in made.faults if step.rule is not None]
    assert len(rules) == 50
    assert {(rule["direction"], rule["nth"]) for rule in rules} == {("to_broker", 1)}
    assert {rule["frame"] for rule in rules} == {"basic.publish", "header", "body"}
    assert {"before", "after"} < {rule["where"] for rule in rules}


@pytest.mark.parametrize(
    ("scenario", "fault", "words"),
    [
        ("chaos_no_deadlock", "rst", "injects no faults"),
        ("close_while_busy", "rst", "injects no faults"),
        (KILLS, "fire", "unknown fault 'fire': one of rst, fin, cut"),
        (KILLS, "close", "unknown fault 'close'"),
        ("repeated_recovery_stress", "stall", "one of rst, fin, cut, connection_close"),
    ],
)
def test_a_fault_that_cannot_stand_in(scenario: str, fault: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        make_plan(scenario, SCENARIOS[scenario].load(), 1, fault)
    assert words in str(caught.value)


def test_few_confirms_are_omitted_since_each_costs_a_timeout() -> None:
    made = [make_plan(KILLS, SCENARIOS[KILLS].load(), seed, "confirm_omit") for seed in range(20)]
    options = [step.options for plan in made for step in plan.faults]
    assert {option["every"] for option in options} == {5, 6, 7, 8, 9}
    assert all(0.05 <= option["seconds"] <= 0.15 for option in options)


def test_a_fault_step_holds_all_that_the_services_are_told() -> None:
    (first, *_) = make_plan(KILLS, SCENARIOS[KILLS].load(), 3, "cut").faults
    assert first == FaultStep(200, "cut", first.options, first.rule)
    assert set(first.options) == {"how"}
    assert first.rule is not None
    assert set(first.rule) == {"direction", "frame", "nth", "where"}


def test_a_body_begins_with_its_identity_and_has_its_size() -> None:
    assert body_of("run/worker-0/1", 20) == b"run/worker-0/1\n....."
    assert body_of("run/worker-0/1", 0) == b"run/worker-0/1\n"
