"""Never confirm some publishes: the message is taken, and its confirm never comes, not at the end.

The channel remembers the first one that was left out: from there on each confirm of it goes out
for itself, since a ``multiple`` ack would confirm the omitted one after all.
"""

from __future__ import annotations

from .every import EveryNth


class ConfirmOmit(EveryNth):
    """Each n-th confirm is left out."""

    slot = "confirm_omit"

    def begin(self) -> None:
        """Be at work from now on."""
        self.broker.disturbed.omit = self
        self.broker.confirms_changed()

    def end(self) -> None:
        """Be no longer at work."""
        self.broker.disturbed.omit = None
        self.broker.confirms_changed()
