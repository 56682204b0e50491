"""The adapter for pika: one BlockingConnection for each lease.

"Make sure you have a Pika connection per thread" (pika.readthedocs.io, FAQ). Publishes wait for
their confirm (`confirm_delivery`); an unroutable one raises `UnroutableError`, a refused one
`NackError`, as in its example of blocking publisher confirms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.clients.base import Bounds, Delivery, Outgoing
from benchmarks.clients.leased import Holding, LeasedClient, Told
from benchmarks.clients.requirements import PIKA
from benchmarks.wire.url import parse_amqp_url


class PikaClient(LeasedClient):
    name = "pika, a connection per lease"
    requirements = PIKA
    #: There is no connection that all threads share.
    cannot = frozenset({"drain"})
    bounds = Bounds(operation=5.0, recovery=5.0, close=5.0)

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        self.connections = size  # type: ignore[misc]  # as many as leases

    @property
    def version(self) -> str:
        import pika

        return str(pika.__version__)

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        from pika import exceptions

        # The channel's state follows its connection's.
        return (exceptions.AMQPConnectionError, exceptions.ChannelWrongStateError)

    def parameters(self) -> Any:
        import pika

        to = parse_amqp_url(self.urls[0])
        return pika.ConnectionParameters(
            to.host,
            to.port,
            to.vhost,
            pika.PlainCredentials(to.user, to.password),
            heartbeat=self.heartbeat,
            socket_timeout=self.bounds.operation,
            blocked_connection_timeout=self.bounds.operation,
        )

    def open(self) -> None:
        self.release(self.acquire(self.bounds.operation))

    def _hold(self) -> Holding:
        import pika

        connection = pika.BlockingConnection(self.parameters())
        channel = connection.channel()
        channel.confirm_delivery()
        return Holding(connection, channel, next(self._numbers))

    def _alive(self, held: Holding) -> bool:
        return bool(held.connection.is_open) and bool(held.channel.is_open)

    def _discard(self, held: Holding) -> None:
        if held.connection.is_open:
            try:
                held.connection.close()
            except self.recoverable:
                pass  # it was gone already

    def _channel_number(self, held: Holding) -> int:
        return int(held.channel.channel_number)

    def publish(self, handle: Any, message: Outgoing) -> Any:
        from pika import BasicProperties, exceptions

        def send(held: Holding) -> Told:
            try:
                held.channel.basic_publish(
                    message.exchange,
                    message.routing_key,
                    message.body,
                    BasicProperties(message_id=message.identity, delivery_mode=2),
                    mandatory=message.mandatory,
                )
            except exceptions.NackError:
                return Told("nack")
            except exceptions.UnroutableError as error:
                return Told("ack", error.messages[0].properties.message_id)
            return Told("ack")

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
            held.channel.basic_qos(prefetch_count=prefetch)
            return str(
                held.channel.basic_consume(
                    queue,
                    lambda channel, method, properties, body: self._came(
                        held, callback, delivery(method, properties, body)
                    ),
                    auto_ack=no_ack,
                    consumer_tag=consumer_tag,
                )
            )

        return self._on(handle, start)

    def _came(self, held: Holding, callback: Callable[[Delivery], None], one: Delivery) -> None:
        held.notes["came"] = True
        callback(one)

    def drain_lease(self, handle: Any, timeout: float) -> None:
        def drain(held: Holding) -> bool:
            held.notes["came"] = False
            held.connection.process_data_events(time_limit=timeout)
            return bool(held.notes["came"])

        if not self._on(handle, drain):
            raise TimeoutError(f"nothing came within {timeout:g} s")

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        self._on(handle, lambda held: held.channel.basic_cancel(consumer_tag))

    def ack(self, handle: Any, delivery_tag: int) -> None:
        self._on(handle, lambda held: held.channel.basic_ack(delivery_tag))

    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        def fetch(held: Holding) -> Delivery | None:
            held.spoiled = held.spoiled or not no_ack
            method, properties, body = held.channel.basic_get(queue, auto_ack=no_ack)
            return None if method is None else delivery(method, properties, body)

        return self._on(handle, fetch)

    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        declared = self._on(
            handle,
            lambda held: held.channel.queue_declare(
                queue, passive=passive, durable=durable, arguments=dict(self.queue_arguments)
            ),
        )
        return str(declared.method.queue)


def delivery(method: Any, properties: Any, body: bytes) -> Delivery:
    """What pika hands to a callback, in the protocol's words."""
    return Delivery(
        identity=properties.message_id,
        body=body,
        consumer_tag=getattr(method, "consumer_tag", None),
        delivery_tag=method.delivery_tag,
        redelivered=bool(method.redelivered),
    )
