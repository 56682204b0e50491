"""Close one channel of one client, one that has published or consumes; the others go on.

The clients' channels take turns: each time it is another one's. A channel that waits for a
declaration is passed over, since what it sent before would be forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import SoftError
from .options import NothingToHit

if TYPE_CHECKING:
    from ..core import Broker
    from .options import Options

#: What RabbitMQ says when it closes a channel that did nothing wrong at that moment.
REASONS: Final = {
    541: "channel terminated",
    406: (
        "delivery acknowledgement on channel {number} timed out. Timeout value used: 1800000 ms."
        " This timeout value can be configured, see consumers doc guide to learn more"
    ),
    404: "queue process is stopped by supervisor",
}


def fire(broker: Broker, options: Options) -> int:
    """Close one channel. Raises ValueError for a bad option, NothingToHit when there is none."""
    code = int(options.choice("code", tuple(REASONS)))
    options.done()
    channels = [
        channel
        for session in broker.clients()
        for channel in session.channels.values()
        if (channel.has_published or channel.consumers) and not channel.closing and not channel.kept
    ]
    if not channels:
        raise NothingToHit("no open channel of a client has published or consumes")
    channel = channels[broker.faults.effects["channel_close"] % len(channels)]
    channel.session.method = 0  # nothing that the client asked for
    channel.fail(SoftError(code, REASONS[code].format(number=channel.number)))
    return 1
