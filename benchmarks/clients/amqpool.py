"""The adapter for amqpool itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Any

from benchmarks.clients.base import Bounds, Client, Delivery, Outgoing


class _Receipt:
    """An amqpool Confirmation, in the words of the client protocol."""

    __slots__ = ("_confirmation",)

    def __init__(self, confirmation: Any) -> None:
        self._confirmation = confirmation

    def outcome(self) -> str | None:
        outcome: str | None = self._confirmation.outcome
        return outcome

    def returned(self) -> str | None:
        returned = self._confirmation.returned
        return None if returned is None else returned.message.properties.get("message_id")


class AmqpoolClient(Client):
    """ChannelPool with confirms, as its documentation says to use it."""

    name = "amqpool"
    bounds = Bounds(operation=5.0, recovery=5.0, close=5.0)

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        self.pool: Any = None

    @property
    def version(self) -> str:
        import amqpool

        return amqpool.__version__

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        from amqpool import errors

        return (errors.ConnectionLost,)

    @property
    def timeouts(self) -> tuple[type[BaseException], ...]:
        from amqpool import errors

        return (errors.DrainTimeout, errors.AcquireTimeout)

    @property
    def closed(self) -> tuple[type[BaseException], ...]:
        from amqpool import errors

        # What is still under way on a lease ends with its connection: ConnectionLost.
        return (errors.PoolClosed,)

    @property
    def cancelled(self) -> tuple[type[BaseException], ...]:
        import amqp

        return (amqp.ConsumerCancelled,)

    @property
    def unconfirmed(self) -> tuple[type[BaseException], ...]:
        from amqpool import errors

        return (errors.OperationTimeout,)

    def make_pool(self) -> Any:
        """The pool on trial; a mutant overrides this and nothing else."""
        from amqpool import ChannelPool

        return ChannelPool(self.urls, **self.pool_options())

    def pool_options(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "confirms": True,
            "heartbeat": self.heartbeat,
            "connect_timeout": self.bounds.operation,
            "recovery_deadline": self.bounds.recovery,
            "rpc_timeout": self.bounds.operation,
            "publish_timeout": self.bounds.operation,
            # Less than an acquire waits: a channel whose confirms never come is not waited for.
            "settle_timeout": self.bounds.operation / 2,
            "rng": random.Random(self.seed),
        }

    def open(self) -> None:
        self.pool = self.make_pool()
        self.pool.open(self.bounds.operation)

    def connected(self) -> bool:
        return bool(self.pool.connected)

    def drain(self, timeout: float) -> None:
        self.pool.drain_events(timeout)

    def acquire(self, timeout: float) -> Any:
        return self.pool.acquire(timeout)

    def release(self, handle: Any) -> Any:
        return self.pool.release(handle)

    def channel_key(self, handle: Any) -> Hashable:
        return (handle.generation, handle.channel.channel_id)

    def _send(self, handle: Any, message: Outgoing) -> Any:
        from amqp import Message

        return handle.channel.basic_publish(
            Message(message.body, message_id=message.identity, delivery_mode=2),
            exchange=message.exchange,
            routing_key=message.routing_key,
            mandatory=message.mandatory,
        )

    def publish(self, handle: Any, message: Outgoing) -> _Receipt:
        return _Receipt(self._send(handle, message))

    def publish_confirmed(self, handle: Any, message: Outgoing, timeout: float) -> _Receipt:
        confirmation = self._send(handle, message)
        confirmation.wait(timeout)
        return _Receipt(confirmation)

    def consume(
        self,
        handle: Any,
        queue: str,
        consumer_tag: str,
        prefetch: int,
        callback: Callable[[Delivery], None],
        no_ack: bool = False,
    ) -> str:
        channel = handle.channel
        channel.basic_qos(0, prefetch, False)
        tag: str = channel.basic_consume(
            queue,
            consumer_tag=consumer_tag,
            no_ack=no_ack,
            callback=lambda message: callback(_delivery(message)),
        )
        return tag

    def drain_lease(self, handle: Any, timeout: float) -> None:
        handle.channel.drain_events(timeout)

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        handle.channel.basic_cancel(consumer_tag)

    def ack(self, handle: Any, delivery_tag: int) -> None:
        handle.channel.basic_ack(delivery_tag)

    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        message = handle.channel.basic_get(queue, no_ack=no_ack)
        return None if message is None else _delivery(message)

    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        declared = handle.channel.queue_declare(
            queue,
            passive=passive,
            durable=durable,
            auto_delete=False,
            arguments=dict(self.queue_arguments),
        )
        return str(declared.queue)

    def close(self, timeout: float) -> None:
        self.pool.close(timeout)

    def at_rest(self) -> dict[str, Any] | None:
        stats = self.pool.stats()
        idle = [(c.connection.generation, c.channel_id) for c in self.pool.idle_channels()]
        return {"idle": idle, "in_use": stats["in_use"], "stats": stats}


def _delivery(message: Any) -> Delivery:
    body = message.body
    return Delivery(
        identity=message.properties.get("message_id"),
        body=body if isinstance(body, bytes) else body.encode(),
        consumer_tag=message.delivery_info.get("consumer_tag"),
        delivery_tag=message.delivery_tag,
        redelivered=bool(message.delivery_info.get("redelivered")),
    )
