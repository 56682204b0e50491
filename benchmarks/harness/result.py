"""The result of a trial: the JSON of the command line, and how its numbers are made.

Percentiles are numpy's; an empty sample gives None, never 0 and never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness.checkers import Evidence, Finding
from benchmarks.harness.plan import Plan
from benchmarks.harness.request import Request, replay_command

VALID, INVALID, UNKNOWN = "valid", "invalid", "unknown"


@dataclass(frozen=True)
class TrialResult:
    """``document`` is what ``--json`` writes (docs/trial.md).

    ``recoveries_ms``: the raw latencies, in order.

    ``interrupted``: the user ended the trial, so whoever runs several must not start the next.

    ``plan``: what was run.
    """

    document: dict[str, Any]
    recoveries_ms: list[float]
    interrupted: bool = False
    plan: Plan | None = None

    @property
    def verdict(self) -> str:
        return str(self.document["verdict"])

    @property
    def violations(self) -> dict[str, int | None]:
        return dict(self.document["violations"])

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.document["metrics"])


def percentile(values: list[float], q: float) -> float | None:
    """The q-th percentile in the unit of ``values``, or None where there are none."""
    return float(np.percentile(np.asarray(values), q)) if values else None


def verdict_of(findings: dict[str, Finding], reasons: list[str]) -> str:
    """A proven violation outranks unknown; a doubt or an unjudged invariant outranks valid."""
    if any(finding.count for finding in findings.values()):
        return INVALID
    if reasons or any(finding.count is None for finding in findings.values()):
        return UNKNOWN
    return VALID


def make_result(
    request: Request,
    plan: Plan,
    evidence: Evidence,
    findings: dict[str, Finding],
    reasons: list[str],
    reconnects: int | None,
) -> TrialResult:
    """Put the findings together."""
    report = evidence.report or {}
    client = report.get("client") or {}
    recoveries = [(end - start) * 1000 for start, end in report.get("recoveries") or ()]
    books = evidence.books
    load = {key: getattr(plan.load, key) for key in plan.scenario.shape}
    document = {
        "scenario": request.scenario,
        "load": request.load,
        "params": {**load, "channels": plan.scenario.channels(plan.load)},
        "seed": request.seed,
        "plan": plan.digest,
        "client": client.get("name", request.client),
        "client_version": client.get("version"),
        "recoverable": client.get("recoverable"),
        "cannot": client.get("cannot"),
        "broker": request.broker,
        "verdict": verdict_of(findings, reasons),
        "unknown_because": reasons,
        "partial": bool(report.get("partial")) or not report,
        "violations": {name: finding.count for name, finding in findings.items()},
        "in_doubt": books.in_doubt if books else None,
        "discarded": books.discarded if books else None,
        "duplicates": books.duplicates if books else None,
        "compared": dict(books.compared) if books else None,
        "not_judged": {
            name: finding.reason for name, finding in findings.items() if finding.count is None
        },
        #: What the keeper of RabbitMQ's nodes says of them; None for any other broker.
        "nodes": evidence.nodes,
        "witnesses": [
            {"invariant": name, **witness, "detail": describe(witness)}
            for name, finding in findings.items()
            for witness in finding.witnesses
        ],
        "stacks": report.get("stacks") or [],
        "metrics": _metrics(report, recoveries, reconnects),
        "replay": replay_command(request),
        #: Where the plan was saved: whoever shows the result knows.
        "plan_file": None,
    }
    return TrialResult(document, recoveries, evidence.interrupted, plan)


def _metrics(
    report: dict[str, Any], recoveries: list[float], reconnects: int | None
) -> dict[str, Any]:
    load = report.get("phases", {}).get("load")
    duration = load[1] - load[0] if load else None
    operations = report.get("operations")
    nemesis = report.get("nemesis")
    latency = report.get("latency") or {}
    free, parked = latency.get("free_ms") or [], latency.get("parked_ms") or []
    return {
        "duration_s": duration,
        "operations": operations,
        "operations_per_s": operations / duration if operations and duration else None,
        "succeeded": _succeeded(report),
        "kills": len(nemesis["fired"]) if nemesis else 0,
        "kills_planned": nemesis["planned"] if nemesis else 0,
        "reconnects": reconnects,
        "recovery_p50_ms": percentile(recoveries, 50),
        "recovery_p99_ms": percentile(recoveries, 99),
        "publish_p50_ms": percentile(free, 50),
        "publish_p99_ms": percentile(free, 99),
        "publish_p99_parked_ms": percentile(parked, 99),
        "close_s": (report.get("closed") or {}).get("seconds"),
        "leases": (report.get("leases") or {}).get("leases"),
    }


def _succeeded(report: dict[str, Any]) -> dict[str, int]:
    """Successes of the workers, by operation."""
    total: dict[str, int] = {}
    for slot in report.get("slots", ()):
        if slot["kind"] == "worker":
            for operation, count in slot["succeeded"].items():
                total[operation] = total.get(operation, 0) + count
    return total


def describe(witness: dict[str, Any]) -> str:
    """One line for a witness of any kind."""
    if "detail" in witness:
        detail = str(witness["detail"])
        return f"{witness['operation']}: {detail}" if "operation" in witness else detail
    if "holders" in witness:
        first, second = witness["holders"]
        leases = " and ".join(f"#{number}" for number in witness["leases"])
        return (
            f"channel {witness['channel']} in the hands of {first} and {second} (leases {leases})"
        )
    if witness.get("idle") == "twice":
        return f"channel {witness['channel']} stands twice in the free list"
    if "direction" in witness:
        where = f"generation {witness['generation']}" if "generation" in witness else "the wire"
        verb = (
            "never reached the application"
            if witness["direction"] == "inbound"
            else ("was reported as sent and never crossed the wire")
        )
        return f"{witness['event']} of {witness['identity']} ({where}) {verb}"
    if "why" in witness:
        where = f" (generation {witness['generation']})" if "generation" in witness else ""
        return f"{witness['event']} of {witness['identity']}{where}: {witness['why']}"
    if "traceback" in witness:
        return (
            f"{witness['times']} x {witness['type']}({witness['text']!r}) in "
            f"{witness['operation']}, first in {witness['thread']}"
        )
    if "seconds" in witness:
        return (
            f"{witness['thread']} made no progress for {witness['seconds']:g} s "
            f"in {witness['operation']}"
        )
    return str(witness.get("ended", witness.get("thread", "")))
