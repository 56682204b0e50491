"""Starting, joining and asking after threads.

A thread that a task starts is a task. `Thread` itself stays the standard library's, so subclasses
made long before are fine: only what it calls to start, and `join` and `is_alive`, which look at the
operating system's thread, are replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import real
from .task import Task, Until, current


def start_new_thread(
    function: Callable[..., object], args: tuple[Any, ...] = (), kwargs: Any = None
) -> int:
    """In place of `_thread.start_new_thread`."""
    task = current()
    if task is None:
        if kwargs is None:
            return real.start_new_thread(function, args)
        return real.start_new_thread(function, args, kwargs)
    new = _spawn(task, lambda: function(*args, **(kwargs or {})), function, None)
    task.scheduler.point(task)
    return new.number


def start_joinable_thread(
    function: Callable[[], object], handle: Any = None, daemon: bool = True
) -> Any:
    """In place of `_thread.start_joinable_thread` (Python 3.13 and later)."""
    start = real.start_joinable_thread
    assert start is not None
    task = current()
    if task is None:
        return start(function, handle=handle, daemon=daemon)
    made: list[Any] = []

    def begin(main: Callable[[], None]) -> None:
        # Always a daemon: an abandoned task must not hold up the interpreter's exit.
        made.append(start(main, handle=handle, daemon=True))

    _spawn(task, function, function, begin)
    task.scheduler.point(task)
    return made[0]


def _spawn(
    task: Task,
    function: Callable[..., object],
    original: Callable[..., object],
    start: Callable[[Callable[[], None]], object] | None,
) -> Task:
    thread = getattr(original, "__self__", None)
    scheduler = task.scheduler
    name = getattr(thread, "name", None) or f"thread-{len(scheduler.tasks)}"
    new = scheduler.spawn(function, (), name, start)
    if thread is not None:
        new.thread = thread
        scheduler.by_thread[thread] = new
    return new


def join(thread: Any, timeout: float | None = None) -> None:
    """In place of `Thread.join`."""
    task = current()
    other = None if task is None else task.scheduler.by_thread.get(thread)
    if task is None or other is None or other is task:
        real.thread_join(thread, timeout)
        return
    scheduler = task.scheduler
    scheduler.point(task)
    if not other.done:
        wait = Until(lambda: other.done, f"the end of {other.name}")
        scheduler.block(task, wait, timeout)
    if other.done:
        # All that is left is the thread's last instructions: no wait worth the name.
        real.thread_join(thread, None)


def is_alive(thread: Any) -> bool:
    """In place of `Thread.is_alive`."""
    task = current()
    other = None if task is None else task.scheduler.by_thread.get(thread)
    if other is None:
        return real.thread_is_alive(thread)
    return not other.done
