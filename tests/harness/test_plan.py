"""The plan: one seed, one plan, in any process; another seed, another plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.digest import instrument_digest
from benchmarks.harness.plan import BODY_BYTES, Plan, body_of, make_plan
from benchmarks.harness.scenarios import SCENARIOS, find_scenario

ROOT = Path(__file__).parents[2]
SEEDS = range(5)


def plan(name: str, seed: int = 1, load: str | None = None) -> Plan:
    return make_plan(name, find_scenario(name).load(load), seed)


def digests() -> dict[str, str]:
    return {f"{name}/{seed}": plan(name, seed).digest for name in SCENARIOS for seed in SEEDS}


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
def test_a_plan_fills_its_load_and_uses_every_operation(name: str) -> None:
    scenario, made = find_scenario(name), plan(name)
    load = made.load
    assert len(made.steps) == load.threads
    assert {len(steps) for steps in made.steps} == {load.cycles or load.iterations}
    steps = [step for worker in made.steps for step in worker]
    assert {step.operation for step in steps} == set(scenario.mix)
    publishes = [step for step in steps if step.operation.startswith("publish")]
    low, high = BODY_BYTES
    assert all(low <= step.size <= high for step in publishes)
    share = sum(step.unroutable for step in publishes) / len(publishes)
    assert share == pytest.approx(scenario.unroutable, abs=0.06)
    others = [step for step in steps if not step.operation.startswith("publish")]
    assert all((step.unroutable, step.size) == (False, 0) for step in others)


@pytest.mark.parametrize(
    ("name", "load", "points"),
    [
        ("chaos_no_deadlock", None, []),
        ("chaos_with_connection_kills", "20x50x10", [200, 400, 600, 800]),
        ("chaos_with_connection_kills", "50x30x5", [250, 500, 750, 1000, 1250]),
        ("chaos_with_connection_kills", "2x3x1", [2, 4]),
        ("high_contention_stress", None, []),
        ("repeated_recovery_stress", "3", [0, 1, 2]),
    ],
)
def test_kill_points(name: str, load: str | None, points: list[int]) -> None:
    made = plan(name, load=load)
    assert made.kill_points() == points
    assert made.load.kills == len(points)


def test_a_body_begins_with_its_identity_and_has_its_size() -> None:
    assert body_of("run/worker-0/1", 20) == b"run/worker-0/1\n....."
    assert body_of("run/worker-0/1", 0) == b"run/worker-0/1\n"
