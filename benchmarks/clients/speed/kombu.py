"""kombu: its pools of connections and producers, each producer on a connection of its own.

`kombu.pools` as in its user guide (docs.celeryq.dev/projects/kombu, "Connection and Producer
Pools"): `producers[connection].acquire(block=True)`. Confirms are the `confirm_publish` transport
option; consumers take their connection from `connections`.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

from benchmarks.clients.requirements import KOMBU
from benchmarks.clients.speed.base import (
    CONTENT_TYPE,
    DELIVERY_MODE,
    DRAIN,
    PATIENCE,
    PREFETCH,
    Session,
    Speed,
    consume_until,
)


class _Pooled(Session):
    """A producer of the pool; consuming takes a connection of the other one."""

    def __init__(self, producers: Any, connections: Any) -> None:
        self._connections = connections
        self._producer = producers.acquire(block=True, timeout=PATIENCE)
        # It connects when somebody asks for its channel: here, and not while the clock runs.
        _ = self._producer.channel

    def publish(self, queue: str, body: bytes) -> None:
        self._producer.publish(
            body,
            exchange="",
            routing_key=queue,
            content_type=CONTENT_TYPE,
            content_encoding="binary",
            delivery_mode=DELIVERY_MODE,
        )

    #: With `confirm_publish` its publish waits for the confirm.
    publish_confirmed = publish

    def consume(self, queue: str, count: int) -> None:
        from kombu import Consumer, Queue

        with self._connections.acquire(block=True, timeout=PATIENCE) as connection:
            on_message, loop = consume_until(
                count,
                lambda message: message.ack(),
                lambda: connection.drain_events(timeout=PATIENCE),
            )
            source = Queue(queue, no_declare=True)
            with Consumer(connection, [source], on_message=on_message, prefetch_count=PREFETCH):
                loop()

    def abandon(self) -> None:
        self._producer.release()

    def close(self) -> None:
        self._producer.release()


class KombuSpeed(Speed):
    name = "kombu, pools"
    requirements = KOMBU
    shares = False
    #: It drains one connection, and no other thread's.
    cannot = frozenset({DRAIN})

    @property
    def version(self) -> str:
        return importlib.metadata.version("kombu")

    def open(self) -> None:
        from kombu import Connection, pools

        # A consuming session holds one connection as producer and one as consumer.
        pools.set_limit(2 * self.size)
        self._connection = Connection(
            self.endpoint.url,
            connect_timeout=PATIENCE,
            transport_options={"confirm_publish": self.confirms},
        )
        self._producers = pools.producers[self._connection]
        self._connections = pools.connections[self._connection]

    def session(self) -> Session:
        return _Pooled(self._producers, self._connections)

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        from kombu.exceptions import OperationalError

        return (*self._connection.recoverable_connection_errors, OperationalError)

    def close(self) -> None:
        from kombu import pools

        pools.reset()
