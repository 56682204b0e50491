"""The calls that one thread makes, each on record before the client hears of it.

Owns the shapes of the entries (they stand in history.py) and nothing else: it raises what the
client raises, retries nothing and judges nothing. An entry is appended as ``invoked`` and completed
in place, so that a call that never came back is on record too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.clients.base import Delivery, Outgoing, Receipt
from benchmarks.harness.history import published, seen
from benchmarks.harness.recorder import has_keyerror_none
from benchmarks.harness.workload.leaser import Lease, Leaser


class Calls(Leaser):
    """The client as one thread uses it.

    ``queue`` of a publish: where it should arrive, or None. Its body is what ``body_of`` makes.
    """

    def publish(self, lease: Lease, message: Outgoing, queue: str | None) -> Receipt:
        entry = self._publishing(lease, message, queue)
        try:
            receipt = self._client.publish(lease.handle, message)
        except BaseException:
            entry[2], entry[6] = time.monotonic(), "error"
            self._log.end(entry)
            raise
        entry[2], entry[6] = self._advance(), "ok"
        self._log.end(entry)
        return receipt

    def publish_confirmed(self, lease: Lease, message: Outgoing, queue: str | None) -> Receipt:
        entry = self._publishing(lease, message, queue)
        try:
            receipt = self._client.publish_confirmed(lease.handle, message, self._timeout)
        except BaseException as error:
            entry[2], entry[6] = time.monotonic(), "error"
            self._log.end(entry)
            self.waited = error
            raise
        entry[2], entry[6] = self._advance(), "ok"
        self._log.end(entry)
        return receipt

    def _publishing(self, lease: Lease, message: Outgoing, queue: str | None) -> list[Any]:
        size = len(message.body)
        entry = published(time.monotonic(), message.identity, lease.number, queue, size)
        return self._log.begin(entry)

    def consume(
        self,
        lease: Lease,
        queue: str,
        tag: str,
        prefetch: int,
        take: Callable[[Delivery], None],
        no_ack: bool = False,
    ) -> None:
        def on_delivery(delivery: Delivery) -> None:
            # The tag of the incarnation that was consuming is what the application knows; what
            # the message itself says of its consumer is what the client made of the wire.
            entry = ["deliver", time.monotonic(), delivery.consumer_tag or tag, *seen(delivery)]
            self._log.add(entry)
            take(delivery)

        entry: list[Any] = ["consume", time.monotonic(), None, tag, lease.number, "invoked"]
        entry += (queue, no_ack, None)
        self._log.begin(entry)
        try:
            answered = self._client.consume(
                lease.handle, queue, tag, prefetch, on_delivery, no_ack=no_ack
            )
        except BaseException:
            entry[2], entry[5] = time.monotonic(), "error"
            self._log.end(entry)
            raise
        entry[8] = answered
        entry[2], entry[5] = self._advance(), "ok"
        self._log.end(entry)

    def cancel(self, lease: Lease, tag: str) -> None:
        entry: list[Any] = ["cancel", time.monotonic(), None, tag, "invoked"]
        self._log.begin(entry)
        try:
            self._client.cancel(lease.handle, tag)
        except BaseException:
            entry[2], entry[4] = time.monotonic(), "error"
            self._log.end(entry)
            raise
        entry[2], entry[4] = self._advance(), "ok"
        self._log.end(entry)

    def ack(self, lease: Lease, delivery: Delivery, tag: str | None = None) -> None:
        """``tag``: the consumer that it came by, None for a get."""
        tags = (tag, delivery.delivery_tag, delivery.identity)
        entry: list[Any] = ["ack", time.monotonic(), None, *tags, "invoked", lease.number]
        self._log.begin(entry)
        try:
            self._client.ack(lease.handle, delivery.delivery_tag)
        except BaseException:
            entry[2], entry[6] = time.monotonic(), "error"
            self._log.end(entry)
            raise
        entry[2], entry[6] = self._advance(), "ok"
        self._log.end(entry)

    def get(self, lease: Lease, queue: str, no_ack: bool = False) -> Delivery | None:
        entry: list[Any] = ["get", time.monotonic(), None, queue, lease.number, "invoked", no_ack]
        entry += (None,) * 6
        self._log.begin(entry)
        try:
            delivery = self._client.get(lease.handle, queue, no_ack=no_ack)
        except BaseException:
            entry[2], entry[5] = time.monotonic(), "error"
            self._log.end(entry)
            raise
        entry[2] = self._advance()
        if delivery is None:
            entry[5] = "empty"
        else:
            entry[7:] = seen(delivery)
            entry[5] = "ok"
        self._log.end(entry)
        return delivery

    def declare(self, lease: Lease, queue: str, passive: bool, durable: bool = True) -> str:
        entry: list[Any] = ["declare", time.monotonic(), None, queue, None, "invoked"]
        self._log.begin(entry)
        try:
            answered = self._client.declare(lease.handle, queue, passive, durable=durable)
        except BaseException:
            entry[2], entry[5] = time.monotonic(), "error"
            self._log.end(entry)
            raise
        entry[4] = answered
        entry[2], entry[5] = self._advance(), "ok"
        self._log.end(entry)
        return answered

    def release_again(self, lease: Lease) -> None:
        """A second release: it may do nothing or be refused, and must not take effect."""
        entry: list[Any] = ["op", time.monotonic(), None, "release_again", "invoked"]
        self._log.begin(entry)
        try:
            self._client.release(lease.handle)
        except BaseException as error:
            entry[2], entry[4] = time.monotonic(), "error"
            self._log.end(entry)
            if not isinstance(error, self._client.refused) or has_keyerror_none(error):
                raise
        else:
            entry[2], entry[4] = self._advance(), "ok"
            self._log.end(entry)
