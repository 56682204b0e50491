"""P, the proxy's ledger, sorted by what it is compared with.

It owns the places (generation, channel, incarnation), how a generation ended and which answer on
the wire belongs to which question: within an incarnation AMQP answers in the order of asking. It
compares nothing. It prevents the books from reading a message under two names: one publish, its
confirm, its return and its deliveries all go by the identity that the application tried.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Fields = dict[str, Any]


class Place(NamedTuple):
    """One incarnation of a channel; delivery tags and confirm sequences count within it."""

    generation: int
    channel: int
    incarnation: int


class Frame(NamedTuple):
    """One event of the ledger. ``number`` is its place in it; ``name`` the message's identity."""

    number: int
    t: float
    kind: str
    place: Place
    name: str | None
    what: Fields


class Answer(NamedTuple):
    """A get_ok and the get that asked for it (None when the ledger has none)."""

    frame: Frame
    asked: Fields | None

    @property
    def queue(self) -> str | None:
        return None if self.asked is None else str(self.asked["queue"])

    @property
    def no_ack(self) -> bool:
        return self.asked is not None and bool(self.asked["no_ack"])


@dataclass
class Generation:
    """How one connection lived and ended; times are None where it did not happen."""

    number: int
    ready: float | None
    closed: float | None
    faulted: bool
    injected: bool
    #: When Connection.Close crossed, by who sent the first one.
    by_client: float | None = None
    by_broker: float | None = None

    @property
    def sound(self) -> bool:
        """Nothing can have been swallowed on the way: no fault, and the broker did not close it."""
        return not self.faulted and self.by_broker is None

    @property
    def excused(self) -> bool:
        """Its end was not the client's choice: a fault of ours, or the broker's Close."""
        return self.injected or self.by_broker is not None


def _frames() -> defaultdict[Any, list[Frame]]:
    return defaultdict(list)


@dataclass
class Wire:
    """Frames in the order in which they were forwarded."""

    generations: dict[int, Generation] = field(default_factory=dict)
    #: By name.
    publishes: defaultdict[str | None, list[Frame]] = field(default_factory=_frames)
    #: Confirms and returns, by place.
    receipts: defaultdict[Place, list[Frame]] = field(default_factory=_frames)
    #: By place and consumer tag.
    deliveries: defaultdict[tuple[Place, str], list[Frame]] = field(default_factory=_frames)
    gets: defaultdict[Place, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    #: Queue names of the gets that the broker answered with get-empty.
    empties: list[str] = field(default_factory=list)
    #: Queues out of which a connection that was faulted may have taken messages that never came in
    #: and never come again: one for each get without ack that has no answer, any number for a
    #: consumer without acks. With the generation, by queue.
    taken: defaultdict[str, list[Generation]] = field(default_factory=lambda: defaultdict(list))
    streamed: dict[str, Generation] = field(default_factory=dict)
    #: Acks, nacks and rejects by the client, by place and delivery tag.
    settled: defaultdict[tuple[Place, int], list[Frame]] = field(default_factory=_frames)
    #: basic.consume, by consumer tag.
    consumes: defaultdict[str, list[Frame]] = field(default_factory=_frames)
    #: Pairs (asked, answered) of queue.declare.
    declared: list[tuple[str, str]] = field(default_factory=list)
    #: Channel.Close, by who sent it.
    by_client: dict[Place, float] = field(default_factory=dict)
    by_broker: dict[Place, float] = field(default_factory=dict)
    #: Confirms of what nobody had outstanding.
    stray: list[Frame] = field(default_factory=list)

    def generation(self, frame: Frame) -> Generation:
        return self.generations[frame.place.generation]

    def cut_short(self, place: Place) -> list[float]:
        """When the broker ended this incarnation, by Channel.Close or by Connection.Close."""
        ends = (self.by_broker.get(place), self.generations[place.generation].by_broker)
        return [end for end in ends if end is not None]

    def given_up(self, place: Place) -> list[float]:
        """When the client ended this incarnation, by Channel.Close or by Connection.Close."""
        ends = (self.by_client.get(place), self.generations[place.generation].by_client)
        return [end for end in ends if end is not None]


def read_wire(ledger: dict[str, Any], tried: Container[str]) -> Wire:
    """Sort the ledger. ``tried``: the identities that the application knows."""
    wire, number = Wire(), 0
    for document in ledger["generations"]:
        generation = Generation(
            document["generation"],
            document["ready"],
            document["closed"],
            document["faulted"],
            document["injected"],
        )
        wire.generations[generation.number] = generation
        reader = _Reader(wire, generation)
        for t, kind, channel, incarnation, what in document["events"]:
            place = Place(generation.number, channel, incarnation)
            reader.read(Frame(number, t, kind, place, _name(what, tried), what))
            number += 1
        if generation.faulted:
            reader.finish()
    return wire


def _name(what: Fields, tried: Container[str]) -> str | None:
    """The identity: that of the message_id, or of the body where only that one is known."""
    identity, body = what.get("id"), what.get("body_id")
    if identity is None or (identity not in tried and body in tried):
        return body
    return str(identity)


class _Reader:
    """Reads one generation; holds the questions that were not answered yet."""

    def __init__(self, wire: Wire, generation: Generation) -> None:
        self._wire = wire
        self._generation = generation
        self._gets: defaultdict[Place, deque[Fields]] = defaultdict(deque)
        self._declares: defaultdict[Place, deque[str]] = defaultdict(deque)

    def read(self, frame: Frame) -> None:
        wire, place, what = self._wire, frame.place, frame.what
        match frame.kind:
            case "publish":
                wire.publishes[frame.name].append(frame)
            case "confirm" if what.get("unknown"):
                wire.stray.append(frame)
            case "confirm" | "return":
                wire.receipts[place].append(frame)
            case "deliver":
                wire.deliveries[place, what["consumer"]].append(frame)
            case "ack" | "nack" | "reject":
                wire.settled[place, what["tag"]].append(frame)
            case "consume":
                wire.consumes[what["tag"]].append(frame)
                if what["no_ack"] and self._generation.faulted:
                    wire.streamed[what["queue"]] = self._generation
            case "close":
                wire.by_client.setdefault(place, frame.t)
            case "server_close":
                wire.by_broker.setdefault(place, frame.t)
            case "connection_close":
                self._connection_close(frame)
            case _:
                self._question(frame)

    def finish(self) -> None:
        """The connection broke: what it had asked for has no answer any more."""
        for gets in self._gets.values():
            for asked in gets:
                if asked["no_ack"]:
                    self._wire.taken[asked["queue"]].append(self._generation)

    def _question(self, frame: Frame) -> None:
        place, what = frame.place, frame.what
        gets, declares = self._gets[place], self._declares[place]
        match frame.kind:
            case "get":
                gets.append(what)
            case "get_ok":
                asked = gets.popleft() if gets else None
                self._wire.gets[place].append(Answer(frame, asked))
            case "get_empty" if gets:
                self._wire.empties.append(gets.popleft()["queue"])
            case "declare":
                declares.append(what["queue"])
            case "declare_ok" if declares:
                self._wire.declared.append((declares.popleft(), what["queue"]))

    def _connection_close(self, frame: Frame) -> None:
        generation = self._generation
        if generation.by_client is None and generation.by_broker is None:
            if frame.what["by"] == "broker":
                generation.by_broker = frame.t
            else:
                generation.by_client = frame.t
