"""The pool's counters: their names, and nothing else.

`ChannelPool.stats()` returns one flat dict with these keys. Counters only grow; the gauges at the
end say how things stand at this moment. A name is written once, here.
"""

from __future__ import annotations

from typing import Final


class Stats:
    """Keys of `ChannelPool.stats()`."""

    #: Leases given out, and ended for the first time.
    LEASES: Final = "leases"
    RELEASES: Final = "releases"
    #: Releases of a lease that had ended already; without effect.
    DOUBLE_RELEASES: Final = "double_releases"
    CHANNELS_OPENED: Final = "channels_opened"
    #: Channels that the pool closed: not clean enough to be lent again, or settling too long.
    CHANNELS_CLOSED: Final = "channels_closed"
    #: Channels that ended by themselves: closed by the broker, by their owner, with a connection.
    CHANNELS_DIED: Final = "channels_died"
    #: Connections made after the first, and rounds that gave up.
    RECOVERIES: Final = "recoveries"
    RECOVERY_FAILURES: Final = "recovery_failures"
    #: Attempts to connect, failed ones included.
    CONNECT_ATTEMPTS: Final = "connect_attempts"
    #: Acquires that ended with AcquireTimeout, and those that had to wait at all.
    TIMEOUTS: Final = "timeouts"
    WAITS: Final = "waits"
    #: Channels that were still settling after the settle_timeout.
    SETTLE_TIMEOUTS: Final = "settle_timeouts"

    #: Gauges: threads in the queue, channels in the free list, leases out, channels whose last
    #: confirms are awaited, open channels of this connection, generation, bytes to send.
    WAITING: Final = "waiting"
    IDLE: Final = "idle"
    IN_USE: Final = "in_use"
    SETTLING: Final = "settling"
    OPEN: Final = "open"
    GENERATION: Final = "generation"
    OUTBOX_BYTES: Final = "outbox_bytes"
    SIZE: Final = "size"


#: The counters, all zero at the start.
COUNTERS: Final = (
    Stats.LEASES,
    Stats.RELEASES,
    Stats.DOUBLE_RELEASES,
    Stats.CHANNELS_OPENED,
    Stats.CHANNELS_CLOSED,
    Stats.CHANNELS_DIED,
    Stats.RECOVERIES,
    Stats.RECOVERY_FAILURES,
    Stats.CONNECT_ATTEMPTS,
    Stats.TIMEOUTS,
    Stats.WAITS,
    Stats.SETTLE_TIMEOUTS,
)
