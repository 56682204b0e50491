"""Publishes: those that never crossed the wire, and those that crossed it wrongly.

It owns the question which connection can have carried a publish that the ledger does not have. A
sound one carried everything that it was given, so what is missing is lost; one that was faulted may
have swallowed it, which is a doubt. A publish whose confirm was fabricated is the witness of that
phantom and is not counted again.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.harness.books.application import Application, Publish
from benchmarks.harness.books.carriers import Carriers
from benchmarks.harness.books.homes import Homes
from benchmarks.harness.books.matching import Matched
from benchmarks.harness.books.streams import TAIL, where
from benchmarks.harness.books.verdict import Verdict
from benchmarks.harness.books.wire import Frame, Place, Wire

SANDWICHED = "publishes of the same channel before and after it crossed the wire"
NOBODY = "no connection that was faulted can have swallowed it"


def judge_publishes(
    wire: Wire,
    application: Application,
    matched: Matched,
    acked: Mapping[int, Place],
    fabricated: set[str],
    verdict: Verdict,
) -> None:
    """Judge both directions. ``fabricated``: identities whose confirm is a phantom already."""
    _strange(wire, application, verdict)
    carriers = Carriers(wire.generations.values())
    missing: list[Publish] = []
    for publish in application.tried.values():
        if publish.status != "ok":
            continue
        verdict.compare("publish", judged=not carriers.excuse(publish))
        if publish.identity not in wire.publishes and publish.identity not in fabricated:
            missing.append(publish)
    if missing:
        homes = Homes(wire, application, matched, acked)
        for publish in sorted(missing, key=lambda publish: (publish.t0, publish.identity)):
            _settle(publish, homes, carriers, wire, verdict)
    _thrown_away(wire, verdict)


def _settle(
    publish: Publish, homes: Homes, carriers: Carriers, wire: Wire, verdict: Verdict
) -> None:
    candidates = carriers.of(publish, homes.generations(publish.lease))
    if _closed_meanwhile(publish, homes, wire, {one.number for one in candidates}):
        verdict.doubt(dropped=False)
        return
    sandwiched = homes.sandwiched(publish)
    swallowers = [] if sandwiched else [one for one in candidates if not one.sound]
    if swallowers:
        verdict.doubt(dropped=not any(one.excused for one in swallowers))
        return
    verdict.lost.append(
        {
            "direction": "outbound",
            "event": "publish",
            "identity": publish.identity,
            "t": publish.t0,
            "thread": publish.thread,
            "lease": publish.lease,
            "why": SANDWICHED if sandwiched else NOBODY,
        }
    )


def _closed_meanwhile(publish: Publish, homes: Homes, wire: Wire, candidates: set[int]) -> bool:
    """Did the broker close its channel just then? What waited for that channel is never sent.

    Where its channel is not known, any channel of the connections that it may have been on counts.
    """
    assert publish.t1 is not None  # it returned
    places = homes.channels(publish.lease)
    for place, t in wire.by_broker.items():
        near = publish.t0 - TAIL <= t <= publish.t1 + TAIL
        if near and (place[:2] in places if places else place.generation in candidates):
            return True
    return False


def _strange(wire: Wire, application: Application, verdict: Verdict) -> None:
    """Publishes nobody tried, carried twice for one call, or altered on the way."""
    queues = {publish.queue for publish in application.tried.values()}
    for name, frames in wire.publishes.items():
        publish = application.tried.get(str(name))
        for number, frame in enumerate(frames):
            if publish is None:
                why: str | None = "nobody tried to publish it"
            elif number and publish.status == "ok":
                why = "it was carried more than once for one call"
            else:
                why = _altered(publish, frame, queues)
            if why is not None:
                told = {} if publish is None else {"thread": publish.thread, "lease": publish.lease}
                verdict.phantoms.append(
                    {
                        "direction": "outbound",
                        "event": "publish",
                        "identity": name,
                        **where(frame.place),
                        "t": frame.t,
                        **told,
                        "why": why,
                    }
                )


def _altered(publish: Publish, frame: Frame, queues: set[str | None]) -> str | None:
    what, key = frame.what, frame.what["routing_key"]
    if what["id"] != publish.identity or what["body_id"] != publish.identity:
        return f"it crossed as {what['id']} with the body of {what['body_id']}"
    if (what["size"], what["crc"]) != (publish.size, publish.crc):
        return "its body was altered on the way"
    if key != publish.queue and (publish.queue is not None or key in queues):
        return f"it crossed with the routing key {key}"
    return None


def _thrown_away(wire: Wire, verdict: Verdict) -> None:
    """Publishes that the broker had not confirmed when it closed their channel are discarded."""
    confirmed = {
        (place, frame.what["seq"])
        for place in wire.by_broker
        for frame in wire.receipts.get(place, ())
        if frame.kind == "confirm"
    }
    for frames in wire.publishes.values():
        for frame in frames:
            seq = frame.what["seq"]
            if seq is not None and frame.place in wire.by_broker:
                verdict.discarded += (frame.place, seq) not in confirmed
