"""The invariants: one function for each, from evidence to a finding.

Pure functions. One event counts in one invariant; what follows from it is a witness. An invariant
that a trial could not judge is None with a reason, never 0: a zero says that somebody looked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.harness.checkers.evidence import Evidence, Finding, found, not_judged
from benchmarks.harness.checkers.leaks import leaks
from benchmarks.harness.windows import DECIDED, RECOVERABLE, Window


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
#: Operations that a worker does not repeat until one succeeds.
UNREPEATED = frozenset(("settle",))


def keyerror_none(evidence: Evidence) -> Finding:
    """``KeyError(None)`` that escaped, wherever it surfaced."""
    return _exceptions(evidence, lambda t, thread, signature: signature["keyerror_none"])


def unexpected_errors(evidence: Evidence) -> Finding:
    """Exceptions that neither the operation's contract nor a fault explains."""
    report = evidence.report
    if report is None:
        return not_judged("the trial's process ended without a report")
    windows, recovery = fault_windows(report), report["client"]["recovery_seconds"]

    def counts(t: float, thread: str, signature: dict[str, Any]) -> bool:
        # What the probe and the closer meet is judged as `unavailable`: one event, one counter.
        if signature["keyerror_none"] or thread in AVAILABILITY:
            return False
        word = signature["kind"]
        return word in DECIDED or not any(w.excuses(word, t, recovery) for w in windows)

    finding = _exceptions(evidence, counts)
    hopeless = _never_succeeded(report, counts)
    assert finding.count is not None
    return Finding(finding.count + len(hopeless), hopeless + finding.witnesses)


def fault_windows(report: dict[str, Any]) -> list[Window]:
    """From each fault to its heal, with what it excuses; nothing: it opens no window."""
    nemesis = report["nemesis"]
    if nemesis is None:
        return []
    return [
        Window(tuple(words), fault["asked"], fault["healed"] or fault["t"])
        for fault in nemesis["fired"]
        if (words := fault.get("excuses", (RECOVERABLE,)))
    ]


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
    """Operations that were attempted, never once succeeded, and whose errors were all excused.

    Only those that are tried again until they succeed: a ``settle`` is over when the outcomes are
    known, and a kill that cuts its one drain short makes them known.
    """
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
        for operation in sorted(set(attempted) - UNREPEATED)
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
    books = evidence.books
    if books is None:
        return _no_books(evidence)
    if not (books.judged or books.lost):
        return not_judged("no message crossed, or was said to cross, a generation without a fault")
    return found(books.lost)


def lost_messages(evidence: Evidence) -> Finding:
    """Messages confirmed to the application that the client disposed of, unseen."""
    books = evidence.books
    if books is None:
        return _no_books(evidence)
    came_in = books.compared["deliver"] + books.compared["get_ok"]
    if not (books.lost_messages or (books.compared["confirm"] and came_in)):
        return not_judged("no message was both confirmed and delivered")
    return found(books.lost_messages)


def phantoms(evidence: Evidence) -> Finding:
    """What the application was told, or the wire carried, and nobody had said or sent."""
    books = evidence.books
    if books is None:
        return _no_books(evidence)
    if not (books.phantoms or books.compared):
        return not_judged("nothing was told, and nothing crossed the wire")
    return found(books.phantoms)


def _no_books(evidence: Evidence) -> Finding:
    if evidence.report is None:
        return not_judged("the trial's process ended without a report")
    return not_judged("the trial was given up: its history stops in the middle")


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


#: The invariants, in the order of the tables.
INVARIANTS: dict[str, Callable[[Evidence], Finding]] = {
    "deadlocks": deadlocks,
    "lost_frames": lost_frames,
    "double_releases": double_releases,
    "keyerror_none": keyerror_none,
    "unexpected_errors": unexpected_errors,
    "lost_messages": lost_messages,
    "phantoms": phantoms,
    "leaks": leaks,
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
