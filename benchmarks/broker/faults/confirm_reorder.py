"""Confirm in another order: a channel's confirms go out in blocks, each from its last to its first.

A block that does not fill up goes out, reversed too, a bounded time after its first confirm: a
publisher that waits for each confirm would otherwise wait for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .holder import Blocks, Confirm, send_each

if TYPE_CHECKING:
    from ..channel import Channel
    from ..core import Broker
    from .options import Options

#: Confirms in a block unless asked otherwise, and at most: some hundred are outstanding in the
#: largest load.
DEFAULT_WINDOW = 5
LARGEST_WINDOW = 1024
#: Milliseconds unless asked otherwise that a block waits to fill up.
DEFAULT_MS = 20


class ConfirmReorder(Blocks):
    """Reverses the confirms of each channel, block by block."""

    @classmethod
    def asked(cls, broker: Broker, options: Options) -> Self:
        """Make the fault that is asked for. Raises ValueError for a bad option."""
        window = options.whole("window", DEFAULT_WINDOW, 2, LARGEST_WINDOW)
        return cls(broker, options.milliseconds(DEFAULT_MS), window)

    def send(self, channel: Channel, block: list[Confirm]) -> None:
        """Send one block, the last confirm first."""
        if len(block) > 1:
            self.effects += len(block)
        send_each(channel, block[::-1])
