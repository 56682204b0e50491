"""The adapter for raw py-amqp: one connection for each lease, since no two threads may share one.

As its documentation says (docs.celeryq.dev/projects/amqp): `Connection(confirm_publish=True)`,
whose `basic_publish` waits for the confirm; returns come to a listener on the channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from benchmarks.clients.base import Bounds, Delivery, Outgoing
from benchmarks.clients.leased import Holding, LeasedClient, Told
from benchmarks.clients.requirements import PYAMQP
from benchmarks.wire.url import parse_amqp_url


class PyamqpClient(LeasedClient):
    name = "py-amqp, a connection per lease"
    requirements: ClassVar[tuple[str, ...]] = PYAMQP
    #: There is no connection that all threads share.
    cannot = frozenset({"drain"})
    bounds = Bounds(operation=5.0, recovery=5.0, close=5.0)

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        self.connections = size  # type: ignore[misc]  # as many as leases

    @property
    def version(self) -> str:
        import amqp

        return str(amqp.__version__)

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        import amqp

        # The list that its documentation names, without the errors of a broken protocol.
        return (amqp.RecoverableConnectionError, ConnectionError)

    @property
    def cancelled(self) -> tuple[type[BaseException], ...]:
        import amqp

        return (amqp.ConsumerCancelled,)

    def open(self) -> None:
        self.release(self.acquire(self.bounds.operation))

    def _hold(self) -> Holding:
        import amqp

        to = parse_amqp_url(self.urls[0])
        connection = amqp.Connection(
            f"{to.host}:{to.port}",
            userid=to.user,
            password=to.password,
            virtual_host=to.vhost,
            heartbeat=self.heartbeat,
            connect_timeout=self.bounds.operation,
            read_timeout=2 * self.heartbeat or self.bounds.operation,
            write_timeout=2 * self.heartbeat or self.bounds.operation,
            confirm_publish=True,
        )
        connection.connect()
        return self._held(connection, connection.channel())

    def _held(self, connection: Any, channel: Any) -> Holding:
        held = Holding(connection, channel, next(self._numbers))
        held.notes["returned"] = []
        channel.events["basic_return"].add(
            lambda error, exchange, key, message: held.notes["returned"].append(
                message.properties.get("message_id")
            )
        )
        return held

    def _alive(self, held: Holding) -> bool:
        return bool(held.connection.connected) and bool(held.channel.is_open)

    def _discard(self, held: Holding) -> None:
        gone: tuple[type[BaseException], ...] = (OSError, *self.recoverable)
        try:
            held.connection.close()
        except gone:
            held.connection.collect()  # it was gone already

    def publish(self, handle: Any, message: Outgoing) -> Told:
        import amqp

        def send(held: Holding) -> Told:
            held.notes["returned"].clear()
            try:
                held.channel.basic_publish(
                    amqp.Message(message.body, message_id=message.identity, delivery_mode=2),
                    exchange=message.exchange,
                    routing_key=message.routing_key,
                    mandatory=message.mandatory,
                )
            except amqp.exceptions.MessageNacked:
                return Told("nack")
            return Told("ack", next(iter(held.notes["returned"]), None))

        return self._on(handle, send)

    def consume(
        self,
        handle: Any,
        queue: str,
        consumer_tag: str,
        prefetch: int,
        callback: Callable[[Delivery], None],
        no_ack: bool = False,
    ) -> str:
        def start(held: Holding) -> str:
            held.spoiled = True
            held.channel.basic_qos(0, prefetch, False)
            return str(
                held.channel.basic_consume(
                    queue,
                    consumer_tag=consumer_tag,
                    no_ack=no_ack,
                    callback=lambda message: callback(_delivery(message)),
                )
            )

        return self._on(handle, start)

    def drain_lease(self, handle: Any, timeout: float) -> None:
        handle.held.connection.drain_events(timeout=timeout)

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        self._on(handle, lambda held: held.channel.basic_cancel(consumer_tag))

    def ack(self, handle: Any, delivery_tag: int) -> None:
        self._on(handle, lambda held: held.channel.basic_ack(delivery_tag))

    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        message = self._on(handle, lambda held: held.channel.basic_get(queue, no_ack=no_ack))
        return None if message is None else _delivery(message)

    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        declared = self._on(
            handle,
            lambda held: held.channel.queue_declare(
                queue,
                passive=passive,
                durable=durable,
                auto_delete=False,
                arguments=dict(self.queue_arguments),
            ),
        )
        return str(declared.queue)


def _delivery(message: Any) -> Delivery:
    info = message.delivery_info
    return Delivery(
        identity=message.properties.get("message_id"),
        body=message.body if isinstance(message.body, bytes) else message.body.encode(),
        consumer_tag=info.get("consumer_tag"),
        delivery_tag=message.delivery_tag,
        redelivered=bool(info.get("redelivered")),
    )
