"""Locks that hand over the turn instead of blocking the thread.

`Lock` and `RLock` are all that is replaced: Condition, Event, Semaphore, Barrier, Queue and the
rest of the standard library are built on them and become cooperative as they are. Inside, each has
a real lock, taken without waiting: so a thread that is no task can use it too, and mutual exclusion
holds whoever comes. A thread that is no task and *makes* one gets the real thing.
"""

from __future__ import annotations

import linecache
import sys
from typing import Any, Final

from . import real
from .task import Place, Task, current, place_of

#: `timeout` of an acquire that has none.
FOR_EVER: Final = -1


class Lock:
    """In place of `threading.Lock`."""

    __slots__ = ("__weakref__", "_made", "_owner", "_real")

    def __new__(cls) -> Any:
        if current() is None:
            return real.allocate_lock()
        return object.__new__(cls)

    def __init__(self) -> None:
        self._real = real.allocate_lock()
        self._owner: Task | None = None
        #: Where it was made, or what it is called.
        self._made: Place | str | None = _maker()

    @classmethod
    def standing_in(cls, name: str) -> Lock:
        """One for a real lock that was made before anything was patched, under that name."""
        lock: Lock = object.__new__(cls)
        lock.__init__()  # type: ignore[misc]
        lock._made = name
        return lock

    def acquire(self, blocking: bool = True, timeout: float = FOR_EVER) -> bool:
        task = current()
        if task is None:
            return self._real.acquire(blocking, timeout)
        _check(blocking, timeout)
        scheduler = task.scheduler
        scheduler.point(task)
        if not self._real.acquire(False):
            if not blocking:
                return False
            if not scheduler.block(task, self, None if timeout < 0 else timeout):
                return False
            # It is free, and nobody else has run since: this cannot fail.
            self._real.acquire(False)
        self._owner = task
        return True

    def release(self) -> None:
        task = current()
        if task is not None and task.abandoned:
            _let_go(self)
            return
        self._real.release()
        self._owner = None
        if task is not None:
            task.scheduler.point(task)

    def locked(self) -> bool:
        return self._real.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nobody holds it any more: those who did have ended."""
        self._real = real.allocate_lock()
        self._owner = None

    # -- as something to wait for ----------------------------------------------------------------

    def ready(self) -> bool:
        return not self._real.locked()

    def describe(self, task: Task) -> str:
        if self._owner is task:
            return f"a notification{_at(self._made)}"
        return f"{_name(self._made)}{_at(self._made)}"

    def holder(self) -> Task | None:
        return self._owner

    def __repr__(self) -> str:
        return f"<{'locked' if self.locked() else 'unlocked'} Lock{_at(self._made)}>"


class RLock:
    """In place of `threading.RLock`."""

    __slots__ = ("__weakref__", "_count", "_made", "_owner", "_real", "_task")

    def __new__(cls) -> Any:
        if current() is None:
            return real.RLockType()
        return object.__new__(cls)

    def __init__(self) -> None:
        #: Where it was made, or what it is called.
        self._made: Place | str | None = _maker()
        self.reset()

    @classmethod
    def standing_in(cls, name: str) -> RLock:
        """One for a real lock that was made before anything was patched, under that name."""
        lock: RLock = object.__new__(cls)
        lock.__init__()  # type: ignore[misc]
        lock._made = name
        return lock

    def reset(self) -> None:
        """Nobody holds it any more: those who did have ended."""
        self._real = real.allocate_lock()
        self._owner = 0
        self._task: Task | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = FOR_EVER) -> bool:
        me = real.get_ident()
        if self._owner == me:
            self._count += 1
            return True
        task = current()
        if task is None:
            if not self._real.acquire(blocking, timeout):
                return False
        else:
            _check(blocking, timeout)
            scheduler = task.scheduler
            scheduler.point(task)
            if not self._real.acquire(False):
                if not blocking:
                    return False
                if not scheduler.block(task, self, None if timeout < 0 else timeout):
                    return False
                self._real.acquire(False)
        self._owner = me
        self._task = task
        self._count = 1
        return True

    def release(self) -> None:
        task = current()
        if self._owner != real.get_ident():
            if task is not None and task.abandoned:
                return
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = 0
            self._task = None
            self._real.release()
            if task is not None:
                task.scheduler.point(task)

    def locked(self) -> bool:
        return self._real.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self.reset()

    # -- what Condition asks of it -----------------------------------------------------------------

    def _is_owned(self) -> bool:
        return self._owner == real.get_ident()

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _release_save(self) -> tuple[int, int]:
        saved = self._count, self._owner
        if self._is_owned():
            self._count = 1
        self.release()
        return saved

    def _acquire_restore(self, saved: tuple[int, int]) -> None:
        self.acquire()
        self._count = saved[0]

    # -- as something to wait for ----------------------------------------------------------------

    def ready(self) -> bool:
        return not self._real.locked()

    def describe(self, task: Task) -> str:
        return f"{_name(self._made)}{_at(self._made)}"

    def holder(self) -> Task | None:
        return self._task

    def __repr__(self) -> str:
        return f"<{'locked' if self.locked() else 'unlocked'} RLock{_at(self._made)}>"


def _check(blocking: bool, timeout: float) -> None:
    """The arguments, as the real locks want them."""
    if not blocking and timeout != FOR_EVER:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if timeout < 0 and timeout != FOR_EVER:
        raise ValueError("timeout value must be a non-negative number")


def _let_go(lock: Lock) -> None:
    """Release in clean-up code that may not hold the lock: its wait for it was cut short."""
    if lock._real.locked():
        lock._owner = None
        lock._real.release()


def _maker() -> Place | None:
    return place_of(sys._getframe(2), lambda _file: False)


def _name(made: Place | str | None) -> str:
    """What the lock is called; where it was made, the left side of the assignment says it."""
    if isinstance(made, str):
        return f"the lock {made}"
    if made is not None:
        left, equals, _right = linecache.getline(made.file, made.line).partition("=")
        if equals:
            return f"the lock {left.partition(':')[0].strip()}"
    return "a lock"


def _at(made: Place | str | None) -> str:
    return f" (made in {made.function}, line {made.line})" if isinstance(made, Place) else ""
