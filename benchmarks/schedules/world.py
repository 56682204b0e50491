"""What a program's body works with: threads side by side, a pause for the rest to settle.

A body runs unexplored, in one fixed order, so that the search is spent on what matters: only
within `together` are all orders possible.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from .outcome import Violation
from .scheduler import exploring
from .task import Task, Until, current

#: Seconds after which threads of the operating system's own count as stuck.
STUCK: Final = 10.0


def together(*functions: Callable[[], object], names: tuple[str, ...] = ()) -> list[Any]:
    """Run them side by side, each in a thread, in any order; what each returned or raised.

    Outside a run the threads are the operating system's own: that is how a finding is looked at
    with nothing controlled, and how seldom it comes by itself.
    """
    if current() is None:
        return _really_together(functions)
    results: list[Any] = [None] * len(functions)
    opened: list[bool] = []
    gate = Until(lambda: bool(opened), "the start")

    def work(number: int) -> None:
        me = _task()
        me.scheduler.block(me, gate, None)
        try:
            results[number] = functions[number]()
        except Exception as error:  # noqa: BLE001 - handed to the body, which judges it
            results[number] = error

    threads = [
        threading.Thread(
            target=work,
            args=(number,),
            name=names[number] if number < len(names) else f"T{number + 1}",
            daemon=True,
        )
        for number in range(len(functions))
    ]
    for thread in threads:
        thread.start()
    me = _task()
    tasks = [me.scheduler.by_thread[thread] for thread in threads]
    with exploring(True):
        opened.append(True)
        # One wait for all of them: a join for each would be choices that change nothing.
        me.scheduler.block(me, _End(tasks), None)
    for thread in threads:
        thread.join()
    return results


def _really_together(functions: tuple[Callable[[], object], ...]) -> list[Any]:
    """The same with real threads; a deadlock is one that has not ended by `STUCK`."""
    results: list[Any] = [None] * len(functions)
    barrier = threading.Barrier(len(functions))

    def work(number: int) -> None:
        barrier.wait(STUCK)
        try:
            results[number] = functions[number]()
        except Exception as error:  # noqa: BLE001 - handed to the body, which judges it
            results[number] = error

    threads = [
        threading.Thread(target=work, args=(number,), name=f"T{number + 1}", daemon=True)
        for number in range(len(functions))
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + STUCK
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    stuck = [thread.name for thread in threads if thread.is_alive()]
    if stuck:
        raise Violation("deadlocks", f"{', '.join(stuck)} did not end within {STUCK:.0f} s")
    return results


class _End:
    """Waiting until all of these have ended."""

    def __init__(self, tasks: list[Task]) -> None:
        self._tasks = tasks

    def ready(self) -> bool:
        return all(task.done for task in self._tasks)

    def describe(self, task: Task) -> str:
        return f"the end of {' and '.join(each.name for each in self._tasks if not each.done)}"

    def holder(self) -> Task | None:
        return None


class _Rest:
    """Waiting until nobody else can go on without time passing."""

    def __init__(self, me: Task) -> None:
        self._me = me

    def ready(self) -> bool:
        scheduler = self._me.scheduler
        return not any(
            task is not self._me and not task.done and task.is_ready(scheduler.now)
            for task in scheduler.tasks
        )

    def describe(self, task: Task) -> str:
        return "everybody else to rest"

    def holder(self) -> Task | None:
        return None


def rest() -> None:
    """Let everybody else go on until nobody can; no time passes."""
    task = _task()
    task.scheduler.block(task, _Rest(task), None)


def _task() -> Task:
    task = current()
    if task is None:
        raise RuntimeError("this works only within a run of the scheduler")
    return task
