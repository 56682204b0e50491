"""The broker's heart: which queues and exchanges there are, and who must be served next.

Owns every queue, exchange and session. It never blocks, reads no clock (the driver sets ``now``)
and touches no socket. After a driver has fed bytes to a session it calls ``pump`` and then sends
what the sessions in ``take_dirty`` have to send.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.wire.frames import DEFAULT_FRAME_MAX

from .codec import Message
from .confirms import Confirms
from .errors import locked, not_found
from .exchanges import Destination, Exchange
from .faults.active import Faults
from .faults.confirm_coalesce import ConfirmCoalesce
from .queues import Consumer, Entry, Queue
from .session import Session, State

if TYPE_CHECKING:
    from .channel import Channel
    from .faults.slow_declare import SlowDeclare

#: Deliveries out of one queue before another one, and the sockets, get a turn.
PUMP_BUDGET = 512
#: What an entry weighs beside its header and body, in bytes, measured on CPython 3.11.
ENTRY_WEIGHT = 400
#: Results of routing that are kept; beyond it the cache starts anew (keys are the client's choice).
ROUTES_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Settings:
    """How a broker is set up; the defaults are RabbitMQ's unless a reason stands beside them."""

    user: str = "guest"
    password: str = field(default="guest", repr=False)
    channel_max: int = 2047
    frame_max: int = DEFAULT_FRAME_MAX
    #: Seconds; 0 offers none. The client's answer to tune decides.
    heartbeat: int = 60
    #: Confirm all publishes that were read together with one ``multiple`` ack, as RabbitMQ may.
    coalesce_confirms: bool = False
    max_message_size: int = 134217728
    #: Bytes of stored messages above which publishers are no longer read (connection.blocked).
    memory_limit: int = 536870912
    #: Seconds from connect to connection.open-ok.
    handshake_timeout: float = 10.0


class Broker:
    """All state of one broker. One thread uses it."""

    def __init__(self, settings: Settings | None = None, now: float = 0.0) -> None:
        self.settings = settings or Settings()
        #: Seconds on any clock that does not run backwards; set by the driver.
        self.now = now
        self.queues: dict[str, Queue] = {}
        self.exchanges: dict[str, Exchange] = {"": Exchange("", "direct")}
        for kind in ("direct", "fanout", "topic"):
            self.exchanges[f"amq.{kind}"] = Exchange(f"amq.{kind}", kind)
        self.sessions: dict[Session, None] = {}
        #: Bytes of messages that are ready or unacknowledged.
        self.stored = 0
        self.alarm = False
        #: Behaves as if the alarm was on, towards all but the exempt.
        self.blocking = False
        holder = ConfirmCoalesce(self, 0.0) if self.settings.coalesce_confirms else None
        #: How confirms go out on connections that no fault may hit, and on the others.
        self.usual, self.disturbed = Confirms(holder), Confirms(holder)
        #: What makes channels wait when they declare a queue.
        self.slow_declare: SlowDeclare | None = None
        self.faults = Faults(self)
        self.counts = dict.fromkeys(
            ("connections", "published", "delivered", "returned", "confirmed", "internal_errors"), 0
        )
        self._awake: dict[Queue, None] = {}
        self._dirty: list[Session] = []
        self._routes: dict[tuple[str, str], tuple[Queue, ...]] = {}
        self._names = 0

    def __repr__(self) -> str:
        return (
            f"<Broker sessions={len(self.sessions)} queues={len(self.queues)} stored={self.stored}>"
        )

    def connect(self) -> Session:
        """A client has connected: the session to feed its bytes to."""
        session = Session(self)
        self.sessions[session] = None
        self.counts["connections"] += 1
        return session

    def tick(self) -> None:
        """Let time pass: heartbeats, silent peers, deadlines. Call it several times a second."""
        for session in list(self.sessions):
            session.tick()

    def due(self) -> float | None:
        """When ``pump`` is to be called again at the latest, on the driver's clock."""
        return self.faults.due() if self.faults.active else None

    def clients(self) -> list[Session]:
        """The open connections that faults may hit, the oldest first."""
        return [
            session
            for session in self.sessions
            if session.state is State.OPEN and not session.exempt
        ]

    def stats(self) -> dict[str, int]:
        """Counters since the start, and what there is now."""
        return {
            **self.counts,
            "sessions": len(self.sessions),
            "channels": sum(len(session.channels) for session in self.sessions),
            "queues": len(self.queues),
            "ready": sum(map(len, self.queues.values())),
            "stored_bytes": self.stored,
        }

    def new_name(self, prefix: str) -> str:
        """A name nobody has: for queues and consumers whose client sent none."""
        self._names += 1
        return f"{prefix}{self._names:08d}"

    # -- confirms --------------------------------------------------------------------------

    def confirming(self, session: Session) -> Confirms | None:
        """Who decides about the confirms of this connection; None: each goes out at once."""
        confirms = self.usual if session.exempt else self.disturbed
        return confirms if confirms.at_work else None

    def confirms_changed(self) -> None:
        """Let every connection take notice of what ``disturbed`` holds now."""
        for session in self.sessions:
            session.confirming = self.confirming(session)

    def release_confirms(self, channel: Channel) -> None:
        """The channel is about to end: what is held back of its confirms goes out before."""
        for confirms in (self.usual, self.disturbed):
            if confirms.holder is not None:
                confirms.holder.release(channel)

    # -- sending ---------------------------------------------------------------------------

    def mark_dirty(self, session: Session) -> None:
        """The session has output, or wants to be read or closed otherwise than before."""
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)

    def take_dirty(self) -> list[Session]:
        """The sessions that the driver must look at."""
        sessions, self._dirty = self._dirty, []
        for session in sessions:
            session.dirty = False
        return sessions

    # -- delivering ------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether ``pump`` has more to do now."""
        return bool(self._awake)

    def wake(self, queue: Queue) -> None:
        """Something changed that may allow a delivery out of this queue."""
        if queue.rotation:
            self._awake[queue] = None

    def unpark(self, consumer: Consumer) -> None:
        """A consumer may be ready again."""
        if consumer.parked:
            consumer.parked = 0
            consumer.queue.rotation.append(consumer)
        self.wake(consumer.queue)

    def pump(self) -> None:
        """Send what is due, and deliver what can be delivered, up to a budget for each queue."""
        if self.faults.active:
            self.faults.run()
        if self.usual.holder is not None:
            self.usual.holder.run()
        for queue in list(self._awake):
            self.serve(queue)

    def serve(self, queue: Queue) -> None:
        """Deliver what can be delivered out of one queue, up to the budget."""
        for _ in range(PUMP_BUDGET):
            if not len(queue):
                break
            consumer = queue.next_consumer()
            if consumer is None:
                break
            entry = queue.take()
            assert entry is not None
            consumer.channel.deliver(consumer, entry)
        else:
            return
        self._awake.pop(queue, None)

    # -- messages --------------------------------------------------------------------------

    def enqueue(self, message: Message, queues: tuple[Queue, ...]) -> None:
        """Put a message into each of the queues."""
        weight = len(message.body) + len(message.header) + ENTRY_WEIGHT
        for queue in queues:
            queue.put(message)
            self.stored += weight
            if queue.rotation:
                self._awake[queue] = None
        self.counts["published"] += 1
        if self.stored > self.settings.memory_limit and not self.alarm:
            self._set_alarm(True)

    def requeue(self, queue: Queue, entry: Entry) -> None:
        """A delivered message comes back; if its queue is gone, so is the message."""
        if queue.deleted:
            self.settle(entry)
        else:
            queue.put_back(entry)
            self.wake(queue)

    def settle(self, entry: Entry) -> None:
        """A message has left its queue for good."""
        message = entry.message
        self.stored -= len(message.body) + len(message.header) + ENTRY_WEIGHT
        # A fifth of slack, so that the alarm does not flicker with each message.
        if self.alarm and self.stored < self.settings.memory_limit * 0.8:
            self._set_alarm(False)

    def _set_alarm(self, on: bool) -> None:
        self.alarm = on
        self.alarm_changed()

    def alarm_changed(self) -> None:
        """Let every connection take notice of ``alarm`` and ``blocking``."""
        for session in self.sessions:
            session.heed_alarm()

    # -- queues and exchanges --------------------------------------------------------------

    def exchange(self, name: str) -> Exchange:
        """The exchange of that name. Raises SoftError 404."""
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise not_found("exchange", name)
        return exchange

    def queue(self, name: str, session: Session) -> Queue:
        """The queue of that name. Raises SoftError 404, or 405 when it is another's alone."""
        queue = self.queues.get(name)
        if queue is None:
            raise not_found("queue", name)
        self.check_owner(queue, session)
        return queue

    def check_owner(self, queue: Queue, session: Session) -> None:
        """Raise SoftError 405 when the queue is exclusive to another connection."""
        if queue.owner is not None and queue.owner is not session:
            raise locked(queue.name)

    def route(self, exchange: Exchange, routing_key: str) -> tuple[Queue, ...]:
        """The queues that a message goes to, each once."""
        if not exchange.name:
            queue = self.queues.get(routing_key)
            return () if queue is None else (queue,)
        key = (exchange.name, routing_key)
        queues = self._routes.get(key)
        if queues is None:
            queues = self._find_route(exchange, routing_key)
            if len(self._routes) >= ROUTES_KEPT:
                self._routes.clear()
            self._routes[key] = queues
        return queues

    def _find_route(self, exchange: Exchange, routing_key: str) -> tuple[Queue, ...]:
        found: dict[Queue, None] = {}
        seen = {exchange}
        pending = deque([exchange])
        while pending:
            for destination in pending.popleft().matches(routing_key):
                if isinstance(destination, Queue):
                    found[destination] = None
                elif destination not in seen:
                    seen.add(destination)
                    pending.append(destination)
        return tuple(found)

    def delete_queue(self, queue: Queue) -> None:
        """Remove a queue, its bindings and consumers."""
        if queue.deleted:
            return
        queue.deleted = True
        del self.queues[queue.name]
        self._awake.pop(queue, None)
        for entry in queue.clear():
            self.settle(entry)
        for consumer in list(queue.consumers):
            consumer.channel.withdraw(consumer)
        for source in self._unbind_destination(queue):
            self.delete_exchange(source)

    def delete_exchange(self, exchange: Exchange) -> None:
        """Remove an exchange and its bindings, both ways, and what goes with it."""
        pending = [exchange]
        while pending:
            exchange = pending.pop()
            if self.exchanges.pop(exchange.name, None) is not None:
                exchange.bindings.clear()
                pending += self._unbind_destination(exchange)

    def _unbind_destination(self, destination: Destination) -> list[Exchange]:
        """Remove every binding to a destination; returns the exchanges that must go with it."""
        self._routes.clear()
        orphans = []
        for source in self.exchanges.values():
            gone = [binding for binding in source.bindings if binding.destination is destination]
            for binding in gone:
                del source.bindings[binding]
            if gone and source.auto_delete and not source.bindings:
                orphans.append(source)
        return orphans

    def binding_added(self) -> None:
        """After a binding came: cached routes are out of date."""
        self._routes.clear()

    def binding_removed(self, source: Exchange) -> None:
        """After a binding of ``source`` went: an auto-delete exchange goes with its last."""
        self._routes.clear()
        if source.auto_delete and not source.bindings:
            self.delete_exchange(source)

    def consumer_removed(self, queue: Queue) -> None:
        """After a consumer of ``queue`` went: an auto-delete queue goes with its last."""
        if queue.auto_delete and not queue.consumers:
            self.delete_queue(queue)
