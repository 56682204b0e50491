"""The lease ledger: who holds which channel, kept outside the client under test.

It knows nothing of the pool's own books. A channel that is handed to a second owner while the
first still holds it is a double hand-out, whatever made it happen (a release that took effect
twice, a channel twice in the free list, a waiter and a thief). To raise no false alarm the holder
is struck off *before* the client is told of the release, and entered *after* acquire returned.
Channels are known by their key as text, as the history has it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable
from typing import Any


class LeaseLedger:
    def __init__(self) -> None:
        # Guards all fields. A leaf: nothing is called under it.
        self._lock = threading.Lock()
        self._holders: dict[str, tuple[str, int]] = {}
        self._numbers = 0
        self._doubles: list[dict[str, Any]] = []

    def acquired(self, key: str, thread: str) -> int:
        """Enter a new lease of the channel ``key``; returns the lease's number."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
            holder = self._holders.get(key)
            if holder is not None:
                self._doubles.append(
                    {
                        "channel": key,
                        "holders": [holder[0], thread],
                        "leases": [holder[1], number],
                    }
                )
            self._holders[key] = (thread, number)
            return number

    def released(self, key: str, number: int) -> None:
        """Strike off lease ``number``; call it before the client hears of the release."""
        with self._lock:
            holder = self._holders.get(key)
            # Where two held it, the later one overwrote the entry: only the holder strikes it off.
            if holder is not None and holder[1] == number:
                del self._holders[key]

    def snapshot(self) -> dict[str, Any]:
        with self._lock:
            return {
                "leases": self._numbers,
                "doubles": [dict(double) for double in self._doubles],
                "held": list(self._holders),
            }


def twice_idle(idle: list[Hashable]) -> list[str]:
    """Channels that stand more than once in a free list."""
    return [repr(key) for key, count in Counter(idle).items() if count > 1]
