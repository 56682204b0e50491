"""Mutants that make things up: confirms, deliveries, publishes, and replies of another."""

from __future__ import annotations

from typing import Any

from mutating import DELIVER, HASTY, PUBLISH, Mutant, Nth, wrap


class ConfirmMadeUp(Nth):
    """Every 25th publish reports an ack that nobody sent, and sends nothing."""

    rises = ("phantoms",)
    method, every = PUBLISH, 25

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        from amqpool import Confirmation

        confirmation = Confirmation(0, target.inbox, 1.0)
        confirmation.outcome = "ack"
        return confirmation


class PublishDoesNothing(ConfirmMadeUp):
    """Publish returns and does nothing, each time.

    The probe after heal believes the ack that was made up, so nothing else rises.
    """

    every = 1


class ConfirmToTheWrongTag(Mutant):
    """An ack or a nack is credited to the newest outstanding message, not to the one of its tag.

    It shows where the broker's words differ, so some publishes are refused. What was confirmed may
    hear of it by nobody: lost_frames may rise.
    """

    scenario = "confirms_under_kills"
    load = "10x30x10"
    fault = "confirm_nack"
    rises = ("phantoms",)
    may_rise = frozenset({"lost_frames"})

    def mutate(self) -> None:
        def make(resolve: Any) -> Any:
            def patched(book: Any, tag: int, multiple: bool, outcome: str) -> Any:
                if book.open and tag and not multiple:
                    tag = max(book.open)
                return resolve(book, tag, multiple, outcome)

            return patched

        wrap("amqpool.confirms:ConfirmBook.resolve", make)


class DeliveredTwice(Mutant):
    """Every 31st delivery is dispatched twice.

    The application acknowledges it twice, and the broker closes the channel for that (406): a
    consumer meets it as an error, so unexpected_errors rises.
    """

    rises = ("phantoms", "unexpected_errors")
    bounds = HASTY  # the queue is never drained, which is waited for

    def mutate(self) -> None:
        seen = 0

        def make(deliver: Any) -> Any:
            def patched(*args: Any) -> Any:
                nonlocal seen
                seen += 1
                if seen % 31 == 0:
                    deliver(*args)
                return deliver(*args)

            return patched

        wrap(DELIVER, make)


class BufferOfTwoWriters(Mutant):
    """All publishes are encoded in one buffer: a writer may find another's body in it.

    The message goes out with a body that is not its own. When it comes back as unroutable it is not
    recognised, so its return is not given to the application: lost_frames may rise. Widened: a
    pause between filling the buffer and sending it.
    """

    rises = ("phantoms",)
    may_rise = frozenset({"lost_frames"})
    pause = 0.0005

    def mutate(self) -> None:
        buffer: dict[str, bytes] = {}

        def make(frames: Any) -> Any:
            def patched(channel: int, method: Any, properties: Any, body: bytes, limit: int) -> Any:
                buffer["body"] = body
                self.widen()
                return frames(channel, method, properties, buffer["body"], limit)

            return patched

        wrap("amqpool.channel:publish_frames", make)


class OneReplyForAll(Mutant):
    """The reply to a declare lies in one place for all callers: one may take another's.

    Widened: a pause between putting a reply there and taking it.
    """

    scenario = "poisoned_channel"
    load = "12x40"
    rises = ("phantoms",)
    pause = 0.001

    def mutate(self) -> None:
        place: dict[str, Any] = {}

        def make(declare: Any) -> Any:
            def patched(*args: Any, **kwargs: Any) -> Any:
                place["reply"] = declare(*args, **kwargs)
                self.widen()
                return place["reply"]

            return patched

        wrap("amqpool:SharedChannel.queue_declare", make)


class PublishedTwice(Nth):
    """Every 25th publish is sent twice, as by a retry that was not needed.

    Of the two confirms the application hears of one.
    """

    rises = ("phantoms",)
    method, every = PUBLISH, 25

    def mutate(self) -> None:
        from amqpool import SharedChannel

        self._publish = SharedChannel.basic_publish
        super().mutate()

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        self._publish(target, *args, **kwargs)
        return self._publish(target, *args, **kwargs)


class BufferOfTwoWritersAtItsWidth(BufferOfTwoWriters):
    """The same shared buffer at its natural width, for the schedule search."""

    pause = 0.0


class OneReplyForAllAtItsWidth(OneReplyForAll):
    """The same place for all replies at its natural width, for the schedule search."""

    pause = 0.0


MUTANTS: tuple[type[Mutant], ...] = (
    ConfirmMadeUp,
    PublishDoesNothing,
    ConfirmToTheWrongTag,
    DeliveredTwice,
    BufferOfTwoWriters,
    OneReplyForAll,
    PublishedTwice,
)
UNWIDENED: tuple[type[Mutant], ...] = (BufferOfTwoWritersAtItsWidth, OneReplyForAllAtItsWidth)
