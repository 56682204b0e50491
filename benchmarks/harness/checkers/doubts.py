"""Is there anything that the run proves? Reasons why one without violations would prove nothing.

Pure functions. A trial in which nothing was hurt, nothing came in or an operation never ran has
zeros that cost nothing; this prevents them from being taken for the client's merit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import Any

from benchmarks.harness.checkers.evidence import Evidence


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
    """Faults that were planned and did not fire, and cuts after which no connection came up."""
    nemesis = report["nemesis"]
    if nemesis is None:
        return []
    reasons, fired = [], len(nemesis["fired"])
    if fired < nemesis["planned"]:
        why = f" ({nemesis['missed'][0]})" if nemesis["missed"] else ""
        reasons.append(f"{fired} of {nemesis['planned']} planned faults fired{why}")
    cuts = sum(fault["ends"] for fault in nemesis["fired"])
    if reconnects is not None and reconnects < cuts:
        reasons.append(f"{cuts} kills, but only {reconnects} new connections came up")
    return reasons


def hollow_recoveries(recoveries: list[list[float]], ready: list[float]) -> int:
    """Cycles between whose kill and confirm no connection came up: no recovery at all."""
    count = 0
    for struck, confirmed in recoveries:
        came_up = bisect_right(ready, struck)
        count += came_up == len(ready) or ready[came_up] > confirmed
    return count


#: What an operation is bound to bring in: without it the operation proved nothing. Consumers take
#: what is published to the shared queue; gets and consumes of a worker's own are their own proof.
BRINGS = {
    "publish": ("confirm", "deliver"),
    "publish_batch": ("confirm", "deliver"),
    "publish_confirmed": ("confirm", "deliver"),
    "publish_large": ("confirm", "deliver"),
    "publish_returned": ("confirm", "return"),
    "publish_kept": ("confirm", "declare"),
    "unroutable": ("return",),
    "get": ("get_ok",),
    "get_no_ack": ("get_ok",),
    "get_empty": ("get_empty",),
    "consume_ack": ("consume", "deliver", "ack"),
    "consume_cancel": ("consume",),
    "declare": ("declare",),
    "declare_passive": ("declare",),
}
#: In the order in which the reasons are told.
CAME_IN = ("confirm", "return", "deliver", "ack", "get_ok", "get_empty", "consume", "declare")
#: How an event is called where its kind would not read well.
WORDS = {
    "deliver": "delivery",
    "get_ok": "message for a get",
    "get_empty": "empty answer to a get",
    "consume": "answer to a consume",
    "declare": "answer to a declare",
}


def _silent(evidence: Evidence, planned: Counter[str]) -> list[str]:
    """What the plan was bound to provoke and did not; and what the broker did wrong."""
    books = evidence.books
    if books is None:
        return []
    bound = {kind for operation, kinds in BRINGS.items() if planned[operation] for kind in kinds}
    reasons = [
        f"no {WORDS.get(kind, kind)} came in"
        for kind in CAME_IN
        if kind in bound and not books.compared[kind]
    ]
    if books.dropped:
        reasons.append(
            f"{books.dropped} of what is missing is excused only by connections that ended without "
            "a closing handshake and without a fault"
        )
    if books.broker_lost:
        reasons.append(
            f"the broker lost {len(books.broker_lost)} messages, first {books.broker_lost[0]}"
        )
    reasons += books.broker_faults[:3]
    return reasons
