"""What the proxy has to do at a time: a heap of moments and what is called then.

It owns no clock: the loop says what time it is and asks how long it may sleep. Nothing is taken
back; what is called looks for itself whether it is still wanted. It prevents a fault that holds
bytes from being served only when, by chance, a socket becomes ready.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timers:
    """Calls that are due at a second of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, due: float, call: Callable[[], None]) -> None:
        """Have ``call`` called once, at ``due`` or soon after; equal moments keep their order."""
        heapq.heappush(self._heap, (due, next(self._order), call))

    def due(self) -> float | None:
        """The first moment at which something is due, None when nothing is."""
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Call what is due at ``now``; what that adds is called the next time."""
        ready = []
        while self._heap and self._heap[0][0] <= now:
            ready.append(heapq.heappop(self._heap)[2])
        for call in ready:
            call()
