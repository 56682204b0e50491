"""Acquire and release, entered in history and lease ledger in the order that raises no false alarm.

The holder is struck off the lease ledger before the client hears of the release and entered after
acquire returned: a channel seen in two hands was in two hands.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, NamedTuple

from benchmarks.clients.base import effective_bounds
from benchmarks.harness.progress import Slot
from benchmarks.harness.workload.context import Context


class Lease(NamedTuple):
    """One successful acquire: the client's handle, the channel's key, the lease's own number."""

    handle: Any
    key: str
    number: int


class Leaser:
    """The leases of one thread, written into that thread's log."""

    #: What the latest wait for a channel, or for a confirm, raised: for whoever records it.
    waited: BaseException | None = None

    def __init__(self, context: Context, slot: Slot) -> None:
        self._client = context.client
        self._slot = slot
        self._leases = context.leases
        self._prefix = context.prefix
        self._log = context.history.log(slot.name)
        self._timeout = effective_bounds(context.client).operation

    def acquire(self, timeout: float | None = None) -> Lease:
        try:
            handle = self._client.acquire(self._timeout if timeout is None else timeout)
        except BaseException as error:
            self.waited = error
            raise
        key = f"{self._prefix}{self._client.channel_key(handle)!r}"
        number = self._leases.acquired(key, threading.current_thread().name)
        self._log.add(["lease", self._advance(), number, key])
        return Lease(handle, key, number)

    def release(self, lease: Lease) -> None:
        self._leases.released(lease.key, lease.number)
        entry = ["released", time.monotonic(), None, lease.number, "invoked"]
        self._log.begin(entry)
        try:
            self._client.release(lease.handle)
        except BaseException:
            entry[2], entry[4] = time.monotonic(), "error"
            self._log.end(entry)
            raise
        entry[2], entry[4] = self._advance(), "ok"
        self._log.end(entry)

    def leased(self) -> _Leased:
        """``with leaser.leased() as lease``: released at the end, whatever was raised."""
        return _Leased(self)

    def _advance(self) -> float:
        """Now; a call that came back is progress, also within an operation of many calls."""
        self._slot.advanced = now = time.monotonic()
        return now


class _Leased:
    """A class of its own, since a generator would cost as much as all the rest of a lease."""

    __slots__ = ("_lease", "_leaser")

    def __init__(self, leaser: Leaser) -> None:
        self._leaser = leaser

    def __enter__(self) -> Lease:
        self._lease = self._leaser.acquire()
        return self._lease

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaser.release(self._lease)
