"""Threads that sit in long drains, and what they cost those who publish meanwhile.

A parked thread leases a channel, consumes a queue to which nobody publishes, and waits in one long
drain after the other. ``ParkedLoad`` lets the workers publish in blocks, by turns with all parked
threads in a drain and with none in one. It judges nothing, and takes a latency only where it knows
who was parked: it prevents a number that says "parked" of a moment in which nobody was.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks.harness.crew import start_workers
from benchmarks.harness.plan import Plan
from benchmarks.harness.progress import Slot
from benchmarks.harness.stage import Stage
from benchmarks.harness.windows import CONTRACT, ENDED
from benchmarks.harness.workload import Calls, Context, Lease

#: Seconds of one long drain: far above any publish, and bounded, because a client may well be
#: right to finish a drain before it closes or lets go.
LONG_DRAIN = 0.5
#: Seconds for the parked threads to be in a drain, or out of it: on a busy machine some drains.
TURN = 10 * LONG_DRAIN
#: A parked thread that waits for its turn looks up this often.
PATIENCE = 0.1
#: Errors in a row that nothing explains, after which a parked thread gives up.
FAILURES = 5

#: Start and end of one drain; the end is infinite until it came back.
Interval = list[float]


class Parked:
    """One such thread. ``gate``: set while it may drain. ``stop``: it is to end."""

    def __init__(
        self, context: Context, slot: Slot, gate: threading.Event, stop: threading.Event
    ) -> None:
        self._context = context
        self._slot = slot
        self._gate = gate
        self._stop = stop
        self._calls = Calls(context, slot)
        self._log = context.history.log(slot.name)
        self._queue = f"{context.queue}.{slot.name}"
        self._incarnation = 0
        #: Its drains, in order.
        self.drains: list[Interval] = []

    def run(self) -> None:
        """The body of the thread."""
        failures = 0
        try:
            while failures < FAILURES and not self._ending():
                self._slot.begin("park")
                try:
                    with self._calls.leased() as lease:
                        self._park(lease)
                except BaseException as error:  # noqa: BLE001 - recorded, every one of them
                    now = time.monotonic()
                    kind = self._context.record(self._slot.operation, error, now)
                    self._slot.end(False)
                    if kind == ENDED:
                        return
                    explained = self._context.expects_errors(now, kind)
                    failures = 0 if explained else failures + 1
                    self._context.aborted.wait(PATIENCE)
            if failures == FAILURES:
                self._slot.gave_up = f"{failures} errors in a row that no fault explains"
        finally:
            self._slot.done = True

    def _ending(self) -> bool:
        return self._stop.is_set() or self._context.aborted.is_set()

    def _park(self, lease: Lease) -> None:
        calls, slot = self._calls, self._slot
        self._incarnation += 1
        tag = f"{slot.name}.{self._incarnation}"
        calls.declare(lease, self._queue, passive=False)
        calls.consume(lease, self._queue, tag, 1, lambda delivery: calls.ack(lease, delivery, tag))
        slot.end(True)
        while not self._ending():
            if self._gate.wait(PATIENCE):
                self._drain(lease)
            else:
                slot.alive()
        slot.begin("cancel")
        calls.cancel(lease, tag)
        slot.end(True)

    def _drain(self, lease: Lease) -> None:
        client = self._context.client
        self._slot.begin("drain_parked")
        entry: list[Any] = ["op", time.monotonic(), None, "drain_parked", "invoked"]
        self._log.begin(entry)
        interval: Interval = [entry[1], float("inf")]
        self.drains.append(interval)
        try:
            client.drain_lease(lease.handle, LONG_DRAIN)
        except client.timeouts:
            entry[4] = CONTRACT
        except BaseException:
            entry[4] = "error"
            raise
        else:
            entry[4] = "ok"
        finally:
            interval[1] = entry[2] = time.monotonic()
            self._log.end(entry)
        self._slot.end(True)

    def in_drain(self) -> bool:
        """Is it in a drain at this moment?"""
        return bool(self.drains) and self.drains[-1][1] == float("inf")


class ParkedLoad:
    """The whole load: blocks of steps, by turns without and with parked threads."""

    def __init__(self, plan: Plan, context: Context, stage: Stage) -> None:
        self._plan = plan
        self._context = context
        self._stage = stage
        self._gate, self._stop = threading.Event(), threading.Event()
        self._parked: list[Parked] = []
        #: Names of the workers' threads.
        self._publishers: list[str] = []

    def run(self) -> None:
        for number in range(self._plan.scenario.parked):
            slot = self._stage.watch(f"parked-{number}", "parked")
            parked = Parked(self._context, slot, self._gate, self._stop)
            self._parked.append(parked)
            self._stage.start(slot.name, parked.run)
        for block in range(self._plan.rounds()):
            sitting = block % 2 == 1
            if sitting:
                self._gate.set()
            else:
                self._gate.clear()
            self._stage.until(partial(self._turned, sitting), TURN)
            self._block(block)
        self._stop.set()
        self._gate.clear()
        self._stage.until(lambda: self._stage.done("parked"))

    def _turned(self, sitting: bool) -> bool:
        return all(parked.in_drain() == sitting for parked in self._parked)

    def _block(self, number: int) -> None:
        # A name and a run of its own: identities count from one again.
        context = replace(self._context, run=f"{self._context.run}.b{number}")
        steps = self._plan.round(number)
        prefix = f"b{number}."
        start_workers(context, self._stage, steps, prefix=prefix)
        self._publishers += [f"{prefix}worker-{index}" for index in range(len(steps))]
        self._stage.until(lambda: self._stage.done("worker"))

    def latency(self) -> dict[str, Any]:
        """Milliseconds of each publish, by who was parked when it began."""
        logs = self._context.history.snapshot()
        publishes = [
            (entry[1], entry[2])
            for name in self._publishers
            for entry in logs.get(name, ())
            if entry[0] == "publish" and entry[6] == "ok"
        ]
        drains = [[(start, end) for start, end in parked.drains] for parked in self._parked]
        sorted_out = sort_out(publishes, drains)
        return {
            "free_ms": sorted_out.free,
            "parked_ms": sorted_out.parked,
            "threads": len(self._parked),
            "drains": sum(map(len, drains)),
        }


@dataclass(frozen=True)
class SortedOut:
    """Milliseconds of publishes that began with nobody, and with everybody, in a drain."""

    free: list[float]
    parked: list[float]


def sort_out(
    publishes: Sequence[tuple[float, float]], drains: Sequence[Sequence[tuple[float, float]]]
) -> SortedOut:
    """Sort publishes (start and end, seconds) by who was parked when each *began*. Pure.

    Not when it ended: one that was held up until a drain was over is the very thing looked for.
    ``drains`` holds each parked thread's own, in order. Those that began with some threads parked
    and some not count nowhere.
    """
    starts = [[start for start, _ in thread] for thread in drains]
    free: list[float] = []
    parked: list[float] = []
    for start, end in publishes:
        inside = 0
        for thread, begins in zip(drains, starts, strict=True):
            place = bisect_right(begins, start) - 1
            inside += place >= 0 and start < thread[place][1]
        if inside == 0:
            free.append((end - start) * 1000)
        elif inside == len(drains):
            parked.append((end - start) * 1000)
    return SortedOut(free, parked)
