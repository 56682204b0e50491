"""The scenarios: the loads of the design, and every wrong number told in a line."""

from __future__ import annotations

import pytest

from benchmarks.broker import faults as broker_faults
from benchmarks.harness.faults import FAULTS, KEPT
from benchmarks.harness.scenarios import (
    LIMITS,
    OPERATIONS_AT_MOST,
    SCENARIOS,
    Load,
    ScenarioError,
    find_scenario,
)
from benchmarks.harness.workload import OPERATIONS
from benchmarks.proxy import faults as proxy_faults
from benchmarks.rabbitmq.faults import RABBIT_FAULTS


def test_the_scenarios_and_their_loads() -> None:
    assert {name: row.loads for name, row in SCENARIOS.items()} == {
        "chaos_no_deadlock": ("10x100", "50x100"),
        "chaos_with_connection_kills": ("20x50x10", "50x30x5"),
        "high_contention_stress": ("100x10", "500x10"),
        "repeated_recovery_stress": ("1000",),
        "consumers_under_kills": ("10x80x16",),
        "confirms_under_kills": ("10x50x12",),
        "close_while_busy": ("8x6",),
        "parked_consumer": ("4x400",),
        "broker_gone": ("8x45x15",),
        "slow_network": ("8x25",),
        "poisoned_channel": ("12x150",),
        "blocked_connection": ("8x60x15",),
        "node_failures": ("8x600x200",),
    }


def test_every_operation_is_in_the_mix_of_some_scenario() -> None:
    assert {name for row in SCENARIOS.values() for name in row.mix} == set(OPERATIONS)


def test_every_fault_is_known_to_its_service() -> None:
    for side, known in (("proxy", proxy_faults.FAULTS), ("broker", broker_faults.FAULTS)):
        assert {row.name for row in FAULTS.values() if row.side == side} == set(known)
    kept = {row.name for row in FAULTS.values() if row.side in KEPT}
    assert kept == set(RABBIT_FAULTS)
    assert {row.side for row in FAULTS.values()} == {"proxy", "broker"} | KEPT


def test_the_faults_and_conditions_of_the_scenarios_are_in_the_table() -> None:
    for row in SCENARIOS.values():
        assert {*row.faults, *(kind for kinds in row.instead.values() for kind in kinds)} <= set(
            FAULTS
        )
        for group in row.conditions:
            # What holds for the whole load must need no healing to go on.
            assert all(FAULTS[name].lasting and not FAULTS[name].excuses for name in group)


@pytest.mark.parametrize(
    ("name", "text", "load", "operations", "consumers", "kills", "channels"),
    [
        ("chaos_no_deadlock", None, Load(10, 100), 1000, 1, 0, 3),
        ("chaos_no_deadlock", "50x100", Load(50, 100), 5000, 5, 0, 17),
        ("chaos_with_connection_kills", None, Load(20, 50, 10), 1000, 2, 4, 7),
        ("chaos_with_connection_kills", "50x30x5", Load(50, 30, 5), 1500, 5, 5, 17),
        ("high_contention_stress", None, Load(100, 10), 1000, 10, 0, 14),
        ("high_contention_stress", "500x10", Load(500, 10), 5000, 50, 0, 58),
        ("repeated_recovery_stress", None, Load(cycles=1000), 1000, 1, 1000, 3),
        ("consumers_under_kills", None, Load(10, 80, 16), 800, 1, 4, 6),
        ("close_while_busy", None, Load(8, cycles=6), 6, 1, 6, 4),
        ("parked_consumer", None, Load(4, 400), 1600, 1, 0, 8),
    ],
)
def test_loads(
    name: str, text: str | None, load: Load, operations: int, consumers: int, kills: int,
    channels: int,
) -> None:  # fmt: skip
    scenario = find_scenario(name)
    assert scenario.load(text) == load
    assert (load.operations, load.consumers, load.kills) == (operations, consumers, kills)
    assert scenario.channels(load) == channels
    assert scenario.load(scenario.text(load)) == load


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_load_in_the_table_can_be_run_and_written_again(name: str) -> None:
    scenario = SCENARIOS[name]
    for text in scenario.loads:
        assert scenario.text(scenario.load(text)) == text


def test_single_numbers_replace_those_of_the_first_load() -> None:
    scenario = find_scenario("chaos_with_connection_kills")
    numbers = {"threads": 50, "iterations": 30, "kill_interval": 5, "cycles": None}
    assert scenario.load(None, **numbers) == scenario.load("50x30x5")
    assert scenario.load("50x30x5", threads=3) == Load(3, 30, 5)


@pytest.mark.parametrize(
    ("name", "text", "numbers", "words"),
    [
        ("chaos_no_deadlock", "10", {}, "write threadsxiterations, for example 10x100"),
        ("chaos_no_deadlock", "10x100x5", {}, "write threadsxiterations"),
        ("chaos_no_deadlock", "", {}, "write threadsxiterations"),
        ("chaos_no_deadlock", "10x-1", {}, "write threadsxiterations"),
        ("chaos_no_deadlock", "10x1e2", {}, "write threadsxiterations"),
        ("chaos_no_deadlock", "10x\u0661", {}, "write threadsxiterations"),
        ("chaos_no_deadlock", "10x" + "9" * 5000, {}, "write threadsxiterations"),
        ("chaos_no_deadlock", "0x100", {}, "threads of chaos_no_deadlock must be between 1"),
        ("chaos_no_deadlock", "10x100001", {}, "iterations of chaos_no_deadlock must be"),
        ("chaos_no_deadlock", "2001x1", {}, "between 1 and 2000, not 2001"),
        ("chaos_no_deadlock", "2000x100000", {}, "would be 200000000 operations"),
        ("chaos_no_deadlock", None, {"kill_interval": 5}, "has no kill interval: its numbers are"),
        ("repeated_recovery_stress", None, {"threads": 5}, "has no threads"),
        ("repeated_recovery_stress", None, {"cycles": 0}, "must be between 1 and 100000, not 0"),
        ("chaos_with_connection_kills", "20x10x10", {}, "would kill nothing"),
        ("close_while_busy", "2000x9", {}, "would be 1080000 operations"),
        ("chaos_with_connection_kills", "20x10x0", {}, "kill interval of"),
    ],
)
def test_wrong_loads(name: str, text: str | None, numbers: dict[str, int], words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        find_scenario(name).load(text, **numbers)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_limits_are_reachable() -> None:
    scenario = find_scenario("chaos_no_deadlock")
    most = OPERATIONS_AT_MOST // LIMITS["threads"]
    assert scenario.load(f"{LIMITS['threads']}x{most}").operations == OPERATIONS_AT_MOST


def test_an_unknown_scenario_names_the_known_ones() -> None:
    with pytest.raises(ScenarioError) as caught:
        find_scenario("chaos")
    assert all(name in str(caught.value) for name in SCENARIOS)
