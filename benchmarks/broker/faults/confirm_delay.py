"""Confirm late: each confirm goes out a fixed time after its publish, in the same order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from .holder import HELD_LIMIT, Confirm, Holder, send_each

if TYPE_CHECKING:
    from ..channel import Channel
    from ..core import Broker
    from .options import Options

#: Milliseconds unless asked otherwise: hundreds of round trips.
DEFAULT_MS = 50


class ConfirmDelay(Holder):
    """Holds each confirm back for the same time."""

    def __init__(self, broker: Broker, seconds: float) -> None:
        super().__init__(broker, seconds)
        self._held: dict[Channel, deque[Confirm]] = {}
        #: When a confirm is due, and whose it is, the first one first. Those of a channel that
        #: has ended stay until their time: looking for them would cost more.
        self._order: deque[tuple[float, Channel]] = deque()

    @classmethod
    def asked(cls, broker: Broker, options: Options) -> Self:
        """Make the fault that is asked for. Raises ValueError for a bad option."""
        return cls(broker, options.milliseconds(DEFAULT_MS))

    def put(self, channel: Channel, tag: int, refused: bool) -> None:
        """Take over one confirm."""
        self.effects += 1
        self._held.setdefault(channel, deque()).append((tag, refused))
        self._order.append((self.broker.now + self.seconds, channel))
        if len(self._order) > HELD_LIMIT:
            self._send_first()

    def release(self, channel: Channel) -> None:
        """Send all that is held of this channel."""
        send_each(channel, self._held.pop(channel, ()))

    def release_all(self) -> None:
        """Send all that is held."""
        while self._order:
            self._send_first()

    def due(self) -> float | None:
        """When the first confirm is due, None when there is none."""
        return self._order[0][0] if self._order else None

    def run(self) -> None:
        """Send the confirms that are due."""
        while self._order and self._order[0][0] <= self.broker.now:
            self._send_first()

    def _send_first(self) -> None:
        _, channel = self._order.popleft()
        confirms = self._held.get(channel)
        if confirms is not None:
            send_each(channel, [confirms.popleft()])
            if not confirms:
                del self._held[channel]
