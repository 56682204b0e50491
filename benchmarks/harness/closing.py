"""Clients that are closed while they are busy: one fresh client in every round.

A round opens a client, lets workers, consumers and a parked thread at it, and calls its ``close``
at the moment that the plan names, in the middle of their operations. Then everything must end
within its bound: the watchdog says so of those that do not. What each round leaves behind, threads
and descriptors, is taken down. It prevents a close that works only on a client at rest from
looking sound.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.clients.base import Client, effective_bounds
from benchmarks.harness.crew import start_consumers, start_workers
from benchmarks.harness.faults import CLOSE
from benchmarks.harness.parked import Parked
from benchmarks.harness.plan import FaultStep, Plan
from benchmarks.harness.progress import Progress
from benchmarks.harness.resources import Baseline
from benchmarks.harness.stage import Stage
from benchmarks.harness.workload import Context

#: Seconds between two looks whether the moment has come: a round takes some tenths of a second.
POLL = 0.001

#: Makes the context of one round: the client, and what differs from round to round.
MakeContext = Callable[..., Context]


class Closing:
    """All rounds of one plan. ``snapshot`` has the form of the nemesis's own."""

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        baseline: Baseline,
        make_client: Callable[[], Client],
        make_context: MakeContext,
    ) -> None:
        self._plan = plan
        self._stage = stage
        self._baseline = baseline
        self._make_client = make_client
        self._make_context = make_context
        # Appended by the trial's own thread, read by the one that shows the progress.
        self._closes: list[dict[str, Any]] = []
        self._missed: list[str] = []
        #: Iterations that succeeded, in all rounds that are over.
        self.succeeded = 0
        self.open_failed = False
        #: Seconds of the longest close, and whether all of them returned.
        self.longest = 0.0
        self.returned = True

    def run(self) -> bool:
        """All rounds; False when a client did not open, or its close did not return."""
        for number, step in enumerate(self._plan.faults):
            if self._stage.ended.is_set() or not self._round(number, step):
                return False
        return not self._stage.ended.is_set()

    def _round(self, number: int, step: FaultStep) -> bool:
        stage, load = self._stage, self._plan.load
        client = self._make_client()
        if not stage.supervised("opener", "open", client.open):
            self.open_failed = True
            return False
        steps = self._plan.round(number)
        rest = sum(map(len, steps)) - load.threads - step.mark
        # The load must not be over before the moment has come.
        progress = Progress([step.mark], slack=max(0, rest))
        closing, stop, gate = threading.Event(), threading.Event(), threading.Event()
        gate.set()
        name = f"r{number}"
        context = self._make_context(
            client, run_suffix=f".{name}", progress=progress, closing=closing, prefix=f"{name}:"
        )
        start_consumers(context, stage, load.consumers, stop, prefix=f"{name}.")
        for index in range(self._plan.scenario.parked):
            slot = stage.watch(f"{name}.parked-{index}", "parked")
            stage.start(slot.name, Parked(context, slot, gate, stop).run)
        workers = start_workers(context, stage, steps, prefix=f"{name}.")
        stage.until(lambda: progress.at_mark() or all(w.slot.done for w in workers), poll=POLL)
        self._close(client, step, sum(worker.slot.busy for worker in workers), closing)
        progress.finish()
        stop.set()
        stage.until(lambda: stage.done("worker", "consumer", "parked"))
        self.succeeded += progress.succeeded
        stage.until(self._baseline.clean, effective_bounds(client).close)
        self._baseline.take_down()
        return self.returned

    def _close(self, client: Client, step: FaultStep, busy: int, closing: threading.Event) -> None:
        bound = effective_bounds(client).close
        asked = time.monotonic()
        closing.set()
        returned = self._stage.supervised("closer", "close", lambda: client.close(bound))
        took = time.monotonic() - asked
        self.longest = max(self.longest, took)
        self.returned = self.returned and returned
        if not busy:
            self._missed.append("nobody was busy when the client was closed")
            return
        self._closes.append(
            {
                "fired": True,
                "kind": CLOSE.name,
                "t": asked,
                "asked": asked,
                "healed": None,
                "ends": CLOSE.ends,
                "excuses": list(CLOSE.excuses),
                "busy": busy,
                "mark": step.mark,
                "seconds": took,
            }
        )

    def snapshot(self) -> dict[str, Any]:
        return {
            "planned": len(self._plan.faults),
            "fired": [dict(close) for close in list(self._closes)],
            "missed": list(self._missed),
        }
