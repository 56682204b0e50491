"""Answer queue.declare late: the channel waits, and all that follows on it waits behind it.

As in RabbitMQ, where a channel is one process: later frames of that channel are handled after the
declaration, in their order, and it gets no deliveries meanwhile; other channels go on. What is
kept is bounded by the connection, which is no longer read when it is too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .lasting import Lasting

if TYPE_CHECKING:
    from ..channel import Channel
    from ..core import Broker
    from .options import Options

#: Milliseconds unless asked otherwise: what a declaration in a cluster may take.
DEFAULT_MS = 200


class SlowDeclare(Lasting):
    """Makes channels wait when they declare a queue."""

    slot = "slow_declare"

    def __init__(self, broker: Broker, seconds: float) -> None:
        super().__init__(broker)
        self._seconds = seconds
        #: When the wait of a channel is over. All wait equally long: the first is the first.
        self._waiting: dict[Channel, float] = {}

    @classmethod
    def asked(cls, broker: Broker, options: Options) -> Self:
        """Make the fault that is asked for. Raises ValueError for a bad option."""
        return cls(broker, options.milliseconds(DEFAULT_MS))

    def begin(self) -> None:
        """Be at work from now on."""
        self.broker.slow_declare = self

    def end(self) -> None:
        """Be no longer at work: nobody waits any more."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self.broker.slow_declare = None
        for channel in waiting:
            channel.resume()

    def put(self, channel: Channel) -> None:
        """This channel waits from now on."""
        self.effects += 1
        self._waiting[channel] = self.broker.now + self._seconds

    def forget(self, channel: Channel) -> None:
        """This channel does not wait any more."""
        self._waiting.pop(channel, None)

    def due(self) -> float | None:
        """When the first wait is over, None when nobody waits."""
        return next(iter(self._waiting.values()), None)

    def run(self) -> None:
        """Let those go on whose wait is over."""
        now = self.broker.now
        for channel in [channel for channel, due in self._waiting.items() if due <= now]:
            channel.resume()
