"""The four original scenarios, by each client that has an adapter for the trials.

One ordinary trial of each scenario's first load: a verdict, and the invariants that were violated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.clients.loader import CLIENTS, ClientError
from benchmarks.harness.brokers import Broker
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.harness.request import Request
from benchmarks.harness.result import UNKNOWN, TrialResult
from benchmarks.harness.supervise import run_trial

#: Scenario -> its load here, and a quick comparison's. Fewer recoveries than in the trials at home:
#: some peers take a third of a second for one.
LOADS = {
    "chaos_no_deadlock": ("10x100", "10x20"),
    "chaos_with_connection_kills": ("20x50x10", "10x20x10"),
    "high_contention_stress": ("100x10", "50x5"),
    "repeated_recovery_stress": ("200", "20"),
}
#: Seconds of one trial at most: a client that works at all takes some seconds.
SECONDS, QUICK_SECONDS = 90.0, 20.0
#: No verdict: there is no trial, or it could not be run.
NONE = "none"


@dataclass
class Verdict:
    """What one trial said of one client. ``violations``: only those that are not 0."""

    client: str
    scenario: str
    load: str
    verdict: str = NONE
    why: str = "not run"
    violations: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    cannot: list[str] = field(default_factory=list)
    replay: str = ""


def planned_verdicts(clients: Mapping[str, str | None], quick: bool) -> list[Verdict]:
    """One for each client and scenario. ``clients``: name -> why it cannot be tried, or None."""
    return [
        Verdict(client, scenario, loads[quick], why=problem or "not run")
        for client, problem in clients.items()
        for scenario, loads in LOADS.items()
    ]


def has_adapter(client: str) -> bool:
    return client in CLIENTS


@dataclass(frozen=True)
class Trials:
    """What all trials of a comparison have in common; ``kept``: the broker, where it is one."""

    broker: str
    kept: Broker | None
    quick: bool
    seed: int


def try_clients(
    verdicts: list[Verdict],
    problems: Mapping[str, str | None],
    trials: Trials,
    show: Callable[[str], None],
) -> None:
    """Run the trials of those that can be run, and fill in what they said."""
    todo = [verdict for verdict in verdicts if problems[verdict.client] is None]
    for number, verdict in enumerate(todo):
        show(f"trial {number + 1} of {len(todo)}: {verdict.client}, {verdict.scenario}")
        request = Request(
            verdict.scenario,
            verdict.load,
            trials.seed,
            verdict.client,
            seconds=QUICK_SECONDS if trials.quick else SECONDS,
            broker=trials.broker,
        )
        try:
            result = run_trial(request, broker=trials.kept)
        except (ClientError, EnvironmentProblem) as error:
            verdict.why = str(error)
            continue
        if result.interrupted:
            raise KeyboardInterrupt
        _fill(verdict, result)


def _fill(verdict: Verdict, result: TrialResult) -> None:
    document = result.document
    verdict.verdict = result.verdict
    reasons = [*document["unknown_because"], *document["not_judged"].values()]
    verdict.why = "; ".join(map(str, reasons)) if result.verdict == UNKNOWN else ""
    verdict.violations = {name: count for name, count in result.violations.items() if count}
    verdict.metrics = result.metrics
    verdict.cannot = list(document["cannot"] or ())
    verdict.replay = str(document["replay"])
