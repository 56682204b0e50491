"""The adapter for the thread-safe connection of pika 1.5: one, with a channel for each lease.

Its loop runs in a thread of its own. A publish returns at once; its tag comes by `on_publish`, its
confirm and its return by callbacks (its example publisher_confirms_threaded.py), deliveries in the
channel's worker thread, from where `drain_lease` takes them. A lost connection is replaced at the
next acquire.
"""

from __future__ import annotations

import queue as queues
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.clients.base import Delivery, Outgoing
from benchmarks.clients.leased import Holding, Told
from benchmarks.clients.pika import PikaClient, delivery
from benchmarks.clients.requirements import PIKA_THREADSAFE


class _Book:
    """The open publishes of one channel. Its callbacks come in threads of pika's."""

    def __init__(self) -> None:
        # Guards all of it, and is notified of each confirm.
        self._changed = threading.Condition()
        #: All that the broker has not answered, and those of them that have their tag.
        self._open: set[Told] = set()
        self._tags: dict[int, Told] = {}
        self._mandatory: dict[str, Told] = {}

    def expect(self, message: Outgoing) -> Told:
        told = Told()
        with self._changed:
            self._open.add(told)
            if message.mandatory:
                self._mandatory[message.identity] = told
        return told

    def sent(self, told: Told, tag: int) -> None:
        with self._changed:
            self._tags[tag] = told

    def confirmed(self, state: str, tag: int, multiple: bool) -> None:
        with self._changed:
            for known in [t for t in self._tags if t == tag or (multiple and t < tag)]:
                told = self._tags.pop(known)
                told.state = state
                self._open.discard(told)
            self._changed.notify_all()

    def returned(self, identity: str) -> None:
        with self._changed:
            self._mandatory.pop(identity).back = identity

    def leave(self) -> None:
        """Its connection is gone, or its channel: what is open is unknown from now on."""
        with self._changed:
            for told in self._open:
                told.state = "unknown"
            self._open.clear()
            self._tags.clear()
            self._changed.notify_all()

    def settle(self, timeout: float, told: Told | None = None) -> bool:
        """Wait for that publish, or for all of them; False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._open if told is None else told.state is not None, timeout
            )


class PikaThreadsafeClient(PikaClient):
    name = "pika, thread-safe connection"
    requirements = PIKA_THREADSAFE

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        self.connections = 1  # type: ignore[misc]
        # Held while a lost connection is replaced: by one thread, for all of them.
        self._connecting = threading.Lock()
        self._connection: Any = None
        self._number = 0
        self._books: list[_Book] = []

    def connected(self) -> bool:
        connection = self._connection
        return connection is not None and bool(connection.is_open)

    def _gone(self, connection: Any, reason: BaseException) -> None:
        with self._lock:
            books, self._books = self._books, []
        for book in books:
            book.leave()

    def _hold(self) -> Holding:
        import pika

        with self._connecting:
            if not self.connected():
                self._connection = pika.Connection(  # type: ignore[attr-defined, unused-ignore]
                    self.parameters(),
                    on_close_callback=self._gone,
                    timeout=self.bounds.operation,
                )
                self._number = next(self._numbers)
            connection, number = self._connection, self._number
        channel = connection.channel(timeout=self.bounds.operation)
        book = _Book()
        with self._lock:
            self._books.append(book)

        def on_confirm(frame: Any) -> None:
            state = "ack" if isinstance(frame.method, pika.spec.Basic.Ack) else "nack"
            book.confirmed(state, frame.method.delivery_tag, bool(frame.method.multiple))

        channel.add_on_return_callback(
            lambda of, method, properties, body: book.returned(properties.message_id)
        )
        channel.confirm_delivery(on_confirm, timeout=self.bounds.operation)
        came = queues.SimpleQueue[Delivery]()
        return Holding(connection, channel, number, notes={"book": book, "came": came})

    def _discard(self, held: Holding) -> None:
        held.notes["book"].leave()
        with self._lock:
            if held.notes["book"] in self._books:
                self._books.remove(held.notes["book"])
        if self._alive(held):
            try:
                held.channel.close(timeout=self.bounds.operation)
            except self.recoverable:
                pass  # it was gone already

    def release(self, handle: Any) -> bool:
        # In other hands its confirms would be nobody's.
        if not handle.ended and not handle.held.notes["book"].settle(self.bounds.operation):
            handle.held.spoiled = True
        return super().release(handle)

    def publish(self, handle: Any, message: Outgoing) -> Told:
        from pika import BasicProperties

        def send(held: Holding) -> Told:
            book: _Book = held.notes["book"]
            told = book.expect(message)
            held.channel.basic_publish(
                message.exchange,
                message.routing_key,
                message.body,
                BasicProperties(message_id=message.identity, delivery_mode=2),
                mandatory=message.mandatory,
                on_publish=lambda tag: book.sent(told, tag),
            )
            return told

        return self._on(handle, send)

    def publish_confirmed(self, handle: Any, message: Outgoing, timeout: float) -> Told:
        from pika.exceptions import ConnectionWrongStateError

        told = self.publish(handle, message)
        if not handle.held.notes["book"].settle(timeout, told):
            raise TimeoutError(f"no confirm within {timeout:g} s")
        if told.state == "unknown":
            raise ConnectionWrongStateError("the connection was lost before the confirm came")
        return told

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
            came, held.notes["callback"] = held.notes["came"], callback
            held.channel.basic_qos(prefetch_count=prefetch)
            tag = held.channel.basic_consume(
                queue,
                lambda channel, method, properties, body: came.put(
                    delivery(method, properties, body)
                ),
                auto_ack=no_ack,
                consumer_tag=consumer_tag,
            )
            return str(tag)

        return self._on(handle, start)

    def drain_lease(self, handle: Any, timeout: float) -> None:
        from pika.exceptions import ConnectionWrongStateError

        def drain(held: Holding) -> Delivery | None:
            try:
                one: Delivery = held.notes["came"].get(timeout=timeout)
            except queues.Empty:
                if not held.connection.is_open:
                    raise ConnectionWrongStateError("the connection is closed") from None
                return None
            return one

        one = self._on(handle, drain)
        if one is None:
            raise TimeoutError(f"nothing came within {timeout:g} s")
        handle.held.notes["callback"](one)

    def close(self, timeout: float) -> None:
        super().close(timeout)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(timeout=timeout)
