"""The client protocol: what a client must be able to do to stand trial.

A client is put on trial through one adapter, a subclass of :class:`Client`. The workload calls the
adapter from many threads at once, in just the way an application would; the adapter translates and
never judges, retries, swallows or sleeps. What a client cannot do it names in ``cannot``: the
workload then leaves that operation out and the result says so.

An adapter from outside the tree is given as ``--client path/to/file.py:ClassName``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish. ``identity`` travels in message_id and as the body's first line."""

    identity: str
    body: bytes
    exchange: str
    routing_key: str
    mandatory: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that came in by basic.deliver or basic.get-ok, as the application sees it."""

    identity: str | None
    body: bytes
    consumer_tag: str | None
    delivery_tag: int
    redelivered: bool


class Receipt(Protocol):
    """What became of one publish on a channel in confirm mode. Cheap to ask, never blocks."""

    def outcome(self) -> str | None:
        """``"ack"``, ``"nack"``, ``"unknown"`` (it can no longer be known), or None: not yet."""

    def returned(self) -> str | None:
        """The message_id of the basic.return that came for this publish, or None."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long the client itself promises to take at most, in seconds.

    The stall window of the watchdog lies above all of them, so that a slow thread that keeps the
    client's own promises is never called a deadlock.
    """

    operation: float = 5.0
    #: One heartbeat interval; a silent peer is noticed after two. 0: heartbeats are off.
    heartbeat: float = 0.0
    #: From the end of a fault to the next success.
    recovery: float = 5.0
    close: float = 5.0

    @property
    def longest(self) -> float:
        return max(self.operation, self.close, 2 * self.heartbeat + self.recovery)


class Client(ABC):
    """One connection, or pool, shared by all threads of a trial.

    ``size`` is the number of channels that may be leased at once. Every method may be called from
    any thread; a handle that ``acquire`` returned is used by one thread at a time, and may be
    released by another than acquired it.
    """

    #: The word for it in results; the distribution's version stands beside it.
    name: ClassVar[str]
    #: Pinned, as ``name==version``: the trial's process runs in an environment that holds these.
    #: Empty: the library is where the command runs.
    requirements: ClassVar[tuple[str, ...]] = ()
    #: Operations of the workload that this client has no way to do.
    cannot: ClassVar[frozenset[str]] = frozenset()
    bounds: ClassVar[Bounds] = Bounds()
    #: Connections that it may keep while nothing is leased.
    connections: ClassVar[int] = 1
    #: Seconds, 0 for none: the heartbeat that the library is to agree on with the broker. Set on
    #: the instance before ``open``, where a silent fault must be noticed.
    heartbeat: int = 0
    #: Of the run; set on the instance before ``open``. What an adapter or its library draws at
    #: random is drawn from it.
    seed: int = 0
    #: What queues are declared with, which the broker decides; set on the instance before ``open``.
    queue_arguments: Mapping[str, object] = MappingProxyType({})

    def __init__(self, urls: list[str], size: int) -> None:
        self.urls = urls
        self.size = size

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the library that was really imported."""

    @property
    @abstractmethod
    def recoverable(self) -> tuple[type[BaseException], ...]:
        """What an operation may raise between a fault and the end of the recovery deadline."""

    @property
    @abstractmethod
    def timeouts(self) -> tuple[type[BaseException], ...]:
        """What a drain that found nothing, or a short acquire on an empty pool, raises."""

    @property
    def closed(self) -> tuple[type[BaseException], ...]:
        """What an operation may raise, beside ``recoverable``, once ``close`` was called."""
        return ()

    @property
    def refused(self) -> tuple[type[BaseException], ...]:
        """What a second release of one handle may raise; it may also return, and do nothing."""
        return ()

    @property
    def cancelled(self) -> tuple[type[BaseException], ...]:
        """What a drain of a lease, or another call on it, raises when the broker cancelled its
        consumer."""
        return ()

    @property
    def unconfirmed(self) -> tuple[type[BaseException], ...]:
        """What ``publish_confirmed`` raises when the confirm did not come within its timeout."""
        return self.timeouts

    def reply_code(self, error: BaseException) -> int | None:
        """The AMQP reply code in the error of a channel that the broker closed, else None."""
        code: int | None = getattr(error, "reply_code", None)
        return code

    def idle_channels(self) -> int:
        """Channels that it may keep open while nothing is leased."""
        return self.size

    @abstractmethod
    def open(self) -> None:
        """Connect. Returns when an operation may be tried."""

    @abstractmethod
    def connected(self) -> bool:
        """The liveness check."""

    @abstractmethod
    def drain(self, timeout: float) -> None:
        """Dispatch events of the shared connection; raises one of ``timeouts`` when none came."""

    @abstractmethod
    def acquire(self, timeout: float) -> Any:
        """Lease a channel in confirm mode, or the nearest equal; returns a handle."""

    @abstractmethod
    def release(self, handle: Any) -> Any:
        """End the lease. A second time on one handle it must have no effect."""

    @abstractmethod
    def channel_key(self, handle: Any) -> Hashable:
        """What must never be in two hands: names the channel behind the handle on the wire."""

    @abstractmethod
    def publish(self, handle: Any, message: Outgoing) -> Receipt:
        """Publish without waiting for the confirm."""

    @abstractmethod
    def publish_confirmed(self, handle: Any, message: Outgoing, timeout: float) -> Receipt:
        """Publish and wait for the broker's word; the receipt's outcome is known on return."""

    @abstractmethod
    def consume(
        self,
        handle: Any,
        queue: str,
        consumer_tag: str,
        prefetch: int,
        callback: Callable[[Delivery], None],
        no_ack: bool = False,
    ) -> str:
        """Start a consumer under that tag; deliveries go to the callback, and need an ack unless
        ``no_ack``. Returns the tag that the broker's consume-ok carried."""

    def drain_lease(self, handle: Any, timeout: float) -> None:
        """Dispatch events of one lease; the shared drain where a client has nothing finer."""
        self.drain(timeout)

    @abstractmethod
    def cancel(self, handle: Any, consumer_tag: str) -> None:
        """End that consumer."""

    @abstractmethod
    def ack(self, handle: Any, delivery_tag: int) -> None:
        """Acknowledge one delivery."""

    @abstractmethod
    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        """basic.get: one message, which needs an ack unless ``no_ack``, or None."""

    @abstractmethod
    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        """queue.declare with ``queue_arguments``, not exclusive, no auto-delete; returns the name
        that the broker answered."""

    @abstractmethod
    def close(self, timeout: float) -> None:
        """Close everything; returns within ``timeout`` seconds."""

    def at_rest(self) -> dict[str, Any] | None:
        """The client's own counts when no lease is held, or None when it offers none.

        Known keys: ``idle`` (a list with the channel key of each channel in the free list) and
        ``in_use`` (leases the client believes are out).
        """
        return None


def effective_bounds(client: Client) -> Bounds:
    """What the client promises with the heartbeat that it was given."""
    return replace(client.bounds, heartbeat=float(client.heartbeat))


#: Too broad to be called recoverable: declaring one would hide the very bugs that are looked for.
UNDECLARABLE = (Exception, BaseException, KeyError, TypeError, AttributeError, AssertionError)
