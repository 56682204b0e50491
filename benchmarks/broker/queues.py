"""Queues and their consumers: who gets which message, and in what order.

A message keeps its position for as long as it is in the queue: one that comes back (rejected,
or its connection lost) is delivered again at its original place, marked redelivered, as
RabbitMQ does. Nothing here encodes, sends or settles; the channel does.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channel import Channel
    from .codec import Message
    from .session import Session


class Entry:
    """A message in one queue."""

    __slots__ = ("message", "position", "redelivered")

    def __init__(self, position: int, message: Message) -> None:
        self.position = position
        self.message = message
        self.redelivered = False


class Consumer:
    """A subscription of one channel to one queue."""

    def __init__(
        self,
        channel: Channel,
        queue: Queue,
        tag: str,
        prefix: bytes,
        *,
        no_ack: bool,
        exclusive: bool,
        prefetch: int,
    ) -> None:
        self.channel = channel
        self.queue = queue
        self.tag = tag
        self.prefix = prefix
        self.no_ack = no_ack
        self.exclusive = exclusive
        #: Most unacknowledged messages at a time; 0 is no limit.
        self.prefetch = prefetch
        self.unacked = 0
        #: Out of the queue's rotation until something wakes it: the how manieth that left it. 0
        #: stands for one that is in it.
        self.parked = 0

    def __repr__(self) -> str:
        return f"<Consumer {self.tag!r} of {self.queue.name!r} unacked={self.unacked}>"

    def ready(self) -> bool:
        """Whether one more message may be sent to this consumer now."""
        channel = self.channel
        if channel.kept:
            return False
        if self.prefetch and not self.no_ack and self.unacked >= self.prefetch:
            return False
        # What the others hold keeps a no_ack consumer waiting as well, as in RabbitMQ.
        if channel.prefetch_all and channel.full:
            return False
        return channel.session.takes_deliveries()


class Queue:
    """One queue: messages that are ready, in order, and a rotation of consumers."""

    def __init__(
        self,
        name: str,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: Session | None = None,
        arguments: str = "",
    ) -> None:
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        #: The connection that an exclusive queue belongs to.
        self.owner = owner
        self.arguments = arguments
        self.deleted = False
        self.sequence = 0
        self._ready: deque[Entry] = deque()
        #: Entries that came back: a heap by position.
        self._returned: list[tuple[int, Entry]] = []
        self.consumers: list[Consumer] = []
        #: The consumers that are not parked, the next one first.
        self.rotation: deque[Consumer] = deque()
        #: How often a consumer left the rotation.
        self.parkings = 0

    def __len__(self) -> int:
        return len(self._ready) + len(self._returned)

    def __repr__(self) -> str:
        return f"<Queue {self.name!r} ready={len(self)} consumers={len(self.consumers)}>"

    def put(self, message: Message) -> None:
        """Append a message."""
        self.sequence += 1
        self._ready.append(Entry(self.sequence, message))

    def put_back(self, entry: Entry) -> None:
        """Take a delivered message back, at the place it had."""
        entry.redelivered = True
        heappush(self._returned, (entry.position, entry))

    def take(self) -> Entry | None:
        """Remove and return the message that is first in order, None when there is none."""
        returned, ready = self._returned, self._ready
        if returned and (not ready or returned[0][0] < ready[0].position):
            return heappop(returned)[1]
        return ready.popleft() if ready else None

    def clear(self) -> list[Entry]:
        """Remove and return all messages that are ready."""
        entries = [*self._ready, *(entry for _, entry in self._returned)]
        self._ready.clear()
        self._returned.clear()
        return entries

    def next_consumer(self) -> Consumer | None:
        """The consumer whose turn it is. Those that are not ready are parked on the way."""
        rotation = self.rotation
        while rotation:
            consumer = rotation[0]
            if consumer.ready():
                rotation.rotate(-1)
                return consumer
            rotation.popleft()
            self.parkings += 1
            consumer.parked = self.parkings
        return None

    def add_consumer(self, consumer: Consumer) -> None:
        """Let a consumer take part."""
        self.consumers.append(consumer)
        self.rotation.append(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Take a consumer out."""
        self.consumers.remove(consumer)
        if not consumer.parked:
            self.rotation.remove(consumer)
