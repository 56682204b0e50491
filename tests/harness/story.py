"""Both ledgers of a made-up run, told event by event: P and A agree unless the test says otherwise.

Each event is a second after the one before, so that no tail ever covers a neighbour by chance.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.books import Verdict, books

QUEUE = "q"
CONSUMER = "consumer-0.1"


class Story:
    def __init__(self) -> None:
        self.t = 0.0
        self.generations: list[dict[str, Any]] = []
        self.history: dict[str, list[list[Any]]] = {}
        self.remaining: list[str] = []

    def tick(self, seconds: float = 1.0) -> float:
        self.t += seconds
        return self.t

    def verdict(self) -> Verdict:
        ledger = {"generations": self.generations, "faults": []}
        return books(ledger, self.history, self.remaining, QUEUE)

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
                "events": [],
            }
        )
        return self

    def end(self, how: str = "close") -> Story:
        """``close``: by the handshake. ``fault:rst``: killed. ``client``: the client hung up."""
        self.generations[-1].update(closed=self.tick(), end=how, faulted=how != "close")
        return self

    def wire(self, kind: str, channel: int = 1, incarnation: int = 1, /, **what: Any) -> list[Any]:
        event = [self.t, kind, channel, incarnation, what]
        self.generations[-1]["events"].append(event)
        return event

    def log(self, thread: str, *entry: Any) -> list[Any]:
        self.history.setdefault(thread, []).append(list(entry))
        return self.history[thread][-1]

    # -- what happens on them ----------------------------------------------------------------

    def publish(
        self,
        identity: str,
        channel: int = 1,
        *,
        status: str = "ok",
        crossed: bool = True,
        routable: bool = True,
        thread: str = "worker-0",
    ) -> None:
        t = self.tick()
        self.log(thread, "publish", t, t + 0.1, identity, 7, routable, status)
        if crossed:
            key = QUEUE if routable else f"{QUEUE}.nowhere"
            self.wire("publish", channel, seq=1, id=identity, body_id=identity, routing_key=key)

    def confirm(
        self,
        identity: str | None,
        channel: int = 1,
        *,
        told: str | None = "ack",
        ack: bool = True,
        thread: str = "worker-0",
    ) -> None:
        t = self.tick()
        self.wire("confirm", channel, seq=1, id=identity, body_id=identity, ack=ack)
        if told is not None:
            self.log(thread, "confirm", t + 0.1, identity, told)

    def bounce(
        self, identity: str, channel: int = 1, *, told: bool = True, thread: str = "worker-0"
    ) -> None:
        t = self.tick()
        self.wire("return", channel, id=identity, body_id=identity, code=312)
        if told:
            self.log(thread, "return", t + 0.1, identity)

    def consume(
        self, channel: int = 1, *, consumer: str = CONSUMER, thread: str = "consumer-0"
    ) -> None:
        t = self.tick()
        self.log(thread, "consume", t, t + 0.1, consumer, 3, "ok")
        self.wire("consume", channel, tag=consumer, queue=QUEUE, no_ack=False)

    def deliver(
        self,
        tag: int,
        identity: str,
        channel: int = 1,
        *,
        told: bool = True,
        told_tag: int | None = None,
        no_ack: bool = False,
        consumer: str = CONSUMER,
        thread: str = "consumer-0",
    ) -> None:
        t = self.tick()
        self.wire(
            "deliver", channel, consumer=consumer, tag=tag, id=identity, body_id=identity,
            no_ack=no_ack,
        )  # fmt: skip
        if told:
            tag = tag if told_tag is None else told_tag
            self.log(thread, "deliver", t + 0.1, consumer, tag, identity, identity, 64, 0, False)

    def ack(
        self,
        tag: int,
        identity: str,
        channel: int = 1,
        *,
        tried: bool = True,
        status: str = "ok",
        crossed: bool = True,
        consumer: str = CONSUMER,
        thread: str = "consumer-0",
    ) -> None:
        t = self.tick()
        if tried:
            self.log(thread, "ack", t, t + 0.1, consumer, tag, identity, status)
        if crossed:
            self.settle("ack", tag, identity, channel, consumer=consumer)

    def settle(
        self,
        kind: str,
        tag: int,
        identity: str,
        channel: int = 1,
        *,
        consumer: str = CONSUMER,
        **more: Any,
    ) -> None:
        """An ack, nack or reject as the proxy books it."""
        self.wire(kind, channel, tag=tag, id=identity, consumer=consumer, multiple=False, **more)

    def cancel(self, *, consumer: str = CONSUMER, thread: str = "consumer-0") -> None:
        t = self.tick()
        self.log(thread, "cancel", t, t + 0.1, consumer, "ok")
        self.wire("cancel", tag=consumer)

    def close_channel(self, channel: int = 1) -> None:
        self.tick()
        self.wire("close", channel, code=200)

    # -- whole messages ----------------------------------------------------------------------

    def message(self, identity: str, tag: int, channel: int = 1) -> None:
        """Published, confirmed, delivered, acked: nothing is missing and nothing is left."""
        self.publish(identity, channel)
        self.confirm(identity, channel)
        self.deliver(tag, identity, channel)
        self.ack(tag, identity, channel)


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
