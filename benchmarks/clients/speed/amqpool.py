"""amqpool: one ChannelPool, a lease for each thread (README.md)."""

from __future__ import annotations

from typing import Any

from benchmarks.clients.speed.base import (
    CONTENT_TYPE,
    DELIVERY_MODE,
    PATIENCE,
    PREFETCH,
    Session,
    Speed,
    consume_until,
)


class _Leased(Session):
    def __init__(self, lease: Any, message: Any) -> None:
        self._lease = lease
        self._channel = lease.channel
        self._message = message

    def publish(self, queue: str, body: bytes) -> None:
        self._channel.basic_publish(
            self._message(body, content_type=CONTENT_TYPE, delivery_mode=DELIVERY_MODE),
            routing_key=queue,
        )

    def publish_confirmed(self, queue: str, body: bytes) -> None:
        self._channel.basic_publish(
            self._message(body, content_type=CONTENT_TYPE, delivery_mode=DELIVERY_MODE),
            routing_key=queue,
        ).wait(PATIENCE)

    def consume(self, queue: str, count: int) -> None:
        channel = self._channel
        channel.basic_qos(0, PREFETCH, False)
        on_message, loop = consume_until(
            count,
            lambda message: channel.basic_ack(message.delivery_tag),
            lambda: channel.drain_events(PATIENCE),
        )
        tag = channel.basic_consume(queue, callback=on_message)
        loop()
        channel.basic_cancel(tag)

    def drain(self, timeout: float) -> None:
        from amqpool import DrainTimeout

        try:
            self._channel.drain_events(timeout)
        except DrainTimeout:
            pass  # nothing came

    def flush(self) -> None:
        self._channel.flush(PATIENCE)

    def abandon(self) -> None:
        self._lease.release()

    def close(self) -> None:
        self._lease.release()


class AmqpoolSpeed(Speed):
    name = "amqpool"

    @property
    def version(self) -> str:
        import amqpool

        return amqpool.__version__

    def open(self) -> None:
        from amqp import Message

        from amqpool import ChannelPool, DrainTimeout

        self._message = Message
        self._nothing = DrainTimeout
        self._pool = ChannelPool(
            self.endpoint.url, size=self.size, confirms=self.confirms, heartbeat=0
        )
        self._pool.open(PATIENCE)

    def session(self) -> Session:
        return _Leased(self._pool.acquire(PATIENCE), self._message)

    def connected(self) -> bool:
        return self._pool.connected

    def drain(self, timeout: float) -> None:
        try:
            self._pool.drain_events(timeout)
        except self._nothing:
            pass  # nothing came

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        from amqpool import ConnectionLost

        return (ConnectionLost,)

    def close(self) -> None:
        self._pool.close(PATIENCE)
