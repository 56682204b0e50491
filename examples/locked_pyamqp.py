"""An adapter from outside the tree: raw py-amqp, one connection behind one lock.

    python -m benchmarks.harness run chaos_no_deadlock --client examples/locked_pyamqp.py:Locked

It is what an application writes that has no pool: correct, because nobody but the holder of the
lock ever touches the connection, and slow, because a drain keeps everybody else waiting. A call
without an answer costs the connection: a late answer could be taken for the next one's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

from benchmarks.clients.base import Bounds, Client, Delivery, Outgoing

#: Seconds of one drain under the lock, and of the pause in which others get at the connection.
TURN = 0.002
#: More threads than anybody starts: all who wait for a channel when the client is closed.
EVERYBODY = 10_000


class ClosedError(Exception):
    """The client was closed."""


@cache
def connection_class() -> type:
    """py-amqp's connection, but a channel that the broker closes ends, and only its owner is told.

    py-amqp opens it again, without confirms and consumers, and raises in whoever reads just then.
    """
    import amqp
    from amqp import spec
    from amqp.exceptions import error_for_code

    class Channel(amqp.Channel):  # type: ignore[misc]
        #: The error, and what is to be done then.
        ended: BaseException | None = None
        on_ended: Callable[[], None] | None = None
        #: Its own owner is in a call: without an answer, which will not come any more.
        called = False

        def _on_close(self, code: int, text: str, class_id: int, method_id: int) -> None:
            self.send_method(spec.Channel.CloseOk)
            self.ended = error_for_code(code, text, (class_id, method_id), amqp.ChannelError)
            self.collect()
            if self.on_ended is not None:
                self.on_ended()
            if self.called:
                raise self.ended

    class Connection(amqp.Connection):  # type: ignore[misc]
        """With such channels."""

    Connection.Channel = Channel
    return Connection


class LockedReceipt:
    def __init__(self) -> None:
        self.state: str | None = None
        self.back: str | None = None

    def outcome(self) -> str | None:
        return self.state

    def returned(self) -> str | None:
        return self.back


class Handle:
    """One channel, with the receipts that its confirms and returns belong to."""

    def __init__(self, channel: Any, generation: int) -> None:
        self.channel = channel
        self.generation = generation
        self.number = channel.channel_id
        self.sequence = 0
        self.pending: dict[int, LockedReceipt] = {}
        self.mandatory: dict[str, LockedReceipt] = {}
        #: Set when the broker cancelled a consumer, for the next drain to raise.
        self.cancelled: BaseException | None = None
        channel.on_ended = self.abandon

    def confirmed(self, tag: int, multiple: bool, state: str) -> None:
        tags = [t for t in self.pending if t <= tag] if multiple else [tag]
        for known in tags:
            self.pending.pop(known).state = state

    def returned(self, error: Any, exchange: str, key: str, message: Any) -> None:
        identity = message.properties["message_id"]
        self.mandatory.pop(identity).back = identity

    def abandon(self) -> None:
        """The broker's word on what is unconfirmed will never come."""
        for receipt in self.pending.values():
            receipt.state = "unknown"
        self.pending.clear()


class Lease:
    """A handle in one owner's hands; its release takes effect once."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.ended = False


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
        self._shut = False

    @property
    def version(self) -> str:
        import amqp

        return str(amqp.__version__)

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        import amqp

        return (amqp.RecoverableConnectionError,)

    @property
    def timeouts(self) -> tuple[type[BaseException], ...]:
        return (TimeoutError,)

    @property
    def closed(self) -> tuple[type[BaseException], ...]:
        return (ClosedError,)

    @property
    def cancelled(self) -> tuple[type[BaseException], ...]:
        import amqp

        return (amqp.ConsumerCancelled,)

    # -- the connection ----------------------------------------------------------------------

    def _connect(self) -> Any:
        """The living connection; call it with the lock held."""

        if self._shut:
            raise ClosedError("the client was closed")
        if self._connection is None or not self._connection.connected:
            for handle in self._handles:
                handle.abandon()
            self._idle, self._handles = [], []
            # Before the attempt: should it fail, the handles of old are known as such.
            self._generation += 1
            address, _, rest = self.urls[0].removeprefix("amqp://").rpartition("@")
            user, _, password = address.partition(":")
            # A silent peer is noticed after two heartbeats, or where one waits for its answer.
            patience = 2 * self.heartbeat or self.bounds.operation
            self._connection = connection_class()(
                rest.rstrip("/"),
                userid=user,
                password=password,
                heartbeat=self.heartbeat,
                connect_timeout=patience,
                read_timeout=patience,
                write_timeout=patience,
            )
            self._connection.connect()
        return self._connection

    def _lost(self) -> None:
        if self._connection is not None:
            self._connection.collect()

    def _guarded(self, work: Callable[[], Any], lease: Lease | None = None) -> Any:
        """Run ``work`` under the lock; a dead connection is put away, and its error goes on.

        A handle of an older connection fails before that: it must not cost the new one its life.
        """
        import amqp

        with self._lock:
            channel = None
            if lease is not None:
                self._alive(lease)
                channel = lease.handle.channel
                # Kept for later: an ack is called from within a drain.
                called, channel.called = channel.called, True
            try:
                return work()
            except OSError as error:
                # Refused, reset, ended, or no answer in time: to the caller it is all one.
                self._lost()
                raise amqp.RecoverableConnectionError(f"the connection broke: {error}") from error
            except self.recoverable:
                self._lost()
                raise
            finally:
                if channel is not None:
                    channel.called = called

    def _alive(self, lease: Lease) -> None:
        import amqp

        handle = lease.handle
        if handle.channel.ended is not None and not lease.ended:
            raise handle.channel.ended
        if lease.ended or handle.generation != self._generation or not handle.channel.connection:
            raise amqp.RecoverableConnectionError("the channel is gone")

    def _drain(self, timeout: float, lease: Lease | None = None) -> bool:
        """Dispatch one event; False when there was none, which is no failure of the connection."""

        def turn() -> bool:
            connection = self._connect()
            connection.heartbeat_tick()
            try:
                connection.drain_events(timeout=timeout)
            except TimeoutError:
                return False
            return True

        return bool(self._guarded(turn, lease))

    def open(self) -> None:
        self._guarded(self._connect)

    def connected(self) -> bool:
        with self._lock:
            return self._connection is not None and bool(self._connection.connected)

    def drain(self, timeout: float) -> None:
        if not self._drain(timeout):
            raise TimeoutError(f"nothing came within {timeout} s")

    def drain_lease(self, handle: Any, timeout: float) -> None:
        # Short turns, so that others get at the connection in between.
        deadline = time.monotonic() + timeout
        while True:
            came = self._drain(TURN, handle)
            cancelled, handle.handle.cancelled = handle.handle.cancelled, None
            if cancelled is not None:
                raise cancelled
            if came:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing came within {timeout} s")
            time.sleep(TURN)

    # -- leases ------------------------------------------------------------------------------

    def acquire(self, timeout: float) -> Any:
        if not self._free.acquire(timeout=timeout):
            raise TimeoutError(f"no channel within {timeout} s")
        try:
            return Lease(self._guarded(self._take))
        except BaseException:
            self._free.release()
            raise

    def _take(self) -> Handle:
        connection = self._connect()
        while self._idle:
            handle = self._idle.pop()
            if handle.channel.connection:
                return handle
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
            if handle.ended:
                return False
            handle.ended = True
            channel = handle.handle
            channel.cancelled = None
            if channel.generation == self._generation:
                if channel.channel.connection:
                    self._idle.append(channel)
                else:
                    self._handles.remove(channel)
        self._free.release()
        return True

    def channel_key(self, handle: Any) -> Hashable:
        return (handle.handle.generation, handle.handle.number)

    # -- calls -------------------------------------------------------------------------------

    def publish(self, handle: Any, message: Outgoing) -> LockedReceipt:
        return self._guarded(lambda: self._publish(handle.handle, message), handle)  # type: ignore[no-any-return]

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
            self._drain(TURN, handle)
        return receipt

    def consume(
        self,
        handle: Any,
        queue: str,
        consumer_tag: str,
        prefetch: int,
        callback: Callable[[Delivery], None],
        no_ack: bool = False,
    ) -> str:
        import amqp

        def on_cancel(tag: str) -> None:
            handle.handle.cancelled = amqp.ConsumerCancelled(tag, amqp.spec.Basic.Cancel)

        def start() -> str:
            channel = handle.handle.channel
            channel.basic_qos(0, prefetch, False)
            return str(
                channel.basic_consume(
                    queue,
                    consumer_tag=consumer_tag,
                    no_ack=no_ack,
                    callback=lambda message: callback(_delivery(message)),
                    on_cancel=on_cancel,
                )
            )

        return str(self._guarded(start, handle))

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        self._guarded(lambda: handle.handle.channel.basic_cancel(consumer_tag), handle)

    def ack(self, handle: Any, delivery_tag: int) -> None:
        self._guarded(lambda: handle.handle.channel.basic_ack(delivery_tag), handle)

    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        message = self._guarded(
            lambda: handle.handle.channel.basic_get(queue, no_ack=no_ack), handle
        )
        return None if message is None else _delivery(message)

    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        declared = self._guarded(
            lambda: handle.handle.channel.queue_declare(
                queue,
                passive=passive,
                durable=durable,
                auto_delete=False,
                arguments=dict(self.queue_arguments),
            ),
            handle,
        )
        return str(declared.queue)

    def close(self, timeout: float) -> None:
        # Told first, and without the lock: whoever holds it connects no more.
        self._shut = True
        if self._lock.acquire(timeout=timeout):
            try:
                if self._connection is not None and self._connection.connected:
                    try:
                        self._connection.close()
                    except (OSError, ClosedError, *self.recoverable):
                        self._lost()  # it is closed all the same
                for handle in self._handles:
                    handle.abandon()
            finally:
                self._lock.release()
        # Whoever waits for a channel finds the client closed.
        self._free.release(EVERYBODY)


def _delivery(message: Any) -> Delivery:
    info = message.delivery_info
    return Delivery(
        identity=message.properties.get("message_id"),
        body=message.body if isinstance(message.body, bytes) else message.body.encode(),
        consumer_tag=info.get("consumer_tag"),
        delivery_tag=message.delivery_tag,
        redelivered=bool(info.get("redelivered")),
    )
