"""The adapter for amqpstorm: one connection, a channel of it for each lease.

"Thread-safe" by its documentation (www.amqpstorm.io): channels are for one thread each, its
publishes on a channel with `confirm_deliveries` wait for their confirm, and `process_data_events`
hands out what its own thread has read. A lost connection is replaced at the next acquire, as in its
examples of robust clients.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.clients.base import Bounds, Delivery, Outgoing
from benchmarks.clients.leased import Holding, LeasedClient, Told
from benchmarks.clients.requirements import AMQPSTORM
from benchmarks.wire.url import parse_amqp_url

#: Seconds between two looks for deliveries: its own IDLE_WAIT.
LOOK = 0.01


class AmqpstormClient(LeasedClient):
    name = "amqpstorm"
    requirements = AMQPSTORM
    #: A thread of its own reads; there is nothing that an application could drain.
    cannot = frozenset({"drain"})
    bounds = Bounds(operation=5.0, recovery=5.0, close=5.0)

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        # Held while a lost connection is replaced: by one thread, for all of them.
        self._connecting = threading.Lock()
        self._connection: Any = None
        self._number = 0

    @property
    def version(self) -> str:
        import amqpstorm

        return str(amqpstorm.__version__)

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        import amqpstorm

        return (amqpstorm.AMQPConnectionError,)

    def reply_code(self, error: BaseException) -> int | None:
        code: int | None = getattr(error, "error_code", None)
        return code

    def open(self) -> None:
        self.release(self.acquire(self.bounds.operation))

    def connected(self) -> bool:
        connection = self._connection
        return connection is not None and bool(connection.is_open)

    def _hold(self) -> Holding:
        import amqpstorm

        with self._connecting:
            if not self.connected():
                to = parse_amqp_url(self.urls[0])
                self._connection = amqpstorm.Connection(
                    to.host,
                    to.user,
                    to.password,
                    to.port,
                    virtual_host=to.vhost,
                    heartbeat=self.heartbeat or 60,
                    timeout=self.bounds.operation,
                )
                self._number = next(self._numbers)
            connection, number = self._connection, self._number
        channel = connection.channel(rpc_timeout=int(self.bounds.operation))
        channel.confirm_deliveries()
        return Holding(connection, channel, number)

    def _alive(self, held: Holding) -> bool:
        return bool(held.connection.is_open) and bool(held.channel.is_open)

    def _discard(self, held: Holding) -> None:
        if self._alive(held):
            held.channel.close()

    def publish(self, handle: Any, message: Outgoing) -> Any:
        import amqpstorm

        def send(held: Holding) -> Told:
            try:
                confirmed = held.channel.basic.publish(
                    message.body,
                    message.routing_key,
                    message.exchange,
                    properties={"message_id": message.identity, "delivery_mode": 2},
                    mandatory=message.mandatory,
                )
            except amqpstorm.AMQPMessageError:
                # It was returned; the error of this very call does not name it.
                return Told("ack", message.identity)
            return Told("ack" if confirmed else "nack")

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
            held.notes["came"] = 0

            def on_message(message: Any) -> None:
                held.notes["came"] += 1
                callback(_delivery(message))

            held.channel.basic.qos(prefetch)
            return str(held.channel.basic.consume(on_message, queue, consumer_tag, no_ack=no_ack))

        return self._on(handle, start)

    def drain_lease(self, handle: Any, timeout: float) -> None:
        def drain(held: Holding) -> bool:
            before, deadline = held.notes["came"], time.monotonic() + timeout
            while True:
                held.channel.process_data_events(auto_decode=False)
                if held.notes["came"] != before:
                    return True
                if time.monotonic() > deadline:
                    return False
                time.sleep(LOOK)

        if not self._on(handle, drain):
            raise TimeoutError(f"nothing came within {timeout:g} s")

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        self._on(handle, lambda held: held.channel.basic.cancel(consumer_tag))

    def ack(self, handle: Any, delivery_tag: int) -> None:
        self._on(handle, lambda held: held.channel.basic.ack(delivery_tag))

    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        def fetch(held: Holding) -> Delivery | None:
            held.spoiled = held.spoiled or not no_ack
            message = held.channel.basic.get(queue, no_ack=no_ack, auto_decode=False)
            return None if message is None else _delivery(message)

        return self._on(handle, fetch)

    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        declared = self._on(
            handle,
            lambda held: held.channel.queue.declare(
                queue, passive=passive, durable=durable, arguments=dict(self.queue_arguments)
            ),
        )
        return str(declared["queue"])

    def close(self, timeout: float) -> None:
        super().close(timeout)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _delivery(message: Any) -> Delivery:
    return Delivery(
        identity=_text(message.message_id),
        body=message.body if isinstance(message.body, bytes) else message.body.encode(),
        consumer_tag=_text(message.method.get("consumer_tag")),
        delivery_tag=message.delivery_tag,
        redelivered=bool(message.redelivered),
    )


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
