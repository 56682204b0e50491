"""Block publishers, as the broker does by itself when memory is short (see ``Session.heed_alarm``).

Connections that declared the capability get connection.blocked and, at the end, unblocked; those
that publish are not read. One that is opened meanwhile is told when it is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .lasting import Lasting

if TYPE_CHECKING:
    from ..core import Broker
    from .options import Options


class Blocked(Lasting):
    """Behaves as if memory was short."""

    slot = "blocked"

    @classmethod
    def asked(cls, broker: Broker, options: Options) -> Self:
        """Make the fault that is asked for: it has no options of its own."""
        return cls(broker)

    def begin(self) -> None:
        """Be at work from now on."""
        self.effects = len(self.broker.clients())
        self.broker.blocking = True
        self.broker.alarm_changed()

    def end(self) -> None:
        """Be no longer at work."""
        self.broker.blocking = False
        self.broker.alarm_changed()
