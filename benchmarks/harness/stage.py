"""The threads of a trial: each has a name, is a daemon, and is waited for with a deadline.

It owns the starting of threads and every wait for them; what they do is not its business. A call
into the client that somebody must wait for runs in a watched thread of its own, so that a client
that hangs costs the trial nothing but that thread. It prevents a wait without an end, and a
thread of the harness from being taken for one that the client has left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from benchmarks.harness.progress import Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.watchdog import Watchdog

#: Seconds between two looks of a phase that waits for others; it shares the GIL with the load.
POLL = 0.02


class Stage:
    def __init__(self, watchdog: Watchdog, recorder: Recorder) -> None:
        self.watchdog = watchdog
        self._recorder = recorder
        # Appended by the trial's own thread alone.
        self._threads: list[threading.Thread] = []

    @property
    def ended(self) -> threading.Event:
        """Set when the trial is given up."""
        return self.watchdog.ended

    def start(self, name: str, body: Callable[[], object]) -> threading.Thread:
        # A daemon: a thread that hangs in the client must not keep the process from its report.
        thread = threading.Thread(target=body, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def own(self) -> set[int]:
        """The system's ids of all threads that were started here."""
        return {thread.native_id for thread in self._threads if thread.native_id is not None}

    def watch(self, name: str, kind: str) -> Slot:
        return self.watchdog.watch(Slot(name, kind))

    def done(self, *kinds: str) -> bool:
        """Are all threads of those kinds done?"""
        return all(slot["done"] for slot in self.watchdog.slots() if slot["kind"] in kinds)

    def until(
        self, reached: Callable[[], bool], seconds: float | None = None, poll: float = POLL
    ) -> bool:
        """Poll until ``reached``, the watchdog's end, or ``seconds`` are over.

        Without ``seconds`` the bound is the watchdog's: the stall window and the trial's deadline.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not reached():
            if self.ended.wait(poll):
                return False
            if deadline is not None and time.monotonic() > deadline:
                return False
        return True

    def supervised(self, thread: str, operation: str, call: Callable[[], object]) -> bool:
        """Run ``call`` in a watched thread; True when it returned and did not raise."""
        slot = self.watch(thread, thread)
        outcome: list[bool] = []

        def body() -> None:
            slot.begin(operation)
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - recorded
                self._recorder.record("operation", operation, error)
                slot.end(False)
            else:
                slot.end(True)
                outcome.append(True)
            finally:
                slot.done = True

        self.start(thread, body)
        self.until(lambda: slot.done)
        return bool(outcome)
