"""SimpleQueue, which is written in C and blocks where no lock can be seen.

`queue.Queue` and its kin need nothing: they stand on locks.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from . import real
from .task import Task, Until, current

#: Real seconds between two looks of a thread that is no task and waits for an item.
LOOK: Final = 0.001


class SimpleQueue:
    """In place of `queue.SimpleQueue`; a thread that is no task and makes one gets the real one."""

    def __new__(cls) -> Any:
        return real.SimpleQueue() if current() is None else object.__new__(cls)

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._wait = Until(lambda: bool(self._items), "an item of a SimpleQueue")

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        task = current()
        if task is not None:
            task.scheduler.point(task)
        self._items.append(item)

    def put_nowait(self, item: Any) -> None:
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        task = current()
        if task is not None:
            self._get_ready(task, block, timeout)
        elif block:
            self._really_wait(timeout)
        if not self._items:
            raise real.Empty
        return self._items.popleft()

    def _get_ready(self, task: Task, block: bool, timeout: float | None) -> None:
        task.scheduler.point(task)
        if block and not self._items:
            task.scheduler.block(task, self._wait, timeout)

    def _really_wait(self, timeout: float | None) -> None:
        deadline = None if timeout is None else real.monotonic() + timeout
        while not self._items and (deadline is None or real.monotonic() < deadline):
            real.sleep(LOOK)

    def get_nowait(self) -> Any:
        return self.get(False)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)
