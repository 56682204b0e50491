"""One trial, in its own supervised process: load (with faults), heal, converge, drain, check.

The trial owns the phases and the report; it judges nothing. Whatever happens it leaves a report:
at its end, when the watchdog gives it up, when its parent goes away. A process that ends without
one has crashed, and the supervisor says so.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.broker.control import BrokerControl
from benchmarks.clients.base import Client, effective_bounds
from benchmarks.clients.loader import make_client
from benchmarks.harness.closing import Closing
from benchmarks.harness.crew import start_consumers, start_workers
from benchmarks.harness.faults import CLOSE_CODE, FAULTS, KEPT, KINDS
from benchmarks.harness.history import History
from benchmarks.harness.leases import LeaseLedger, twice_idle
from benchmarks.harness.nemesis import Nemesis
from benchmarks.harness.parked import ParkedLoad
from benchmarks.harness.plan import BODY_BYTES, Plan, Step
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.resources import Baseline
from benchmarks.harness.stage import Stage
from benchmarks.harness.watchdog import Watchdog, stall_window
from benchmarks.harness.workload import Context, Worker
from benchmarks.proxy.control import Control
from benchmarks.rabbitmq.control import KeeperControl
from benchmarks.wire.client import WireClient
from benchmarks.wire.control import ControlError
from benchmarks.wire.url import Endpoint

#: Idle drains in a row, of every consumer, after which an empty queue counts as drained.
IDLE_ROUNDS = 2
#: Seconds for the nemesis to end with the load: one request to a control port at most.
NEMESIS_ENDS = 10.0


class Trial:
    """``spec`` is what the supervisor wrote: plan, client, ports, deadline."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.plan = Plan.from_json(json.loads(Path(spec["plan"]).read_text()))
        self.scenario, self.load = self.plan.scenario, self.plan.load
        self.endpoints = [Endpoint(**endpoint) for endpoint in spec["endpoints"]]
        self.client: Client = self._make_client()
        self.bounds = effective_bounds(self.client)
        self.recorder = Recorder(self.client.recoverable, self.client.timeouts)
        self.history = History()
        self.leases = LeaseLedger()
        self.window = stall_window(self.bounds.longest)
        self.watchdog = Watchdog(self.window, time.monotonic() + spec["seconds"])
        self.stage = Stage(self.watchdog, self.recorder)
        self.progress = self._progress()
        self.phases: dict[str, list[float]] = {}
        self.phase = "start"
        self.at_rest: dict[str, Any] | None = None
        self.rest_at: float | None = None
        self.closed: dict[str, Any] = {"returned": False, "seconds": None}
        self.links_left: int | None = None
        self.recoveries: list[tuple[float, float]] = []
        self.open_failed = False
        self.baseline: Baseline | None = None
        self.nemesis: Nemesis | None = None
        self.closing: Closing | None = None
        self.parked: ParkedLoad | None = None
        self._workers: list[Worker] = []
        # Guards the writing of the report: it is written once, by whoever comes first.
        self._reporting = threading.Lock()

    def _make_client(self) -> Client:
        spec = self.spec
        # The proxy's doors, one before each node, with the login of the node behind it.
        urls = [
            replace(endpoint, host="127.0.0.1", port=port).url
            for endpoint, port in zip(self.endpoints, spec["proxy_ports"], strict=True)
        ]
        client = make_client(spec["client"], urls, self.scenario.channels(self.load))
        client.heartbeat = self.plan.heartbeat
        client.seed = self.plan.seed
        client.queue_arguments = spec["queue_arguments"]
        return client

    def _progress(self) -> Progress:
        marks = self.plan.marks() if self.scenario.style == "load" else []
        # Half an interval past the mark: the fault still lands in the middle of the load. Behind
        # the last mark less, so that the load does not end before its fault.
        rest = self.load.operations - self.load.threads - (marks[-1] if marks else 0)
        half = self.load.kill_interval * self.load.threads // 2
        slack = max(0, min(half, rest))
        slow = any(KINDS[step.kind].side in KEPT for step in self.plan.faults)
        # The other half, less what every worker may have begun.
        trickle = min(half, rest - slack) - self.load.threads if slow else 0
        return Progress(marks, slack, max(0, trickle))

    # -- phases ------------------------------------------------------------------------------

    def run(self) -> None:
        self.recorder.install()
        self.stage.start("watchdog", self.watchdog.run)
        with ExitStack() as stack:
            # All that the harness holds open is opened before it is counted.
            self._proxy = stack.enter_context(self._control())
            if self.plan.conditions or (self.plan.faults and self.scenario.style != "closing"):
                self.nemesis = self._make_nemesis(stack)
            self.baseline = Baseline(Path(self.spec["report"]).parent, self.stage.own)
            self._play(self.baseline)
        self._enter("end")

    def _play(self, baseline: Baseline) -> None:
        if self.scenario.style == "closing" and not self._close_while_busy(baseline):
            return
        self._enter("open")
        if self.stage.supervised("opener", "open", self.client.open):
            self._run_load()
        else:
            self.open_failed = True
        if not self.watchdog.ended.is_set():
            self._enter("close")
            self._close(baseline)

    def _control(self) -> Control:
        return Control(self.spec["control_port"], self.spec["control_token"], timeout=10.0)

    def _make_nemesis(self, stack: ExitStack) -> Nemesis:
        spec = self.spec
        # Sessions of its own: one is not for two threads.
        proxy = stack.enter_context(self._control())
        broker: BrokerControl | KeeperControl | None = None
        steps = (*self.plan.faults, *self.plan.conditions)
        sides = {FAULTS[step.kind].side for step in steps}
        port, token = spec["broker_control_port"], spec["broker_token"]
        if sides & KEPT:
            broker = stack.enter_context(KeeperControl(port, token))
        elif "broker" in sides:
            broker = stack.enter_context(BrokerControl(port, token, timeout=10.0))
        return Nemesis(
            proxy,
            broker,
            self.plan.faults,
            self.plan.conditions,
            # A client keeps its word within its bounds; a busy machine gets as long again.
            patience=2 * self.bounds.longest,
            recovery=self.bounds.longest,
            queue=spec["queue"],
        )

    def _context(self, client: Client, run_suffix: str = "", **more: Any) -> Context:
        steps = (*self.plan.faults, *self.plan.conditions)
        given: dict[str, Any] = {
            "run": f"{self.spec['run']}{run_suffix}",
            "client": client,
            "queue": self.spec["queue"],
            "history": self.history,
            "leases": self.leases,
            "recorder": self.recorder,
            "nemesis": self.nemesis,
            "progress": self.progress,
            "aborted": self.watchdog.ended,
            "may_nack": any(
                step.kind == "confirm_nack" or KINDS[step.kind].side in KEPT for step in steps
            ),
            "refusals": frozenset(
                step.options.get("code", CLOSE_CODE)
                for step in steps
                if step.kind == "channel_close"
            ),
        }
        return Context(**{**given, **more})

    def _close_while_busy(self, baseline: Baseline) -> bool:
        """The rounds of a closing load; False when the trial is over with them."""
        self._enter("load")
        self.closing = Closing(self.plan, self.stage, baseline, self._make_client, self._context)
        if self.closing.run():
            return True
        self.open_failed = self.closing.open_failed
        if not self.closing.returned:
            self._enter("close")
            self.closed = {"returned": False, "seconds": self.closing.longest}
        return False

    def _run_load(self) -> None:
        context = self._context(self.client)
        stop = threading.Event()
        consumers = start_consumers(context, self.stage, self.load.consumers, stop)
        if self.scenario.style != "closing":
            self._enter("load")
            self._work(context)
        if not self.watchdog.ended.is_set():
            self._enter("probe")
            self._probe(context)
        self._enter("drain")
        # Opened only now: a node that was killed would have taken it along.
        with WireClient.to(self.endpoints[0]) as broker:
            self.stage.until(lambda: self._drained(broker, consumers), self.bounds.longest)
        stop.set()
        self.stage.until(lambda: self.stage.done("consumer"))
        if not self.watchdog.ended.is_set():
            self._enter("check")
            self._check()

    def _work(self, context: Context) -> None:
        """The load itself, with its faults; in the end everything is healed."""
        nemesis, thread = self.nemesis, None
        if nemesis is not None:
            nemesis.begin()
        if self.scenario.style == "parked":
            self.parked = ParkedLoad(self.plan, context, self.stage)
            self.parked.run()
        else:
            cycles = self.scenario.style == "cycles"
            self._workers = start_workers(context, self.stage, self.plan.steps, cycles=cycles)
            if nemesis is not None and self.plan.faults and not cycles:
                thread = self.stage.start("nemesis", lambda: nemesis.run(self.progress))
            self.stage.until(lambda: self.stage.done("worker"))
        self.progress.finish()
        if thread is not None:
            patience = NEMESIS_ENDS + sum(KINDS[step.kind].takes for step in self.plan.faults)
            self.stage.until(lambda: not thread.is_alive(), patience)
        if nemesis is not None and not self.watchdog.ended.is_set():
            nemesis.end()
        self.recoveries = [value for worker in self._workers for value in worker.recoveries]

    def _probe(self, context: Context) -> None:
        """After heal: one publish must be confirmed. Whether it was is what its slot says."""
        slot = self.stage.watch("probe", "probe")
        # A count of its own: the probe is no operation of the load. What nacked is healed.
        context = replace(context, progress=Progress([], slack=0), may_nack=False)
        probe = Worker(context, slot, (Step("publish_confirmed", size=BODY_BYTES[0]),))
        self.stage.start(slot.name, lambda: probe.run(threading.Barrier(1), cycles=False))
        self.stage.until(lambda: slot.done)

    def _drained(self, broker: WireClient, consumers: list[Slot]) -> bool:
        """Nothing ready in the queue, and every consumer that lives has looked twice in vain."""
        _, ready, _ = broker.queue_declare(self.spec["queue"], passive=True)
        return ready == 0 and all(slot.done or slot.idle >= IDLE_ROUNDS for slot in consumers)

    def _check(self) -> None:
        # Watched like any call: it takes the client's locks.
        answers: list[dict[str, Any] | None] = []
        self.stage.supervised("checker", "at_rest", lambda: answers.append(self.client.at_rest()))
        for counts in answers:
            if counts is not None:
                self.at_rest = {**counts, "twice_idle": twice_idle(counts.get("idle", []))}
        if self.stage.done("worker", "consumer", "parked", "probe", "checker"):
            self.rest_at = time.monotonic()

    def _close(self, baseline: Baseline) -> None:
        started = time.monotonic()
        returned = self.stage.supervised(
            "closer", "close", lambda: self.client.close(self.bounds.close)
        )
        self.closed = {"returned": returned, "seconds": time.monotonic() - started}
        if returned:
            self.stage.until(baseline.clean, self.bounds.close)
            baseline.take_down()
            self.stage.until(self._links_gone, self.bounds.close)

    def _links_gone(self) -> bool:
        """Is no connection of the client left at the proxy?"""
        try:
            self.links_left = int(self._proxy.status()["links"])
        except ControlError:
            return True  # nobody to ask any more: the supervisor sees what became of the proxy
        return self.links_left == 0

    def _enter(self, phase: str) -> None:
        now = time.monotonic()
        if self.phases:
            self.phases[self.phase][1] = now
        self.phases[phase] = [now, now]
        self.phase = phase

    # -- the report --------------------------------------------------------------------------

    def report(self, partial: str | None = None) -> dict[str, Any]:
        client, chaos = self.client, self.closing or self.nemesis
        whole = self.closed["returned"] and self.baseline is not None
        return {
            "partial": partial,
            "client": {
                "name": client.name,
                "version": client.version,
                "cannot": sorted(client.cannot),
                "recoverable": [kind.__qualname__ for kind in client.recoverable],
                "recovery_seconds": self.bounds.longest,
                "connections": client.connections,
                "idle_channels": client.idle_channels(),
            },
            "plan": self.plan.digest,
            "phase": self.phase,
            "phases": self.phases,
            "operations": self.progress.succeeded
            + (self.closing.succeeded if self.closing is not None else 0),
            "slots": self.watchdog.slots(),
            "stall_window": self.window,
            "stalls": self.watchdog.stalls,
            "stacks": self.watchdog.stacks,
            "overran": self.watchdog.overran,
            "open_failed": self.open_failed,
            "exceptions": self.recorder.snapshot(),
            "leases": self.leases.snapshot(),
            "at_rest": self.at_rest,
            "rest_at": self.rest_at,
            "closed": self.closed,
            "resources": self.baseline.as_json() if whole and self.baseline is not None else None,
            "links_left": self.links_left,
            "recoveries": self.recoveries,
            "latency": None if self.parked is None else self.parked.latency(),
            "nemesis": None if chaos is None else chaos.snapshot(),
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
        chaos = self.closing or self.nemesis
        faults = "" if chaos is None else f", {len(chaos.snapshot()['fired'])} faults"
        return f"{self.phase}: {self.progress.total}/{self.load.operations} operations{faults}"
