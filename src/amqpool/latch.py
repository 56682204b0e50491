"""A latch: shut until it is opened, once; then nobody waits at it any more.

A thread that `threading.Condition` wakes queues up again for the lock that its waker still holds,
and whoever is woken for another's sake goes back to sleep. Where a thread waits for one thing that
happens once, a latch of its own is cheaper: nobody is woken in vain, and who passes needs no lock.

Whoever opens a latch has written what it stands for before.
"""

from __future__ import annotations

import threading


class Latch:
    """See the module's text."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let the one who waits pass. To be called once; never blocks."""
        self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Wait until it is open, in one thread; False when that takes longer than `seconds`."""
        return self._lock.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
