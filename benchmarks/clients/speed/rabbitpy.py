"""rabbitpy: one connection, one channel for each thread.

"Restrict the use of a channel to an individual thread" (rabbitpy.readthedocs.io, "Multi-threaded
use"); confirms and consumers as in its examples.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

from benchmarks.clients.requirements import RABBITPY
from benchmarks.clients.speed.base import (
    CONTENT_TYPE,
    DELIVERY_MODE,
    DRAIN,
    LEASE,
    PREFETCH,
    Session,
    Speed,
)

PROPERTIES = {"content_type": CONTENT_TYPE, "delivery_mode": DELIVERY_MODE}


class _Channel(Session):
    def __init__(self, channel: Any) -> None:
        import rabbitpy

        self._rabbitpy = rabbitpy
        self._channel = channel

    def publish(self, queue: str, body: bytes) -> None:
        self._rabbitpy.Message(self._channel, body, dict(PROPERTIES)).publish("", queue)

    #: On a channel with publisher confirms its publish waits for the confirm.
    publish_confirmed = publish

    def consume(self, queue: str, count: int) -> None:
        source = self._rabbitpy.Queue(self._channel, queue, durable=False)
        for seen, message in enumerate(source.consume(prefetch=PREFETCH), 1):
            message.ack()
            if seen == count:
                break
        # Its cancel may go out without waiting; this answer comes behind the last ack in any case.
        source.declare(passive=True)

    def close(self) -> None:
        self._channel.close()


class RabbitpySpeed(Speed):
    name = "rabbitpy"
    requirements = RABBITPY
    #: Its thread reads; there is nothing to drain, and no pool.
    cannot = frozenset({DRAIN, LEASE})

    @property
    def version(self) -> str:
        return importlib.metadata.version("rabbitpy")

    def open(self) -> None:
        import rabbitpy

        self._connection = rabbitpy.Connection(f"{self.endpoint.url}?heartbeat=0")

    def session(self) -> Session:
        channel = self._connection.channel()
        if self.confirms:
            channel.enable_publisher_confirms()
        return _Channel(channel)

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        from rabbitpy import exceptions

        return (exceptions.ConnectionException, exceptions.ChannelClosedException)

    def reconnect(self) -> None:
        self.open()

    def close(self) -> None:
        self._connection.close()
