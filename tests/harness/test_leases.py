"""The lease ledger: one channel in two hands is seen, and an honest pool raises no false alarm."""

from __future__ import annotations

import threading

from benchmarks.harness.leases import LeaseLedger, twice_idle

DEADLINE = 10.0


def test_an_empty_ledger() -> None:
    assert LeaseLedger().snapshot() == {"leases": 0, "doubles": [], "held": []}


def test_leases_one_after_the_other_are_sane() -> None:
    ledger = LeaseLedger()
    for thread in ("worker-0", "worker-1", "worker-0"):
        ledger.released("(1, 3)", ledger.acquired("(1, 3)", thread))
    ledger.acquired("(2, 3)", "worker-0")  # the same number on another connection
    assert ledger.snapshot() == {"leases": 4, "doubles": [], "held": ["(2, 3)"]}


def test_a_channel_in_two_hands_is_a_double_with_both_owners() -> None:
    ledger = LeaseLedger()
    first = ledger.acquired("c", "worker-0")
    second = ledger.acquired("c", "worker-1")
    assert ledger.snapshot() == {
        "leases": 2,
        "doubles": [
            {"channel": "c", "holders": ["worker-0", "worker-1"], "leases": [first, second]}
        ],
        "held": ["c"],
    }


def test_the_end_of_the_first_lease_does_not_hide_the_second() -> None:
    ledger = LeaseLedger()
    first = ledger.acquired("c", "worker-0")
    second = ledger.acquired("c", "worker-1")
    ledger.released("c", first)
    assert ledger.snapshot()["held"] == ["c"]
    third = ledger.acquired("c", "worker-2")
    assert [double["leases"] for double in ledger.snapshot()["doubles"]] == [
        [first, second],
        [second, third],
    ]


def test_a_release_of_what_is_not_held_changes_nothing() -> None:
    ledger = LeaseLedger()
    number = ledger.acquired("c", "worker-0")
    ledger.released("c", number)
    ledger.released("c", number)
    ledger.released("d", number)
    assert ledger.snapshot() == {"leases": 1, "doubles": [], "held": []}


def test_many_threads_with_a_channel_each_raise_no_alarm() -> None:
    ledger, barrier = LeaseLedger(), threading.Barrier(8)

    def work(name: str) -> None:
        barrier.wait(DEADLINE)
        for _ in range(200):
            ledger.released(name, ledger.acquired(name, name))

    threads = [
        threading.Thread(target=work, args=[f"worker-{n}"], name=f"worker-{n}", daemon=True)
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert ledger.snapshot() == {"leases": 1600, "doubles": [], "held": []}


def test_twice_idle() -> None:
    assert twice_idle([]) == []
    assert twice_idle([(1, 1), (1, 2)]) == []
    assert twice_idle([(1, 1), (1, 2), (1, 1), (1, 1)]) == ["(1, 1)"]
