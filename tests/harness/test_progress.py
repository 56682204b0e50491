"""Progress: marks, held workers and the end of the load, with real threads and deadlines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.harness.progress import Progress, Slot

DEADLINE = 10.0


@contextmanager
def running(body: Callable[[], object], name: str) -> Iterator[threading.Thread]:
    """A thread that must have ended when the block does."""
    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    yield thread
    thread.join(DEADLINE)
    assert not thread.is_alive()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_slot_counts_what_it_is_told() -> None:
    slot = Slot("worker-0", "worker")
    slot.advanced = 0.0
    slot.begin("drain")
    assert slot.advanced == 0.0  # only coming back is progress
    assert slot.busy
    slot.end(False)
    assert slot.advanced > 0.0
    assert not slot.busy
    slot.begin("drain")
    slot.end(True)
    slot.begin("publish")
    told = slot.as_json()
    assert told.pop("advanced") == slot.advanced
    assert told == {
        "name": "worker-0",
        "kind": "worker",
        "operation": "publish",
        "busy": True,
        "done": False,
        "attempted": {"drain": 2, "publish": 1},
        "succeeded": {"drain": 1},
        "gave_up": None,
    }


def test_without_marks_nobody_waits() -> None:
    progress = Progress([], slack=0)
    assert progress.wait_for_mark() is False
    progress.hold(Slot("worker-0", "worker"))
    progress.advance(True)
    progress.advance(False)
    assert (progress.total, progress.succeeded) == (2, 1)


def test_the_last_success_is_remembered_and_a_failure_is_none() -> None:
    progress = Progress([], slack=0)
    progress.advance(False)
    assert not progress.succeeded_since(0.0)
    before = time.monotonic()
    progress.advance(True)
    assert progress.succeeded_since(before - 1.0)
    assert not progress.succeeded_since(time.monotonic())


def test_a_mark_wakes_whoever_waits_for_it() -> None:
    progress = Progress([2, 5], slack=10)
    answers: list[bool] = []

    def nemesis() -> None:
        while progress.wait_for_mark():
            answers.append(True)
            progress.clear_mark()
        answers.append(False)

    with running(nemesis, "nemesis"):
        progress.advance(True)
        progress.advance(False)  # what failed is over too
        until(lambda: answers == [True])
        for _ in range(3):
            progress.advance(True)
    assert answers == [True, True, False]


def test_a_worker_is_held_beyond_the_slack_until_the_mark_is_cleared() -> None:
    progress, slot = Progress([3], slack=2), Slot("worker-0", "worker")
    for _ in range(4):
        progress.advance(True)
        progress.hold(slot)  # up to slack - 1 beyond the mark nobody is held
    progress.advance(True)
    slot.advanced = 0.0
    with running(lambda: progress.hold(slot), "worker") as thread:
        # Held, and seen to be alive: the watchdog must not take it for stalled.
        until(lambda: slot.advanced > 0.0)
        assert thread.is_alive()
        progress.clear_mark()


def test_where_a_fault_takes_its_time_workers_go_on_at_a_trickle() -> None:
    progress, slot = Progress([3], slack=2, trickle=2), Slot("worker-0", "worker")
    for _ in range(5):
        progress.advance(True)
    for _ in range(2):
        slot.advanced = 0.0
        progress.hold(slot)  # let go, but not at once
        assert slot.advanced > 0.0
        progress.advance(True)
    with running(lambda: progress.hold(slot), "worker") as thread:
        slot.advanced = 0.0
        until(lambda: slot.advanced > 0.0)
        assert thread.is_alive()
        progress.clear_mark()


def test_the_end_of_the_load_holds_no_worker() -> None:
    progress, slot = Progress([3], slack=0), Slot("worker-0", "worker")
    for _ in range(5):
        progress.advance(True)
    slot.advanced = 0.0
    with running(lambda: progress.hold(slot), "worker") as thread:
        until(lambda: slot.advanced > 0.0)
        assert thread.is_alive()
        progress.finish()


def test_the_end_of_the_load_ends_the_wait_for_a_mark() -> None:
    progress, answers = Progress([1000], slack=0), list[bool]()
    with running(lambda: answers.append(progress.wait_for_mark()), "nemesis") as thread:
        thread.join(0.05)
        assert thread.is_alive()
        progress.finish()
    assert (answers, progress.over) == ([False], True)


def test_a_wait_ends_with_its_time_or_with_the_load() -> None:
    progress = Progress([], slack=0)
    started = time.monotonic()
    assert not progress.wait(0.05)
    assert time.monotonic() - started >= 0.05
    with running(lambda: progress.wait(600.0), "waiter"):
        progress.finish()
    assert progress.wait(600.0)


def test_whether_a_mark_is_reached() -> None:
    progress = Progress([2], slack=10)
    progress.advance(True)
    assert not progress.at_mark()
    progress.advance(False)
    assert progress.at_mark()
    progress.clear_mark()
    assert not progress.at_mark()
