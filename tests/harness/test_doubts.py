"""Doubts: each reason why a run without violations would prove nothing, and no other."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.harness.books import Verdict as Books
from benchmarks.harness.checkers import Evidence, doubts, hollow_recoveries
from tests.harness.reports import PLANNED, books, evidence, killed, report, slot


def test_every_doubt() -> None:
    cases: list[tuple[Evidence, Counter[str], int | None, list[str]]] = [
        (evidence(report(partial="why")), PLANNED, 0, ["partial: why"]),
        (
            evidence(report(overran=True)),
            PLANNED,
            0,
            ["the trial did not end by its deadline"],
        ),
        (
            evidence(report(open_failed=True, slots=[]), books=Books()),
            PLANNED,
            None,
            ["the client did not open"],
        ),
        (
            evidence(killed(1.0, planned=2)),
            PLANNED,
            1,
            ["1 of 2 planned faults fired"],
        ),
        (
            evidence(killed(1.0, 2.0)),
            PLANNED,
            1,
            ["2 kills, but only 1 new connections came up"],
        ),
        (
            evidence(),
            PLANNED + Counter(connected=1),
            0,
            ["connected was planned and never attempted"],
        ),
        (evidence(books=books(confirm=0)), PLANNED, 0, ["no confirm came in"]),
        (evidence(books=books(bounce=0)), PLANNED, 0, ["no return came in"]),
        (evidence(books=books(deliver=0)), PLANNED, 0, ["no delivery came in"]),
        (
            evidence(books=books(broker_faults=["one", "two", "three", "four"])),
            PLANNED,
            0,
            ["one", "two", "three"],
        ),
        (
            evidence(books=books(broker_lost=["a", "b"])),
            PLANNED,
            0,
            ["the broker lost 2 messages, first a"],
        ),
        (
            evidence(books=books(in_doubt=5, dropped=3)),
            PLANNED,
            0,
            [
                "3 of what is missing is excused only by connections that ended without a closing "
                "handshake and without a fault"
            ],
        ),
    ]
    for case, planned, reconnects, reasons in cases:
        assert doubts(case, planned, reconnects) == reasons


def test_a_fault_that_was_missed_says_why() -> None:
    missed = killed(1.0, planned=2)
    missed["nemesis"]["missed"] = ["no connection came up"]
    assert doubts(evidence(missed), PLANNED, 1) == [
        "1 of 2 planned faults fired (no connection came up)"
    ]


def test_who_gave_up_is_named() -> None:
    tired = report()
    tired["slots"].append(slot("worker-3", gave_up="3 iterations in a row failed"))
    assert doubts(evidence(tired), PLANNED, 0) == ["worker-3 gave up: 3 iterations in a row failed"]


def test_a_fault_that_does_not_end_a_connection_needs_no_new_one() -> None:
    slowed = killed(1.0, 2.0)
    slowed["nemesis"]["fired"][0]["ends"] = False
    assert doubts(evidence(slowed), PLANNED, 1) == []
    assert doubts(evidence(slowed), PLANNED, 0) == ["1 kills, but only 0 new connections came up"]


@pytest.mark.parametrize(
    ("operation", "missing"),
    [
        ("publish_returned", []),
        ("publish_large", []),
        ("publish_kept", ["no answer to a declare came in"]),
        ("get", ["no message for a get came in"]),
        ("get_no_ack", ["no message for a get came in"]),
        ("get_empty", ["no empty answer to a get came in"]),
        ("consume_ack", ["no ack came in", "no answer to a consume came in"]),
        ("consume_cancel", ["no answer to a consume came in"]),
        ("declare", ["no answer to a declare came in"]),
        ("declare_passive", ["no answer to a declare came in"]),
    ],
)
def test_what_an_operation_is_bound_to_bring_in(operation: str, missing: list[str]) -> None:
    done = report()
    done["slots"].append(slot("worker-1", attempted={operation: 1}, succeeded={operation: 1}))
    planned = PLANNED + Counter({operation: 1})
    assert doubts(evidence(done), planned, 0) == missing
    brought = books()
    brought.compared.update(get_ok=1, get_empty=1, consume=1, ack=1, declare=1)
    assert doubts(evidence(done, books=brought), planned, 0) == []


def test_what_was_not_planned_need_not_come_in() -> None:
    quiet = books(confirm=0, deliver=0, bounce=0)
    assert doubts(evidence(books=quiet), Counter(drain=1), 0) == []
    no_returns = PLANNED.copy()
    no_returns["unroutable"] = 0
    assert doubts(evidence(books=books(bounce=0)), no_returns, 0) == []


@pytest.mark.parametrize(
    ("recoveries", "ready", "hollow"),
    [
        ([], [1.0], 0),
        ([[2.0, 4.0]], [1.0, 3.0], 0),
        ([[2.0, 4.0]], [1.0], 1),
        ([[2.0, 4.0]], [1.0, 5.0], 1),
        ([[2.0, 4.0], [5.0, 7.0]], [1.0, 3.0, 8.0], 1),
    ],
)
def test_a_recovery_during_which_no_connection_came_up_is_none(
    recoveries: list[list[float]], ready: list[float], hollow: int
) -> None:
    assert hollow_recoveries(recoveries, ready) == hollow
    case = evidence(
        report(recoveries=recoveries, nemesis={"planned": 0, "fired": [], "missed": []})
    )
    case.ready = ready
    reasons = [f"{hollow} recoveries opened no new connection"] if hollow else []
    assert doubts(case, PLANNED, 5) == reasons
