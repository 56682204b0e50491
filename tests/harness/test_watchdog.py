"""The watchdog: a deadlock is found with its stack, and slowness is not taken for one."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from benchmarks.harness import watchdog
from benchmarks.harness.progress import Slot
from benchmarks.harness.watchdog import (
    MARGIN,
    STALL_SECONDS,
    Watchdog,
    all_hope_is_gone,
    all_stacks,
    stall_window,
    stalled,
)

DEADLINE = 10.0


def slot(name: str, advanced: float, *, done: bool = False, kind: str = "worker") -> dict[str, Any]:
    return {"name": name, "kind": kind, "advanced": advanced, "done": done}


def test_the_stall_window_lies_above_every_bound() -> None:
    assert stall_window(0.0) == STALL_SECONDS
    assert stall_window(STALL_SECONDS) == STALL_SECONDS * MARGIN
    assert stall_window(60.0) == 60.0 * MARGIN


def test_stalled() -> None:
    fresh, edge, old = slot("fresh", 9.0), slot("edge", 5.0), slot("old", 4.9)
    done = slot("done", 0.0, done=True)
    assert stalled([], 10.0, 5.0) == []
    assert stalled([fresh, edge, old, done], 10.0, 5.0) == [old]


def test_hope_is_gone_when_everybody_the_trial_waits_for_is_stalled() -> None:
    hung, other = slot("hung", 0.0), slot("other", 0.0)
    consumer = slot("consumer", 9.0, kind="consumer")
    parked = slot("parked", 9.0, kind="parked")
    done = slot("done", 0.0, done=True)
    assert not all_hope_is_gone([], [])
    assert not all_hope_is_gone([done], [])
    assert not all_hope_is_gone([hung, other], [hung])
    assert all_hope_is_gone([hung, other, done], [hung, other])
    assert all_hope_is_gone([hung, consumer, parked], [hung])
    assert not all_hope_is_gone([consumer, parked], [consumer])
    assert all_hope_is_gone([consumer, done], [consumer])
    assert not all_hope_is_gone([slot("worker", 9.0), consumer], [consumer])


class Blocked:
    """A thread in a slot of its own that waits for a lock, for as long as the test wants."""

    def __init__(self, name: str) -> None:
        self.lock = threading.Lock()
        self.waiting = threading.Event()
        self.slot = Slot(name, "worker")
        self.slot.begin("publish")
        self.thread = threading.Thread(target=self.block_here, name=name, daemon=True)

    def __repr__(self) -> str:
        return f"<Blocked {self.slot.name}>"

    def block_here(self) -> None:
        self.waiting.set()
        with self.lock:
            self.slot.done = True

    def __enter__(self) -> Blocked:
        self.lock.acquire()
        self.thread.start()
        assert self.waiting.wait(DEADLINE)
        return self

    def __exit__(self, *error: object) -> None:
        self.lock.release()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


def test_a_thread_that_is_blocked_is_found_with_name_stack_and_self() -> None:
    with Blocked("worker-7") as blocked:
        dog = Watchdog(window=5.0, deadline=time.monotonic() + 60)
        dog.watch(blocked.slot)
        dog.look(blocked.slot.advanced + 5.0)
        assert (dog.ended.is_set(), dog.stalls) == (False, [])
        dog.look(blocked.slot.advanced + 5.25)
        assert (dog.ended.is_set(), dog.overran) == (True, False)
        assert dog.stalls == [
            {"thread": "worker-7", "kind": "worker", "operation": "publish", "seconds": 5.25}
        ]
        (stack,) = (stack for stack in dog.stacks if stack["thread"] == "worker-7")
    assert "block_here" in stack["stack"]
    assert "with self.lock" in stack["stack"]
    assert stack["innermost"] == "<Blocked worker-7>"


def test_the_stacks_are_those_of_all_threads() -> None:
    with Blocked("one"), Blocked("two"):
        names = {stack["thread"] for stack in all_stacks()}
    assert {"one", "two", threading.current_thread().name} <= names


class WaitsForEver(Blocked):
    """Blocked deep inside the standard library."""

    def block_here(self) -> None:
        condition = threading.Condition(self.lock)
        self.waiting.set()
        with condition:
            self.slot.done = condition.wait_for(lambda: True)


def test_the_innermost_object_is_the_clients_and_not_the_standard_librarys() -> None:
    with WaitsForEver("worker-1"):
        (stack,) = (stack for stack in all_stacks() if stack["thread"] == "worker-1")
    assert "threading.py" in stack["stack"]
    assert stack["innermost"] == "<Blocked worker-1>"


class LockedRepr(Blocked):
    """Its repr takes the very lock over which its thread is deadlocked."""

    def __repr__(self) -> str:
        with self.lock:
            return "<never seen>"


class RaisingRepr(Blocked):
    def __repr__(self) -> str:
        raise RuntimeError("half built")


def test_a_repr_that_takes_the_lock_costs_its_text_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "REPR_SECONDS", 0.2)
    with LockedRepr("worker-1"):
        started = time.monotonic()
        (stack,) = (stack for stack in all_stacks() if stack["thread"] == "worker-1")
        assert time.monotonic() - started < DEADLINE / 2
        assert stack["innermost"] == "<LockedRepr, whose repr did not return>"
        assert "block_here" in stack["stack"]
    helpers = [thread for thread in threading.enumerate() if thread.name == "watchdog-repr"]
    for helper in helpers:
        helper.join(DEADLINE)
        assert not helper.is_alive()


def test_a_repr_that_raises_is_told() -> None:
    with RaisingRepr("worker-1"):
        (stack,) = (stack for stack in all_stacks() if stack["thread"] == "worker-1")
    assert stack["innermost"] == "<RaisingRepr: repr raised RuntimeError('half built')>"


def test_a_thread_that_still_advances_gets_one_more_window() -> None:
    dog = Watchdog(window=5.0, deadline=1000.0)
    hung, slow = dog.watch(Slot("hung", "worker")), dog.watch(Slot("slow", "worker"))
    hung.advanced = 0.0
    for now in (5.0, 5.5, 8.0, 10.5):
        slow.advanced = now - 4.0
        dog.look(now)
        assert (dog.ended.is_set(), dog.stalls) == (False, [])
    dog.look(10.75)
    assert (dog.ended.is_set(), dog.overran) == (True, False)
    assert [stall["thread"] for stall in dog.stalls] == ["hung"]


def test_a_thread_that_comes_back_was_slow() -> None:
    dog = Watchdog(window=5.0, deadline=1000.0)
    first, second = dog.watch(Slot("first", "worker")), dog.watch(Slot("second", "worker"))
    first.advanced, second.advanced = 0.0, 5.0
    dog.look(6.0)
    first.advanced = 6.0
    second.advanced = 7.0
    dog.look(7.0)
    dog.look(11.9)
    assert (dog.ended.is_set(), dog.stalls) == (False, [])
    second.done = True
    dog.look(12.0)
    assert [stall["thread"] for stall in dog.stalls] == ["first"]


def test_at_the_deadline_the_slow_are_not_called_deadlocked() -> None:
    dog = Watchdog(window=5.0, deadline=100.0)
    hung, slow = dog.watch(Slot("hung", "worker")), dog.watch(Slot("slow", "worker"))
    hung.advanced, slow.advanced = 0.0, 99.0
    dog.look(100.0)
    assert (dog.ended.is_set(), dog.overran) == (False, False)
    dog.look(100.5)
    assert (dog.ended.is_set(), dog.overran) == (True, True)
    assert [stall["thread"] for stall in dog.stalls] == ["hung"]


def test_a_trial_in_which_everybody_is_done_is_left_alone_until_its_deadline() -> None:
    dog = Watchdog(window=5.0, deadline=100.0)
    dog.watch(Slot("done", "worker")).done = True
    dog.look(99.0)
    assert not dog.ended.is_set()
    dog.look(101.0)
    assert (dog.ended.is_set(), dog.overran, dog.stalls) == (True, True, [])


def test_its_thread_ends_with_the_trial() -> None:
    dog = Watchdog(window=5.0, deadline=time.monotonic() + 60)
    thread = threading.Thread(target=dog.run, name="watchdog", daemon=True)
    thread.start()
    dog.ended.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
