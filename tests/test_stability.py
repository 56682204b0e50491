"""Every scenario on the sound pool: all invariants are 0, and the run did what it says.

A zero alone would prove nothing, so each test also asserts that the operations were done, that the
faults happened, that new connections came up, and that confirms, returns and deliveries came in.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.plan import make_plan
from benchmarks.harness.request import Request
from benchmarks.harness.scenarios import find_scenario
from benchmarks.harness.supervise import run_trial

SEED = 1


def held(scenario: str, load: str, seed: int = SEED) -> dict[str, Any]:
    """Run one trial; assert what every scenario must hold; return its document."""
    result = run_trial(Request(scenario, load, seed))
    document = result.document
    told = f"{document['witnesses']}\n{document['unknown_because']}\n{document['replay']}"
    assert document["violations"] == dict.fromkeys(INVARIANTS, 0), told
    assert result.verdict == "valid", told
    row = find_scenario(scenario)
    numbers, metrics = row.load(load), document["metrics"]
    if row.style != "closing":  # there the close decides how many
        assert metrics["operations"] == numbers.operations
        assert sum(metrics["succeeded"].values()) >= numbers.operations
    assert set(metrics["succeeded"]) >= set(row.mix)
    assert metrics["kills"] == metrics["kills_planned"]
    for kind in ("publish", "confirm", "return", "deliver", "ack"):
        assert document["compared"][kind] > 0, f"no {kind} was compared"
    return document


@pytest.mark.parametrize("load", ["10x100", "50x100"], ids=["10-100", "50-100"])
def test_chaos_no_deadlock(load: str) -> None:
    document = held("chaos_no_deadlock", load)
    assert set(document["metrics"]["succeeded"]) >= {
        "drain",
        "connected",
        "acquire_release",
        "publish",
    }
    assert document["metrics"]["reconnects"] == 0
    assert document["in_doubt"] == 0, "nothing was faulted, so nothing may be in doubt"


@pytest.mark.parametrize(
    ("load", "kills"), [("20x50x10", 4), ("50x30x5", 5)], ids=["20-50-10", "50-30-5"]
)
def test_chaos_with_connection_kills(load: str, kills: int) -> None:
    metrics = held("chaos_with_connection_kills", load)["metrics"]
    assert (metrics["kills"], metrics["kills_planned"]) == (kills, kills)
    assert metrics["reconnects"] >= kills


@pytest.mark.parametrize("load", ["100x10", "500x10"], ids=["100", "500"])
def test_high_contention_stress(load: str) -> None:
    document = held("high_contention_stress", load)
    params, metrics = document["params"], document["metrics"]
    assert params["channels"] * 1.5 < params["threads"], "the pool is not much smaller"
    assert metrics["leases"] >= metrics["operations"]


@pytest.mark.parametrize("cycles", [1000])
def test_repeated_recovery_stress(cycles: int) -> None:
    metrics = held("repeated_recovery_stress", str(cycles))["metrics"]
    assert metrics["kills"] == cycles
    assert metrics["reconnects"] >= cycles
    assert metrics["succeeded"]["publish_confirmed"] == cycles
    assert 0 < metrics["recovery_p50_ms"] <= metrics["recovery_p99_ms"]


#: By scenario: what must have been compared besides, faults that fired (conditions included), and
#: how many new connections at least.
NEW = {
    "consumers_under_kills": ({"get_ok", "get_empty", "consume", "declare"}, 4, 4),
    "confirms_under_kills": (set(), 5, 4),
    "close_while_busy": ({"get_ok", "declare"}, 6, 0),
    "parked_consumer": (set(), 0, 0),
    "broker_gone": (set(), 2, 2),
    "slow_network": ({"get_ok", "declare"}, 2, 0),
    "poisoned_channel": ({"get_ok", "declare"}, 0, 0),
    "blocked_connection": ({"declare"}, 3, 0),
}


@pytest.mark.parametrize("scenario", NEW)
def test_scenarios_hold(scenario: str) -> None:
    compared, faults, reconnects = NEW[scenario]
    (load,) = find_scenario(scenario).loads
    document = held(scenario, load)
    assert compared <= {kind for kind, count in document["compared"].items() if count}
    metrics = document["metrics"]
    assert metrics["kills"] == faults
    assert metrics["reconnects"] >= reconnects
    if not reconnects:
        assert metrics["reconnects"] == 0
        assert scenario == "close_while_busy" or document["in_doubt"] == 0


@pytest.mark.parametrize("condition", range(4))
def test_confirms_hold_under_every_condition(condition: int) -> None:
    """The seed draws one of four; these are the first that draw each."""
    scenario = find_scenario("confirms_under_kills")
    wanted = scenario.conditions[0][condition]
    load = scenario.load()
    seeds = (
        s for s in range(100) if make_plan(scenario.name, load, s).conditions[0].kind == wanted
    )
    held(scenario.name, scenario.loads[0], next(seeds))


def test_latency_is_measured_with_threads_parked_and_without() -> None:
    metrics = held("parked_consumer", "2x200")["metrics"]
    assert 0 < metrics["publish_p50_ms"] <= metrics["publish_p99_ms"]
    assert metrics["publish_p99_parked_ms"] > 0
