"""amqpstorm: one connection, one channel for each thread.

"Thread-safe" by its documentation (www.amqpstorm.io, "Usage: Channels"): a channel for each thread;
`confirm_deliveries`, `basic.publish`, `start_consuming` as in its examples. It has no pool.
"""

from __future__ import annotations

from typing import Any

from benchmarks.clients.requirements import AMQPSTORM
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

PROPERTIES = {"content_type": CONTENT_TYPE, "delivery_mode": DELIVERY_MODE}


class _Channel(Session):
    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._publish = channel.basic.publish

    def publish(self, queue: str, body: bytes) -> None:
        self._publish(body, queue, properties=dict(PROPERTIES))

    #: On a channel with `confirm_deliveries` its publish waits for the confirm.
    publish_confirmed = publish

    def consume(self, queue: str, count: int) -> None:
        channel, seen = self._channel, 0

        def on_message(message: Any) -> None:
            nonlocal seen
            message.ack()
            seen += 1
            if seen == count:
                channel.stop_consuming()

        channel.basic.qos(PREFETCH)
        channel.basic.consume(on_message, queue)
        channel.start_consuming()

    def close(self) -> None:
        self._channel.close()


class AmqpstormSpeed(Speed):
    name = "amqpstorm"
    requirements = AMQPSTORM
    #: It drains by a thread of its own; what its channels offer is for consumers.
    cannot = frozenset({DRAIN, LEASE})

    @property
    def version(self) -> str:
        import amqpstorm

        return str(amqpstorm.__version__)

    def open(self) -> None:
        import amqpstorm

        to = self.endpoint
        self._amqpstorm = amqpstorm
        self._connection = amqpstorm.Connection(
            to.host, to.user, to.password, to.port, virtual_host=to.vhost, timeout=PATIENCE
        )

    def session(self) -> Session:
        channel = self._connection.channel()
        if self.confirms:
            channel.confirm_deliveries()
        return _Channel(channel)

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        return (self._amqpstorm.AMQPConnectionError,)

    def reconnect(self) -> None:
        # As its examples of robust clients do: a new connection.
        self.open()

    def close(self) -> None:
        self._connection.close()
