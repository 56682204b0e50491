"""What holds confirms back: the part that delaying, reordering and coalescing share.

Each channel's confirms are held for themselves, and everything of a channel goes out before it
ends: none may reach the next channel of that number. Of several such faults one is at work at a
time, since each decides when a confirm goes out. What is held is bounded: beyond ``HELD_LIMIT``
the oldest goes out before its time, so a client that publishes without end costs some megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .lasting import Lasting

if TYPE_CHECKING:
    from ..channel import Channel
    from ..core import Broker

#: Confirms held back at a time, over all channels: a hundred times what the largest load has
#: outstanding. One weighs at most 300 bytes.
HELD_LIMIT = 1 << 16

#: Delivery tag, and whether the publish was refused.
Confirm = tuple[int, bool]


class Holder(Lasting):
    """Holds confirms back for up to ``seconds``."""

    slot = "holder"

    def __init__(self, broker: Broker, seconds: float) -> None:
        super().__init__(broker)
        self.seconds = seconds

    def begin(self) -> None:
        """Be at work from now on."""
        self.broker.disturbed.holder = self
        self.broker.confirms_changed()

    def end(self) -> None:
        """Be no longer at work: all that is held back goes out."""
        self.broker.disturbed.holder = self.broker.usual.holder
        self.broker.confirms_changed()
        self.release_all()

    def put(self, channel: Channel, tag: int, refused: bool) -> None:
        """Take over one confirm."""
        raise NotImplementedError

    def release(self, channel: Channel) -> None:
        """Send all that is held of this channel."""
        raise NotImplementedError

    def release_all(self) -> None:
        """Send all that is held."""
        raise NotImplementedError


class Blocks(Holder):
    """Holds each channel's confirms as one block, from the first of them on."""

    def __init__(self, broker: Broker, seconds: float, size: int = HELD_LIMIT) -> None:
        super().__init__(broker, seconds)
        #: Confirms at which a block goes out before its time.
        self._size = size
        #: When a block is due, and the block. All are due after the same time: the first is first.
        self._blocks: dict[Channel, tuple[float, list[Confirm]]] = {}
        self._held = 0

    def put(self, channel: Channel, tag: int, refused: bool) -> None:
        """Take over one confirm."""
        blocks = self._blocks
        if channel not in blocks:
            blocks[channel] = (self.broker.now + self.seconds, [])
        block = blocks[channel][1]
        block.append((tag, refused))
        self._held += 1
        if len(block) >= self._size:
            self.release(channel)
        elif self._held > HELD_LIMIT:
            self.release(next(iter(blocks)))

    def release(self, channel: Channel) -> None:
        """Send all that is held of this channel."""
        if channel in self._blocks:
            _, block = self._blocks.pop(channel)
            self._held -= len(block)
            self.send(channel, block)

    def release_all(self) -> None:
        """Send all that is held."""
        for channel in list(self._blocks):
            self.release(channel)

    def due(self) -> float | None:
        """When the oldest block is due, None when there is none."""
        return next((due for due, _ in self._blocks.values()), None)

    def run(self) -> None:
        """Send the blocks that are due."""
        now = self.broker.now
        for channel in [channel for channel, (due, _) in self._blocks.items() if due <= now]:
            self.release(channel)

    def send(self, channel: Channel, block: list[Confirm]) -> None:
        """Send one block, whose confirms are in the order of their publishes."""
        raise NotImplementedError


def send_each(channel: Channel, confirms: Iterable[Confirm]) -> None:
    """Send each confirm for itself, in this order."""
    for tag, refused in confirms:
        if refused:
            channel.refuse(tag)
        else:
            channel.confirm(tag)
