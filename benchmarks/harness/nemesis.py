"""The nemesis: injects the faults of the plan, each only when there is something to break.

A kill counts when the proxy says that it fired, on a connection that was ready, after an operation
had succeeded since the kill before. What was planned and did not fire is reported, and makes the
run ``unknown``: a trial that was never hurt proves nothing about wounds.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from benchmarks.harness.progress import Progress
from benchmarks.proxy.control import Control
from benchmarks.wire.control import ControlError

#: How often the nemesis asks the proxy whether a connection is up again: the round trip itself
#: takes some 0.1 ms, and a reconnect a few ms.
POLL = 0.002


class Nemesis:
    def __init__(
        self, control: Control, kind: str, planned: int, patience: float, recovery: float
    ) -> None:
        self._control = control
        self._kind = kind
        self.planned = planned
        #: Seconds it waits for a connection to come up before it gives a fault up.
        self._patience = patience
        #: Seconds after a fault in which a recoverable error is what one expects.
        self._recovery = recovery
        # Guards the two lists. A leaf: the control channel is never spoken to under it.
        self._lock = threading.Lock()
        self._faults: list[dict[str, Any]] = []
        self._missed: list[str] = []
        self._due = 0.0

    def expects_errors(self, t: float) -> bool:
        """Is ``t`` between the latest fault and the end of the recovery deadline behind it?

        The checker asks the same of all faults, with the same numbers, when the trial is over.
        """
        return self._due > 0.0 and self._due <= t <= self._due + self._recovery

    def strike(self) -> float | None:
        """Wait (bounded) until a connection is up, break it; returns when, or None when missed."""
        deadline = time.monotonic() + self._patience
        why = "no connection came up"
        while time.monotonic() < deadline:
            asked, before = time.monotonic(), self._due
            # The window opens before the proxy acts: its first victim may be faster than its reply.
            self._due = asked
            try:
                reply = self._control.fault(self._kind)
            except ControlError as error:
                # The proxy's failure, not the client's: the supervisor sees what became of it.
                self._due = before
                why = str(error)
                break
            if reply["fired"]:
                with self._lock:
                    self._faults.append({**reply, "kind": self._kind, "asked": asked})
                return float(reply["t"])
            self._due = before
            why = str(reply.get("why", why))
            time.sleep(POLL)
        self._miss(why)
        return None

    def _miss(self, why: str) -> None:
        with self._lock:
            self._missed.append(why)

    def run(self, progress: Progress) -> None:
        """Strike at each mark, until the load is over. The body of the nemesis thread."""
        last = 0.0
        while progress.wait_for_mark():
            deadline = time.monotonic() + self._patience
            while not progress.succeeded_since(last) and time.monotonic() < deadline:
                if progress.over:
                    return
                time.sleep(POLL)
            if progress.succeeded_since(last):
                t = self.strike()
                last = last if t is None else t
            else:
                self._miss("no operation succeeded since the fault before")
            progress.clear_mark()

    def snapshot(self) -> dict[str, Any]:
        with self._lock:
            return {
                "planned": self.planned,
                "fired": [dict(fault) for fault in self._faults],
                "missed": list(self._missed),
            }
