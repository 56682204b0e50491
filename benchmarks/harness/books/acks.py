"""Acks: those that the application was told were sent, and those that it never asked for.

It owns how an ack finds its delivery, and so its place: tags count within an incarnation. Outbound,
a cut swallows the *end* of what was sent, so an ack that is missing in front of one that crossed on
the same incarnation is lost even where the connection was killed. An ack of a delivery that is
itself a phantom is no second event.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from benchmarks.harness.books.application import Ack, Application
from benchmarks.harness.books.matching import Matched
from benchmarks.harness.books.streams import TAIL, where
from benchmarks.harness.books.verdict import Verdict, Witness
from benchmarks.harness.books.wire import Frame, Place, Wire

NEVER_SENT = "it was reported as sent on a connection that nothing had broken"
LATER_SENT = "it was reported as sent, and a later ack of the same channel crossed the wire"
NOBODY_ASKED = "the client settled it, and the application never asked for that"


def judge_acks(
    wire: Wire, application: Application, matched: Matched, verdict: Verdict
) -> dict[int, Place]:
    """Judge both directions. Returns, by lease, the place of an ack of its that crossed."""
    crossed = Counter(
        {key: sum(frame.kind == "ack" for frame in frames) for key, frames in wire.settled.items()}
    )
    missing: list[tuple[Ack, Frame]] = []
    asked: set[tuple[Place, int]] = set()
    latest: defaultdict[Place, float] = defaultdict(lambda: float("-inf"))
    places: dict[int, Place] = {}
    # Those that returned first: a call that raised may have sent its ack or not.
    for ack in sorted(application.acks, key=lambda ack: (ack.status != "ok", ack.t0)):
        delivery = _delivery(ack, matched)
        if delivery is None:
            continue
        key = (delivery.place, ack.tag)
        asked.add(key)
        found = crossed[key] > 0
        crossed[key] -= found
        if found:
            latest[delivery.place] = max(latest[delivery.place], ack.t0)
            places[ack.lease] = delivery.place
        if ack.status == "ok":
            verdict.compare("ack", judged=wire.generation(delivery).sound)
            if not found:
                missing.append((ack, delivery))
    for ack, delivery in missing:
        _settle(ack, delivery, latest[delivery.place], wire, verdict)
    _unasked(wire, matched, asked, verdict)
    return places


def _delivery(ack: Ack, matched: Matched) -> Frame | None:
    """The delivery or get that it acknowledges: the latest of that tag before it."""
    frames = matched.frames.get((ack.consumer, ack.tag, ack.identity), [])
    return max((frame for frame in frames if frame.t <= ack.t0), default=None)


def _settle(ack: Ack, delivery: Frame, latest: float, wire: Wire, verdict: Verdict) -> None:
    generation, place = wire.generation(delivery), delivery.place
    assert ack.t1 is not None  # it returned
    closed = min(wire.cut_short(place), default=float("inf"))
    if latest >= ack.t1:
        why = LATER_SENT
    elif generation.faulted or ack.t1 >= closed - TAIL:
        verdict.doubt(dropped=generation.faulted and not generation.excused)
        return
    else:
        why = NEVER_SENT
    verdict.lost.append(
        {
            "direction": "outbound",
            "event": "ack",
            "identity": ack.identity,
            **where(place),
            "t": ack.t0,
            "thread": ack.thread,
            "lease": ack.lease,
            "consumer": ack.consumer,
            "tag": ack.tag,
            "why": why,
        }
    )


def _unasked(wire: Wire, matched: Matched, asked: set[tuple[Place, int]], verdict: Verdict) -> None:
    """Deliveries that the application saw and that the client settled on its own account.

    Of those that it did not see disposed.py speaks. With requeue nothing is disposed of.
    """
    for frames in matched.frames.values():
        for delivery in frames:
            key = (delivery.place, delivery.what["tag"])
            if key in asked:
                continue
            for settled in wire.settled.get(key, ()):
                if settled.kind == "ack" or not settled.what["requeue"]:
                    verdict.phantoms.append(_unasked_witness(settled, delivery, matched))
                    break


def _unasked_witness(settled: Frame, delivery: Frame, matched: Matched) -> Witness:
    return {
        "event": settled.kind,
        "identity": delivery.name,
        **where(settled.place),
        "t": settled.t,
        "thread": matched.seen[delivery.number].thread,
        "tag": delivery.what["tag"],
        "why": NOBODY_ASKED,
    }
