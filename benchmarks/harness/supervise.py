"""The supervisor: broker, proxy and trial as three processes, and a result whatever happens.

A hang, a crash or an exit of the trial becomes a number with its witness; it never becomes a
benchmark that failed to report. What the *environment* fails at (a broker that does not start, a
full disk) is an EnvironmentProblem and no verdict on the client.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.clients.loader import ClientError, load_client, portable_name
from benchmarks.harness import child
from benchmarks.harness.books import Verdict, books
from benchmarks.harness.brokers import Broker, choose_broker, start_broker
from benchmarks.harness.checkers import Evidence, doubts, judge
from benchmarks.harness.environments import python_for
from benchmarks.harness.faults import KEPT, KINDS
from benchmarks.harness.kinds import EMBEDDED, kind_of
from benchmarks.harness.outages import charge_outages, forgetful
from benchmarks.harness.plan import Plan, make_plan
from benchmarks.harness.processes import EnvironmentProblem, Service, stop_process
from benchmarks.harness.request import Request
from benchmarks.harness.result import TrialResult, make_result
from benchmarks.harness.scenarios import find_scenario
from benchmarks.proxy.control import Control
from benchmarks.wire.client import QueueState, WireClient, WireError
from benchmarks.wire.control import ControlError

#: Seconds beyond its own deadline before a trial is taken for hung: the watchdog inside it ends
#: it at the deadline, writes all stacks and the report.
GRACE = 15.0
#: Bytes of disk without which a missing report is no crash of the client.
ROOM = 1024 * 1024
#: Seconds for the connections of a process that ended to be gone at the proxy as well.
LINKS_GONE = 5.0
#: Messages that are read from one queue at most: more than any load can leave there.
MESSAGES_AT_MOST = 1_000_000
#: Seconds between two looks at the child.
POLL = 0.02
#: Seconds for messages to be ready again whose connections are gone; looks at the queues that must
#: agree before it is believed, and seconds between two of them.
REQUEUED, SAME_LOOKS, LOOK = 30.0, 4, 0.05


def run_trial(
    request: Request,
    show: Callable[[str], None] | None = None,
    plan: Plan | None = None,
    broker: Broker | None = None,
) -> TrialResult:
    """Run one trial and judge it. ``plan``: this very one, instead of what the seed decides.

    ``broker`` is one that is kept between trials; without it one is started, and ended, for this
    trial alone. ``show`` is given a line of progress now and then. Raises ClientError (no such
    client, not installed), ScenarioError and EnvironmentProblem. KeyboardInterrupt ends all
    processes and is told in the result: its verdict is ``unknown`` and it is marked as partial.
    """
    if plan is None:
        load = find_scenario(request.scenario).load(request.load)
        kind = kind_of(request.broker)
        plan = make_plan(request.scenario, load, request.seed, request.fault, kind)
    plan.check_broker(kind_of(request.broker))
    try:
        folder = Path(tempfile.mkdtemp(prefix="amqpool-trial-"))
    except OSError as error:
        raise EnvironmentProblem(f"no temporary folder: {error}") from error
    run = _Run(request, plan, folder, broker)
    try:
        run.start()
        evidence = run.observe(show)
    except (OSError, WireError, ControlError) as error:
        raise EnvironmentProblem(f"the trial could not run: {error}") from error
    finally:
        run.stop()
        shutil.rmtree(folder, ignore_errors=True)
    report = evidence.report
    if report is not None and report["plan"] != plan.digest:
        raise EnvironmentProblem("the trial planned something else: the instrument was edited")
    planned = plan.planned()
    for operation in report["client"]["cannot"] if report is not None else ():
        del planned[operation]
    reconnects = None
    if evidence.ledger is not None:
        ready = [g["ready"] for g in evidence.ledger["generations"] if g["ready"] is not None]
        evidence.ready = sorted(ready)
        # Every round of a closing load opens a connection of its own, which is no reconnect.
        opened = 1 + (len(plan.faults) if plan.scenario.style == "closing" else 0)
        reconnects = max(0, len(ready) - opened)
    reasons = run.problems + doubts(evidence, planned, reconnects)
    if report is not None:
        reasons += unmeasured(report)
    return make_result(request, plan, evidence, judge(evidence), reasons, reconnects)


def unmeasured(report: Mapping[str, Any]) -> list[str]:
    """Why a latency that was to be measured was not; empty when it was, or was not asked for."""
    latency = report["latency"]
    if latency is None or report["partial"]:
        return []
    words = {"free_ms": "no thread was", "parked_ms": "all threads were"}
    return [
        f"no publish was measured while {word} parked"
        for name, word in words.items()
        if not latency[name]
    ]


def declared_first(plan: Plan, queue: str) -> list[str]:
    """The queues that are there before the client is: the shared one, and where nodes are hurt the
    workers' own as well. Pure.

    What was confirmed must survive a node's death, and that is asked of queues that the node had
    on its disk: how long that takes is the broker's affair, and no client's.
    """
    if not any(KINDS[step.kind].side in KEPT for step in plan.faults):
        return [queue]
    own = [f"{queue}.worker-{number}" for number in range(plan.load.threads)]
    return [queue, *own, *(f"{name}.kept" for name in own)]


def queues_of(history: Mapping[str, Sequence[Sequence[Any]]]) -> set[str]:
    """Every queue that the application published to, got from or consumed. Pure."""
    place = {"publish": 5, "get": 3, "consume": 6}
    return {
        entry[place[entry[0]]]
        for log in history.values()
        for entry in log
        if entry[0] in place and entry[place[entry[0]]] is not None
    }


def python_of(client: str) -> Path:
    """The interpreter under which it stands trial. Raises ClientError and EnvironmentProblem."""
    return python_for(load_client(client).requirements)


class _Run:
    """The three processes of one trial, and what is collected from them."""

    def __init__(self, request: Request, plan: Plan, folder: Path, kept: Broker | None) -> None:
        self.request = request
        self.plan = plan
        self.folder = folder
        self.kept = kept
        # On a broker of the trial's own, names need no more than the seed to be unique.
        own = request.broker == EMBEDDED
        self.name = f"t{plan.seed}" if own else f"t{plan.seed}-{secrets.token_hex(4)}"
        self.queue = f"amqpool.{self.name}"
        self.token = secrets.token_hex(16)
        self.seconds = request.seconds or plan.seconds
        # Found, or made, before anything is started: that may take a while.
        self.python = python_of(request.client)
        self.services: list[Service] = []
        self.child: subprocess.Popen[bytes] | None = None
        self.interrupted = False
        self.problems: list[str] = []
        self.report = folder / "report.json"
        self.progress = folder / "progress.txt"
        self.stderr = folder / "stderr.txt"

    def start(self) -> None:
        self.broker = self.kept or self._started()
        proxy = Service(
            "proxy",
            self.folder,
            self.broker.upstreams(),
            {"AMQPOOL_PROXY_TOKEN": self.token},
        )
        self.services.append(proxy)
        first = declared_first(self.plan, self.queue)
        with self._client() as client:
            for queue in first:
                self._declare(client, queue)
        if first[1:]:
            self.broker.sync()
        ready = proxy.wait_ready()
        self.proxy_ports, self.control_port = ready["ports"], ready["control"]
        self.plan_file = self.folder / "plan.json"
        self.plan_file.write_text(json.dumps(self.plan.as_json()))
        spec = self.folder / "spec.json"
        spec.write_text(json.dumps(self._spec()))
        os.chmod(spec, 0o600)
        with (self.folder / "stdout.txt").open("wb") as out, self.stderr.open("wb") as err:
            self.child = subprocess.Popen(
                [str(self.python), child.__file__, str(spec)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                start_new_session=True,
            )

    def _started(self) -> Broker:
        """A broker of this trial's own."""
        choice = choose_broker(self.request.broker, remote=True)
        faults = (step.kind for step in self.plan.faults)
        broker = start_broker(choice.able(faults), self.folder)
        if broker.service is not None:
            self.services.append(broker.service)
        return broker

    def _client(self) -> WireClient:
        return WireClient.to(self.broker.endpoints[0])

    def _declare(self, client: WireClient, queue: str) -> QueueState:
        arguments = dict(self.broker.queue_arguments)
        return client.queue_declare(queue, durable=True, arguments=arguments)

    def _spec(self) -> dict[str, Any]:
        return {
            "plan": str(self.plan_file),
            "client": portable_name(self.request.client),
            "seconds": self.seconds,
            "run": self.name,
            "queue": self.queue,
            "endpoints": [asdict(endpoint) for endpoint in self.broker.endpoints],
            "queue_arguments": dict(self.broker.queue_arguments),
            "proxy_ports": self.proxy_ports,
            "control_port": self.control_port,
            "control_token": self.token,
            "broker_control_port": self.broker.control_port,
            "broker_token": self.broker.token,
            "report": str(self.report),
            "progress": str(self.progress),
        }

    def observe(self, show: Callable[[str], None] | None) -> Evidence:
        """Wait for the child, then collect ledger and queue, and keep the books."""
        assert self.child is not None
        hung = False
        try:
            hung = not self._wait(time.monotonic() + self.seconds + GRACE, show)
        except KeyboardInterrupt:
            self.interrupted = True
            stop_process(self.child)
        if hung:
            # faulthandler writes all stacks on SIGABRT; a child that ignores it is killed.
            self.child.send_signal(signal.SIGABRT)
            stop_process(self.child)
        status = self.child.poll()
        stderr = self.stderr.read_text(errors="replace")
        report = self._read_report()
        if report is not None and "refused" in report:
            raise ClientError(report["refused"])
        if report is None and shutil.disk_usage(self.folder).free < ROOM:
            raise EnvironmentProblem(f"there is no room left for the report in {self.folder}")
        ended = f"the trial's process ended with status {status} and no report"
        evidence = Evidence(report, ended, hung=hung, interrupted=self.interrupted, stderr=stderr)
        if self.interrupted:
            self.problems.append("interrupted: this report is partial")
        try:
            self._collect(evidence)
            if not self.broker.own:
                self._delete(evidence)
        except (WireError, ControlError, OSError) as error:
            self.problems.append(f"the environment failed during the trial: {error}")
        dead = [f"{s.name}: {s.last_words()}" for s in self.services if not s.alive]
        if not dead and (died := self.broker.died()):
            dead = [died]
        if dead:
            # Whatever the client did then, it did without a broker: no verdict on it.
            evidence.void = f"a process of the harness died during the trial ({'; '.join(dead)})"
        else:
            evidence.nodes = self.broker.facts()
        return evidence

    def _wait(self, deadline: float, show: Callable[[str], None] | None) -> bool:
        assert self.child is not None
        while self.child.poll() is None:
            if time.monotonic() > deadline:
                return False
            if not all(service.alive for service in self.services):
                stop_process(self.child)  # nothing more can be learned; observe() says why
                return True
            if show is not None and self.progress.exists():
                show(self.progress.read_text())
            time.sleep(POLL)
        return True

    def _read_report(self) -> dict[str, Any] | None:
        if not self.report.exists():
            return None
        report: dict[str, Any] = json.loads(self.report.read_text())
        return report

    def _collect(self, evidence: Evidence) -> None:
        path = self.folder / "ledger.json"
        with Control(self.control_port, self.token, timeout=10.0) as control:
            self._await_links(control)
            control.ledger(path)
        evidence.ledger = ledger = json.loads(path.read_text())
        report = evidence.report
        if report is None:
            return
        fired = report["nemesis"]["fired"] if report["nemesis"] is not None else []
        charge_outages(ledger, fired, len(self.broker.endpoints))
        evidence.links_left = report["links_left"]
        if report["partial"] or report["stalls"] or report["overran"]:
            return
        evidence.books = self._books(ledger, report["history"], forgetful(fired))

    def _books(self, ledger: dict[str, Any], history: dict[str, Any], killed: bool) -> Verdict:
        """The verdict of the books. A node that stood still may hold messages for a channel that
        nobody has any more: what is missing in a broker of many processes is waited for (bounded).
        """
        queues = sorted(queues_of(history) | {self.queue})
        with self._client() as client:
            if not self.broker.own:
                self._await_requeues(client, queues)
            remaining = self._remaining(client, queues)
            verdict = books(ledger, history, remaining, forgetful=killed)
            deadline = time.monotonic() + REQUEUED
            while verdict.broker_lost and not self.broker.own and time.monotonic() < deadline:
                time.sleep(LOOK)
                more = self._remaining(client, queues)
                if any(more.values()):
                    remaining = {queue: remaining[queue] + more[queue] for queue in queues}
                    verdict = books(ledger, history, remaining, forgetful=killed)
        return verdict

    def _await_links(self, control: Control) -> None:
        """The client's process is gone; so are its connections, in a moment (bounded)."""
        deadline = time.monotonic() + LINKS_GONE
        while control.status()["links"] and time.monotonic() < deadline:
            time.sleep(POLL)

    def _remaining(self, client: WireClient, queues: Sequence[str]) -> dict[str, list[str]]:
        """What is left in each queue of the trial, by identity; it is taken out."""
        remaining: dict[str, list[str]] = {}
        for queue in queues:
            # Declared, not looked for: a queue whose declare a fault swallowed is empty.
            self._declare(client, queue)
            messages = client.drain(queue, MESSAGES_AT_MOST)
            remaining[queue] = [m.message_id for m in messages if m.message_id]
        return remaining

    def _await_requeues(self, client: WireClient, queues: Sequence[str]) -> None:
        """Let a broker of many processes notice what the proxy knows already (bounded): that the
        client's connections are gone, and that their messages are to be had again."""
        deadline, before, same = time.monotonic() + REQUEUED, None, 0
        while same < SAME_LOOKS and time.monotonic() < deadline:
            states = [self._declare(client, queue) for queue in queues]
            still = states == before and not any(state.consumer_count for state in states)
            before, same = states, same + 1 if still else 0
            time.sleep(LOOK)

    def _delete(self, evidence: Evidence) -> None:
        """On a broker that outlives the trial nothing stays behind: every queue that was declared
        through the proxy, and those of our own."""
        declared = set(declared_first(self.plan, self.queue))
        for generation in (evidence.ledger or {"generations": ()})["generations"]:
            declared |= {e[4]["queue"] for e in generation["events"] if e[1] == "declare"}
        with self._client() as client:
            for queue in sorted(name for name in declared if name.startswith(self.queue)):
                client.queue_delete(queue)

    def stop(self) -> None:
        """End all processes; safe at any moment, also half started."""
        if self.child is not None:
            stop_process(self.child)
        for service in reversed(self.services):
            service.stop()
