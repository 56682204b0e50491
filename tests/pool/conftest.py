"""What every test of the pool has: a look at the threads and descriptors it left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.pool.peer import DEADLINE


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No thread and no file descriptor of amqpool outlives its test."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        threads = [each for each in threading.enumerate() if each.name.startswith("amqpool")]
        descriptors = len(os.listdir("/proc/self/fd"))
        if not threads and descriptors <= before:
            return
        time.sleep(0.005)  # polls, with the deadline above
    assert threads == []
    assert descriptors <= before


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """Poll until something holds, with a deadline."""

    def poll(holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < deadline, "it did not come true"
            time.sleep(0.002)  # polls, with the deadline above

    return poll


class Crowd:
    """Threads that start at one barrier; what each returned or raised is kept in order."""

    def __init__(self, count: int, work: Callable[[int], Any]) -> None:
        self.results: list[Any] = [None] * count
        self.errors: list[BaseException | None] = [None] * count
        self._barrier = threading.Barrier(count + 1)
        self._work = work
        self.threads = [
            threading.Thread(target=self._run, args=(number,), name=f"crowd-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        self._barrier.wait(DEADLINE)
        try:
            self.results[number] = self._work(number)
        except BaseException as error:  # noqa: BLE001 - the test looks at each
            self.errors[number] = error

    def go(self) -> None:
        self._barrier.wait(DEADLINE)

    def join(self, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        alive = [thread.name for thread in self.threads if thread.is_alive()]
        assert alive == []

    def run(self, timeout: float = 60.0) -> list[Any]:
        """Everything at once; raises what the first to fail raised."""
        self.go()
        self.join(timeout)
        for error in self.errors:
            if error is not None:
                raise error
        return self.results


@pytest.fixture
def crowd() -> type[Crowd]:
    return Crowd
