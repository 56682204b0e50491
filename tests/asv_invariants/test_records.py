"""Which witnesses belong to which cell of the page."""

from __future__ import annotations

import pytest

from asv_invariants.records import Record, Run, witnesses


def run(load: str, text: str, count: int = 1) -> Run:
    return Run(
        load=load,
        seed=1,
        verdict="invalid" if count else "valid",
        violations={"leaks": count},
        recoveries_ms=[],
        witnesses={"leaks": [text]} if count else {},
        replay=f"replay {text}",
    )


RECORDS = [
    Record("high_contention_stress", 6, [run("100x10", "of contention")]),
    Record("broker_gone", 2, [run("8x45x15", "of the broker")]),
    Record("slow_network", 2, [run("8x45x15", "of nobody", 0)]),
]


@pytest.mark.parametrize(
    ("benchmark", "load", "expected"),
    [
        ("HighContention", "100x10", "of contention"),
        ("Variants", "broker_gone 8x45x15", "of the broker"),
        ("Variants", "slow_network 8x45x15", None),
        ("HighContention", "8x45x15", None),
        ("Variants", "8x45x15", None),
    ],
)
def test_witnesses_of_a_cell(benchmark: str, load: str, expected: str | None) -> None:
    found = witnesses(RECORDS, benchmark, load, "leaks")
    if expected is None:
        assert found == []
    else:
        assert found == [f"seed 1, invalid: {expected}", f"run it again: replay {expected}"]
