"""Raw py-amqp: one connection and one channel for each thread.

"Connections are not thread-safe" (docs.celeryq.dev/projects/amqp, `Connection`), so no two threads
share one. Confirmed publishes are those of `Connection(confirm_publish=True)`.
"""

from __future__ import annotations

from typing import Any

from benchmarks.clients.requirements import PYAMQP
from benchmarks.clients.speed.base import (
    CONTENT_TYPE,
    DELIVERY_MODE,
    LEASE,
    PATIENCE,
    PREFETCH,
    Session,
    Speed,
    consume_until,
)


class ChannelSession(Session):
    """A py-amqp channel; ``connection`` is what drains it, ``message`` is `amqp.Message`."""

    def __init__(self, connection: Any, channel: Any, message: Any) -> None:
        self._connection = connection
        self._channel = channel
        self._message = message

    def publish(self, queue: str, body: bytes) -> None:
        self._channel.basic_publish(
            self._message(body, content_type=CONTENT_TYPE, delivery_mode=DELIVERY_MODE),
            routing_key=queue,
        )

    #: With `confirm_publish` py-amqp's own basic_publish waits for the confirm.
    publish_confirmed = publish

    def consume(self, queue: str, count: int) -> None:
        channel = self._channel
        channel.basic_qos(0, PREFETCH, False)
        on_message, loop = consume_until(
            count,
            lambda message: channel.basic_ack(message.delivery_tag),
            lambda: self._connection.drain_events(timeout=PATIENCE),
        )
        tag = channel.basic_consume(queue, callback=on_message)
        loop()
        channel.basic_cancel(tag)

    def drain(self, timeout: float) -> None:
        try:
            self._connection.drain_events(timeout=timeout)
        except TimeoutError:
            pass  # nothing came

    def close(self) -> None:
        self._channel.close()


class _Connected(ChannelSession):
    def abandon(self) -> None:
        self._connection.collect()

    def close(self) -> None:
        self._connection.close()


class PyamqpSpeed(Speed):
    name = "py-amqp, a connection per thread"
    requirements = PYAMQP
    shares = False
    cannot = frozenset({LEASE})

    @property
    def version(self) -> str:
        import amqp

        return str(amqp.__version__)

    def open(self) -> None:
        import amqp

        self._amqp = amqp

    def session(self) -> Session:
        to = self.endpoint
        connection = self._amqp.Connection(
            f"{to.host}:{to.port}",
            userid=to.user,
            password=to.password,
            virtual_host=to.vhost,
            connect_timeout=PATIENCE,
            confirm_publish=self.confirms,
        )
        connection.connect()
        return _Connected(connection, connection.channel(), self._amqp.Message)

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        return tuple(self._amqp.Connection.recoverable_connection_errors)

    def close(self) -> None:
        """Every session closed its own."""
