"""Plays a sequence to one broker, step by step, and says after each what is to be seen of it.

After a step the driver waits until the broker is at rest: every open channel of every connection
has answered a ``channel.flow`` (which changes nothing), every publish in confirm mode is confirmed,
and the queues' counts stay as they are from one round to the next. So what belongs to a step is
known without a sleep, and two brokers can be compared step by step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.wire.url import Endpoint

from . import malformed
from .link import CLOSING, CONTROL, OPEN, Event, Late, Link, message
from .observing import Books, Names, Observation
from .steps import LOGIN, PUBLISH, RAW, Step

#: Rounds of asking until nothing changes any more; two are enough where nothing happens.
ROUNDS = 50
BYE = {"reply_code": 200, "reply_text": "bye", "class_id": 0, "method_id": 0}


class State(NamedTuple):
    """A queue as a passive declaration shows it; ``ready`` is -1 where there is none."""

    queue: str
    ready: int
    consumers: int


class Driver:
    """One broker, and the connections of the sequence that is played to it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._observer = Link(endpoint)
        self.version = self._observer.version
        self._begin()

    def _begin(self) -> None:
        self._links: dict[int, Link] = {}
        self._books: dict[int, Books] = {}
        self._names = Names(self.endpoint.vhost)
        self._steps: list[Step] = []
        #: Queues by the names that the broker knows; those that were seen, and those that are.
        self._queues: dict[str, None] = {}
        self._existing: dict[str, None] = {}
        #: The connection whose exclusive queue it is.
        self._owners: dict[str, int] = {}
        self._published = 0
        #: Whether the last step sent anything.
        self.sent = False

    def close(self) -> None:
        """Hang up."""
        for link in (*self._links.values(), self._observer):
            link.close()

    # -- steps -----------------------------------------------------------------------------

    def perform(self, step: Step) -> Observation:
        """Play one step, and wait until the broker is at rest."""
        self._steps.append(step)
        self.sent = True
        for books in self._books.values():
            books.begin()
        try:
            if step.what == LOGIN:
                return self._login(step)
            link = self._links.get(step.connection)
            if link is None:
                link = self._links[step.connection] = Link(self.endpoint)
                self._books[step.connection] = Books()
            if step.bare or self._opened(step, link):
                self._send(step, link)
            states = self._settle()
        except Late:
            return Observation(("late",))
        seen = self._names.observation(self._books, states)
        for number, link in list(self._links.items()):
            if link.ended:
                self._forget(number)
        return seen

    def _login(self, step: Step) -> Observation:
        link = Link(self.endpoint, malformed.LOGINS[step.fields["kind"]] | {"odd": True})
        try:
            if not link.open and not link.ended:
                link.method(0, "Connection.CloseOk")
                link.wait_for_end()
            events = [(name, *arguments) for _, name, *arguments in link.take()]
            return Observation(
                tuple(event for event in events if event[0] != "Connection.Start")
                + (("hung up",) if link.ended else ())
            )
        finally:
            link.close()

    def _opened(self, step: Step, link: Link) -> bool:
        """Make sure that the channel is open, unless that ends the connection."""
        if link.channels.get(step.channel) == CLOSING:
            link.method(step.channel, "Channel.CloseOk")
            del link.channels[step.channel]
        if step.channel and step.channel not in link.channels:
            link.method(step.channel, "Channel.Open")
            link.wait("Channel.OpenOk", step.channel)
        self._collect(step.connection)
        return link.open

    def _send(self, step: Step, link: Link) -> None:
        channel, fields = step.channel, dict(step.fields)
        books = self._books[step.connection]
        if step.what == RAW:
            link.send(malformed.frames(fields["kind"], channel))
            return
        if step.what == PUBLISH:
            self._published += 1
            body = b"%d" % self._published
            body = body.ljust(fields.pop("size", 0), b".") if fields.get("size") != 0 else b""
            properties = fields.pop("properties", {})
            fields.pop("size", None)
            link.send(message(channel, fields, body, properties))
            if link.channels.get(channel) == OPEN:
                books.published(channel)
            return
        if "delivery_tag" in fields:
            tag = books.settle(channel, fields["delivery_tag"], fields.get("multiple", False))
            if tag is None:
                self.sent = False
                return
            fields["delivery_tag"] = tag
        was_open = link.channels.get(channel) == OPEN
        link.method(channel, step.what, **fields)
        if step.what == "Channel.CloseOk" and link.channels.get(channel) == CLOSING:
            del link.channels[channel]
        elif step.what == "Channel.Open" and channel and channel not in link.channels:
            link.wait("Channel.OpenOk", channel)
        elif step.what == "Channel.Close" and was_open:
            link.wait("Channel.CloseOk", channel)
        elif step.what == "Channel.Flow" and was_open:
            link.wait("Channel.FlowOk", channel)
        elif step.what == "Connection.Close":
            hang_up(link)
        elif step.what == "Queue.Declare" and fields.get("queue"):
            self._know(fields["queue"])
        elif step.what == "Confirm.Select" and fields.get("nowait") and was_open:
            books.confirming(channel)
        self._collect(step.connection)

    def _know(self, queue: str) -> None:
        self._queues[queue] = self._existing[queue] = None

    def _forget(self, number: int) -> None:
        """The connection has ended."""
        self._links.pop(number).close()
        del self._books[number]
        self._owners = {name: owner for name, owner in self._owners.items() if owner != number}

    # -- rest ------------------------------------------------------------------------------

    def _collect(self, number: int) -> None:
        """Book what came on a connection."""
        link, books = self._links[number], self._books[number]
        for event in link.take():
            books.book(event)
            if event[1] == "Queue.DeclareOk":
                self._know(event[2])

    def _settle(self) -> list[State]:
        before: object = None
        for _ in range(ROUNDS):
            self._barrier()
            states = self._states()
            now = (states, [books.count for books in self._books.values()])
            if now == before:
                break
            before = now
        for state in states:
            if state.ready < 0:
                self._existing.pop(state.queue)
        return states

    def _barrier(self) -> None:
        """One round: each open channel answers, and what was published is confirmed."""
        asked = []
        for number, link in self._links.items():
            self._collect(number)
            channels = [channel for channel, state in link.channels.items() if state == OPEN]
            for channel in channels:
                link.method(channel, "Channel.Flow", active=True)
            asked.append((number, link, channels))
        for number, link, channels in asked:
            for channel in channels:
                link.wait("Channel.FlowOk", channel)
            link.events = [event for event in link.events if event[1] != "Channel.FlowOk"]
            self._collect(number)
            while any(
                self._books[number].unconfirmed(channel)
                for channel, state in link.channels.items()
                if state == OPEN
            ):
                link.read()
                self._collect(number)
            if not link.open and not link.ended:
                link.method(0, "Connection.CloseOk")
                link.wait_for_end()
                self._collect(number)
            if link.ended:
                self._books[number].end()

    def _states(self) -> list[State]:
        states = []
        for queue in self._existing:
            owner = self._owners.get(queue)
            state = None
            if owner is not None and self._links[owner].open:
                state = look(self._links[owner], queue)
            if state is None:
                state = look(self._observer, queue)
            if state is None:
                for number, link in self._links.items():
                    state = look(link, queue) if link.open else None
                    if state is not None:
                        self._owners[queue] = number
                        break
            states.append(state or State(queue, -2, 0))
        return states

    # -- the end ---------------------------------------------------------------------------

    def finish(self) -> Observation:
        """End the connections; what remains in the queues, and where the exchanges lead."""
        try:
            for link in self._links.values():
                # One by one, so that it is no chance to which of them a message comes back.
                for channel, state in sorted(link.channels.items()):
                    if state == OPEN:
                        link.method(channel, "Channel.Close", **BYE)
                        link.wait("Channel.CloseOk", channel)
                if link.open:
                    link.method(0, "Connection.Close", **BYE)
                    hang_up(link)
            self._links.clear()
            self._books.clear()
            self._owners.clear()
            seen: list[Any] = [("remains", state, self._drain(state)) for state in self._settle()]
            seen += self._routes()
            seen += [("routed", state, self._drain(state)) for state in self._settle()]
        except Late:
            seen = ["late"]
        return self._names.replace(Observation(tuple(seen)))

    def _drain(self, state: State) -> tuple[Event, ...]:
        """Take all messages out of a queue."""
        taken: list[Event] = []
        link = self._observer
        while state.ready >= 0:
            link.method(CONTROL, "Basic.Get", queue=state.queue, no_ack=True)
            while not link.events:
                link.read()
            (event,) = link.take()
            if event[1] != "Basic.GetOk":
                break
            _, _, _tag, *rest = event
            taken.append(tuple(rest))
        return tuple(taken)

    def _routes(self) -> list[Event]:
        """Where a message would go, for each exchange and key that was spoken of."""
        exchanges, keys = set(), {"q1", "a.b"}
        for step in self._steps:
            for name in ("exchange", "source", "destination"):
                exchanges.add(step.fields.get(name) or "")
            keys.add(step.fields.get("routing_key") or "")
        seen: list[Event] = []
        link = self._observer
        for exchange in sorted(exchanges - {""}):
            for key in sorted(keys):
                fields = {"exchange": exchange, "routing_key": key, "mandatory": True}
                link.send(message(CONTROL, fields, f"{exchange} {key}".encode(), {}))
            link.method(CONTROL, "Channel.Flow", active=True)
            if not link.wait("Channel.FlowOk", CONTROL):
                reopen(link)
            seen += [
                event for event in link.take() if event[1] in ("Basic.Return", "Channel.Close")
            ]
        return seen

    def clean(self) -> None:
        """Remove what the sequence made. The next one finds the broker as it was."""
        for link in self._links.values():
            link.close()
        self._observer.close()
        link = self._observer = Link(self.endpoint)
        exchanges = {}
        for step in self._steps:
            if step.what == "Exchange.Bind":
                fields = step.fields | {"nowait": False}
                if fields["source"] and fields["destination"]:
                    self._ask("Exchange.Unbind", **fields)
            elif step.what == "Exchange.Declare":
                exchanges[step.fields["exchange"]] = None
        for queue in self._queues:
            self._ask("Queue.Delete", queue=queue)
        for exchange in exchanges:
            if exchange and not exchange.startswith("amq."):
                self._ask("Exchange.Delete", exchange=exchange)
        self._begin()

    def _ask(self, what: str, **fields: Any) -> None:
        link = self._observer
        link.method(CONTROL, what, **fields)
        if not link.wait(what + "Ok", CONTROL):
            reopen(link)
        link.take()


def hang_up(link: Link) -> None:
    """Wait for the answer to our Close (or the broker's own Close), and end the connection.

    RabbitMQ leaves it to the client to hang up, for half a minute.
    """
    while link.open and (0, "Connection.CloseOk") not in link.events:
        link.read()
    if (0, "Connection.CloseOk") in link.events:
        link.close()


def look(link: Link, queue: str) -> State | None:
    """Declare a queue passively. None when it is another connection's alone."""
    link.method(CONTROL, "Queue.Declare", queue=queue, passive=True)
    found = link.wait("Queue.DeclareOk", CONTROL)
    mine = [event for event in link.events if event[0] == CONTROL]
    link.events = [event for event in link.events if event[0] != CONTROL]
    if found:
        return State(queue, mine[-1][3], mine[-1][4])
    reopen(link)
    code = next((event[2] for event in mine if event[1] == "Channel.Close"), 0)
    return None if code == 405 else State(queue, -1, 0)


def reopen(link: Link) -> None:
    """Open the control channel again, which the broker has closed."""
    if link.open:
        link.method(CONTROL, "Channel.CloseOk")
        del link.channels[CONTROL]
        link.method(CONTROL, "Channel.Open")
        link.wait("Channel.OpenOk", CONTROL)
        link.events = [event for event in link.events if event[:2] != (CONTROL, "Channel.OpenOk")]
