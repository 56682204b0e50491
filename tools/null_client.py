"""A client without a network: queues in memory, and every call returns at once.

What is measured on it is the workload alone, so the difference between its history on and off is
the cost of the entries themselves, in microseconds, whatever else the machine does:

    python -m tools.overhead --what history --client tools/null_client.py:Nothing
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from typing import Any

from benchmarks.clients.base import Client, Delivery, Outgoing


class Confirmed:
    def outcome(self) -> str | None:
        return "ack"

    def returned(self) -> str | None:
        return None


class Handle:
    """A lease: what it consumes, and the tags it gave out."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.consumer: tuple[str, str, Callable[[Delivery], None]] | None = None
        self.tags = 0


class Nothing(Client):
    name = "nothing"
    receipt = Confirmed()

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        self._queues: dict[str, deque[Outgoing]] = defaultdict(deque)

    @property
    def version(self) -> str:
        return "0"

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        return ()

    @property
    def timeouts(self) -> tuple[type[BaseException], ...]:
        return (TimeoutError,)

    def open(self) -> None:
        pass

    def connected(self) -> bool:
        return True

    def drain(self, timeout: float) -> None:
        raise TimeoutError

    def acquire(self, timeout: float) -> Handle:
        # Threads are as many as channels at most, so each can have its own.
        return Handle(threading.get_ident())

    def release(self, handle: Any) -> Any:
        pass

    def channel_key(self, handle: Any) -> Hashable:
        return (1, handle.number)

    def publish(self, handle: Any, message: Outgoing) -> Confirmed:
        # The shared queue is nobody's here: what goes there is gone.
        if message.routing_key.count(".") > 1:
            self._queues[message.routing_key].append(message)
        return self.receipt

    def publish_confirmed(self, handle: Any, message: Outgoing, timeout: float) -> Confirmed:
        return self.publish(handle, message)

    def consume(
        self,
        handle: Any,
        queue: str,
        consumer_tag: str,
        prefetch: int,
        callback: Callable[[Delivery], None],
        no_ack: bool = False,
    ) -> str:
        handle.consumer = (queue, consumer_tag, callback)
        return consumer_tag

    def drain_lease(self, handle: Any, timeout: float) -> None:
        queue, tag, callback = handle.consumer
        delivery = self._next(handle, queue, tag)
        if delivery is None:
            time.sleep(timeout)
            raise TimeoutError
        callback(delivery)

    def _next(self, handle: Handle, queue: str, tag: str | None) -> Delivery | None:
        waiting = self._queues[queue]
        if not waiting:
            return None
        message = waiting.popleft()
        handle.tags += 1
        return Delivery(message.identity, message.body, tag, handle.tags, False)

    def cancel(self, handle: Any, consumer_tag: str) -> None:
        handle.consumer = None

    def ack(self, handle: Any, delivery_tag: int) -> None:
        pass

    def get(self, handle: Any, queue: str, no_ack: bool = False) -> Delivery | None:
        return self._next(handle, queue, None)

    def declare(self, handle: Any, queue: str, passive: bool, durable: bool = True) -> str:
        return queue

    def close(self, timeout: float) -> None:
        pass
