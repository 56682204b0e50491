"""Mutants that lose what was on the wire, or never sent what they said they had."""

from __future__ import annotations

from typing import Any

from mutating import DELIVER, HASTY, PATIENT, PUBLISH, Mutant, Nth, wrap


class DeliveryDropped(Nth):
    """Every 31st delivery that came in is handed to nobody.

    The dropped ones stay unacked and are requeued at close: nothing else rises.
    """

    rises = ("lost_frames",)
    method, every = DELIVER, 31

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        return None


class ReturnDropped(Nth):
    """Every 7th basic.return is not matched with its publish: the application never hears of it."""

    rises = ("lost_frames",)
    method, every = "amqpool.confirms:ConfirmBook.returned", 7

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        return True


class ReturnLostWhileClosing(Mutant):
    """A channel that is being closed credits the acks that still come in, and drops the returns.

    It shows where a lease that is not clean is released behind a mandatory message.
    """

    scenario = "consumers_under_kills"
    load = "10x80x16"
    rises = ("lost_frames",)

    def mutate(self) -> None:
        def make(came_back: Any) -> Any:
            def patched(channel: Any, event: Any) -> Any:
                return False if channel._closing else came_back(channel, event)

            return patched

        wrap("amqpool.core:ChannelCore._came_back", make)


class PublishDropped(Nth):
    """Every 25th publish returns as if it had been sent, and was not; its confirm never comes."""

    rises = ("lost_frames",)
    bounds = HASTY  # its confirm is waited for as long as a recovery may take
    method, every = PUBLISH, 25

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        from amqpool import Confirmation

        return Confirmation(0, target.inbox, self.bounds.operation)


class AckDropped(Nth):
    """Every 40th basic.ack is reported as sent and is not."""

    rises = ("lost_frames",)
    method, every = "amqpool:SharedChannel.basic_ack", 40

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        return None


class FrameToTheWrongChannel(Mutant):
    """The drain hands every 20th delivery that it read to another channel than its own.

    Whoever owns that channel knows no such consumer, and when the channel is released with a
    stranger's frame in its inbox it is closed.
    """

    rises = ("lost_frames",)

    def mutate(self) -> None:
        from amqp import spec

        seen = 0

        def make(on_batch: Any) -> Any:
            # Called by the I/O thread alone: no lock is needed.
            def patched(connection: Any, batch: Any) -> Any:
                nonlocal seen
                for number, events in list(batch.items()):
                    others = [each for each in list(connection.channels) if each not in (0, number)]
                    for event in [each for each in events if each.sig == spec.Basic.Deliver]:
                        seen += 1
                        if seen % 20 == 0 and others:
                            events.remove(event)
                            batch.setdefault(max(others), []).append(event)
                return on_batch(connection, batch)

            return patched

        wrap("amqpool:SharedConnection.on_batch", make)


class FrameLeftPerPublish(Mutant):
    """Each publish leaves one inbound frame of its channel undispatched: the last of the next read.

    It is a confirm as a rule, so no channel ever settles: the pool is empty soon, acquires time out
    (unexpected_errors) and the probe is not confirmed (unavailable).
    """

    load = "4x4"
    rises = ("lost_frames", "unavailable")
    may_rise = frozenset({"unexpected_errors"})
    bounds = PATIENT

    def mutate(self) -> None:
        def publishes(publish: Any) -> Any:
            def patched(channel: Any, *args: Any, **kwargs: Any) -> Any:
                channel.left = True
                return publish(channel, *args, **kwargs)

            return patched

        def receives(receive: Any) -> Any:
            def patched(channel: Any, events: Any) -> Any:
                if getattr(channel, "left", False):
                    channel.left = False
                    events = events[:-1]
                return receive(channel, events)

            return patched

        wrap(PUBLISH, publishes)
        wrap("amqpool:SharedChannel.receive", receives)


MUTANTS: tuple[type[Mutant], ...] = (
    DeliveryDropped,
    ReturnDropped,
    ReturnLostWhileClosing,
    PublishDropped,
    AckDropped,
    FrameToTheWrongChannel,
    FrameLeftPerPublish,
)
UNWIDENED: tuple[type[Mutant], ...] = ()
