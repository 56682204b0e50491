"""A small pool and a small drain, sound, and six classic ways to get them wrong.

They show what the search can do without any client: each wrong one overrides one method, as the bug
was made in a real client once, and must be found; the sound ones must be clean when all orders were
tried. `BROKEN` and `SOUND` pair them with what two threads do to them. Nothing here is for use.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from .outcome import Violation
from .program import Program
from .world import together


class Closed(Exception):
    """The connection ended; each waiter gets one of its own."""


class Waiter:
    def __init__(self, lock: threading.Lock) -> None:
        self.cond = threading.Condition(lock)
        self.item: int | None = None


class Pool:
    """`size` items; waiters are served in order."""

    def __init__(self, size: int) -> None:
        self.lock = threading.Lock()
        self.idle = list(range(size))
        self.waiters: deque[Waiter] = deque()
        self.out: set[int] = set()

    def acquire(self, timeout: float) -> int:
        with self.lock:
            if self.idle and not self.waiters:
                return self.lend(self.idle.pop())
            waiter = Waiter(self.lock)
            self.waiters.append(waiter)
            deadline = time.monotonic() + timeout
            while waiter.item is None:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    self.waiters.remove(waiter)
                    raise TimeoutError
                waiter.cond.wait(remaining)
            return waiter.item

    def lend(self, item: int) -> int:
        self.out.add(item)
        return item

    def release(self, item: int) -> bool:
        with self.lock:
            if item not in self.out:
                return False
            self.give_back(item)
            return True

    def give_back(self, item: int) -> None:
        self.out.remove(item)
        if self.waiters:
            waiter = self.waiters.popleft()
            waiter.item = self.lend(item)
            waiter.cond.notify()
        else:
            self.idle.append(item)

    def resize(self) -> int:
        """Something else that needs the lock."""
        with self.lock:
            return len(self.idle)


class TimedOutWaiterIsServed(Pool):
    """Who gives up waiting does not look whether something was given at that moment."""

    def acquire(self, timeout: float) -> int:
        with self.lock:
            if self.idle and not self.waiters:
                return self.lend(self.idle.pop())
            waiter = Waiter(self.lock)
            self.waiters.append(waiter)
            in_time = waiter.cond.wait(timeout)
        if not in_time:
            with self.lock:
                if waiter in self.waiters:
                    self.waiters.remove(waiter)
            raise TimeoutError
        assert waiter.item is not None
        return waiter.item


class DoubleRelease(Pool):
    """Whether it is out is asked before the lock is taken."""

    def release(self, item: int) -> bool:
        if item not in self.out:
            return False
        with self.lock:
            self.out.discard(item)
            self.idle.append(item)
        return True


class LostWakeup(Pool):
    """Whether it must wait is decided in one critical section, the waiting begins in another."""

    def acquire(self, timeout: float) -> int:
        with self.lock:
            if self.idle:
                return self.lend(self.idle.pop())
            waiter = Waiter(self.lock)
        with self.lock:
            self.waiters.append(waiter)
            waiter.cond.wait()
            assert waiter.item is not None
            return waiter.item


class Drain:
    """One thread at a time reads for all; replies go to whom they belong.

    "Is my reply here?" and "become the one who reads" are one critical section, and each round has
    a result of its own.
    """

    def __init__(self, replies: int, breaks: bool = False) -> None:
        self.cond = threading.Condition()
        self.wire: deque[int] = deque(range(replies))
        self.breaks = breaks
        self.here: set[int] = set()
        self.reading = False
        self.broken = False

    def call(self, number: int) -> int:
        while True:
            with self.cond:
                if number in self.here:
                    return number
                if self.broken:
                    raise Closed(number)
                if self.reading:
                    self.cond.wait()
                    continue
                self.reading = True
            self.read_one()

    def read_one(self) -> None:
        try:
            reply = self.receive()
        except Closed:
            reply = None
        with self.cond:
            self.reading = False
            if reply is None:
                self.broken = True
            else:
                self.here.add(reply)
            self.cond.notify_all()

    def receive(self) -> int | None:
        """What is on the wire; with nothing there, a real one would wait for ever."""
        if not self.wire:
            if self.breaks:
                raise Closed
            threading.Event().wait()
        return self.wire.popleft()


class CheckThenAct(Drain):
    """Asks for its reply, then becomes the reader: in between the reply came."""

    def call(self, number: int) -> int:
        while True:
            with self.cond:
                if number in self.here:
                    return number
                if self.broken:
                    raise Closed(number)
            with self.cond:
                if self.reading:
                    self.cond.wait()
                    continue
                self.reading = True
            self.read_one()


class SharedError(Drain):
    """The error of a round is left in a field that all share, for whoever comes next."""

    def __init__(self, replies: int, breaks: bool = False) -> None:
        super().__init__(replies, breaks)
        self.error: Exception | None = None
        self.failed = False

    def call(self, number: int) -> int:
        while True:
            with self.cond:
                if number in self.here:
                    return number
                if self.reading:
                    self.cond.wait()
                    if self.error is not None:
                        raise self.error
                    continue
                self.reading = True
            self.read_one()

    def read_one(self) -> None:
        try:
            reply = self.receive()
            self.error = None
        except Closed as error:
            reply = None
            self.error = error
        with self.cond:
            self.reading = False
            if reply is not None:
                self.here.add(reply)
            self.cond.notify_all()
        if self.error is not None:
            raise self.error

    def receive(self) -> int | None:
        # One failure, that of the first round; the connection is fine from then on.
        if not self.failed:
            self.failed = True
            raise Closed("the first round's")
        return super().receive()


class SharedResult(SharedError):
    """The same broker, with one result for each round and each caller trying again."""

    def call(self, number: int) -> int:
        while True:
            try:
                return Drain.call(self, number)
            except Closed:
                with self.cond:
                    self.broken = False

    def read_one(self) -> None:
        Drain.read_one(self)


class Ordered:
    """Two locks, always taken in the same order."""

    def __init__(self) -> None:
        self.pool = threading.Lock()
        self.connection = threading.Lock()

    def publish(self) -> None:
        with self.pool, self.connection:
            pass

    def close(self) -> None:
        with self.pool, self.connection:
            pass


class Inverted(Ordered):
    """Two locks, taken in either order."""

    def close(self) -> None:
        with self.connection, self.pool:
            pass


# -- what threads do to them -------------------------------------------------------------------


def at_rest(pool: Pool, size: int) -> None:
    """Every item is in the free list, once, and nobody waits."""
    if sorted(pool.idle) != list(range(size)) or pool.out or pool.waiters:
        raise Violation("leaks", f"idle {pool.idle}, out {pool.out}, waiting {len(pool.waiters)}")


def acquire_and_release(kind: type[Pool], size: int, timeout: float) -> Callable[[], None]:
    """Two threads; one that timed out has nothing to give back."""

    def body() -> None:
        pool = kind(size)

        def work() -> None:
            try:
                item = pool.acquire(timeout)
            except TimeoutError:
                return
            pool.release(item)

        for result in together(work, work):
            if result is not None:
                raise result
        at_rest(pool, size)

    return body


def release_twice(kind: type[Pool]) -> Callable[[], None]:
    def body() -> None:
        pool = kind(1)
        item = pool.acquire(1)
        ended = together(lambda: pool.release(item), lambda: pool.release(item))
        if sorted(ended) != [False, True]:
            raise Violation("double_releases", f"{ended}, idle {pool.idle}")
        at_rest(pool, 1)

    return body


def drain_together(kind: type[Drain], *args: object) -> Callable[[], None]:
    def body() -> None:
        drain = kind(2, *args)  # type: ignore[arg-type]
        results = together(lambda: drain.call(0), lambda: drain.call(1))
        if results != [0, 1]:
            raise Violation("unexpected_errors", f"{results}")

    return body


def one_error_for_one(kind: type[SharedError]) -> Callable[[], None]:
    """Of two calls and one failed round, only who made the round may fail, and with its own."""

    def body() -> None:
        drain = kind(2)

        def call(number: int) -> Callable[[], int]:
            return lambda: drain.call(number)

        results = together(call(0), call(1))
        if sum(isinstance(each, Closed) for each in results) > 1:
            raise Violation("unexpected_errors", f"one failure, raised twice: {results}")

    return body


def publish_and_close(kind: type[Ordered]) -> Callable[[], None]:
    def body() -> None:
        both = kind()
        together(both.publish, both.close)

    return body


def _programs(kind: str, *cases: tuple[str, Callable[[], object], float]) -> dict[str, Program]:
    return {
        name: Program(f"{kind}:{name}", body, (__file__,), early=early)
        for name, body, early in cases
    }


#: Each must be found; and what it must be found as.
BROKEN = _programs(
    "model",
    ("timed-out-waiter", acquire_and_release(TimedOutWaiterIsServed, 1, 0.5), 0.3),
    ("check-then-act", drain_together(CheckThenAct), 0.0),
    ("double-release", release_twice(DoubleRelease), 0.0),
    ("inverted-locks", publish_and_close(Inverted), 0.0),
    ("lost-wakeup", acquire_and_release(LostWakeup, 1, 60), 0.0),
    ("shared-error", one_error_for_one(SharedError), 0.0),
)
FOUND_AS = {
    "timed-out-waiter": "leaks",
    "check-then-act": "deadlocks",
    "double-release": "double_releases",
    "inverted-locks": "deadlocks",
    "lost-wakeup": "deadlocks",
    "shared-error": "unexpected_errors",
}
#: The same threads on the sound ones.
SOUND = _programs(
    "sound",
    ("timed-out-waiter", acquire_and_release(Pool, 1, 0.5), 0.3),
    ("check-then-act", drain_together(Drain), 0.0),
    ("double-release", release_twice(Pool), 0.0),
    ("inverted-locks", publish_and_close(Ordered), 0.0),
    ("lost-wakeup", acquire_and_release(Pool, 1, 60), 0.0),
    ("shared-error", one_error_for_one(SharedResult), 0.0),
)
