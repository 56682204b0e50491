"""Lease: the right to use one channel until release.

Owns the tie between a caller and a channel, and nothing of the channel itself. It ends exactly
once: who takes it out of the roster's book is the release, so that of two releases at the same
moment the other one is the double release.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .channel import SharedChannel
from .errors import LeaseEnded

if TYPE_CHECKING:
    from .pool import ChannelPool
    from .roster import Slots


class Lease:
    """One acquire's channel. `with lease:` releases it at the end."""

    __slots__ = ("_pool", "ended", "held", "number", "slots", "thread")

    def __init__(
        self, pool: ChannelPool, number: int, slots: Slots, channel: SharedChannel
    ) -> None:
        self._pool = pool
        #: The serial number of this lease in its pool, from 1.
        self.number = number
        #: The pool's book-keeping of the connection that the channel belongs to.
        self.slots = slots
        #: The channel, for the pool, which still needs it when the lease has ended.
        self.held = channel
        #: The thread that acquired it; its identity alone may be another's by and by.
        self.thread = threading.current_thread()
        self.ended = False

    @property
    def generation(self) -> int:
        """The generation of its connection."""
        return self.slots.generation

    @property
    def owner(self) -> str:
        """The name of the thread that acquired it."""
        return self.thread.name

    @property
    def channel(self) -> SharedChannel:
        """The channel. Raises LeaseEnded after release: it may be another's by then."""
        if self.ended:
            raise LeaseEnded(f"lease {self.number} was released; acquire again")
        return self.held

    def release(self) -> bool:
        """See `ChannelPool.release`."""
        return self._pool.release(self)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __repr__(self) -> str:
        state = "ended" if self.ended else f"held by {self.owner}"
        return (
            f"<Lease {self.number}: channel {self.held.channel_id}"
            f" of generation {self.generation}, {state}>"
        )
