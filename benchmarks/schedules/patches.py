"""Puts the cooperative world in place of the real one, and takes every piece of it back.

It owns the list of what was replaced. The rule is one sweep: wherever a loaded module's namespace
holds one of the originals, under whatever name (`from queue import SimpleQueue`, `from time import
monotonic as clock`), it gets the stand-in. Locks that were made at import, which no stand-in can
reach, are exchanged themselves, as are the handlers' locks of logging. Everything replaced is
written down before it is replaced and restored in `finally`, in reverse order, also when the sweep
itself fails: a process that stays patched would break whatever runs next in it.

Threads that are no tasks notice nothing: each stand-in does the real thing for them.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from . import clock, locks, pipes, polling, queues, real, sockets, threads
from .task import active, current

#: Never swept: our own modules, and what runs us. `threading` keeps its own locks, under which
#: nothing can be interrupted; the names in it are replaced all the same.
UNTOUCHED: Final = (__name__.rpartition(".")[0], "_pytest", "pluggy", "importlib", "_frozen_import")
KEEP_LOCKS: Final = ("threading", "_thread")


class SeededRandom(real.Random):
    """`random.Random`; made by a task without a seed, it gets the same one in each run."""

    def __init__(self, x: Any = None) -> None:
        super().__init__(0 if x is None and current() is not None else x)


def urandom(size: int) -> bytes:
    """In place of `os.urandom`: for a task the bytes are the same in each run."""
    return (
        real.urandom(size)
        if current() is None
        else bytes(random.randrange(256) for _ in range(size))
    )


def excepthook(args: Any) -> None:
    """In place of `threading.excepthook`: what leaves a task's thread is a finding."""
    task = current()
    if task is None:
        threading.__excepthook__(args)
    elif args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        task.scheduler.uncaught(task, args.exc_value)


def _stand_ins() -> dict[int, tuple[Any, Any]]:
    """Original by identity, with its stand-in; the original is held, so its id stays its own."""
    pairs: list[tuple[Any, Any]] = [
        (real.allocate_lock, locks.Lock),
        (real.LockType, locks.Lock),
        (real.RLockType, locks.RLock),
        (real.threading_rlock, locks.RLock),
        (real.SimpleQueue, queues.SimpleQueue),
        (real.sleep, clock.sleep),
        (real.monotonic, clock.monotonic),
        (real.monotonic_ns, clock.monotonic_ns),
        (real.wall, clock.wall),
        (real.wall_ns, clock.wall_ns),
        (real.perf_counter, clock.perf_counter),
        (real.perf_counter_ns, clock.perf_counter_ns),
        (real.start_new_thread, threads.start_new_thread),
        (real.start_joinable_thread, threads.start_joinable_thread),
        (real.Random, SeededRandom),
        (real.urandom, urandom),
        (real.Socket, sockets.Socket),
        (real.socketpair, sockets.socketpair),
        (real.getaddrinfo, sockets.getaddrinfo),
        (real.fcntl_, sockets.fcntl),
        (real.pipe, pipes.pipe),
        (real.read, pipes.read),
        (real.write, pipes.write),
        (real.close, pipes.close),
        (real.set_blocking, pipes.set_blocking),
        (real.poll, polling.Poll),
        (real.select_, polling.select),
        (real.DefaultSelector, polling.Selector),
    ]
    return {id(old): (old, new) for old, new in pairs if old is not None}


class Patches:
    """What was replaced, and how to undo it."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        #: Stand-ins for locks made at import: shared by all runs, so reset before each.
        self.stand_in_locks: list[locks.Lock | locks.RLock] = []

    def apply(self) -> None:
        """Replace everything."""
        stand_ins = _stand_ins()
        for name, module in list(sys.modules.items()):
            if isinstance(module, ModuleType) and not name.startswith(UNTOUCHED):
                self._sweep(name, vars(module), stand_ins)
        for reference in list(logging._handlerList):  # type: ignore[attr-defined]
            handler = reference()
            if handler is not None and handler.lock is not None:
                self._exchange(vars(handler), "lock", handler.lock)
        for name, function in (("join", threads.join), ("is_alive", threads.is_alive)):
            self._undo.append(_setter(threading.Thread, name))
            setattr(threading.Thread, name, function)
        self._replace(vars(threading), "excepthook", excepthook)

    def before_run(self) -> None:
        """Each run starts from the same state."""
        for lock in self.stand_in_locks:
            lock.reset()
        if hasattr(threading, "_counter"):
            vars(threading)["_counter"] = itertools.count(1).__next__
        # A logger remembers whether a level is on; the first to ask takes a lock.
        logging.root.manager._clear_cache()  # type: ignore[attr-defined]
        random.seed(0)

    def restore(self) -> None:
        """Undo everything, the latest first."""
        while self._undo:
            self._undo.pop()()

    def remember(self, undo: Callable[[], object]) -> None:
        """Have this called by `restore`."""
        self._undo.append(undo)

    def _sweep(self, name: str, space: dict[str, Any], stand_ins: dict[int, Any]) -> None:
        for key, value in list(space.items()):
            pair = stand_ins.get(id(value))
            if pair is not None:
                self._replace(space, key, pair[1])
            elif isinstance(value, (real.LockType, real.RLockType)):
                if name not in KEEP_LOCKS:
                    self._exchange(space, key, value)
            elif isinstance(value, type) and value.__module__ == name:
                self._sweep_class(value)
            elif isinstance(value, (threading.Condition, threading.Event, threading.Semaphore)):
                self._refit(vars(value), key)

    def _sweep_class(self, kind: type) -> None:
        """Locks that are class attributes."""
        for key, value in list(vars(kind).items()):
            stand_in = self._stand_in(value, f"{kind.__qualname__}.{key}")
            if stand_in is not None:
                self._undo.append(_setter(kind, key))
                setattr(kind, key, stand_in)

    def _refit(self, space: dict[str, Any], name: str) -> None:
        """A Condition, Event or Semaphore made at import gets a new, cooperative inside."""
        before = dict(space)

        def undo() -> None:
            space.clear()
            space.update(before)

        self._undo.append(undo)
        lock = locks.Lock.standing_in(name)
        if "_cond" in space:
            fresh = threading.Condition(lock)  # type: ignore[arg-type]
            space["_cond"] = fresh
        elif isinstance(space.get("_lock"), real.LockType):
            space.update(vars(threading.Condition(lock)))  # type: ignore[arg-type]
        else:
            recursive = locks.RLock.standing_in(name)
            space.update(vars(threading.Condition(recursive)))  # type: ignore[arg-type]
            self.stand_in_locks.append(recursive)
        self.stand_in_locks.append(lock)

    def _exchange(self, space: dict[str, Any], key: str, lock: Any) -> None:
        stand_in = self._stand_in(lock, key)
        if stand_in is not None:
            self._replace(space, key, stand_in)

    def _stand_in(self, lock: Any, name: str) -> Any:
        """A stand-in for a lock that nobody holds; None for what is held, or is no lock."""
        if not isinstance(lock, (real.LockType, real.RLockType)):
            return None
        if not lock.acquire(False):
            return None
        lock.release()
        kind = locks.Lock if isinstance(lock, real.LockType) else locks.RLock
        stand_in = kind.standing_in(name)
        self.stand_in_locks.append(stand_in)
        return stand_in

    def _replace(self, space: dict[str, Any], key: str, value: Any) -> None:
        before = space[key]

        def undo() -> None:
            space[key] = before

        self._undo.append(undo)
        space[key] = value


def _setter(owner: type, name: str) -> Callable[[], None]:
    before = vars(owner)[name]
    return lambda: setattr(owner, name, before)


@contextmanager
def patched() -> Iterator[Patches]:
    """Within, tasks live in the cooperative world; afterwards nothing of it is left.

    The garbage collector is off: when it runs depends on the whole process, and finalizers that
    take locks would then come at another point in each run. Call `gc.collect()` between runs.
    """
    if active:
        raise RuntimeError("already patched by a running scheduler")
    patches = Patches()
    state = random.getstate()
    collecting = gc.isenabled()
    counter = getattr(threading, "_counter", None)
    try:
        gc.disable()
        patches.apply()
        yield patches
    finally:
        patches.restore()
        if counter is not None:
            vars(threading)["_counter"] = counter
        random.setstate(state)
        if collecting:
            gc.enable()


def originals_in_place() -> bool:
    """Whether the names that matter most are the real ones; for tests and for doubts."""
    import queue
    import socket
    import time

    return (
        threading.Lock in (real.allocate_lock, real.LockType)
        and threading.RLock is real.threading_rlock
        and threading.Thread.join is real.thread_join
        and time.sleep is real.sleep
        and time.monotonic is real.monotonic
        and queue.SimpleQueue is real.SimpleQueue
        and socket.socket is real.Socket
        and random.Random is real.Random
        and os.urandom is real.urandom
        and gc.isenabled()
    )
