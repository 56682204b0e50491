"""The workload with its history switched off, to measure what the history costs.

No option of a trial, which could judge nothing without it. The lease ledger stays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from benchmarks.clients.base import Delivery, Outgoing, Receipt
from benchmarks.harness.history import History, Log
from benchmarks.harness.workload import Calls, Consumer, Lease, Worker


class Nowhere(Log):
    """A log that keeps nothing."""

    __slots__ = ()

    def add(self, entry: list[Any]) -> None:
        pass


class NoHistory(History):
    def log(self, thread: str) -> Log:
        return Nowhere()


class Unrecorded(Calls):
    """The calls of the workload, with nothing written down; the lease ledger stays."""

    def acquire(self, timeout: float | None = None) -> Lease:
        handle = self._client.acquire(self._timeout if timeout is None else timeout)
        key = f"{self._prefix}{self._client.channel_key(handle)!r}"
        number = self._leases.acquired(key, threading.current_thread().name)
        self._advance()
        return Lease(handle, key, number)

    def release(self, lease: Lease) -> None:
        self._leases.released(lease.key, lease.number)
        self._client.release(lease.handle)
        self._advance()

    def publish(self, lease: Lease, message: Outgoing, queue: str | None) -> Receipt:
        receipt = self._client.publish(lease.handle, message)
        self._advance()
        return receipt

    def publish_confirmed(self, lease: Lease, message: Outgoing, queue: str | None) -> Receipt:
        receipt = self._client.publish_confirmed(lease.handle, message, self._timeout)
        self._advance()
        return receipt

    def consume(
        self,
        lease: Lease,
        queue: str,
        tag: str,
        prefetch: int,
        take: Callable[[Delivery], None],
        no_ack: bool = False,
    ) -> None:
        self._client.consume(lease.handle, queue, tag, prefetch, take, no_ack=no_ack)
        self._advance()

    def cancel(self, lease: Lease, tag: str) -> None:
        self._client.cancel(lease.handle, tag)
        self._advance()

    def ack(self, lease: Lease, delivery: Delivery, tag: str | None = None) -> None:
        self._client.ack(lease.handle, delivery.delivery_tag)
        self._advance()

    def get(self, lease: Lease, queue: str, no_ack: bool = False) -> Delivery | None:
        delivery = self._client.get(lease.handle, queue, no_ack=no_ack)
        self._advance()
        return delivery

    def declare(self, lease: Lease, queue: str, passive: bool, durable: bool = True) -> str:
        answered = self._client.declare(lease.handle, queue, passive, durable=durable)
        self._advance()
        return answered


class UnrecordedWorker(Worker):
    recording = Unrecorded


class UnrecordedConsumer(Consumer):
    recording = Unrecorded
