"""The watchdog: tells a deadlock from slowness, and takes all stacks while they still stand.

A thread is stalled when it made no progress for the stall window, which lies above every bound
that the client declares. The trial is given up when everybody it waits for is stalled, or at
its deadline; threads that still advance then are slow, not deadlocked.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from types import FrameType
from typing import Any

from benchmarks.harness.progress import Slot

#: The shortest stall window, in seconds: far above what any sound operation takes.
STALL_SECONDS = 5.0
#: The window is this much above the longest bound of the client: a busy machine is no deadlock.
MARGIN = 1.5
#: Seconds between two looks; it wakes rarely, because it shares the GIL with what is measured.
PERIOD = 0.1
#: Kinds of threads that go on until they are told to stop.
ENDLESS = frozenset(("consumer", "parked"))
#: Characters kept of one stack.
STACK_AT_MOST = 6000


def stall_window(longest_bound: float) -> float:
    """Seconds without progress after which a thread is stalled."""
    return max(STALL_SECONDS, longest_bound * MARGIN)


def stalled(slots: list[dict[str, Any]], now: float, window: float) -> list[dict[str, Any]]:
    """Of the slots that are not done, those without progress for ``window`` seconds. Pure."""
    return [slot for slot in slots if not slot["done"] and now - slot["advanced"] > window]


def all_hope_is_gone(slots: list[dict[str, Any]], hung: list[dict[str, Any]]) -> bool:
    """Is everybody whom the trial waits for stalled? Pure.

    Consumers and parked threads go on until they are told to stop, so one that advances keeps no
    trial alive while there is anybody else to wait for.
    """
    pending = [slot for slot in slots if not slot["done"]]
    waited_for = [slot for slot in pending if slot["kind"] not in ENDLESS] or pending
    return bool(hung) and all(slot in hung for slot in waited_for)


class Watchdog:
    """Looks at the slots it is given; ``ended`` is set when the trial must be given up."""

    def __init__(self, window: float, deadline: float) -> None:
        self.window = window
        self.deadline = deadline
        self.ended = threading.Event()
        self.overran = False
        self.stalls: list[dict[str, Any]] = []
        self.stacks: list[dict[str, Any]] = []
        self._first_stall: float | None = None
        # Guards the list of slots. A leaf.
        self._lock = threading.Lock()
        self._slots: list[Slot] = []

    def watch(self, slot: Slot) -> Slot:
        with self._lock:
            self._slots.append(slot)
        return slot

    def slots(self) -> list[dict[str, Any]]:
        with self._lock:
            return [slot.as_json() for slot in self._slots]

    def run(self) -> None:
        """The body of the watchdog thread."""
        while not self.ended.wait(PERIOD):
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """One look at all slots; sets ``ended`` when there is nothing left to wait for."""
        slots = self.slots()
        hung = stalled(slots, now, self.window)
        if now > self.deadline:
            self.overran = True
        elif not all_hope_is_gone(slots, hung) and not self._patience_is_over(hung, now):
            return
        self.stalls = [
            {
                "thread": slot["name"],
                "kind": slot["kind"],
                "operation": slot["operation"],
                "seconds": round(now - slot["advanced"], 3),
            }
            for slot in hung
        ]
        self.stacks = all_stacks()
        self.ended.set()

    def _patience_is_over(self, hung: list[dict[str, Any]], now: float) -> bool:
        """A deadlock is proven once; the others get one more window to end."""
        if not hung:
            self._first_stall = None
        elif self._first_stall is None:
            self._first_stall = now
        return self._first_stall is not None and now - self._first_stall > self.window


def all_stacks() -> list[dict[str, Any]]:
    """Every thread's stack: name, text with source lines, repr of the innermost ``self``."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = []
    owners = []
    for ident, frame in sys._current_frames().items():
        text = "".join(traceback.format_stack(frame))
        owners.append(_owner(frame))
        stacks.append(
            {"thread": names.get(ident, f"thread {ident}"), "stack": text[-STACK_AT_MOST:]}
        )
    for stack, described in zip(stacks, _describe(owners), strict=True):
        stack["innermost"] = described
    return stacks


def _owner(frame: FrameType | None) -> object:
    """The innermost object of the client's own on that stack.

    A thread that waits mostly does so inside the standard library, and a condition's repr says
    nothing. Where no frame is the client's, it is the innermost object of all.
    """
    innermost: object = None
    while frame is not None:
        owner = frame.f_locals.get("self")
        if owner is not None:
            package = type(owner).__module__.partition(".")[0]
            if package not in sys.stdlib_module_names and package != "benchmarks":
                return owner
            innermost = owner if innermost is None else innermost
        frame = frame.f_back
    return innermost


#: Seconds that all reprs together may take, and how many are tried.
REPR_SECONDS = 2.0
REPRS_AT_MOST = 100


def _describe(values: list[object]) -> list[str]:
    """repr of each value, made in a thread of its own.

    A foreign ``__repr__`` may take the very lock over which the client is deadlocked: it must cost
    the witness its text, never the watchdog its life.
    """
    described = [""] * len(values)

    def describe() -> None:
        for number, value in enumerate(values[:REPRS_AT_MOST]):
            if value is None:
                continue
            described[number] = f"<{type(value).__name__}, whose repr did not return>"
            try:
                described[number] = repr(value)[:500]
            except Exception as error:  # noqa: BLE001 - foreign code; what it raised is told
                described[number] = f"<{type(value).__name__}: repr raised {error!r}>"

    helper = threading.Thread(target=describe, name="watchdog-repr", daemon=True)
    helper.start()
    helper.join(REPR_SECONDS)
    return list(described)
