"""Both ledgers of a made-up run, told event by event: P and A agree unless the test says otherwise.

Each event is two seconds after the one before, so that no tail ever covers a neighbour by chance.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.books import TAIL, Verdict, books

QUEUE = "q"
CONSUMER = "consumer-0.1"
#: Size and checksum of every body in these stories.
SIZE, CRC = 64, 77


class Story:
    def __init__(self) -> None:
        self.t = 0.0
        self.generations: list[dict[str, Any]] = []
        self.history: dict[str, list[list[Any]]] = {}
        self.remaining: dict[str, list[str]] = {}
        #: A node of the broker was killed.
        self.forgetful = False
        self._sequences: dict[tuple[int, int, int], int] = {}

    def tick(self, seconds: float = 2 * TAIL) -> float:
        self.t += seconds
        return self.t

    def verdict(self) -> Verdict:
        return books(
            {"generations": self.generations, "faults": []},
            self.history,
            self.remaining,
            forgetful=self.forgetful,
        )

    def leave(self, identity: str, queue: str = QUEUE) -> None:
        """It is still in the queue at the end."""
        self.remaining.setdefault(queue, []).append(identity)

    # -- connections -------------------------------------------------------------------------

    def connect(self, ready: bool = True) -> Story:
        opened = self.tick()
        self.generations.append(
            {
                "generation": len(self.generations) + 1,
                "opened": opened,
                "ready": self.tick() if ready else None,
                "closed": None,
                "end": "open",
                "faulted": False,
                "injected": False,
                "faults": [],
                "thrown": 0,
                "events": [],
            }
        )
        return self

    def end(self, how: str = "close", number: int = -1) -> Story:
        """``close``: by the handshake. ``fault:rst``: killed. ``client``: the client hung up.

        ``broker``: the broker closes the connection, by the handshake.
        """
        generation = self.generations[number]
        if how in ("close", "broker"):
            by = "client" if how == "close" else "broker"
            event = [self.tick(), "connection_close", 0, 0, {"by": by, "code": 320, "text": ""}]
            generation["events"].append(event)
        generation.update(
            closed=self.tick(),
            end="close" if how == "broker" else how,
            faulted=how not in ("close", "broker"),
            injected=how.startswith("fault:"),
        )
        return self

    def wire(self, kind: str, channel: int = 1, incarnation: int = 1, /, **what: Any) -> list[Any]:
        event = [self.t, kind, channel, incarnation, what]
        self.generations[-1]["events"].append(event)
        return event

    def log(self, thread: str, *entry: Any) -> list[Any]:
        self.history.setdefault(thread, []).append(list(entry))
        return self.history[thread][-1]

    # -- leases and channels -----------------------------------------------------------------

    def lease(self, number: int, key: str, thread: str = "worker-0") -> None:
        self.log(thread, "lease", self.tick(), number, key)

    def release(self, number: int, thread: str = "worker-0") -> None:
        t = self.tick()
        self.log(thread, "released", t, t + 0.1, number, "ok")

    def open_channel(self, channel: int = 1, incarnation: int = 1) -> None:
        self.tick()
        self.wire("open", channel, incarnation)

    def close_channel(self, channel: int = 1, incarnation: int = 1) -> None:
        self.tick()
        self.wire("close", channel, incarnation, code=200)

    def close_by_broker(self, channel: int = 1, incarnation: int = 1) -> None:
        self.tick()
        self.wire("server_close", channel, incarnation, code=404, text="NOT_FOUND")

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self,
        identity: str,
        channel: int = 1,
        incarnation: int = 1,
        *,
        status: str = "ok",
        tried: bool = True,
        crossed: bool = True,
        routable: bool = True,
        queue: str = QUEUE,
        lease: int = 7,
        thread: str = "worker-0",
        **altered: Any,
    ) -> None:
        t = self.tick()
        if tried:
            key = queue if routable else None
            t1 = None if status == "invoked" else t + 0.1
            self.log(thread, "publish", t, t1, identity, lease, key, status, SIZE, CRC)
        if crossed:
            place = (len(self.generations), channel, incarnation)
            seq = self._sequences[place] = self._sequences.get(place, 0) + 1
            fields: dict[str, Any] = {
                "seq": seq,
                "id": identity,
                "body_id": identity,
                "routing_key": queue if routable else f"{queue}.nowhere",
                "size": SIZE,
                "crc": CRC,
            }
            self.wire("publish", channel, incarnation, **(fields | altered))

    def confirm(
        self,
        identity: str | None,
        channel: int = 1,
        incarnation: int = 1,
        *,
        told: str | None = "ack",
        ack: bool = True,
        said: bool = True,
        thread: str = "worker-0",
    ) -> None:
        t = self.tick()
        if said:
            self.wire(
                "confirm", channel, incarnation,
                seq=self._sequence_of(identity), id=identity, body_id=identity, ack=ack,
            )  # fmt: skip
        if told is not None:
            self.log(thread, "confirm", t + 0.1, identity, told)

    def _sequence_of(self, identity: str | None) -> int:
        sequences = [
            event[4]["seq"]
            for event in self.generations[-1]["events"]
            if event[1] == "publish" and event[4]["id"] == identity
        ]
        return sequences[-1] if sequences else 1

    def bounce(
        self,
        identity: str,
        channel: int = 1,
        incarnation: int = 1,
        *,
        told: bool = True,
        thread: str = "worker-0",
    ) -> None:
        t = self.tick()
        self.wire("return", channel, incarnation, id=identity, body_id=identity, code=312)
        if told:
            self.log(thread, "return", t + 0.1, identity)

    # -- consuming ---------------------------------------------------------------------------

    def consume(
        self,
        channel: int = 1,
        incarnation: int = 1,
        *,
        consumer: str = CONSUMER,
        queue: str = QUEUE,
        no_ack: bool = False,
        lease: int = 3,
        answered: str | None = None,
        status: str = "ok",
        thread: str = "consumer-0",
    ) -> None:
        t = self.tick()
        answered = consumer if answered is None else answered
        self.log(
            thread, "consume", t, t + 0.1, consumer, lease, status, queue, no_ack, answered
        )  # fmt: skip
        self.wire("consume", channel, incarnation, tag=consumer, queue=queue, no_ack=no_ack)
        self.wire("consume_ok", channel, incarnation, tag=consumer)

    def deliver(
        self,
        tag: int,
        identity: str,
        channel: int = 1,
        incarnation: int = 1,
        *,
        told: bool = True,
        carried: bool = True,
        redelivered: bool = False,
        no_ack: bool = False,
        consumer: str = CONSUMER,
        thread: str = "consumer-0",
        told_as: dict[str, Any] | None = None,
    ) -> None:
        """``told_as``: what the application is told instead of what the wire carried."""
        t = self.tick()
        if carried:
            self.wire(
                "deliver", channel, incarnation, consumer=consumer, tag=tag, id=identity,
                body_id=identity, size=SIZE, crc=CRC, redelivered=redelivered, no_ack=no_ack,
            )  # fmt: skip
        if told:
            told_of: dict[str, Any] = {
                "consumer": consumer,
                "tag": tag,
                "identity": identity,
                "body_identity": identity,
                "size": SIZE,
                "crc": CRC,
                "redelivered": redelivered,
            }
            self.log(thread, "deliver", t + 0.1, *(told_of | (told_as or {})).values())

    def get(
        self,
        identity: str | None,
        channel: int = 1,
        incarnation: int = 1,
        *,
        tag: int = 1,
        queue: str = QUEUE,
        asked: str | None = None,
        status: str | None = None,
        said: bool = True,
        no_ack: bool = False,
        redelivered: bool = False,
        lease: int = 5,
        thread: str = "worker-0",
        told_as: dict[str, Any] | None = None,
    ) -> None:
        """``identity`` None: the broker says empty. ``asked``: what A asked, if not ``queue``."""
        t = self.tick()
        content: dict[str, Any] = {
            "tag": tag,
            "identity": identity,
            "body_identity": identity,
            "size": SIZE,
            "crc": CRC,
            "redelivered": redelivered,
        } | (told_as or {})
        status = status or ("empty" if identity is None else "ok")
        if status != "ok":
            content = dict.fromkeys(content)
        if said:
            self.wire("get", channel, incarnation, queue=queue, no_ack=no_ack)
            if identity is None:
                self.wire("get_empty", channel, incarnation)
            else:
                self.wire(
                    "get_ok", channel, incarnation, tag=tag, id=identity, body_id=identity,
                    size=SIZE, crc=CRC, redelivered=redelivered,
                )  # fmt: skip
        asked = queue if asked is None else asked
        self.log(
            thread, "get", t, t + 0.1, asked, lease, status, no_ack, *content.values()
        )  # fmt: skip

    def ack(
        self,
        tag: int,
        identity: str,
        channel: int = 1,
        incarnation: int = 1,
        *,
        tried: bool = True,
        status: str = "ok",
        crossed: bool = True,
        multiple: bool = False,
        consumer: str | None = CONSUMER,
        lease: int = 3,
        thread: str = "consumer-0",
    ) -> None:
        t = self.tick()
        if tried:
            self.log(thread, "ack", t, t + 0.1, consumer, tag, identity, status, lease)
        if crossed:
            self.settle(
                "ack", tag, identity, channel, incarnation, consumer=consumer, multiple=multiple
            )

    def settle(
        self,
        kind: str,
        tag: int,
        identity: str,
        channel: int = 1,
        incarnation: int = 1,
        *,
        consumer: str | None = CONSUMER,
        multiple: bool = False,
        **more: Any,
    ) -> None:
        """An ack, nack or reject as the proxy books it."""
        self.wire(
            kind, channel, incarnation,
            tag=tag, id=identity, consumer=consumer, multiple=multiple, **more,
        )  # fmt: skip

    def cancel(
        self,
        channel: int = 1,
        incarnation: int = 1,
        *,
        consumer: str = CONSUMER,
        thread: str = "consumer-0",
    ) -> None:
        t = self.tick()
        self.log(thread, "cancel", t, t + 0.1, consumer, "ok")
        self.wire("cancel", channel, incarnation, tag=consumer)

    def declare(
        self, asked: str, answered: str, *, said: str | None = None, thread: str = "worker-0"
    ) -> None:
        """``said``: what the broker answers, if not what was asked."""
        t = self.tick()
        self.wire("declare", queue=asked, passive=False)
        self.wire("declare_ok", queue=asked if said is None else said)
        self.log(thread, "declare", t, t + 0.1, asked, answered, "ok")

    # -- whole messages ----------------------------------------------------------------------

    def message(self, identity: str, tag: int, channel: int = 1, incarnation: int = 1) -> None:
        """Published, confirmed, delivered, acked: nothing is missing and nothing is left."""
        self.publish(identity, channel, incarnation)
        self.confirm(identity, channel, incarnation)
        self.deliver(tag, identity, channel, incarnation)
        self.ack(tag, identity, channel, incarnation)


def told() -> Story:
    """A sane run of two messages and a return, to which a test adds what went wrong."""
    story = Story().connect()
    story.consume()
    story.message("m1", 1)
    story.publish("r1", routable=False)
    story.bounce("r1")
    story.confirm("r1")
    story.message("m2", 2)
    return story


def tally(story: Story) -> dict[str, Any]:
    """The whole verdict but for what was compared; what is empty or 0 is left out.

    Witnesses are told by event and identity.
    """
    verdict = story.verdict()
    events = {
        name: [(witness["event"], witness["identity"]) for witness in getattr(verdict, name)]
        for name in ("lost", "lost_messages", "phantoms")
    }
    names = ("in_doubt", "dropped", "discarded", "duplicates", "broker_lost", "broker_faults")
    numbers = {name: getattr(verdict, name) for name in names}
    return {name: value for name, value in (events | numbers).items() if value}
