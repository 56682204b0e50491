"""Confirm many publishes by one ``multiple`` ack: all that came in on a channel within some time.

As RabbitMQ does, a ``multiple`` ack goes only as far as everything below it is settled: what lies
beyond a nack of the same block, or beyond an omitted confirm, is acked one by one, the nacks first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .holder import Blocks, Confirm

if TYPE_CHECKING:
    from ..channel import Channel
    from ..core import Broker
    from .options import Options

#: Milliseconds unless asked otherwise: some hundred publishes of a thread that does not wait.
DEFAULT_MS = 20


class ConfirmCoalesce(Blocks):
    """Gathers the confirms of each channel."""

    @classmethod
    def asked(cls, broker: Broker, options: Options) -> Self:
        """Make the fault that is asked for. Raises ValueError for a bad option."""
        return cls(broker, options.milliseconds(DEFAULT_MS))

    def send(self, channel: Channel, block: list[Confirm]) -> None:
        """Send one block."""
        nacks = [tag for tag, refused in block if refused]
        acks = [tag for tag, refused in block if not refused]
        for tag in nacks:
            channel.refuse(tag)
        limits = [tag for tag in (channel.omitted, *nacks[:1]) if tag]
        settled = [tag for tag in acks if not limits or tag < min(limits)]
        if settled:
            channel.confirm(settled[-1], len(settled))
        if len(settled) > 1:
            self.effects += len(settled)
        for tag in acks[len(settled) :]:
            channel.confirm(tag)
