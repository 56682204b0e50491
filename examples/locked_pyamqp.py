"""An adapter from outside the tree: raw py-amqp, one connection behind one lock.

    python -m benchmarks.harness run chaos_no_deadlock --client examples/locked_pyamqp.py:Locked

It is what an application writes that has no pool: correct, because nobody but the holder of the
lock ever touches the connection, and slow, because a drain keeps everybody else waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

from benchmarks.clients.base import Bounds, Client, Delivery, Outgoing


class LockedReceipt:
    def __init__(self) -> None:
        self.state: str | None = None
        self.back: str | None = None

    def outcome(self) -> str | None:
        return self.state

    def returned(self) -> str | None:
        return self.back


class Handle:
    """One leased channel, with the receipts that its confirms and returns belong to."""

    def __init__(self, channel: Any, generation: int) -> None:
        self.channel = channel
        self.generation = generation
        self.number = channel.channel_id
        self.sequence = 0
        self.pending: dict[int, LockedReceipt] = {}
        self.mandatory: dict[str, LockedReceipt] = {}

    def confirmed(self, tag: int, multiple: bool, state: str) -> None:
        tags = [t for t in self.pending if t <= tag] if multiple else [tag]
        for known in tags:
            self.pending.pop(known).state = state

    def returned(self, error: Any, exchange: str, key: str, message: Any) -> None:
        identity = message.properties["message_id"]
        self.mandatory.pop(identity).back = identity


class Locked(Client):
    name = "locked-pyamqp"
    bounds = Bounds(operation=10.0, recovery=5.0, close=5.0)

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        # Guards the connection and everything that came from it, handles included.
        self._lock = threading.RLock()
        self._free = threading.Semaphore(size)
        self._connection: Any = None
        self._generation = 0
        self._idle: list[Handle] = []
        self._handles: list[Handle] = []

    @property
    def version(self) -> str:
        import amqp

        return str(amqp.__version__)

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        import amqp

        return (amqp.RecoverableConnectionError, ConnectionError)

    @property
    def timeouts(self) -> tuple[type[BaseException], ...]:
        return (TimeoutError,)

    def _connect(self) -> Any:
        """The living connection; call it with the lock held."""
        import amqp

        if self._connection is None or not self._connection.connected:
            for handle in self._handles:
                for receipt in handle.pending.values():
                    receipt.state = "unknown"
            self._idle, self._handles = [], []
            address, _, rest = self.urls[0].removeprefix("amqp://").rpartition("@")
            user, _, password = address.partition(":")
            self._connection = amqp.Connection(
                rest.rstrip("/"),
                userid=user,
                password=password,
                connect_timeout=self.bounds.operation,
                read_timeout=self.bounds.operation,
            )
            self._connection.connect()
            self._generation += 1
        return self._connection

    def _lost(self) -> None:
        if self._connection is not None:
            self._connection.collect()

    def _guarded(self, work: Callable[[], Any], handle: Handle | None = None) -> Any:
        """Run ``work`` under the lock; a dead connection is put away, and its error goes on.

        A handle of an older connection fails before that: it must not cost the new one its life.
        """
        with self._lock:
            if handle is not None:
                self._alive(handle)
            try:
                return work()
            except self.recoverable:
                self._lost()
                raise

    def open(self) -> None:
        self._guarded(self._connect)

    def connected(self) -> bool:
        with self._lock:
            return self._connection is not None and bool(self._connection.connected)

    def drain(self, timeout: float) -> None:
        self._guarded(lambda: self._connect().drain_events(timeout=timeout))

    def drain_lease(self, handle: Any, timeout: float) -> None:
        # Short turns, so that others get at the connection in between.
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._guarded(lambda: handle.channel.connection.drain_events(timeout=0.002), handle)
                return
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.002)

    def _alive(self, handle: Handle) -> None:
        import amqp

        if handle.generation != self._generation or handle.channel.connection is None:
            raise amqp.RecoverableConnectionError("the channel's connection is gone")

    def acquire(self, timeout: float) -> Any:
        if not self._free.acquire(timeout=timeout):
            raise TimeoutError(f"no channel within {timeout} s")
        try:
            return self._guarded(self._take)
        except BaseException:
            self._free.release()
            raise

    def _take(self) -> Handle:
        connection = self._connect()
        if self._idle:
            return self._idle.pop()
        handle = Handle(connection.channel(), self._generation)
        handle.channel.confirm_select()
        events = handle.channel.events
        events["basic_ack"].add(lambda tag, multiple: handle.confirmed(tag, multiple, "ack"))
        events["basic_nack"].add(lambda tag, multiple: handle.confirmed(tag, multiple, "nack"))
        events["basic_return"].add(handle.returned)
        self._handles.append(handle)
        return handle

    def release(self, handle: Any) -> Any:
        with self._lock:
            if handle.generation == self._generation and handle.channel.connection is not None:
                self._idle.append(handle)
        self._free.release()

    def channel_key(self, handle: Any) -> Hashable:
        return (handle.generation, handle.number)

    def publish(self, handle: Any, message: Outgoing) -> LockedReceipt:
        return self._guarded(lambda: self._publish(handle, message), handle)  # type: ignore[no-any-return]

    def _publish(self, handle: Handle, message: Outgoing) -> LockedReceipt:
        import amqp

        channel = handle.channel
        receipt = LockedReceipt()
        handle.sequence += 1
        handle.pending[handle.sequence] = receipt
        if message.mandatory:
            handle.mandatory[message.identity] = receipt
        channel.basic_publish(
            amqp.Message(message.body, message_id=message.identity, delivery_mode=2),
            exchange=message.exchange,
            routing_key=message.routing_key,
            mandatory=message.mandatory,
        )
        return receipt

    def publish_confirmed(self, handle: Any, message: Outgoing, timeout: float) -> LockedReceipt:
        receipt = self.publish(handle, message)
        deadline = time.monotonic() + timeout
        while receipt.state is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no confirm within {timeout} s")
            try:
                self._guarded(lambda: handle.channel.connection.drain_events(timeout=0.002), handle)
            except TimeoutError:
                continue
        return receipt

    def consume(
        self,
        handle: Any,
        queue: str,
        consumer_tag: str,
        prefetch: int,
        callback: Callable[[Delivery], None],
    ) -> None:
        def start() -> None:
            channel = handle.channel
            channel.basic_qos(0, prefetch, False)
            channel.basic_consume(
                queue, consumer_tag=consumer_tag, callback=lambda m: callback(_delivery(m))
            )

        self._guarded(start, handle)

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        self._guarded(lambda: handle.channel.basic_cancel(consumer_tag), handle)

    def ack(self, handle: Any, delivery_tag: int) -> None:
        self._guarded(lambda: handle.channel.basic_ack(delivery_tag), handle)

    def get(self, handle: Any, queue: str) -> Delivery | None:
        message = self._guarded(lambda: handle.channel.basic_get(queue), handle)
        return None if message is None else _delivery(message)

    def declare(self, handle: Any, queue: str, passive: bool) -> str:
        declared = self._guarded(
            lambda: handle.channel.queue_declare(
                queue, passive=passive, durable=True, auto_delete=False
            ),
            handle,
        )
        return str(declared.queue)

    def close(self, timeout: float) -> None:
        with self._lock:
            if self._connection is not None and self._connection.connected:
                self._connection.close()


def _delivery(message: Any) -> Delivery:
    info = message.delivery_info
    return Delivery(
        identity=message.properties.get("message_id"),
        body=message.body if isinstance(message.body, bytes) else message.body.encode(),
        consumer_tag=info.get("consumer_tag"),
        delivery_tag=message.delivery_tag,
        redelivered=bool(info.get("redelivered")),
    )
