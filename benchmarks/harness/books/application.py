"""A, the application's history, sorted by what it is compared with.

It owns the shapes of the entries (history.py writes them, docs/trial.md lists them) and their
order in time. It compares nothing. It prevents a misread: an entry that does not have its shape
raises here and is never half understood. Identities and consumer tags are unique in a trial.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

History = dict[str, list[list[Any]]]


class Publish(NamedTuple):
    thread: str
    t0: float
    t1: float | None
    identity: str
    lease: int
    #: The routing key that it should reach, None when it is meant to be unroutable.
    queue: str | None
    status: str
    size: int
    crc: int


class Confirm(NamedTuple):
    thread: str
    t: float
    identity: str
    outcome: str


class Return(NamedTuple):
    thread: str
    t: float
    identity: str


class Consume(NamedTuple):
    thread: str
    t0: float
    t1: float | None
    consumer: str
    lease: int
    status: str
    queue: str
    no_ack: bool
    answered: str | None


class Delivery(NamedTuple):
    thread: str
    t: float
    consumer: str
    tag: int
    identity: str | None
    body_identity: str | None
    size: int
    crc: int
    redelivered: bool


class Get(NamedTuple):
    thread: str
    t0: float
    t1: float | None
    queue: str
    lease: int
    status: str
    no_ack: bool
    tag: int | None
    identity: str | None
    body_identity: str | None
    size: int | None
    crc: int | None
    redelivered: bool | None


class Ack(NamedTuple):
    thread: str
    t0: float
    t1: float | None
    #: None: it acknowledges a get.
    consumer: str | None
    tag: int
    identity: str | None
    status: str
    lease: int


class Declare(NamedTuple):
    thread: str
    t0: float
    t1: float | None
    asked: str
    answered: str | None
    status: str


@dataclass
class Application:
    """Lists are in the order of time, whatever the order of the threads."""

    tried: dict[str, Publish] = field(default_factory=dict)
    confirms: list[Confirm] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    consumes: dict[str, Consume] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    gets: list[Get] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    declares: list[Declare] = field(default_factory=list)
    #: consumer tag -> when the application began to cancel it
    cancels: dict[str, float] = field(default_factory=dict)
    #: lease -> key of the channel behind it; lease -> when the application began to give it back
    keys: dict[int, str] = field(default_factory=dict)
    released: dict[int, float] = field(default_factory=dict)

    def ends(self, consumer: str) -> list[float]:
        """When the application itself ended that consumer: by cancel, by release, by an error.

        Behind a basic.consume that failed nobody waits for deliveries, so its call is the end.
        """
        ends = [self.cancels[consumer]] if consumer in self.cancels else []
        consume = self.consumes.get(consumer)
        if consume is not None:
            if consume.status != "ok":
                ends.append(consume.t0)
            if consume.lease in self.released:
                ends.append(self.released[consume.lease])
        return ends

    def seen(self) -> set[str | None]:
        """Identities that some delivery or get brought to the application, by id or by body."""
        told: list[Delivery | Get] = [*self.deliveries, *self.gets]
        return {name for one in told for name in (one.identity, one.body_identity)}


def read_application(history: History) -> Application:
    """Sort the history of all threads. Raises TypeError for an entry of a wrong shape."""
    book = Application()
    for thread, log in history.items():
        for kind, *rest in log:
            _add(book, thread, kind, rest)
    for timed in (book.confirms, book.returns, book.deliveries):
        timed.sort(key=attrgetter("t", "thread"))
    for called in (book.gets, book.acks, book.declares):
        called.sort(key=attrgetter("t0", "thread"))
    return book


def _add(book: Application, thread: str, kind: str, rest: list[Any]) -> None:
    match kind:
        case "publish":
            publish = Publish(thread, *rest)
            book.tried[publish.identity] = publish
        case "confirm":
            book.confirms.append(Confirm(thread, *rest))
        case "return":
            book.returns.append(Return(thread, *rest))
        case "consume":
            consume = Consume(thread, *rest)
            book.consumes[consume.consumer] = consume
        case "deliver":
            book.deliveries.append(Delivery(thread, *rest))
        case "get":
            book.gets.append(Get(thread, *rest))
        case "ack":
            book.acks.append(Ack(thread, *rest))
        case "declare":
            book.declares.append(Declare(thread, *rest))
        case "cancel":
            t0, _, consumer, _ = rest
            book.cancels[consumer] = t0
        case "lease":
            _, number, key = rest
            book.keys[number] = key
        case "released":
            t0, _, number, _ = rest
            book.released[number] = t0
