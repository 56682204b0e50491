"""The floors: what no client can be faster than. No client library takes part.

Publishing: frames that were encoded once, sent in large pieces, so that the broker alone sets the
pace. Consuming: deliveries are counted by their bytes, and what one read brought is acknowledged
with one frame. Recovery and confirms: the instrument's own blocking client on one socket and one
thread, which connects, shakes hands, opens a channel and publishes, and does nothing else.

One connection for all: no channels to lend, no book of who has what, no bytes that wait. A publish
sends bytes that were encoded once, through one socket under one lock; a drain sleeps. So what it
needs for a round is what the threads, the interpreter and the broker need.
"""

from __future__ import annotations

import threading
import time

from benchmarks.clients.speed.base import (
    CONFIRM,
    CONSUME,
    DOUBT,
    LEASE,
    PATIENCE,
    PREFETCH,
    RECOVER,
    Session,
    Speed,
)
from benchmarks.wire.client import WireClient, WireError

#: Messages that are sent at a time, in one piece of some 32 KiB.
AT_ONCE = 100


class _Wired(Session):
    def __init__(self, wire: WireClient) -> None:
        self._wire = wire
        self._waiting = 0

    def publish(self, queue: str, body: bytes) -> None:
        self._to, self._body = queue, body
        self._waiting += 1
        if self._waiting == AT_ONCE:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._wire.fill(self._to, self._body, self._waiting)
            self._waiting = 0

    def publish_confirmed(self, queue: str, body: bytes) -> None:
        self._wire.publish("", queue, body)

    def consume(self, queue: str, count: int) -> None:
        self._wire.consume_alike(queue, count, PREFETCH)

    def abandon(self) -> None:
        self._wire.close()

    def close(self) -> None:
        self._wire.close()


class Floor(Speed):
    name = "floor"
    shares = False
    cannot = frozenset({DOUBT, LEASE})

    @property
    def version(self) -> str:
        return "-"

    def open(self) -> None:
        """Each session connects by itself."""

    def session(self) -> Session:
        return _Wired(WireClient.to(self.endpoint, PATIENCE))

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        return (WireError,)

    def close(self) -> None:
        """Every session closed its own."""


class _Shared(Session):
    def __init__(self, floor: FloorShared) -> None:
        self._floor = floor

    def publish(self, queue: str, body: bytes) -> None:
        self._floor.publish(queue, body)

    def drain(self, timeout: float) -> None:
        self._floor.drain(timeout)

    def close(self) -> None:
        """There is nothing to give back."""


class FloorShared(Speed):
    name = "floor, one connection"
    cannot = frozenset({CONSUME, CONFIRM, RECOVER, DOUBT})

    @property
    def version(self) -> str:
        return "-"

    def open(self) -> None:
        self._lock = threading.Lock()
        self._wire = WireClient.to(self.endpoint, PATIENCE)

    def publish(self, queue: str, body: bytes) -> None:
        with self._lock:
            self._wire.fill(queue, body, 1)

    def session(self) -> Session:
        return _Shared(self)

    def connected(self) -> bool:
        return True

    def drain(self, timeout: float) -> None:
        time.sleep(timeout)

    def close(self) -> None:
        self._wire.close()
