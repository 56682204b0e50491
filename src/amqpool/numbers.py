"""Numbers: those of channels, of which some are free, and those of leases, which only grow.

A channel's number is taken when a channel is made and given back when both sides have closed it,
never before: a frame that was still on its way would reach the next channel of that number. Numbers
are handed out round robin, so that one that was just closed rests as long as possible.

Lock: that of the channel numbers, a leaf.
"""

from __future__ import annotations

import itertools
import threading

from amqp import spec
from amqp.exceptions import ResourceError


class ChannelNumbers:
    """The numbers of one connection, from 1."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: set[int] = set()
        self._last = 0

    def take(self, limit: int) -> int:
        """A free number. Raises amqp.ResourceError when all up to `limit` are in use."""
        with self._lock:
            for step in range(limit):
                number = (self._last + step) % limit + 1
                if number not in self._used:
                    self._used.add(number)
                    self._last = number
                    return number
        raise ResourceError(
            f"all {limit} channel numbers of the connection are in use; close channels, or raise"
            " channel_max here and at the broker",
            spec.Channel.Open,
        )

    def claim(self, number: int, limit: int) -> int:
        """A certain number. Raises ValueError when it is out of range or in use."""
        if not 1 <= number <= limit:
            raise ValueError(f"a channel number is between 1 and {limit}, not {number}")
        with self._lock:
            if number in self._used:
                raise ValueError(f"channel number {number} is in use")
            self._used.add(number)
            return number

    def give_back(self, number: int) -> None:
        """The channel is closed on both sides."""
        with self._lock:
            self._used.discard(number)


class Serial:
    """Counts from 1, in one step: no lock, and no two threads get the same number."""

    __slots__ = ("_count", "next")

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self.next = self._count.__next__

    @property
    def last(self) -> int:
        """The last number that was given; 0 before the first."""
        # A count says nothing of itself but in its representation.
        return int(repr(self._count).strip("count()")) - 1
