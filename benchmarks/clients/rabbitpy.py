"""The adapter for rabbitpy: one connection, a channel of it for each lease.

"Restrict the use of a channel to an individual thread" (rabbitpy.readthedocs.io, "Multi-threaded
use"). Publishes on a channel with publisher confirms wait for them; one that came back raises
`MessageReturnedException`, and leaves its content behind on the channel, which is not lent again.
Its consumers are generators that block without a limit, so each runs in a thread of its own, from
where `drain_lease` takes the deliveries; `stop_consuming` ends it from outside. A lost connection
is replaced at the next acquire.
"""

from __future__ import annotations

import importlib.metadata
import queue as queues
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.clients.base import Bounds, Delivery, Outgoing
from benchmarks.clients.leased import Holding, LeasedClient, Told
from benchmarks.clients.requirements import RABBITPY


class RabbitpyClient(LeasedClient):
    name = "rabbitpy"
    requirements = RABBITPY
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
        return importlib.metadata.version("rabbitpy")

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        from rabbitpy import exceptions

        return (exceptions.ConnectionException, exceptions.ChannelClosedException)

    @property
    def cancelled(self) -> tuple[type[BaseException], ...]:
        from rabbitpy import exceptions

        return (exceptions.RemoteCancellationException,)

    def reply_code(self, error: BaseException) -> int | None:
        from rabbitpy import exceptions

        codes = [code for code, kind in exceptions.AMQP.items() if type(error) is kind]
        return codes[0] if codes else None

    def open(self) -> None:
        self.release(self.acquire(self.bounds.operation))

    def connected(self) -> bool:
        connection = self._connection
        return connection is not None and not connection.closed

    def _hold(self) -> Holding:
        import rabbitpy

        with self._connecting:
            if not self.connected():
                url = f"{self.urls[0]}?heartbeat={self.heartbeat}"
                self._connection = rabbitpy.Connection(url)
                self._number = next(self._numbers)
            connection, number = self._connection, self._number
        channel = connection.channel()
        channel.enable_publisher_confirms()
        return Holding(connection, channel, number)

    def _alive(self, held: Holding) -> bool:
        # One that the broker closed is neither open nor closed to it; closing it again would make
        # its number be used for another.
        channel = held.channel
        return not held.connection.closed and channel.state == channel.OPEN

    def _discard(self, held: Holding) -> None:
        if self._alive(held):
            held.channel.close()

    def _channel_number(self, held: Holding) -> int:
        return int(held.channel.id)

    def publish(self, handle: Any, message: Outgoing) -> Told:
        import rabbitpy

        def send(held: Holding) -> Told:
            properties = {"message_id": message.identity, "delivery_mode": 2}
            one = rabbitpy.Message(held.channel, message.body, properties)
            try:
                confirmed = one.publish(
                    message.exchange, message.routing_key, mandatory=message.mandatory
                )
            except rabbitpy.exceptions.MessageReturnedException:
                held.spoiled = True
                # The error of this very call does not name it.
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
        import rabbitpy

        def start(held: Holding) -> str:
            held.spoiled = True
            source = held.notes["source"] = rabbitpy.Queue(held.channel, queue, durable=True)
            came = held.notes["came"] = queues.SimpleQueue[Any]()
            held.notes["callback"], held.notes["messages"] = callback, {}

            def read() -> None:
                try:
                    for message in source.consume(no_ack, prefetch, consumer_tag=consumer_tag):
                        came.put(message)
                except BaseException as error:  # noqa: BLE001 - raised by the next drain
                    came.put(error)

            thread = held.notes["thread"] = threading.Thread(
                target=read, name=f"rabbitpy-{consumer_tag}", daemon=True
            )
            thread.start()
            return consumer_tag

        return self._on(handle, start)

    def drain_lease(self, handle: Any, timeout: float) -> None:
        def take(held: Holding) -> Any:
            try:
                one = held.notes["came"].get(timeout=timeout)
            except queues.Empty:
                return None
            if isinstance(one, BaseException):
                raise one
            return one

        message = self._on(handle, take)
        if message is None:
            raise TimeoutError(f"nothing came within {timeout:g} s")
        held = handle.held
        held.notes["messages"][message.delivery_tag] = message
        held.notes["callback"](_delivery(message))

    def ack(self, handle: Any, delivery_tag: int) -> None:
        self._on(handle, lambda held: held.notes["messages"].pop(delivery_tag).ack())

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        def stop(held: Holding) -> None:
            held.notes["source"].stop_consuming()
            held.notes["thread"].join(self.bounds.operation)

        self._on(handle, stop)

    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        import rabbitpy

        def fetch(held: Holding) -> Delivery | None:
            held.spoiled = held.spoiled or not no_ack
            message = rabbitpy.Queue(held.channel, queue).get(acknowledge=not no_ack)
            if message is None:
                return None
            held.notes.setdefault("messages", {})[message.delivery_tag] = message
            return _delivery(message)

        return self._on(handle, fetch)

    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        import rabbitpy

        def declare(held: Holding) -> str:
            arguments = dict(self.queue_arguments)
            source = rabbitpy.Queue(held.channel, queue, durable=durable, arguments=arguments)
            source.declare(passive)
            return str(source.name)

        return self._on(handle, declare)

    def close(self, timeout: float) -> None:
        super().close(timeout)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _delivery(message: Any) -> Delivery:
    identity = message.properties.get("message_id")
    return Delivery(
        identity=identity.decode() if isinstance(identity, bytes) else identity,
        body=bytes(message.body),
        consumer_tag=getattr(message.method, "consumer_tag", None),
        delivery_tag=message.delivery_tag,
        redelivered=bool(message.redelivered),
    )
