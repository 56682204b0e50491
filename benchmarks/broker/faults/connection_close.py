"""Close the connections of all clients, as a broker does that is shut down by its operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import HardError
from .options import NothingToHit

if TYPE_CHECKING:
    from ..core import Broker
    from .options import Options

#: RabbitMQ's words.
REASONS: Final = {
    320: "broker forced connection closure with reason 'shutdown'",
    541: "reached_max_restart_intensity",
}


def fire(broker: Broker, options: Options) -> int:
    """Close them. Raises ValueError for a bad option, NothingToHit when there is none."""
    code = int(options.choice("code", tuple(REASONS)))
    options.done()
    sessions = broker.clients()
    if not sessions:
        raise NothingToHit("no open connection of a client")
    for session in sessions:
        session.catch_up()
        session.method = 0  # nothing that the client asked for
        session.fail(HardError(code, REASONS[code]))
    return len(sessions)
