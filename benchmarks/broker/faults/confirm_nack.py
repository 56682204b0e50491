"""Nack some publishes: the message is discarded, no queue gets it, and the publisher is told so.

Only what a queue would have taken is nacked, and only on channels in confirm mode: RabbitMQ
confirms what it cannot route, and where nobody asked for confirms a discarded message would be a
loss that the client could not know of.
"""

from __future__ import annotations

from .every import EveryNth


class ConfirmNack(EveryNth):
    """Each n-th publish is nacked and not enqueued."""

    slot = "confirm_nack"

    def begin(self) -> None:
        """Be at work from now on."""
        self.broker.disturbed.nack = self
        self.broker.confirms_changed()

    def end(self) -> None:
        """Be no longer at work."""
        self.broker.disturbed.nack = None
        self.broker.confirms_changed()
