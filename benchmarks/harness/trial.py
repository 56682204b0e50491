"""One trial, in its own supervised process: load (with faults), heal, converge, drain, check.

The trial owns the threads and the phases; it judges nothing. Whatever happens it leaves a report:
at its end, when the watchdog gives it up, when its parent goes away. A process that ends without
one has crashed, and the supervisor says so.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.clients.base import Client
from benchmarks.clients.loader import make_client
from benchmarks.harness.history import History
from benchmarks.harness.leases import LeaseLedger, twice_idle
from benchmarks.harness.nemesis import Nemesis
from benchmarks.harness.plan import BODY_BYTES, Plan, Step, make_plan
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.scenarios import find_scenario
from benchmarks.harness.watchdog import Watchdog, stall_window
from benchmarks.harness.workload import Consumer, Context, Worker
from benchmarks.proxy.control import Control
from benchmarks.wire.client import WireClient

#: Seconds between two looks of a phase that waits for others; it shares the GIL with the load.
POLL = 0.02
#: Idle drains in a row, of every consumer, after which an empty queue counts as drained.
IDLE_ROUNDS = 2
#: Seconds for consumers to be ready before the load starts without them.
CONSUMERS_READY = 10.0


class Trial:
    """``spec`` is what the supervisor wrote: scenario, load, seed, client, ports, deadline."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.scenario = find_scenario(spec["scenario"])
        self.load = self.scenario.load(spec["load"])
        self.plan: Plan = make_plan(self.scenario.name, self.load, spec["seed"])
        urls = [f"amqp://{spec['user']}:{spec['password']}@127.0.0.1:{spec['proxy_port']}/"]
        self.client: Client = make_client(spec["client"], urls, self.scenario.channels(self.load))
        self.recorder = Recorder(self.client.recoverable, self.client.timeouts)
        self.history = History()
        self.leases = LeaseLedger()
        self.window = stall_window(self.client.bounds.longest)
        self.watchdog = Watchdog(self.window, time.monotonic() + spec["seconds"])
        marks = [] if self.load.cycles else self.plan.kill_points()
        # Half an interval past the mark: the kill still lands in the middle of the load. Behind
        # the last mark less, so that the load does not end before its kill.
        rest = self.load.operations - self.load.threads - (marks[-1] if marks else 0)
        slack = max(0, min(self.load.kill_interval * self.load.threads // 2, rest))
        self.progress = Progress(marks, slack)
        self.phases: dict[str, list[float]] = {}
        self.phase = "start"
        self.at_rest: dict[str, Any] | None = None
        self.closed: dict[str, Any] = {"returned": False, "seconds": None}
        self.recoveries: list[tuple[float, float]] = []
        self.open_failed = False
        self._workers: list[Worker] = []
        # Guards the writing of the report: it is written once, by whoever comes first.
        self._reporting = threading.Lock()
        self.nemesis: Nemesis | None = None

    # -- phases ------------------------------------------------------------------------------

    def run(self) -> None:
        self.recorder.install()
        self._start("watchdog", self.watchdog.run)
        self._enter("open")
        if self._supervised("opener", "open", self.client.open):
            with self._broker() as broker:
                self._run_load(broker)
        else:
            self.open_failed = True
        if not self.watchdog.ended.is_set():
            self._enter("close")
            self._close()
        self._enter("end")

    def _broker(self) -> WireClient:
        spec = self.spec
        return WireClient("127.0.0.1", spec["broker_port"], spec["user"], spec["password"])

    def _run_load(self, broker: WireClient) -> None:
        spec, bounds = self.spec, self.client.bounds
        if self.scenario.fault:
            control = Control(spec["control_port"], spec["control_token"], timeout=10.0)
            self.nemesis = Nemesis(
                control,
                spec["fault"] or self.scenario.fault,
                self.load.kills,
                # A client keeps its word within its bounds; a busy machine gets as long again.
                patience=2 * bounds.longest,
                recovery=bounds.longest,
            )
        context = Context(
            run=spec["run"],
            client=self.client,
            queue=spec["queue"],
            history=self.history,
            leases=self.leases,
            recorder=self.recorder,
            nemesis=self.nemesis,
            progress=self.progress,
            aborted=self.watchdog.ended,
        )
        stop = threading.Event()
        consumers = self._start_consumers(context, stop)
        self._enter("load")
        self._start_workers(context)
        if self.nemesis is not None and not self.load.cycles:
            self._start("nemesis", self._run_nemesis)
        self._until(lambda: self._done("worker"))
        self.progress.finish()
        self.recoveries = [value for worker in self._workers for value in worker.recoveries]
        if not self.watchdog.ended.is_set():
            self._enter("probe")
            self._probe(context)
        self._enter("drain")
        self._until(lambda: self._drained(broker, consumers), bounds.longest)
        stop.set()
        self._until(lambda: self._done("consumer"))
        if not self.watchdog.ended.is_set():
            self._enter("check")
            self._check()

    def _run_nemesis(self) -> None:
        assert self.nemesis is not None
        self.nemesis.run(self.progress)

    def _start_consumers(self, context: Context, stop: threading.Event) -> list[Slot]:
        slots = []
        for number in range(self.load.consumers):
            slot = self.watchdog.watch(Slot(f"consumer-{number}", "consumer"))
            consumer = Consumer(context, slot, stop)
            self._start(slot.name, consumer.run)
            context.consuming.append(consumer.consuming)
            slots.append(slot)
        self._until(
            lambda: all(event.is_set() for event in context.consuming) or self._done("consumer"),
            CONSUMERS_READY,
        )
        return slots

    def _start_workers(self, context: Context) -> None:
        barrier = threading.Barrier(self.load.threads)
        cycles = bool(self.load.cycles)
        for number, steps in enumerate(self.plan.steps):
            slot = self.watchdog.watch(Slot(f"worker-{number}", "worker"))
            worker = Worker(context, slot, steps)
            self._workers.append(worker)
            self._start(slot.name, partial(worker.run, barrier, cycles))

    def _probe(self, context: Context) -> None:
        """After heal: one publish must be confirmed. Whether it was is what its slot says."""
        slot = self.watchdog.watch(Slot("probe", "probe"))
        # A count of its own: the probe is no operation of the load.
        context = replace(context, progress=Progress([], slack=0))
        probe = Worker(context, slot, (Step("publish_confirmed", size=BODY_BYTES[0]),))
        self._start(slot.name, lambda: probe.run(threading.Barrier(1), cycles=False))
        self._until(lambda: slot.done)

    def _done(self, kind: str) -> bool:
        return all(slot["done"] for slot in self.watchdog.slots() if slot["kind"] == kind)

    def _drained(self, broker: WireClient, consumers: list[Slot]) -> bool:
        """Nothing ready in the queue, and every consumer that lives has looked twice in vain."""
        _, ready, _ = broker.queue_declare(self.spec["queue"], passive=True)
        return ready == 0 and all(slot.done or slot.idle >= IDLE_ROUNDS for slot in consumers)

    def _check(self) -> None:
        # Watched like any call: it takes the client's locks.
        answers: list[dict[str, Any] | None] = []
        self._supervised("checker", "at_rest", lambda: answers.append(self.client.at_rest()))
        for counts in answers:
            if counts is not None:
                self.at_rest = {**counts, "twice_idle": twice_idle(counts.get("idle", []))}

    def _close(self) -> None:
        started = time.monotonic()
        returned = self._supervised(
            "closer", "close", lambda: self.client.close(self.client.bounds.close)
        )
        self.closed = {"returned": returned, "seconds": time.monotonic() - started}

    # -- helpers -----------------------------------------------------------------------------

    def _enter(self, phase: str) -> None:
        now = time.monotonic()
        if self.phases:
            self.phases[self.phase][1] = now
        self.phases[phase] = [now, now]
        self.phase = phase

    @staticmethod
    def _start(name: str, body: Callable[[], object]) -> None:
        # A daemon: a thread that hangs in the client must not keep the process from its report.
        threading.Thread(target=body, name=name, daemon=True).start()

    def _until(self, reached: Callable[[], bool], seconds: float | None = None) -> bool:
        """Poll until ``reached``, the watchdog's end, or ``seconds`` are over."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not reached():
            if self.watchdog.ended.wait(POLL):
                return False
            if deadline is not None and time.monotonic() > deadline:
                return False
        return True

    def _supervised(self, thread: str, operation: str, call: Callable[[], object]) -> bool:
        """Run ``call`` in a watched thread; True when it returned and did not raise."""
        slot = self.watchdog.watch(Slot(thread, thread))
        outcome: list[bool] = []

        def body() -> None:
            slot.begin(operation)
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - recorded
                self.recorder.record("operation", operation, error)
                slot.end(False)
            else:
                slot.end(True)
                outcome.append(True)
            finally:
                slot.done = True

        self._start(thread, body)
        self._until(lambda: slot.done)
        return bool(outcome)

    # -- the report --------------------------------------------------------------------------

    def report(self, partial: str | None = None) -> dict[str, Any]:
        bounds = self.client.bounds
        return {
            "partial": partial,
            "client": {
                "name": self.client.name,
                "version": self.client.version,
                "cannot": sorted(self.client.cannot),
                "recoverable": [kind.__qualname__ for kind in self.client.recoverable],
                "recovery_seconds": bounds.longest,
            },
            "plan": self.plan.digest,
            "phase": self.phase,
            "phases": self.phases,
            "operations": self.progress.succeeded,
            "slots": self.watchdog.slots(),
            "stall_window": self.window,
            "stalls": self.watchdog.stalls,
            "stacks": self.watchdog.stacks,
            "overran": self.watchdog.overran,
            "open_failed": self.open_failed,
            "exceptions": self.recorder.snapshot(),
            "leases": self.leases.snapshot(),
            "at_rest": self.at_rest,
            "closed": self.closed,
            "recoveries": self.recoveries,
            "nemesis": None if self.nemesis is None else self.nemesis.snapshot(),
            "history": self.history.snapshot(),
        }

    def write_report(self, path: Path, partial: str | None = None) -> None:
        """Write the report whole or not at all: a temporary file, then a rename."""
        with self._reporting:
            if path.exists():
                return
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.report(partial), default=repr))
            os.replace(temporary, path)

    def progress_line(self) -> str:
        kills = "" if self.nemesis is None else f", {len(self.nemesis.snapshot()['fired'])} kills"
        return f"{self.phase}: {self.progress.total}/{self.load.operations} operations{kills}"
