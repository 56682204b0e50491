"""How far the workers are: what the nemesis waits for and the watchdog looks at.

A slot is one thread's own line in the watchdog's table. The progress counter is shared: it wakes
the nemesis at its marks, and holds the workers a little past a mark until the planned fault has
fired, so that a fast load cannot run out from under a fault that was planned. Where a fault takes
its time to arrive, as an order to a node does, they go on at a trickle, so that it finds them busy.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any


class Slot:
    """One supervised thread. Written by that thread alone, read by the watchdog."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.operation: str | None = None
        #: In the middle of that operation, as far as one can tell without a lock.
        self.busy = False
        self.advanced = time.monotonic()
        self.done = False
        self.attempted: Counter[str] = Counter()
        self.succeeded: Counter[str] = Counter()
        #: Consecutive drains that found nothing; consumers only.
        self.idle = 0
        self.gave_up: str | None = None

    def begin(self, operation: str) -> None:
        self.operation, self.busy = operation, True
        self.attempted[operation] += 1

    def end(self, succeeded: bool) -> None:
        """The operation came back. Coming back with an error is progress too: no deadlock."""
        self.busy = False
        if succeeded and self.operation is not None:
            self.succeeded[self.operation] += 1
        self.advanced = time.monotonic()

    def alive(self) -> None:
        """Progress without an operation: the thread waits for the harness, not for the client."""
        self.advanced = time.monotonic()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "operation": self.operation,
            "busy": self.busy,
            "advanced": self.advanced,
            "done": self.done,
            "attempted": dict(self.attempted),
            "succeeded": dict(self.succeeded),
            "gave_up": self.gave_up,
        }


class Progress:
    """Finished iterations of all workers together, and the marks at which faults are due.

    ``slack``: iterations past a mark at full speed; ``trickle``: those after that, each worker one
    in ``PATIENCE`` seconds. Behind both they wait.
    """

    #: A held worker looks up this often, to show the watchdog that it waits for the harness.
    PATIENCE = 0.25

    def __init__(self, marks: list[int], slack: int, trickle: int = 0) -> None:
        # Guards all fields; notified at a mark, when a mark is cleared and at the end. A leaf.
        self._changed = threading.Condition(threading.Lock())
        self._marks = list(marks)
        self._slack = slack
        self._trickle = trickle
        #: Iterations that are over, and those of them that succeeded.
        self.total = 0
        self.succeeded = 0
        self._last_success = 0.0
        self._over = False

    def advance(self, succeeded: bool) -> None:
        with self._changed:
            self.total += 1
            if succeeded:
                self.succeeded += 1
                self._last_success = time.monotonic()
            if self._marks and self.total >= self._marks[0]:
                self._changed.notify_all()

    def hold(self, slot: Slot) -> None:
        """Wait while the load is too far past a mark whose fault has not fired yet."""
        with self._changed:
            while self._marks and self.total >= self._marks[0] + self._slack and not self._over:
                self._changed.wait(self.PATIENCE)
                slot.alive()
                if self._marks and self.total < self._marks[0] + self._slack + self._trickle:
                    return

    def at_mark(self) -> bool:
        """Is the next mark reached?"""
        with self._changed:
            return bool(self._marks) and self.total >= self._marks[0]

    def wait_for_mark(self) -> bool:
        """Wait until the next mark is reached; False when the load is over or no mark is left."""
        with self._changed:
            while not self._over and self._marks and self.total < self._marks[0]:
                self._changed.wait(self.PATIENCE)
            return bool(self._marks) and not self._over

    def succeeded_since(self, t: float) -> bool:
        with self._changed:
            return self._last_success > t

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the load is over; True when it is."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._over and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._over

    def clear_mark(self) -> None:
        with self._changed:
            self._marks.pop(0)
            self._changed.notify_all()

    def finish(self) -> None:
        """The load is over: nobody is held any longer."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def over(self) -> bool:
        return self._over
