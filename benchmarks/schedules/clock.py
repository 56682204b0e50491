"""The clock of tasks: virtual seconds, and sleeps that cost none.

A thread that is no task reads the real clock and really sleeps. `datetime.now` and file times are
the real ones for everybody: they are read in C.
"""

from __future__ import annotations

from typing import Final

from . import real
from .task import current

#: What `time.time` shows at the start of a run: 14 November 2023, the same in each run.
EPOCH: Final = 1_700_000_000.0
#: What `time.monotonic` shows at the start: not 0, which would hide a wrong "never yet".
UPTIME: Final = 1_000.0


def sleep(seconds: float) -> None:
    task = current()
    if task is None:
        real.sleep(seconds)
        return
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    task.scheduler.sleep(task, seconds)


def monotonic() -> float:
    task = current()
    return real.monotonic() if task is None else UPTIME + task.scheduler.read_clock()


def monotonic_ns() -> int:
    task = current()
    return real.monotonic_ns() if task is None else int(monotonic() * 1e9)


def wall() -> float:
    task = current()
    return real.wall() if task is None else EPOCH + task.scheduler.read_clock()


def wall_ns() -> int:
    task = current()
    return real.wall_ns() if task is None else int(wall() * 1e9)


def perf_counter() -> float:
    task = current()
    return real.perf_counter() if task is None else UPTIME + task.scheduler.read_clock()


def perf_counter_ns() -> int:
    task = current()
    return real.perf_counter_ns() if task is None else int(perf_counter() * 1e9)
