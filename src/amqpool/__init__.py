"""A thread-safe AMQP 0-9-1 connection and channel pool over py-amqp.

    from amqpool import ChannelPool

    with ChannelPool("amqp://guest:guest@127.0.0.1:5672/", confirms=True) as pool:
        with pool.lease() as lease:
            lease.channel.basic_publish(amqp.Message(b"hello"), routing_key="queue").wait()

The pool and its lease, a shared connection and its channel, a publish's confirmation, the errors,
the names of the counters. Everything else is internal.
"""

from .channel import SharedChannel
from .confirms import Confirmation, ReturnedMessage
from .connection import SharedConnection
from .errors import (
    AcquireTimeout,
    ConnectionLost,
    DrainTimeout,
    FrameError,
    InboxOverflow,
    LeaseEnded,
    LoginRefused,
    OperationTimeout,
    PoolClosed,
    PoolError,
    PublishTimeout,
    RecoveryFailed,
)
from .lease import Lease
from .pool import ChannelPool
from .stats import Stats

__version__ = "0.1.0"

__all__ = [
    "AcquireTimeout",
    "ChannelPool",
    "Confirmation",
    "ConnectionLost",
    "DrainTimeout",
    "FrameError",
    "InboxOverflow",
    "Lease",
    "LeaseEnded",
    "LoginRefused",
    "OperationTimeout",
    "PoolClosed",
    "PoolError",
    "PublishTimeout",
    "RecoveryFailed",
    "ReturnedMessage",
    "SharedChannel",
    "SharedConnection",
    "Stats",
]
