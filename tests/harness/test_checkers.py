"""The checkers: every invariant on empty, sane and pathological reports; one event, one counter."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.books import Verdict as Books
from benchmarks.harness.checkers import (
    INVARIANTS,
    WITNESSES_AT_MOST,
    Evidence,
    Finding,
    doubts,
    fault_windows,
    judge,
)
from tests.harness.reports import (
    PLANNED,
    RECOVERY,
    add_error,
    books,
    evidence,
    killed,
    report,
    slot,
)

ZERO = Finding(0)
NO_REPORT = "the trial's process ended without a report"


def counts(found: dict[str, Finding]) -> dict[str, int | None]:
    return {name: finding.count for name, finding in found.items()}


def only(**violated: int | None) -> dict[str, int | None]:
    """All invariants at 0 but those."""
    return {**dict.fromkeys(INVARIANTS, 0), **violated}


# -- empty and sane --------------------------------------------------------------------------


def test_a_sane_trial_has_ten_zeros() -> None:
    assert len(INVARIANTS) == 10
    assert judge(evidence()) == dict.fromkeys(INVARIANTS, ZERO)
    assert doubts(evidence(), PLANNED, 0) == []


def test_a_trial_in_which_nothing_happened_has_no_zeros_to_offer() -> None:
    empty = report(
        slots=[],
        leases={"leases": 0, "doubles": [], "held": []},
        rest_at=None,
        resources=None,
    )
    del empty["phases"]["close"]
    found = judge(evidence(empty, books=Books()))
    assert counts(found) == only(
        lost_frames=None,
        double_releases=None,
        lost_messages=None,
        phantoms=None,
        leaks=None,
        unavailable=None,
    )
    assert found["lost_frames"].reason is not None
    assert found["double_releases"].reason == "no channel was ever leased"
    assert found["unavailable"].reason == "the trial was given up before the probe and the close"


def test_a_crash_is_one_crash_and_nothing_else_was_judged() -> None:
    found = judge(Evidence(None, "status -11 and no report", stderr="Segmentation fault"))
    assert found == {
        "deadlocks": Finding(None, reason=f"{NO_REPORT} (status -11 and no report)"),
        **dict.fromkeys(
            set(INVARIANTS) - {"deadlocks", "crashes"},
            Finding(None, reason=NO_REPORT),
        ),
        "crashes": Finding(
            1, [{"ended": "status -11 and no report", "stderr": "Segmentation fault"}]
        ),
    }
    assert doubts(Evidence(None, "no report"), PLANNED, None) == ["no report"]


def test_a_process_that_hung_as_a_whole_is_a_deadlock_and_no_crash() -> None:
    found = judge(Evidence(None, "killed", hung=True, stderr="Thread 0x1 (most recent call first)"))
    assert (found["deadlocks"].count, found["crashes"]) == (1, ZERO)
    assert found["deadlocks"].witnesses[0]["stack"] == "Thread 0x1 (most recent call first)"
    assert {found[name].count for name in INVARIANTS if name not in ("deadlocks", "crashes")} == {
        None
    }


def test_what_the_user_interrupted_is_not_a_crash() -> None:
    found = judge(Evidence(None, "interrupted", interrupted=True))
    assert counts(found) == dict.fromkeys(INVARIANTS)


def test_when_the_broker_died_nothing_is_said_of_the_client() -> None:
    broken = report()
    add_error(broken, keyerror_none=True)
    found = judge(evidence(broken, void="the broker died"))
    assert found == dict.fromkeys(INVARIANTS, Finding(None, reason="the broker died"))
    assert doubts(evidence(broken, void="the broker died"), PLANNED, 0) == ["the broker died"]


def test_half_a_trial_proves_a_violation_and_no_zero() -> None:
    half = report(partial="the parent process went away")
    add_error(half, keyerror_none=True)
    found = judge(evidence(half, books=None))
    assert counts(found) == {**dict.fromkeys(INVARIANTS), "keyerror_none": 1}
    assert found["crashes"].reason == "the trial was not finished"


# -- deadlocks -------------------------------------------------------------------------------


def stall(thread: str, kind: str = "worker") -> dict[str, Any]:
    return {"thread": thread, "kind": kind, "operation": "publish", "seconds": 7.5}


def test_a_stalled_thread_is_a_deadlock_with_its_stack() -> None:
    stacks = [
        {"thread": "worker-1", "stack": "File ...", "innermost": "<Lock>"},
        {"thread": "worker-2", "stack": "other", "innermost": ""},
    ]
    found = judge(evidence(report(stalls=[stall("worker-1")], stacks=stacks), books=None))
    assert counts(found) == only(deadlocks=1, lost_frames=None, lost_messages=None, phantoms=None)
    assert found["deadlocks"].witnesses == [
        {**stall("worker-1"), "stack": "File ...", "innermost": "<Lock>"}
    ]


@pytest.mark.parametrize("kind", ["opener", "consumer", "checker"])
def test_every_thread_that_uses_the_client_may_deadlock(kind: str) -> None:
    assert judge(evidence(report(stalls=[stall(kind, kind)])))["deadlocks"].count == 1


@pytest.mark.parametrize("kind", ["probe", "closer"])
def test_a_probe_or_a_close_that_hangs_is_unavailability_alone(kind: str) -> None:
    hung = report(
        stalls=[stall(kind, kind)], stacks=[{"thread": kind, "stack": "here", "innermost": ""}]
    )
    if kind == "probe":
        next(s for s in hung["slots"] if s["kind"] == "probe")["succeeded"] = {}
    else:
        hung["closed"] = {"returned": False, "seconds": 9.0}
    found = judge(evidence(hung))
    assert counts(found) == only(unavailable=1)
    assert found["unavailable"].witnesses[0]["stack"] == "here"


def test_all_deadlocks_count_and_some_are_witnesses() -> None:
    stalls = [stall(f"worker-{number}") for number in range(WITNESSES_AT_MOST + 5)]
    finding = judge(evidence(report(stalls=stalls)))["deadlocks"]
    assert (finding.count, len(finding.witnesses)) == (WITNESSES_AT_MOST + 5, WITNESSES_AT_MOST)


# -- exceptions ------------------------------------------------------------------------------


def test_a_keyerror_none_counts_in_its_own_counter_alone() -> None:
    broken = report()
    add_error(broken, times=3, keyerror_none=True, type="builtins.KeyError", text="None")
    found = judge(evidence(broken))
    assert counts(found) == only(keyerror_none=3)
    assert found["keyerror_none"].witnesses == [
        {
            "times": 3,
            "thread": "worker-0",
            "where": "operation",
            "operation": "publish",
            "type": "builtins.KeyError",
            "text": "None",
            "traceback": "Traceback ...",
        }
    ]


@pytest.mark.parametrize("where", ["operation", "thread", "unraisable", "logged"])
def test_an_unexpected_error_counts_wherever_it_surfaced(where: str) -> None:
    broken = report()
    add_error(broken, times=2, where=where, operation=f"by {where}")
    found = judge(evidence(broken))
    assert counts(found) == only(unexpected_errors=2)
    assert [w["times"] for w in found["unexpected_errors"].witnesses] == [2]


def test_an_unexpected_error_counts_within_a_fault_window_too() -> None:
    broken = killed(100.0)
    add_error(broken, at=100.5)
    assert judge(evidence(broken))["unexpected_errors"].count == 1


def test_witnesses_of_exceptions_stand_by_how_often_they_came() -> None:
    broken = report()
    add_error(broken, times=1, text="seldom")
    add_error(broken, times=3, text="often")
    finding = judge(evidence(broken))["unexpected_errors"]
    assert finding.count == 4
    assert [(w["text"], w["times"]) for w in finding.witnesses] == [("often", 3), ("seldom", 1)]


@pytest.mark.parametrize("thread", ["probe", "closer"])
def test_what_the_probe_or_the_closer_meets_is_no_unexpected_error(thread: str) -> None:
    broken = report()
    add_error(broken, thread=thread, operation="close")
    assert judge(evidence(broken))["unexpected_errors"] == ZERO


def test_fault_windows() -> None:
    assert fault_windows(report()) == []
    assert [(w.words, w.start, w.over) for w in fault_windows(killed(1.0, 10.0))] == [
        (("recoverable",), 1.0, 1.001),
        (("recoverable",), 10.0, 10.001),
    ]


def test_a_window_lasts_until_the_recovery_deadline_behind_the_heal() -> None:
    wounded = killed(1.0, 10.0)
    wounded["nemesis"]["fired"][1]["healed"] = 12.0
    window = fault_windows(wounded)[1]
    assert (window.start, window.over) == (10.0, 12.0)
    assert window.excuses("recoverable", 12.0 + RECOVERY, RECOVERY)
    assert not window.excuses("recoverable", 12.001 + RECOVERY, RECOVERY)


def test_a_fault_that_excuses_nothing_opens_no_window() -> None:
    wounded = killed(1.0, 10.0)
    wounded["nemesis"]["fired"][0]["excuses"] = []
    wounded["nemesis"]["fired"][1]["excuses"] = ["cancelled"]
    assert [(w.words, w.start) for w in fault_windows(wounded)] == [(("cancelled",), 10.0)]


#: What a fault excuses, and how long behind it.
DISTURBED = [
    ("cancelled", RECOVERY),
    ("refused 541", RECOVERY),
    ("unconfirmed", 2 * RECOVERY),
]


@pytest.mark.parametrize(("word", "late"), DISTURBED)
def test_a_disturbance_excuses_its_own_word_in_its_window_alone(word: str, late: float) -> None:
    def counted(kind: str, at: float) -> int | None:
        wounded = killed(100.0)
        wounded["nemesis"]["fired"][0]["excuses"] = [word]
        add_error(wounded, at=at, kind=kind)
        return judge(evidence(wounded))["unexpected_errors"].count

    assert [counted(word, at) for at in (99.999, 100.0, 100.001 + late, 100.002 + late)] == [
        *(1, 0, 0, 1)
    ]
    others = {"recoverable", "refused 406", *(other for other, _ in DISTURBED)} - {word}
    assert {counted(other, 100.0) for other in others} == {1}


@pytest.mark.parametrize("word", [word for word, _ in DISTURBED])
def test_without_its_fault_a_disturbance_counts(word: str) -> None:
    for document in (report(), killed(100.0)):
        add_error(document, at=100.0, kind=word)
        assert judge(evidence(document))["unexpected_errors"].count == 1


@pytest.mark.parametrize(
    ("at", "count"),
    [
        (99.999, 1),
        (100.0, 0),
        (100.001 + RECOVERY, 0),
        (100.002 + RECOVERY, 1),
        (200.0 + RECOVERY / 2, 0),
    ],
)
def test_a_recoverable_error_is_expected_between_fault_and_recovery_alone(
    at: float, count: int
) -> None:
    wounded = killed(100.0, 200.0)
    add_error(wounded, at=at, kind="recoverable")
    assert judge(evidence(wounded))["unexpected_errors"].count == count


def test_without_a_fault_no_recoverable_error_is_expected() -> None:
    broken = report()
    add_error(broken, kind="recoverable")
    assert judge(evidence(broken))["unexpected_errors"].count == 1


def test_an_operation_whose_every_try_was_excused_is_a_violation() -> None:
    hopeless = killed(100.0)
    hopeless["slots"].append(slot("worker-9", attempted={"get": 7}))
    add_error(hopeless, at=100.1, times=7, kind="recoverable", operation="get", type="x.Lost")
    found = judge(evidence(hopeless))
    assert counts(found) == only(unexpected_errors=1)
    assert found["unexpected_errors"].witnesses == [
        {
            "operation": "get",
            "detail": "attempted 7 times, never succeeded",
            "type": "x.Lost",
        }
    ]


def test_an_operation_that_never_succeeded_and_was_counted_is_not_counted_twice() -> None:
    hopeless = report()
    hopeless["slots"].append(slot("worker-9", attempted={"get": 7}))
    add_error(hopeless, times=7, operation="get")
    assert judge(evidence(hopeless))["unexpected_errors"].count == 7


def test_an_operation_that_succeeded_once_is_not_hopeless() -> None:
    wounded = killed(100.0)
    wounded["slots"].append(slot("worker-9", attempted={"get": 7}, succeeded={"get": 1}))
    add_error(wounded, at=100.1, times=6, kind="recoverable", operation="get")
    assert judge(evidence(wounded))["unexpected_errors"] == ZERO


def test_a_settle_that_a_kill_cut_short_is_not_hopeless() -> None:
    """It ends when the outcomes are known, and the kill makes them known: nobody tries again."""
    wounded = killed(100.0)
    wounded["slots"].append(slot("worker-9", attempted={"settle": 1}))
    add_error(wounded, at=100.1, kind="recoverable", operation="settle")
    assert judge(evidence(wounded))["unexpected_errors"] == ZERO


def test_a_hopeless_operation_with_a_keyerror_none_counts_there_alone() -> None:
    hopeless = report()
    hopeless["slots"].append(slot("worker-9", attempted={"get": 1}))
    add_error(hopeless, operation="get", keyerror_none=True)
    assert counts(judge(evidence(hopeless))) == only(keyerror_none=1)


# -- leases, frames, availability ------------------------------------------------------------


def test_double_releases_from_the_lease_ledger_and_from_the_pools_own_counts() -> None:
    double = {"channel": "1", "holders": ["worker-0", "worker-1"], "leases": [4, 9]}
    broken = report(
        leases={"leases": 9, "doubles": [double], "held": []},
        at_rest={"twice_idle": ["(1, 3)"], "in_use": -1},
    )
    found = judge(evidence(broken))
    assert counts(found) == only(double_releases=3)
    assert found["double_releases"].witnesses == [
        double,
        {"channel": "(1, 3)", "idle": "twice"},
        {"operation": "at_rest", "detail": "the client counts -1 leases in use"},
    ]


@pytest.mark.parametrize("at_rest", [None, {"twice_idle": []}, {"twice_idle": [], "in_use": 0}])
def test_sound_counts_at_rest(at_rest: dict[str, Any] | None) -> None:
    assert judge(evidence(report(at_rest=at_rest)))["double_releases"] == ZERO


@pytest.mark.parametrize(
    ("invariant", "kept"),
    [("lost_frames", "lost"), ("lost_messages", "lost_messages"), ("phantoms", "phantoms")],
)
def test_what_the_books_say_counts_in_its_own_invariant_alone(invariant: str, kept: str) -> None:
    witnesses = [{"event": "deliver", "identity": "x", "why": "so"}]
    found = judge(evidence(books=books(**{kept: witnesses})))
    assert counts(found) == only(**{invariant: 1})
    assert found[invariant].witnesses == witnesses


@pytest.mark.parametrize(
    ("invariant", "kept"),
    [("lost_frames", "lost"), ("lost_messages", "lost_messages"), ("phantoms", "phantoms")],
)
def test_what_the_books_proved_counts_although_nothing_else_was_judged(
    invariant: str, kept: str
) -> None:
    witnesses = [{"event": "deliver", "identity": "x", "why": "so"}]
    proved = Books(**{kept: witnesses})
    assert judge(evidence(books=proved))[invariant].count == 1


@pytest.mark.parametrize("kept", [None, books(judged=0), Books()])
def test_without_books_that_judged_something_lost_frames_is_not_judged(kept: Books | None) -> None:
    finding = judge(evidence(books=kept))["lost_frames"]
    assert finding.count is None
    assert finding.reason


@pytest.mark.parametrize("kept", [None, books(deliver=0), books(confirm=0), Books()])
def test_without_confirms_and_deliveries_lost_messages_is_not_judged(kept: Books | None) -> None:
    finding = judge(evidence(books=kept))["lost_messages"]
    assert finding.count is None
    assert finding.reason


def test_a_message_that_came_in_by_get_is_enough_to_judge_lost_messages() -> None:
    kept = books(deliver=0)
    kept.compared["get_ok"] = 1
    assert judge(evidence(books=kept))["lost_messages"] == ZERO


@pytest.mark.parametrize("kept", [None, Books()])
def test_where_nothing_was_told_phantoms_is_not_judged(kept: Books | None) -> None:
    finding = judge(evidence(books=kept))["phantoms"]
    assert finding.count is None
    assert finding.reason


def test_unavailable_has_a_witness_for_the_probe_and_one_for_the_close() -> None:
    broken = report(closed={"returned": False, "seconds": 1.0})
    next(s for s in broken["slots"] if s["kind"] == "probe")["succeeded"] = {}
    add_error(broken, thread="closer", operation="close")
    found = judge(evidence(broken))
    assert counts(found) == only(unavailable=2)
    assert found["unavailable"].witnesses == [
        {"operation": "publish_confirmed", "detail": "not confirmed after heal", "stack": ""},
        {"operation": "close", "detail": "did not return in peace", "stack": "Traceback ..."},
    ]


def test_a_trial_that_never_came_to_its_close_says_nothing_of_availability() -> None:
    given_up = report()
    del given_up["phases"]["close"]
    assert judge(evidence(given_up))["unavailable"].count is None
