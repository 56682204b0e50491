"""The bench on which one client does one piece of work, in the process that is measured.

It owns the clock, the crew of threads and the queues. The clock starts when every thread has its
session and stops when the broker holds what was published, by its own word, for every client
alike. It prevents a client from looking fast because it connects lazily, or because it returned
with the messages still in its own buffers.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.clients.speed.base import Session, Speed
from benchmarks.proxy.control import Control
from benchmarks.wire.client import WireClient
from benchmarks.wire.url import Endpoint

#: Queues of one bench at most: the parent deletes them by name when this process died.
QUEUES = 10
#: Bytes of a message.
BODY = 256
#: Seconds between two questions whether the broker holds everything: below 1 % of any work.
LOOK = 0.001
#: Seconds of every wait in here. The parent of a measured process ends it before.
PATIENCE = 30.0
#: Seconds after which a failure of one thread is noticed while another one still works.
ERROR_LOOK = 0.05


@dataclass
class Sample:
    """What one round measured. ``seconds`` is 0 where a work times single events instead."""

    operations: int
    seconds: float
    cpu_s: float
    #: Measured values in milliseconds, messages or bytes, in the order in which they came.
    series: dict[str, list[float]] = field(default_factory=dict)


class CrewError(Exception):
    """A thread of the crew failed; its own error is the cause."""


class Bench:
    """``endpoint`` is where the client connects, ``broker`` the broker itself."""

    def __init__(
        self,
        kind: type[Speed],
        endpoint: Endpoint,
        broker: Endpoint,
        prefix: str,
        proxy: Control | None = None,
    ) -> None:
        #: What breaks connections, where the client connects through it.
        self.proxy = proxy
        self.kind = kind
        self.endpoint = endpoint
        self.prefix = prefix
        #: Of our own, past any proxy.
        self.wire = WireClient.to(broker)
        self.body = os.urandom(BODY)
        self._queues: list[str] = []

    def client(self, size: int, *, confirms: bool = False) -> Speed:
        """An open client."""
        client = self.kind(self.endpoint, size, confirms)
        client.open()
        return client

    # -- queues ------------------------------------------------------------------------------

    def queue(self, number: int = 0) -> str:
        """An empty queue; ``number`` below QUEUES."""
        name = queue_name(self.prefix, number)
        if name not in self._queues:
            self.wire.queue_declare(name, durable=False)
            self._queues.append(name)
        self.wire.queue_purge(name)
        return name

    def queue_names(self) -> list[str]:
        """Those declared so far."""
        return list(self._queues)

    def held(self, queue: str) -> int:
        """Messages in the queue, by the broker's own word."""
        return self.wire.queue_declare(queue, durable=False, passive=True).message_count

    def until_held(self, queue: str, count: int) -> None:
        """Wait until the broker holds so many messages."""
        deadline = time.monotonic() + PATIENCE
        while self.held(queue) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the broker holds {self.held(queue)} of {count} messages")
            time.sleep(LOOK)

    def kill(self) -> float:
        """Reset the client's connections; returns when, in perf_counter's seconds."""
        assert self.proxy is not None
        fired = self.proxy.fault("rst")
        if not fired["fired"]:
            raise CrewError(f"no connection could be reset: {fired.get('why')}")
        # The proxy's clock is time.monotonic(), which every process reads alike.
        return time.perf_counter() - (time.monotonic() - fired["t"])

    def close(self) -> None:
        for name in self._queues:
            self.wire.queue_delete(name)
        self.wire.close()

    # -- the clock ---------------------------------------------------------------------------

    def timed(
        self,
        operations: int,
        threads: int,
        prepare: Callable[[int], Any],
        work: Callable[[int, Any], None],
        finish: Callable[[Any], None],
        until: Callable[[], None] = lambda: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Sample:
        """``prepare``, ``work`` and ``finish`` in each of so many threads; ``work`` is timed.

        ``meanwhile`` runs here while they work, ``until`` behind the last of them and before the
        clock stops. Raises CrewError.
        """
        crew = _Crew(threads, prepare, work, finish)
        try:
            crew.ready()
            cpu, start = _cpu(), time.perf_counter()
            crew.go()
            meanwhile()
            crew.done()
            until()
            seconds, used = time.perf_counter() - start, _cpu() - cpu
        except BaseException as error:
            crew.fail(error)
            crew.abandon()
            raise crew.error() from error
        crew.end()
        return Sample(operations, seconds, used)

    def sessions(
        self,
        client: Speed,
        threads: int,
        operations: int,
        work: Callable[[int, Session], None],
        until: Callable[[], None] = lambda: None,
    ) -> Sample:
        """The usual crew: each thread has one session from before the clock to after it."""
        return self.timed(
            operations, threads, lambda number: client.session(), work, Session.close, until
        )


def queue_name(prefix: str, number: int) -> str:
    return f"{prefix}.{number}"


def shares(count: int, threads: int) -> list[int]:
    """``count`` split as evenly as it goes."""
    return [count // threads + (number < count % threads) for number in range(threads)]


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Crew:
    """Threads that get ready, work at one signal, and finish at another.

    Each has a latch of its own for either end of its work: at a barrier they would queue for the
    barrier's lock while the clock runs.
    """

    def __init__(
        self,
        threads: int,
        prepare: Callable[[int], Any],
        work: Callable[[int, Any], None],
        finish: Callable[[Any], None],
    ) -> None:
        self._body = (prepare, work, finish)
        self._errors: list[BaseException] = []
        #: The numbers of those that are ready.
        self._ready: list[int] = []
        self._start = [_shut() for _ in range(threads)]
        self._done = [_shut() for _ in range(threads)]
        self._finish = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(n,), name=f"crew-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        prepare, work, finish = self._body
        start, done = self._start[number], self._done[number]
        try:
            mine = prepare(number)
            self._ready.append(number)
            if not start.acquire(timeout=PATIENCE) or self._errors:
                return  # another thread's error, which is told
            work(number, mine)
            done.release()
            self._finish.wait(PATIENCE)
            finish(mine)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.fail(error)

    def ready(self) -> None:
        """Wait until every thread is; they do not begin yet. Raises CrewError."""
        deadline = time.monotonic() + PATIENCE
        while len(self._ready) < len(self._threads):
            if self._errors:
                raise self.error()
            if time.monotonic() > deadline:
                raise CrewError(f"{len(self._ready)} of {len(self._threads)} threads got ready")
            time.sleep(LOOK)

    def go(self) -> None:
        """Let them begin."""
        for latch in self._start:
            latch.release()

    def done(self) -> None:
        """Wait until the last one is. Raises CrewError."""
        deadline = time.monotonic() + PATIENCE
        for latch in self._done:
            while not latch.acquire(timeout=ERROR_LOOK):
                if self._errors:
                    raise self.error()
                if time.monotonic() > deadline:
                    raise CrewError(f"a thread was not done after {PATIENCE:g} s")

    def end(self) -> None:
        """Let them finish, and wait for it. Raises CrewError."""
        self._finish.set()
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._errors:
            raise self.error()

    def fail(self, error: BaseException) -> None:
        """Note an error; nobody begins any more."""
        self._errors.append(error)

    def abandon(self) -> None:
        """Let go of those that wait. For the main thread alone, after an error."""
        self._finish.set()
        for latch in self._start:
            if latch.locked():
                latch.release()

    def error(self) -> CrewError:
        first = self._errors[0]
        if isinstance(first, CrewError):
            return first
        crew = CrewError(f"{type(first).__name__}: {first}")
        crew.__cause__ = first
        return crew


def _shut() -> threading.Lock:
    """A latch that nobody passes before it is released, once."""
    latch = threading.Lock()
    latch.acquire()
    return latch
