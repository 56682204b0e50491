"""Which publishes are taken and how their confirms go out, where it is not "all, each at once".

It owns nothing but the three parts that decide: what refuses a publish, what leaves its confirm
out, what holds the confirm back. A connection has one of these or none, so a publish without
faults pays one look. It prevents a confirm that lies: only what ``refuses`` let pass is enqueued
and acked, and a confirm that was left out is noted, so that no ``multiple`` ack covers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channel import Channel
    from .faults.every import EveryNth
    from .faults.holder import Holder


@dataclass(slots=True)
class Confirms:
    """What becomes of the publishes of some connections."""

    holder: Holder | None = None
    nack: EveryNth | None = None
    omit: EveryNth | None = None

    @property
    def at_work(self) -> bool:
        """Whether there is anything to decide."""
        return any((self.holder, self.nack, self.omit))

    def refuses(self) -> bool:
        """Whether the next publish is nacked instead of enqueued. Asked once for each."""
        return self.nack is not None and self.nack.hits()

    def settle(self, channel: Channel, tag: int, refused: bool) -> None:
        """Confirm one publish, now, later or never."""
        if self.omit is not None and self.omit.hits():
            channel.omitted = channel.omitted or tag
        elif self.holder is not None:
            self.holder.put(channel, tag, refused)
        elif refused:
            channel.refuse(tag)
        else:
            channel.confirm(tag)
