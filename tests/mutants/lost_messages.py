"""Mutants that dispose of a confirmed message which the application never saw."""

from __future__ import annotations

from typing import Any

from mutating import DELIVER, HASTY, Mutant, Nth, wrap


class AckOfTheUnseen(Nth):
    """Every 31st delivery is acknowledged by the client itself, and handed to nobody."""

    rises = ("lost_messages",)
    method, every = DELIVER, 31

    def goes_wrong(self, target: Any, consumer_tag: str, delivery_tag: int, *_: Any) -> Any:
        target.basic_ack(delivery_tag)


class RejectedForGood(Nth):
    """Every 31st delivery is rejected without requeue, though a consumer waits for it."""

    rises = ("lost_messages",)
    method, every = DELIVER, 31

    def goes_wrong(self, target: Any, consumer_tag: str, delivery_tag: int, *_: Any) -> Any:
        target.basic_reject(delivery_tag, requeue=False)


class CancelAcksTheRest(Mutant):
    """A consumer's end acknowledges what was prefetched for it, instead of letting it go back.

    Of a message whose own confirm was cut off only the frame is lost: lost_frames may rise.
    """

    scenario = "consumers_under_kills"
    load = "10x30x10"
    rises = ("lost_messages",)
    may_rise = frozenset({"lost_frames"})

    def mutate(self) -> None:
        def cancels(cancel: Any) -> Any:
            def patched(channel: Any, consumer_tag: str, *args: Any, **kwargs: Any) -> Any:
                channel.ending = consumer_tag
                try:
                    return cancel(channel, consumer_tag, *args, **kwargs)
                finally:
                    channel.ending = None

            return patched

        def delivers(deliver: Any) -> Any:
            def patched(channel: Any, consumer_tag: str, delivery_tag: int, *args: Any) -> Any:
                if getattr(channel, "ending", None) == consumer_tag:
                    if consumer_tag not in channel.no_ack_consumers:
                        channel.basic_ack(delivery_tag)
                    return None
                return deliver(channel, consumer_tag, delivery_tag, *args)

            return patched

        wrap("amqpool:SharedChannel.basic_cancel", cancels)
        wrap(DELIVER, delivers)


class GetAnswersNone(Nth):
    """Every 10th basic.get acknowledges what it got, and says that the queue is empty.

    The worker waits in vain for the message that it had published: unexpected_errors may rise.
    Only the frame is lost (lost_frames) where there is no ack: of a get without acks, or because
    the connection ended before.
    """

    scenario = "consumers_under_kills"
    load = "10x30x10"
    rises = ("lost_messages",)
    may_rise = frozenset({"unexpected_errors", "lost_frames"})
    bounds = HASTY
    method, every = "amqpool:SharedChannel.basic_get", 10

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        from amqp import Channel

        no_ack = kwargs.get("no_ack", False)
        message = Channel.basic_get(target, *args, **kwargs)
        if message is not None and not no_ack:
            target.basic_ack(message.delivery_tag)


MUTANTS: tuple[type[Mutant], ...] = (
    AckOfTheUnseen,
    RejectedForGood,
    CancelAcksTheRest,
    GetAnswersNone,
)
UNWIDENED: tuple[type[Mutant], ...] = ()
