"""The scheduler: its verdicts are exact, and it leaves nothing behind, whatever happens."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from benchmarks.schedules import patches, real, scheduler
from benchmarks.schedules.outcome import SchedulerFailure, Violation
from benchmarks.schedules.patches import originals_in_place, patched
from benchmarks.schedules.program import Program, Runner
from benchmarks.schedules.strategies import Default
from benchmarks.schedules.task import current
from benchmarks.schedules.world import together
from tests.schedules.running import often, once

# -- verdicts --------------------------------------------------------------------------------


def test_a_body_that_does_nothing_is_clean() -> None:
    outcome = once(lambda: None)
    assert (outcome.finding, outcome.steps, outcome.choices) == (None, 0, [])
    assert (outcome.leaked, outcome.diverged) == (0, False)


def test_a_deadlock_is_found_with_who_waits_for_what_held_by_whom() -> None:
    def body() -> None:
        first, second = threading.Lock(), threading.Lock()
        first.acquire()

        def wait_for_both() -> None:
            second.acquire()
            first.acquire()

        together(wait_for_both, names=("worker",))

    finding = once(body).finding
    assert finding is not None
    assert finding.invariant == "deadlocks"
    rows = finding.detail.splitlines()
    assert rows[0] == "no thread can go on:"
    assert rows[1].startswith("  main waits for the end of worker at test_scheduler.py:")
    assert rows[2].startswith("  worker waits for the lock first, second (made in ")
    assert ", held by main at test_scheduler.py:" in rows[2]
    assert len(rows) == 3


def test_a_lock_whose_holder_has_ended_is_told_as_such() -> None:
    def body() -> None:
        lock = threading.Lock()
        together(lock.acquire, names=("gone",))
        lock.acquire()

    finding = once(body).finding
    assert finding is not None
    assert "held by gone (ended)" in finding.detail


def test_a_wait_for_a_notification_that_never_comes_is_a_deadlock() -> None:
    finding = once(lambda: threading.Event().wait()).finding
    assert finding is not None
    assert (finding.invariant, "waits for a notification" in finding.detail) == ("deadlocks", True)


def with_a_ticking_thread(body: Any) -> Any:
    """Beside it, a background thread whose timer runs out again and again."""

    def both() -> None:
        def tick() -> None:
            while True:
                time.sleep(60)

        threading.Thread(target=tick, name="ticking", daemon=True).start()
        body()

    return both


def test_a_circle_is_a_deadlock_although_background_timers_run() -> None:
    def body() -> None:
        first, second = threading.Lock(), threading.RLock()
        first.acquire()

        def wait_for_both() -> None:
            with second:
                first.acquire()

        thread = threading.Thread(target=wait_for_both, name="worker", daemon=True)
        thread.start()
        time.sleep(1)
        second.acquire()

    finding = once(with_a_ticking_thread(body)).finding
    assert finding is not None
    assert finding.invariant == "deadlocks"
    assert finding.detail.startswith("threads wait for each other:\n  main waits for")


def test_a_long_chain_or_a_timed_circle_is_no_deadlock() -> None:
    def body() -> None:
        first, second = threading.Lock(), threading.Lock()
        first.acquire()

        def chain() -> None:
            with second, first:
                pass

        thread = threading.Thread(target=chain, daemon=True)
        thread.start()
        time.sleep(1)
        assert not second.acquire(timeout=1)
        first.release()
        second.acquire()
        thread.join()

    assert once(with_a_ticking_thread(body)).finding is None


def test_a_horizon_ends_a_run_in_which_only_idle_timers_are_left() -> None:
    def body() -> None:
        threading.Event().wait()

    program = Program("test", with_a_ticking_thread(body), (), "sync", horizon=3600)
    with Runner(program) as runner:
        finding = runner.run(Default()).finding
    assert finding is not None
    assert finding.invariant == "deadlocks"
    assert finding.detail.startswith("only background timers run out any more, for 3600 s:\n")


def test_as_long_as_a_timer_runs_there_is_no_deadlock() -> None:
    assert once(lambda: threading.Event().wait(1e6)).finding is None


def test_a_background_thread_that_waits_for_ever_is_no_deadlock() -> None:
    def body() -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    outcome = once(body)
    assert (outcome.finding, outcome.leaked) == (None, 0)


def test_a_livelock_is_found_by_the_bound_on_steps() -> None:
    def body() -> None:
        lock = threading.Lock()

        def spin() -> None:
            while True:
                with lock:
                    pass

        together(spin)

    outcome = once(body, max_steps=500)
    assert outcome.finding is not None
    assert outcome.finding.invariant == "livelocks"
    assert outcome.steps == 501
    assert outcome.leaked == 0


@pytest.mark.parametrize(
    ("error", "invariant"),
    [
        (ValueError("x"), "unexpected_errors"),
        (KeyError(None), "keyerror_none"),
        (KeyError("None"), "unexpected_errors"),
        (Violation("double_releases", "twice"), "double_releases"),
    ],
)
def test_an_exception_that_leaves_a_thread_is_a_finding(error: Exception, invariant: str) -> None:
    def fail() -> None:
        raise error

    def body() -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    for each in (fail, body):
        finding = once(each).finding
        assert finding is not None
        assert finding.invariant == invariant


def test_the_end_of_a_thread_by_system_exit_is_no_finding() -> None:
    def body() -> None:
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()

    assert once(body).finding is None


def test_the_lock_of_an_order_in_which_nobody_can_break_it_is_clean() -> None:
    def body() -> None:
        first, second = threading.Lock(), threading.Lock()

        def both() -> None:
            with first, second:
                pass

        together(both, both, both)

    often(body, __file__)


# -- the real thing, whatever happens ------------------------------------------------------------


def test_nothing_stays_patched_after_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scheduler.Scheduler, "_watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        once(lambda: threading.Event().wait())
    assert originals_in_place()


def test_an_interrupt_by_the_keyboard_ends_a_run_that_goes_on_for_ever() -> None:
    def body() -> None:
        lock = threading.Lock()

        def spin() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                with lock:
                    pass

        together(spin, spin)

    with pytest.raises(KeyboardInterrupt):
        once(body, max_steps=10**9)
    assert originals_in_place()


def test_nothing_stays_patched_when_the_patching_itself_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    sweep = patches.Patches._sweep

    def fails(self: Any, *args: Any) -> None:
        calls.append(1)
        if len(calls) > 50:
            raise MemoryError
        sweep(self, *args)

    monkeypatch.setattr(patches.Patches, "_sweep", fails)
    with pytest.raises(MemoryError), patched():
        pass
    assert originals_in_place()


def test_nothing_stays_patched_when_the_tracer_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = Runner(Program("test", lambda: None, ()))

    class Broken:
        def open(self) -> None:
            raise RuntimeError("no tool")

    monkeypatch.setattr(runner, "_tracer", Broken())
    with pytest.raises(RuntimeError, match="no tool"), runner:
        pass
    assert originals_in_place()


def test_the_sweep_does_replace_what_it_restores() -> None:
    with patched():
        assert not originals_in_place()
        assert not gc.isenabled()
    assert originals_in_place()


def test_a_task_that_blocks_for_real_is_the_schedulers_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "STALL", 0.2)
    monkeypatch.setattr(scheduler, "LEAVE", 0.1)
    lock = real.allocate_lock()
    lock.acquire()

    def blocks_outside() -> None:
        lock.acquire()

    with pytest.raises(SchedulerFailure, match=r"(?s)blocks outside.*blocks_outside"):
        once(blocks_outside)
    assert originals_in_place()
    lock.release()


def test_schedulers_cannot_be_nested() -> None:
    def body() -> None:
        with pytest.raises((SchedulerFailure, RuntimeError)):
            once(lambda: None)

    assert once(body).finding is None


def test_an_abandoned_task_runs_its_clean_up_and_ends() -> None:
    cleaned: list[str] = []

    def body() -> None:
        lock = threading.Lock()
        condition = threading.Condition()

        def waits() -> None:
            try:
                with lock, condition:
                    condition.wait()
            finally:
                with lock:
                    cleaned.append("waits")

        threading.Thread(target=waits, daemon=True).start()

    outcome = once(body)
    assert (outcome.finding, outcome.leaked, cleaned) == (None, 0, ["waits"])


def test_one_that_swallows_its_end_is_left_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "LEAVE", 0.2)
    stop: list[int] = []
    tasks: list[Any] = []

    def stubborn() -> None:
        tasks.append(current())
        while not stop:
            try:
                time.sleep(1)
            except BaseException:  # noqa: BLE001, S112 - it is what is tested
                continue

    def body() -> None:
        threading.Thread(target=stubborn, daemon=True).start()

    with pytest.raises(SchedulerFailure, match="1 threads swallowed their end"):
        once(body)
    stop.append(1)
    tasks[0].gate.release()


def test_runs_of_one_world_do_not_know_of_each_other() -> None:
    names: list[str] = []

    def body() -> None:
        thread = threading.Thread(target=lambda: names.append(threading.current_thread().name))
        thread.start()
        thread.join()
        names.append(f"{time.monotonic():.3f}")

    with Runner(Program("test", body, ())) as runner:
        for _ in range(3):
            runner.run(Default())
    assert len(set(names[::2])) == 1
    assert len(set(names[1::2])) == 1
