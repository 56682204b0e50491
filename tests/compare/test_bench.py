"""The clock and its crew: all threads do their part, and an error is told and leaves no thread."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from benchmarks.harness.speed.bench import Bench, CrewError

THREADS = 8


def bench() -> Bench:
    """One that has a clock and no broker."""
    return Bench.__new__(Bench)


def crew() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("crew-")]


def nothing(mine: Any) -> None:
    """Nothing to prepare for, or to finish."""


def test_the_clock_runs_from_the_last_that_is_ready_to_the_last_that_is_done() -> None:
    ready: list[int] = []
    worked: list[tuple[int, int]] = []
    finished: list[int] = []

    def prepare(number: int) -> int:
        time.sleep(0.1)
        ready.append(number)
        return number

    def work(number: int, mine: int) -> None:
        assert len(ready) == THREADS
        assert not finished
        time.sleep(0.05 if number else 0.2)
        worked.append((number, mine))

    sample = bench().timed(3, THREADS, prepare, work, finished.append)
    assert sorted(worked) == [(n, n) for n in range(THREADS)]
    assert sorted(finished) == list(range(THREADS))
    assert sample.operations == 3
    # The slowest of them, and what was prepared before is not in it.
    assert sample.seconds >= 0.2
    assert crew() == []


@pytest.mark.parametrize("step", ["prepare", "work", "finish"])
def test_an_error_of_one_thread_is_the_bench_s_and_leaves_no_thread(step: str) -> None:
    finished: list[Any] = []

    def fail(number: int) -> None:
        if number == 3:
            raise LookupError(f"broken in {step}")

    def prepare(number: int) -> int:
        if step == "prepare":
            fail(number)
        return number

    def work(number: int, mine: int) -> None:
        if step == "work":
            fail(number)

    def finish(mine: int) -> None:
        if step == "finish":
            fail(mine)
        finished.append(mine)

    with pytest.raises(CrewError, match=f"^LookupError: broken in {step}$") as caught:
        bench().timed(1, THREADS, prepare, work, finish)
    # Between it and the thread's own error there may be what the main thread made of that.
    root: BaseException | None = caught.value
    while root is not None and root.__cause__ is not None:
        root = root.__cause__
    assert type(root) is LookupError
    deadline = time.monotonic() + 5.0
    while crew() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert crew() == []
    assert 3 not in finished


def test_an_error_beside_the_crew_ends_it_as_well() -> None:
    def meanwhile() -> None:
        raise OSError("the proxy is gone")

    with pytest.raises(CrewError, match="the proxy is gone"):
        bench().timed(1, THREADS, int, lambda number, mine: None, nothing, meanwhile=meanwhile)
    deadline = time.monotonic() + 5.0
    while crew() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert crew() == []
