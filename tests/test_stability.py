"""The four scenarios on the sound pool: every judged invariant is 0, and the run did what it says.

A zero alone would prove nothing, so each test also asserts that the operations were done, that the
kills happened, that new connections came up, and that confirms, returns and deliveries came in.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.request import Request
from benchmarks.harness.scenarios import find_scenario
from benchmarks.harness.supervise import run_trial

SEED = 1


def held(scenario: str, load: str) -> dict[str, Any]:
    """Run one trial; assert what every scenario must hold; return its document."""
    result = run_trial(Request(scenario, load, SEED))
    document = result.document
    told = f"{document['witnesses']}\n{document['unknown_because']}\n{document['replay']}"
    assert document["violations"] == dict.fromkeys(INVARIANTS, 0), told
    assert result.verdict == "valid", told
    numbers = find_scenario(scenario).load(load)
    metrics = document["metrics"]
    assert metrics["operations"] == numbers.operations
    assert sum(metrics["succeeded"].values()) >= numbers.operations
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
