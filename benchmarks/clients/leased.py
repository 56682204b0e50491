"""Leases over a library that has no pool: what a lease holds is opened when needed, and kept.

For the adapters of such libraries. A holding is a channel with the connection under it, its own or
the one that all share; whatever died, or had a consumer or an error on it, is discarded and not
lent again. As an application must, who uses such a library, an adapter opens a new connection for
the next acquire when one was lost; it retries nothing.
"""

from __future__ import annotations

import itertools
import threading
from abc import abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from benchmarks.clients.base import Client, Outgoing

T = TypeVar("T")


class ClosedError(Exception):
    """The client was closed; the library itself would connect again."""


@dataclass(eq=False)
class Told:
    """A receipt whose fate is known, or is written into it when it comes."""

    state: str | None = None
    back: str | None = None

    def outcome(self) -> str | None:
        return self.state

    def returned(self) -> str | None:
        return self.back


@dataclass(eq=False)
class Holding:
    """What a lease holds. ``number``: of its connection, never used twice."""

    connection: Any
    channel: Any
    number: int
    #: Not to be lent again.
    spoiled: bool = False
    #: For the adapter's own use: returns that came, deliveries that wait.
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Lease:
    """A holding in one owner's hands."""

    held: Holding
    ended: bool = False


class LeasedClient(Client):
    """``_hold`` opens a holding, ``_alive`` and ``_discard`` ask for its state and end it."""

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        self._room = threading.Semaphore(size)
        # Guards the three below. A leaf.
        self._lock = threading.Lock()
        self._idle: list[Holding] = []
        self._shut = False
        self._numbers = itertools.count(1)

    @abstractmethod
    def _hold(self) -> Holding:
        """Open a channel in confirm mode, and a connection where that is needed."""

    @abstractmethod
    def _alive(self, held: Holding) -> bool:
        """Whether it can be lent again."""

    @abstractmethod
    def _discard(self, held: Holding) -> None:
        """End it, whatever state it is in."""

    @property
    def timeouts(self) -> tuple[type[BaseException], ...]:
        return (TimeoutError,)

    @property
    def closed(self) -> tuple[type[BaseException], ...]:
        return (ClosedError,)

    def connected(self) -> bool:
        # Of several connections: whether one is up, or none was lost yet.
        with self._lock:
            return not self._shut and all(map(self._alive, self._idle))

    def drain(self, timeout: float) -> None:
        raise NotImplementedError(f"{self.name} has nothing that all threads could drain")

    def acquire(self, timeout: float) -> Lease:
        if self._shut:
            raise ClosedError("the client was closed")
        if not self._room.acquire(timeout=timeout):
            raise TimeoutError(f"no channel within {timeout:g} s")
        try:
            return Lease(self._kept() or self._hold())
        except BaseException:
            self._room.release()
            raise

    def _kept(self) -> Holding | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                held = self._idle.pop()
            if self._alive(held):
                return held
            self._discard(held)

    def release(self, handle: Any) -> bool:
        with self._lock:
            if handle.ended:
                return False
            handle.ended = True
        held = handle.held
        try:
            keep = not held.spoiled and self._alive(held)
            with self._lock:
                keep = keep and not self._shut
                if keep:
                    self._idle.append(held)
            if not keep:
                self._discard(held)
        finally:
            self._room.release()
        return True

    def channel_key(self, handle: Any) -> Hashable:
        return (handle.held.number, int(self._channel_number(handle.held)))

    def _channel_number(self, held: Holding) -> int:
        return int(held.channel.channel_id)

    def _on(self, handle: Any, call: Callable[[Holding], T]) -> T:
        """One call on a lease, whose channel is not lent again when it raised."""
        if self._shut:
            raise ClosedError("the client was closed")
        held: Holding = handle.held
        try:
            return call(held)
        except BaseException:
            held.spoiled = True
            raise

    def publish_confirmed(self, handle: Any, message: Outgoing, timeout: float) -> Any:
        return self.publish(handle, message)

    def close(self, timeout: float) -> None:
        with self._lock:
            self._shut = True
            idle, self._idle = self._idle, []
        for held in idle:
            self._discard(held)
