"""pika: one BlockingConnection for each thread, and the thread-safe Connection of 1.5.

"Make sure you have a Pika connection per thread, created in that thread" (pika.readthedocs.io,
FAQ); confirms as in its example of blocking publisher confirms. From 1.5 on `pika.Connection` runs
its loop in a thread of its own and may be shared; its confirms are told to a callback, with the
tag from `on_publish` (its example publisher_confirms_threaded.py).
"""

from __future__ import annotations

import threading
from typing import Any

from benchmarks.clients.requirements import PIKA, PIKA_THREADSAFE
from benchmarks.clients.speed.base import (
    CONTENT_TYPE,
    DELIVERY_MODE,
    DRAIN,
    LEASE,
    PATIENCE,
    PREFETCH,
    Session,
    Speed,
)
from benchmarks.wire.url import Endpoint


def _parameters(to: Endpoint) -> Any:
    import pika

    return pika.ConnectionParameters(
        to.host,
        to.port,
        to.vhost,
        pika.PlainCredentials(to.user, to.password),
        heartbeat=0,
        blocked_connection_timeout=PATIENCE,
    )


class _Channel(Session):
    """A channel of either kind; the two publish and consume by the same names."""

    def __init__(self, channel: Any) -> None:
        from pika import BasicProperties

        self._channel = channel
        self._properties = BasicProperties

    def publish(self, queue: str, body: bytes) -> None:
        self._channel.basic_publish(
            "",
            queue,
            body,
            self._properties(content_type=CONTENT_TYPE, delivery_mode=DELIVERY_MODE),
        )


class _Blocking(_Channel):
    def __init__(self, connection: Any, confirms: bool) -> None:
        super().__init__(connection.channel())
        self._connection = connection
        if confirms:
            self._channel.confirm_delivery()

    #: With `confirm_delivery` its basic_publish waits for the confirm.
    publish_confirmed = _Channel.publish

    def consume(self, queue: str, count: int) -> None:
        seen = 0

        def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            nonlocal seen
            channel.basic_ack(method.delivery_tag)
            seen += 1
            if seen == count:
                channel.stop_consuming()

        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._channel.basic_consume(queue, on_message)
        self._channel.start_consuming()

    def close(self) -> None:
        self._connection.close()


class PikaSpeed(Speed):
    name = "pika, a connection per thread"
    requirements = PIKA
    shares = False
    cannot = frozenset({LEASE})

    @property
    def version(self) -> str:
        import pika

        return str(pika.__version__)

    def open(self) -> None:
        """Each session connects by itself."""

    def session(self) -> Session:
        import pika

        return _Blocking(pika.BlockingConnection(_parameters(self.endpoint)), self.confirms)

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        from pika import exceptions

        return (exceptions.AMQPConnectionError,)

    def close(self) -> None:
        """Every session closed its own."""


class _Shared(_Channel):
    """A channel of the thread-safe connection, with one publish under way at a time."""

    def __init__(self, client: PikaThreadsafeSpeed) -> None:
        super().__init__(client.connection.channel())
        self._client = client
        self._told = threading.Event()
        self._tag = 0
        if client.confirms:
            client.waiting.append(self._told)
            self._channel.confirm_delivery(self._confirmed)

    def _sent(self, tag: int) -> None:
        self._tag = tag

    def _confirmed(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        if tag == self._tag or (frame.method.multiple and tag > self._tag):
            self._told.set()

    def publish_confirmed(self, queue: str, body: bytes) -> None:
        self._told.clear()
        self._channel.basic_publish(
            "",
            queue,
            body,
            self._properties(content_type=CONTENT_TYPE, delivery_mode=DELIVERY_MODE),
            on_publish=self._sent,
        )
        if self._client.reason is not None:
            raise self._client.reason
        if not self._told.wait(PATIENCE):
            raise TimeoutError("no confirm came")
        if self._client.reason is not None:
            raise self._client.reason

    def consume(self, queue: str, count: int) -> None:
        seen, done = 0, threading.Event()

        def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            nonlocal seen
            channel.basic_ack(method.delivery_tag)
            seen += 1
            if seen == count:
                done.set()

        self._channel.basic_qos(prefetch_count=PREFETCH)
        tag = self._channel.basic_consume(queue, on_message)
        if not done.wait(PATIENCE):
            raise TimeoutError(f"{seen} of {count} deliveries came")
        self._channel.basic_cancel(tag)

    def close(self) -> None:
        self._channel.close()


class PikaThreadsafeSpeed(PikaSpeed):
    name = "pika, thread-safe connection"
    requirements = PIKA_THREADSAFE
    shares = True
    #: Its thread reads; there is nothing to drain, and no pool.
    cannot = frozenset({DRAIN, LEASE})

    def open(self) -> None:
        import pika

        #: Why the connection is gone, and the sessions that are to be told.
        self.reason: BaseException | None = None
        self.waiting: list[threading.Event] = []
        self.connection: Any = pika.Connection(  # type: ignore[attr-defined, unused-ignore]
            _parameters(self.endpoint), on_close_callback=self._gone
        )

    def _gone(self, connection: Any, reason: BaseException) -> None:
        self.reason = reason
        for told in self.waiting:
            told.set()

    def session(self) -> Session:
        return _Shared(self)

    def reconnect(self) -> None:
        self.open()

    def close(self) -> None:
        self.connection.close()
