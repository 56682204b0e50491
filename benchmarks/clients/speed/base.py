"""The speed protocol: what a client does while the clock runs, in its own words and no others.

A subclass of :class:`Speed` is one client, used as its documentation says; a :class:`Session` is
what one thread works with: a channel, on the connection that all share or on one of its own. Every
method is a few lines over the library: no book-keeping, no retries, no swallowed errors. What a
client has no way to do is named in ``cannot``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from benchmarks.wire.url import Endpoint

#: What a client may not be able to do, beside publishing.
CONSUME, CONFIRM, LEASE, DRAIN = "consume", "confirm", "lease", "drain"
RECOVER, DOUBT = "recover", "doubt"
#: What only a client that shares one connection between threads can be asked.
SHARE = "share"
#: Properties of every message, for every client alike: transient, of a stated type.
CONTENT_TYPE, DELIVERY_MODE = "application/octet-stream", 1
#: Seconds of any one wait of a client: far more than anything here takes.
PATIENCE = 10.0
#: Unacknowledged deliveries of one consumer.
PREFETCH = 100


class Session(ABC):
    """One channel, used by one thread at a time."""

    @abstractmethod
    def publish(self, queue: str, body: bytes) -> None:
        """Publish to a queue, through the default exchange."""

    def flush(self) -> None:
        """Let nothing that was published be left for a later call to send."""
        return

    def publish_confirmed(self, queue: str, body: bytes) -> None:
        """Publish, and return when the broker has confirmed it."""
        raise NotImplementedError

    def consume(self, queue: str, count: int) -> None:
        """Take so many deliveries, acknowledge each, cancel: the cancel's reply comes last."""
        raise NotImplementedError

    def drain(self, timeout: float) -> None:
        """Wait for whatever comes, for so many seconds at most; that nothing came is no error."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Let go of it, now that its connection is gone."""
        return

    @abstractmethod
    def close(self) -> None:
        """Give the channel back, or close it (and its connection, where that is its own)."""


class Speed(ABC):
    """One client. ``size``: channels that may be in use at once; ``confirms``: confirm mode."""

    #: The word for it in tables.
    name: ClassVar[str]
    #: Pinned, for an environment of its own; empty: what runs the command has it.
    requirements: ClassVar[tuple[str, ...]] = ()
    #: Whether all threads share one connection; else each has one of its own.
    shares: ClassVar[bool] = True
    cannot: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, endpoint: Endpoint, size: int, confirms: bool = False) -> None:
        self.endpoint = endpoint
        self.size = size
        self.confirms = confirms

    @property
    @abstractmethod
    def version(self) -> str:
        """Of the library that was really imported."""

    @abstractmethod
    def open(self) -> None:
        """Connect, where there is something shared to connect."""

    @abstractmethod
    def session(self) -> Session:
        """A channel for the calling thread, which opens it if need be."""

    @abstractmethod
    def close(self) -> None:
        """Close everything."""

    # -- of those that share a connection and lend channels ------------------------------------

    def connected(self) -> bool:
        """The liveness check."""
        raise NotImplementedError

    def drain(self, timeout: float) -> None:
        """Drain the shared connection; that nothing came is no error."""
        raise NotImplementedError

    # -- of those that come back after their connection was lost --------------------------------

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """What a call raises when the connection is gone."""
        return ()

    def reconnect(self) -> None:
        """What the documentation says to do then, before the next ``session``."""
        return


def consume_until(count: int, ack: Callable[[Any], object], drain: Callable[[], object]) -> Any:
    """A callback that acknowledges, and a loop that drains until ``count`` have come."""
    seen = 0

    def on_message(message: Any) -> None:
        nonlocal seen
        ack(message)
        seen += 1

    def loop() -> None:
        while seen < count:
            drain()

    return on_message, loop
