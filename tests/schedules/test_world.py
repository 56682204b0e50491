"""The cooperative world: what the standard library does with real threads, it does here."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import queue
import random
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from time import monotonic as captured_monotonic
from typing import Any

import pytest

from benchmarks.schedules.program import Program, Runner
from benchmarks.schedules.strategies import Default
from benchmarks.schedules.world import rest, together
from tests.schedules.running import often, once

HERE = __file__
MADE_AT_IMPORT = threading.Lock()
RLOCK_AT_IMPORT = threading.RLock()
EVENT_AT_IMPORT = threading.Event()
CONDITION_AT_IMPORT = threading.Condition()
SEMAPHORE_AT_IMPORT = threading.Semaphore(1)


class Holder:
    lock = threading.Lock()


class Worker(threading.Thread):
    """A subclass made at import."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(name="worker")
        self.work = work
        self.done = False

    def run(self) -> None:
        self.work()
        self.done = True


def count_to(many: int, lock: Any) -> Callable[[], None]:
    """Two threads count under a lock: each count must be seen."""

    def body() -> None:
        counts = {"n": 0}

        def work() -> None:
            for _ in range(many):
                with lock() if callable(lock) else lock:
                    seen = counts["n"]
                    counts["n"] = seen + 1

        together(work, work)
        assert counts["n"] == 2 * many

    return body


def test_the_same_count_without_a_lock_is_wrong_in_some_order() -> None:
    import contextlib

    with pytest.raises(AssertionError):
        often(count_to(2, contextlib.nullcontext), HERE)


@pytest.mark.parametrize("kind", ["lock", "rlock", "class", "semaphore", "condition"])
def test_a_lock_made_at_import_excludes(kind: str) -> None:
    locks = {
        "lock": lambda: MADE_AT_IMPORT,
        "rlock": lambda: RLOCK_AT_IMPORT,
        "class": lambda: Holder.lock,
        "semaphore": lambda: SEMAPHORE_AT_IMPORT,
        "condition": lambda: CONDITION_AT_IMPORT,
    }
    before = locks[kind]()
    often(count_to(2, locks[kind]), HERE)
    assert locks[kind]() is before


def test_an_event_made_at_import_wakes() -> None:
    def body() -> None:
        EVENT_AT_IMPORT.clear()
        results = together(EVENT_AT_IMPORT.set, lambda: EVENT_AT_IMPORT.wait(5))
        assert results == [None, True]

    often(body, HERE)
    assert not EVENT_AT_IMPORT.is_set()


def test_an_rlock_is_entered_again_by_its_owner_and_released_by_no_other() -> None:
    def body() -> None:
        lock = threading.RLock()
        with lock, lock:
            assert together(lambda: lock.acquire(False), lock.release)[0] is False
        assert isinstance(together(lock.release)[0], RuntimeError)

    often(body, HERE, runs=5)


@pytest.mark.parametrize(
    ("timeout", "results"), [(None, [None, b"hello"]), (3600, [None, b"hello"])]
)
def test_a_socketpair_with_and_without_timeout(timeout: float | None, results: list[Any]) -> None:
    def body() -> None:
        one, other = socket.socketpair()
        other.settimeout(timeout)
        assert together(lambda: one.sendall(b"hello"), lambda: other.recv(10)) == results
        one.close()
        assert other.recv(10) == b""
        with pytest.raises(BrokenPipeError):
            other.send(b"x")
        other.close()

    often(body, HERE)


def test_a_read_from_a_socketpair_times_out() -> None:
    def body() -> None:
        one, other = socket.socketpair()
        other.settimeout(3600)
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            other.recv(1)
        assert 3600 <= time.monotonic() - before < 3601
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        one.close()

    assert once(body).finding is None


def test_a_write_blocks_while_nobody_reads() -> None:
    def body() -> None:
        one, other = socket.socketpair()
        data = bytes(200_000)
        got = bytearray()

        def read() -> None:
            while len(got) < len(data):
                got.extend(other.recv(50_000))

        together(lambda: one.sendall(data), read)
        assert got == data
        one.setblocking(False)
        assert one.send(data) < len(data)
        with pytest.raises(BlockingIOError):
            one.send(data)

    often(body, HERE, runs=5)


def test_poll_select_and_selectors_see_the_sockets() -> None:
    def body() -> None:
        one, other = socket.socketpair()
        poll = select.poll()
        poll.register(other.fileno(), select.POLLIN)
        assert poll.poll(3_600_000) == []
        selector = selectors.DefaultSelector()
        selector.register(other, selectors.EVENT_READ, "data")
        assert together(lambda: one.send(b"x"), lambda: poll.poll())[1] == [
            (other.fileno(), select.POLLIN)
        ]
        assert [key.data for key, _ in selector.select(5)] == ["data"]
        assert select.select([other], [one], [], 0) == ([other], [one], [])
        selector.close()

    often(body, HERE, runs=5)


def test_a_pipe_wakes_who_waits_for_it_and_its_sockets() -> None:
    """As a reader of sockets is told to stop."""

    def body() -> None:
        one, _other = socket.socketpair()
        waking, told = os.pipe()
        os.set_blocking(waking, False)
        with pytest.raises(BlockingIOError):
            os.read(waking, 1)
        selector = selectors.DefaultSelector()
        for each in (one, waking):
            selector.register(each, selectors.EVENT_READ)
        assert selector.select(3_600) == []
        results = together(lambda: os.write(told, b"xy"), lambda: selector.select())
        assert results[0] == 2
        assert [key.fd for key, _ in results[1]] == [waking]
        assert os.read(waking, 100) == b"xy"
        os.close(told)
        assert os.read(waking, 100) == b""
        os.close(waking)
        for call in (lambda: os.read(waking, 1), lambda: os.close(waking)):
            with pytest.raises(OSError, match="Bad file descriptor"):
                call()

    often(body, HERE, runs=5)


def test_a_descriptor_of_the_kernel_is_still_one() -> None:
    def body() -> None:
        real = os.open(os.devnull, os.O_RDWR)
        os.set_blocking(real, True)
        assert os.write(real, b"gone") == 4
        assert os.read(real, 10) == b""
        os.close(real)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.read(real, 1)

    assert once(body).finding is None


def test_a_task_may_not_wait_for_a_descriptor_of_the_kernel() -> None:
    def body() -> None:
        with pytest.raises(OSError, match="no socket of this run"):
            select.poll().register(0)

    assert once(body).finding is None


@pytest.mark.parametrize(
    "make", [lambda: SimpleQueue(), lambda: queue.SimpleQueue(), lambda: queue.Queue()]
)
def test_queues_also_when_captured_by_from_import(make: Callable[[], Any]) -> None:
    def body() -> None:
        items = make()

        def consume() -> list[int]:
            return [items.get(timeout=60) for _ in range(3)]

        def produce() -> None:
            for number in range(3):
                items.put(number)

        assert together(consume, produce)[0] == [0, 1, 2]
        with pytest.raises(queue.Empty):
            items.get(timeout=3600)
        with pytest.raises(queue.Empty):
            items.get_nowait()

    often(body, HERE)


def test_event_barrier_and_condition_time_out_on_the_virtual_clock() -> None:
    def body() -> None:
        began = captured_monotonic()
        assert not threading.Event().wait(3600)
        with pytest.raises(threading.BrokenBarrierError):
            threading.Barrier(2).wait(3600)
        condition = threading.Condition()
        with condition:
            assert not condition.wait(3600)
            assert not condition.wait_for(lambda: False, 3600)
        assert not threading.Semaphore(0).acquire(timeout=3600)
        lock = threading.Lock()
        assert lock.acquire()
        assert not lock.acquire(timeout=3600)
        assert 6 * 3600 <= captured_monotonic() - began < 6 * 3600 + 1

    assert once(body).finding is None


def test_a_barrier_and_a_condition_bring_threads_together() -> None:
    def body() -> None:
        barrier = threading.Barrier(3)
        condition = threading.Condition()
        ready: list[int] = []

        def meet() -> int:
            barrier.wait(60)
            with condition:
                ready.append(1)
                condition.notify_all()
                assert condition.wait_for(lambda: len(ready) == 3, 60)
            return len(ready)

        assert together(meet, meet, meet) == [3, 3, 3]

    often(body, HERE)


def test_an_hour_passes_in_no_time_and_all_clocks_agree() -> None:
    def body() -> None:
        before = time.monotonic(), time.time(), time.perf_counter(), time.monotonic_ns() / 1e9
        time.sleep(3600)
        after = time.monotonic(), time.time(), time.perf_counter(), time.monotonic_ns() / 1e9
        for old, new in zip(before, after, strict=True):
            assert 3600 <= new - old < 3601

    began = time.monotonic()
    assert once(body).finding is None
    assert time.monotonic() - began < 30


def test_who_sleeps_longer_wakes_later() -> None:
    def body() -> None:
        order: list[int] = []

        def sleeper(seconds: int) -> Callable[[], None]:
            def sleep() -> None:
                time.sleep(seconds)
                order.append(seconds)

            return sleep

        together(sleeper(3), sleeper(1), sleeper(2))
        assert order == [1, 2, 3]

    often(body, HERE)


def test_threads_made_inside_are_joined_and_seen_alive() -> None:
    def body() -> None:
        gate = threading.Event()
        thread = threading.Thread(target=gate.wait, args=(3600,))
        assert not thread.is_alive()
        thread.start()
        assert thread.is_alive()
        thread.join(1)
        assert thread.is_alive()
        gate.set()
        thread.join()
        assert not thread.is_alive()

    often(body, HERE, runs=5)


def test_a_subclass_of_thread_made_at_import() -> None:
    def body() -> None:
        inner = Worker(lambda: time.sleep(1))
        outer = Worker(lambda: (inner.start(), inner.join(), None))
        outer.start()
        outer.join(60)
        assert outer.done
        assert inner.done
        assert threading.current_thread() is not outer

    often(body, HERE, runs=5)


def test_thread_locals_are_each_threads_own() -> None:
    def body() -> None:
        local = threading.local()

        def work(number: int) -> Callable[[], int]:
            def mine() -> int:
                local.number = number
                time.sleep(0.1)
                return int(local.number)

            return mine

        assert together(work(1), work(2)) == [1, 2]

    often(body, HERE)


def test_two_threads_log_each_line_whole(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("schedules")
    caplog.set_level(logging.INFO, "schedules")

    class Slow:
        def __str__(self) -> str:
            return "slow"

    def body() -> None:
        caplog.clear()
        log = lambda: [logger.info("%s", Slow()) for _ in range(3)]  # noqa: E731
        together(log, log)
        assert [record.getMessage() for record in caplog.records] == ["slow"] * 6

    often(body, HERE)


def test_what_a_logger_remembers_is_no_difference_between_runs() -> None:
    """The first to ask whether a level is on takes a lock, and then it is known."""
    logger = logging.getLogger("amqpool.test.remembers")

    def body() -> None:
        together(lambda: logger.debug("x"), lambda: None)

    with Runner(Program("asks", body, (HERE,), granularity="sync")) as runner:
        assert len({runner.run(Default()).steps for _ in range(3)}) == 1


def test_a_thread_pool_executor() -> None:
    def body() -> None:
        with ThreadPoolExecutor(2) as executor:
            futures = [executor.submit(pow, number, 2) for number in range(4)]
            done, _ = concurrent.futures.wait(futures, timeout=60)
            assert len(done) == 4
            assert list(executor.map(abs, [-1, -2])) == [1, 2]

    often(body, HERE, runs=10)


def test_chance_is_the_same_in_each_run() -> None:
    seen: list[Any] = []

    def body() -> None:
        seen.append((random.random(), random.Random().random(), random.Random(5).random()))

    once(body)
    once(body)
    assert seen[0] == seen[1]
    assert random.Random().random() != random.Random().random()


def test_rest_lets_the_others_go_on_and_time_stand_still() -> None:
    def body() -> None:
        done: list[int] = []
        gate = threading.Event()

        def work() -> None:
            gate.wait(3600)
            done.append(1)
            time.sleep(3600)
            done.append(2)

        threading.Thread(target=work, daemon=True).start()
        began = time.monotonic()
        gate.set()
        rest()
        assert done == [1]
        assert time.monotonic() - began < 1

    assert once(body).finding is None


def test_a_thread_that_is_no_task_gets_the_real_things() -> None:
    seen: dict[str, Any] = {}
    asked, answered = threading.Lock(), threading.Lock()
    asked.acquire()
    answered.acquire()

    def outsider() -> None:
        asked.acquire()
        seen["lock"] = type(threading.Lock())
        seen["queue"] = type(SimpleQueue())
        seen["socket"] = socket.socket()
        seen["time"] = time.time()
        seen["pipe"] = os.pipe()
        answered.release()

    real = type(threading.Lock()), type(SimpleQueue()), socket.socket
    thread = threading.Thread(target=outsider)
    thread.start()

    def body() -> None:
        asked.release()
        # A real lock, held since before the world was patched: it blocks this task for real.
        answered.acquire()

    assert once(body).finding is None
    thread.join(10)
    assert not thread.is_alive()
    assert (seen["lock"], seen["queue"]) == real[:2]
    assert type(seen["socket"]) is real[2]
    assert abs(seen["time"] - time.time()) < 60
    seen["socket"].close()
    for each in seen["pipe"]:
        os.close(each)
