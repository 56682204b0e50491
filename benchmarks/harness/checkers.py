"""The checkers: what a trial recorded in, violations and their witnesses out.

Pure functions. One event counts in one invariant; what follows from it is a witness. An invariant
that a trial could not judge is None with a reason, never 0: a zero says that somebody looked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.books import Verdict as Books

#: Witnesses kept for each invariant; the count is always the whole one.
WITNESSES_AT_MOST = 20


@dataclass
class Evidence:
    """Everything that is known of a trial when it is over.

    ``report`` is None when its process ended without one; ``ended`` then says how. ``books`` is
    None when there is no ledger, or a history that stops in the middle.
    """

    report: dict[str, Any] | None
    ended: str
    hung: bool = False
    #: The user, not the client, ended the trial.
    interrupted: bool = False
    stderr: str = ""
    #: When each connection came up, as the proxy saw it (monotonic seconds, in order).
    ready: list[float] = field(default_factory=list)
    books: Books | None = None
    #: Why nothing that was seen says anything of the client: the broker or the proxy died.
    void: str | None = None


@dataclass
class Finding:
    """``count`` None means: not judged, for ``reason``."""

    count: int | None
    witnesses: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None


def not_judged(reason: str) -> Finding:
    return Finding(None, reason=reason)


def found(witnesses: list[dict[str, Any]], count: int | None = None) -> Finding:
    total = len(witnesses) if count is None else count
    return Finding(total, witnesses[:WITNESSES_AT_MOST])


# -- one function for each invariant ---------------------------------------------------------


def crashes(evidence: Evidence) -> Finding:
    """The trial's process ended without a report, and not because it was hung."""
    if evidence.report is None and not (evidence.hung or evidence.interrupted):
        return found([{"ended": evidence.ended, "stderr": evidence.stderr[-4000:]}])
    return found([])


def deadlocks(evidence: Evidence) -> Finding:
    """Threads that made no progress for the stall window and did not end."""
    report = evidence.report
    if report is None:
        if evidence.hung:
            # Not even the watchdog answered: nothing ran any more, and who hung cannot be counted.
            detail = "nothing in the trial's process answered, its own watchdog included"
            return found([{"thread": "all", "detail": detail, "stack": evidence.stderr[-8000:]}])
        return not_judged(f"the trial's process ended without a report ({evidence.ended})")
    stacks = {stack["thread"]: stack for stack in report["stacks"]}
    return found(
        [
            {**stall, **{k: v for k, v in stacks.get(stall["thread"], {}).items() if k != "thread"}}
            for stall in report["stalls"]
            if stall["kind"] not in AVAILABILITY
        ]
    )


#: Slots whose failure means that the client is unavailable, not that a worker is deadlocked.
AVAILABILITY = frozenset(("probe", "closer"))


def keyerror_none(evidence: Evidence) -> Finding:
    """``KeyError(None)`` that escaped, wherever it surfaced."""
    return _exceptions(evidence, lambda t, thread, signature: signature["keyerror_none"])


def unexpected_errors(evidence: Evidence) -> Finding:
    """Exceptions that neither the operation's contract nor a fault explains."""
    report = evidence.report
    if report is None:
        return not_judged("the trial's process ended without a report")
    windows = fault_windows(report)

    def counts(t: float, thread: str, signature: dict[str, Any]) -> bool:
        # What the probe and the closer meet is judged as `unavailable`: one event, one counter.
        if signature["keyerror_none"] or thread in AVAILABILITY:
            return False
        if signature["kind"] == "recoverable":
            return not any(start <= t <= end for start, end in windows)
        return True

    finding = _exceptions(evidence, counts)
    hopeless = _never_succeeded(report, counts)
    assert finding.count is not None
    return Finding(finding.count + len(hopeless), hopeless + finding.witnesses)


def fault_windows(report: dict[str, Any]) -> list[tuple[float, float]]:
    """From each fault to the end of the recovery deadline behind it, in seconds."""
    nemesis = report["nemesis"]
    if nemesis is None:
        return []
    recovery = report["client"]["recovery_seconds"]
    return [(fault["asked"], fault["asked"] + recovery) for fault in nemesis["fired"]]


def _exceptions(
    evidence: Evidence, counts: Callable[[float, str, dict[str, Any]], bool]
) -> Finding:
    report = evidence.report
    if report is None:
        return not_judged("the trial's process ended without a report")
    signatures = {s["number"]: s for s in report["exceptions"]["signatures"]}
    totals: Counter[int] = Counter()
    threads: dict[int, str] = {}
    for t, thread, number in report["exceptions"]["events"]:
        if counts(t, thread, signatures[number]):
            totals[number] += 1
            threads.setdefault(number, thread)
    witnesses = [
        {
            "times": count,
            "thread": threads[number],
            **{k: signatures[number][k] for k in ("where", "operation", "type", "text")},
            "traceback": signatures[number]["traceback"],
        }
        for number, count in totals.most_common()
    ]
    return found(witnesses, sum(totals.values()))


def _never_succeeded(
    report: dict[str, Any], counts: Callable[[float, str, dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Operations that were attempted, never once succeeded, and whose errors were all excused."""
    attempted: Counter[str] = Counter()
    succeeded: Counter[str] = Counter()
    for slot in report["slots"]:
        if slot["kind"] not in AVAILABILITY:
            attempted.update(slot["attempted"])
            succeeded.update(slot["succeeded"])
    signatures = {s["number"]: s for s in report["exceptions"]["signatures"]}
    failed: dict[str, str] = {}
    counted: set[str] = set()
    for t, thread, number in report["exceptions"]["events"]:
        signature = signatures[number]
        operation = str(signature["operation"])
        failed.setdefault(operation, signature["type"])
        if counts(t, thread, signature) or signature["keyerror_none"]:
            counted.add(operation)
    return [
        {
            "operation": operation,
            "detail": f"attempted {attempted[operation]} times, never succeeded",
            "type": failed[operation],
        }
        for operation in sorted(attempted)
        if not succeeded[operation] and operation in failed and operation not in counted
    ]


def double_releases(evidence: Evidence) -> Finding:
    """One channel in two hands, or twice in the free list."""
    report = evidence.report
    if report is None:
        return not_judged("the trial's process ended without a report")
    if not report["leases"]["leases"]:
        return not_judged("no channel was ever leased")
    witnesses = list(report["leases"]["doubles"])
    at_rest = report["at_rest"]
    if at_rest is not None:
        witnesses += [{"channel": key, "idle": "twice"} for key in at_rest["twice_idle"]]
        if (at_rest.get("in_use") or 0) < 0:
            detail = f"the client counts {at_rest['in_use']} leases in use"
            witnesses.append({"operation": "at_rest", "detail": detail})
    return found(witnesses)


def lost_frames(evidence: Evidence) -> Finding:
    """Frames that crossed the wire and never reached the application, or that never crossed it."""
    if evidence.report is None:
        return not_judged("the trial's process ended without a report")
    if evidence.books is None:
        return not_judged("the trial was given up: its history stops in the middle")
    if not (evidence.books.judged or evidence.books.lost):
        return not_judged("no message crossed, or was said to cross, a generation without a fault")
    return found(evidence.books.lost)


def unavailable(evidence: Evidence) -> Finding:
    """After heal no publish was confirmed within the bounds, or close() did not return."""
    report = evidence.report
    if report is None:
        return not_judged("the trial's process ended without a report")
    probes = [slot for slot in report["slots"] if slot["kind"] == "probe"]
    witnesses: list[dict[str, Any]] = []
    if probes and not probes[0]["succeeded"].get("publish_confirmed"):
        witnesses.append({"operation": "publish_confirmed", "detail": "not confirmed after heal"})
    closing = "close" in report["phases"]
    if closing and not report["closed"]["returned"]:
        witnesses.append({"operation": "close", "detail": "did not return in peace"})
    if not witnesses and not (probes and closing):
        return not_judged("the trial was given up before the probe and the close")
    stacks = {stack["thread"]: stack["stack"] for stack in report["stacks"]}
    errors = {s["operation"]: s["traceback"] for s in report["exceptions"]["signatures"]}
    for witness in witnesses:
        thread = "closer" if witness["operation"] == "close" else "probe"
        witness["stack"] = stacks.get(thread) or errors.get(witness["operation"], "")
    return found(witnesses)


#: The invariants that this version judges, in the order of its tables.
INVARIANTS: dict[str, Callable[[Evidence], Finding]] = {
    "deadlocks": deadlocks,
    "lost_frames": lost_frames,
    "double_releases": double_releases,
    "keyerror_none": keyerror_none,
    "unexpected_errors": unexpected_errors,
    "unavailable": unavailable,
    "crashes": crashes,
}


def judge(evidence: Evidence) -> dict[str, Finding]:
    """Every invariant of the table, judged. Half a trial can prove a violation, but no zero."""
    findings = {name: checker(evidence) for name, checker in INVARIANTS.items()}
    if evidence.void:
        return {name: not_judged(evidence.void) for name in INVARIANTS}
    partial = evidence.report["partial"] if evidence.report else evidence.interrupted
    if partial:
        findings = {
            name: finding if finding.count else not_judged("the trial was not finished")
            for name, finding in findings.items()
        }
    return findings


# -- is there anything that the run proves? --------------------------------------------------


def doubts(evidence: Evidence, planned: Counter[str], reconnects: int | None) -> list[str]:
    """Why a run without violations would prove nothing; empty when it proves something.

    ``planned`` counts the steps of the plan by operation, with ``unroutable`` beside them;
    ``reconnects`` is the number of connections after the first that the proxy saw come up.
    """
    report = evidence.report
    if evidence.void:
        return [evidence.void]
    if report is None:
        return [evidence.ended]
    reasons = []
    if report["partial"]:
        reasons.append(f"partial: {report['partial']}")
    if report["overran"]:
        reasons.append("the trial did not end by its deadline")
    if report["open_failed"]:
        reasons.append("the client did not open")
        return reasons
    reasons += _unhurt(report, reconnects)
    hollow = hollow_recoveries(report["recoveries"], evidence.ready)
    if hollow:
        reasons.append(f"{hollow} recoveries opened no new connection")
    attempted: Counter[str] = Counter()
    for slot in report["slots"]:
        attempted.update(slot["attempted"])
    reasons += [
        f"{operation} was planned and never attempted"
        for operation in sorted(planned)
        if operation != "unroutable" and not attempted[operation]
    ]
    reasons += _silent(evidence, planned)
    gave_up = [s for s in report["slots"] if s["gave_up"]]
    reasons += [f"{s['name']} gave up: {s['gave_up']}" for s in gave_up[:3]]
    return reasons


def _unhurt(report: dict[str, Any], reconnects: int | None) -> list[str]:
    """Faults that were planned and did not fire, and recoveries that opened no connection."""
    nemesis = report["nemesis"]
    if nemesis is None:
        return []
    reasons, fired = [], len(nemesis["fired"])
    if fired < nemesis["planned"]:
        why = f" ({nemesis['missed'][0]})" if nemesis["missed"] else ""
        reasons.append(f"{fired} of {nemesis['planned']} planned faults fired{why}")
    if reconnects is not None and reconnects < fired:
        reasons.append(f"{fired} kills, but only {reconnects} new connections came up")
    return reasons


def hollow_recoveries(recoveries: list[list[float]], ready: list[float]) -> int:
    """Cycles between whose kill and confirm no connection came up: no recovery at all."""
    count = 0
    for struck, confirmed in recoveries:
        came_up = bisect_right(ready, struck)
        count += came_up == len(ready) or ready[came_up] > confirmed
    return count


def _silent(evidence: Evidence, planned: Counter[str]) -> list[str]:
    """Nothing came inbound of a kind that the plan was bound to provoke."""
    books = evidence.books
    if books is None:
        return []
    reasons = []
    compared = books.compared
    published = any(operation.startswith("publish") for operation in planned)
    if published and not compared["confirm"]:
        reasons.append("no confirm came in")
    if planned["unroutable"] and not compared["return"]:
        reasons.append("no return came in")
    if published and not compared["deliver"]:
        reasons.append("no delivery came in")
    if books.dropped:
        reasons.append(
            f"{books.dropped} of what is missing is excused only by connections that ended without "
            "a closing handshake and without a fault"
        )
    if books.broker_lost:
        reasons.append(
            f"the broker lost {len(books.broker_lost)} messages, first {books.broker_lost[0]}"
        )
    return reasons
