"""The books: what crossed the wire (P), what the application knows (A), what remained (Q).

Pure functions of recorded data: no sockets, no threads, no clocks. P is the proxy's ledger and is
told by somebody who shares no code with the client; A is the history; Q the identities that were
still in the queue at the end. Each message carries an identity, so that everything is compared by
name and nothing by count.

This version judges the generations that were not faulted, in both directions. What is missing in
a faulted generation is *in doubt*, and is counted and shown beside what is lost; only a delivery
that the client acked and the application never saw is lost wherever it happened. A connection that
the client drops without the closing handshake is faulted too, but nobody's fault injected it: what
is missing there counts as ``dropped`` as well, or a client could hide any loss behind a hang-up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

#: Seconds before an application's own cancel in which a delivery at the very end of that consumer
#: may have come too late for it: the length of the consumer's last drain.
TAIL = 0.05


@dataclass
class Verdict:
    """What the books say. ``lost`` holds one witness for each event."""

    lost: list[dict[str, Any]] = field(default_factory=list)
    in_doubt: int = 0
    #: Of those in doubt, the ones that only a connection ended without an injected fault explains.
    dropped: int = 0
    discarded: int = 0
    duplicates: int = 0
    #: Messages that the broker confirmed and that are neither acked nor left: the broker's loss.
    broker_lost: list[str] = field(default_factory=list)
    #: Events that were compared, by kind, and how many of them could have been found lost (those
    #: that no faulted generation excuses): a book that judged nothing proves nothing.
    compared: Counter[str] = field(default_factory=Counter)
    judged: int = 0


@dataclass
class Application:
    """A, sorted by what it is compared with."""

    tried: dict[str, list[Any]] = field(default_factory=dict)
    confirms: dict[str, set[str]] = field(default_factory=dict)
    returns: Counter[str] = field(default_factory=Counter)
    #: (consumer tag, delivery tag, identity) -> how often it was delivered
    deliveries: Counter[tuple[str, int, str | None]] = field(default_factory=Counter)
    delivered: Counter[str | None] = field(default_factory=Counter)
    acks: list[list[Any]] = field(default_factory=list)
    #: consumer tag -> when the application began to cancel it
    cancels: dict[str, float] = field(default_factory=dict)


def read_application(history: dict[str, list[list[Any]]]) -> Application:
    """Sort the history of all threads."""
    book = Application()
    for entry in (entry for log in history.values() for entry in log):
        match entry[0]:
            case "publish":
                book.tried[entry[3]] = entry
            case "confirm":
                book.confirms.setdefault(entry[2], set()).add(entry[3])
            case "return":
                book.returns[entry[2]] += 1
            case "deliver":
                book.deliveries[entry[2], entry[3], entry[4]] += 1
                book.delivered[entry[4]] += 1
            case "ack":
                book.acks.append(entry)
            case "cancel":
                book.cancels[entry[3]] = entry[1]
    return book


def books(
    ledger: dict[str, Any],
    history: dict[str, list[list[Any]]],
    remaining: Iterable[str],
    queue: str,
) -> Verdict:
    """Compare P, A and Q. ``queue`` is the routing key of what is meant to be delivered."""
    verdict, application = Verdict(), read_application(history)
    generations = ledger["generations"]
    for generation in generations:
        for witness in _inbound(generation, application, verdict):
            _settle(witness, generation, verdict)
        for witness in _acks(generation, application, verdict):
            _settle(witness, generation, verdict)
    _publishes(generations, application, verdict)
    verdict.duplicates = sum(count - 1 for count in application.delivered.values())
    _control(generations, set(remaining), queue, verdict)
    return verdict


def _settle(witness: dict[str, Any], generation: dict[str, Any], verdict: Verdict) -> None:
    """A missing event is lost where nothing was faulted, in doubt where something was.

    An ack of what the application never saw is no matter of the cut: the client disposed of it.
    """
    if not generation["faulted"] or witness.get("acked"):
        verdict.lost.append(witness)
    else:
        verdict.in_doubt += 1
        verdict.dropped += not _injected(generation)


def _injected(generation: dict[str, Any]) -> bool:
    """Did the proxy end this generation, because it was told to?"""
    return str(generation["end"]).startswith("fault:")


def _count(kind: str, generation: dict[str, Any], verdict: Verdict) -> None:
    verdict.compared[kind] += 1
    verdict.judged += not generation["faulted"]


def _identity(what: dict[str, Any]) -> str | None:
    identity: str | None = what.get("id") or what.get("body_id")
    return identity


def _inbound(
    generation: dict[str, Any], application: Application, verdict: Verdict
) -> Iterator[dict[str, Any]]:
    """Confirms, returns and deliveries that crossed the wire and are missing in A.

    The tail of a stream that the application or the client itself ended is discarded, unless it
    was acked. A hole *before* an event that the application saw is never the end of anything.
    """
    sightings = list(_sightings(generation, application))
    last_seen = {stream: place for place, (_, stream, seen) in enumerate(sightings) if seen}
    closes = _client_closes(generation)
    acked = {
        (what["consumer"], what["tag"])
        for _, kind, _, _, what in generation["events"]
        if kind == "ack"
    }
    for place, (event, stream, seen) in enumerate(sightings):
        t, kind, channel, incarnation, what = event
        disposed = kind == "deliver" and (what["consumer"], what["tag"]) in acked
        if not seen and not disposed and place > last_seen.get(stream, -1):
            ends = [closes.get((channel, incarnation)), application.cancels.get(stream[1])]
            if any(end is not None and t >= end - TAIL for end in ends):
                verdict.discarded += 1
                continue
        _count(kind, generation, verdict)
        if not seen:
            yield {
                "direction": "inbound",
                "event": kind,
                "identity": _identity(what),
                "generation": generation["generation"],
                "channel": channel,
                "incarnation": incarnation,
                "t": t,
                **{key: what[key] for key in ("consumer", "tag", "seq") if key in what},
                **({"acked": True} if disposed else {}),
            }


def _sightings(
    generation: dict[str, Any], application: Application
) -> Iterator[tuple[list[Any], tuple[Any, ...], bool]]:
    """Each inbound event, the stream in which it came in order, and whether A has it."""
    returns = Counter(application.returns)
    for event in generation["events"]:
        _, kind, channel, incarnation, what = event
        identity = _identity(what)
        if kind == "deliver":
            key = (what["consumer"], what["tag"], identity)
            yield event, (kind, what["consumer"]), key in application.deliveries
        elif identity is None:
            continue  # a confirm of what no publish is on record for: a phantom, if anything
        elif kind == "confirm":
            told = "ack" if what["ack"] else "nack"
            seen = told in application.confirms.get(identity, ())
            yield event, (kind, channel, incarnation), seen
        elif kind == "return":
            seen = returns[identity] > 0
            returns[identity] -= seen
            yield event, (kind, channel, incarnation), seen


def _client_closes(generation: dict[str, Any]) -> dict[tuple[int, int], float]:
    """When the client closed each channel incarnation by itself."""
    return {
        (channel, incarnation): t
        for t, kind, channel, incarnation, _ in generation["events"]
        if kind == "close"
    }


def _acks(
    generation: dict[str, Any], application: Application, verdict: Verdict
) -> Iterator[dict[str, Any]]:
    """Acks that the application was told were sent, on consumers of this generation."""
    consumers = {
        what["tag"]
        for _, kind, _, _, what in generation["events"]
        if kind in ("consume", "consume_ok")
    }
    sent = Counter(
        (what.get("consumer"), what["tag"])
        for _, kind, _, _, what in generation["events"]
        if kind == "ack"
    )
    for _, t0, _, consumer, tag, identity, status in application.acks:
        if consumer not in consumers or status != "ok":
            continue
        _count("ack", generation, verdict)
        if sent[consumer, tag] > 0:
            sent[consumer, tag] -= 1
        else:
            yield {
                "direction": "outbound",
                "event": "ack",
                "identity": identity,
                "generation": generation["generation"],
                "consumer": consumer,
                "tag": tag,
                "t": t0,
            }


def _publishes(
    generations: list[dict[str, Any]], application: Application, verdict: Verdict
) -> None:
    """Publishes that the client said it had sent and that never crossed the wire.

    A publish whose generation cannot be named (it is nowhere in P) is lost when no faulted
    generation could have swallowed it: it was invoked when a new connection had come up behind the
    last one that was faulted, or none ever was.
    """
    crossed = {
        identity
        for generation in generations
        for _, kind, _, _, what in generation["events"]
        if kind == "publish"
        for identity in (what.get("id"), what.get("body_id"))
    }
    cut = _last_cut(generations, lambda generation: bool(generation["faulted"]))
    killed = _last_cut(generations, _injected)
    for identity, entry in application.tried.items():
        _, t0, _, _, lease, _, status = entry
        if status != "ok":
            continue
        verdict.compared["publish"] += 1
        excused = cut is None or t0 <= cut
        verdict.judged += not excused
        if identity in crossed:
            continue
        if excused:
            verdict.in_doubt += 1
            verdict.dropped += killed is not None and t0 > killed
        else:
            verdict.lost.append(
                {
                    "direction": "outbound",
                    "event": "publish",
                    "identity": identity,
                    "lease": lease,
                    "t": t0,
                }
            )


def _last_cut(
    generations: list[dict[str, Any]], bad: Callable[[dict[str, Any]], bool]
) -> float | None:
    """When the first good generation behind the last bad one was ready.

    -infinity when none was bad; None when none was good behind it. A connection that was never
    ready swallowed nothing, however it ended.
    """
    ready = [generation for generation in generations if generation["ready"] is not None]
    ends = [generation["closed"] for generation in ready if bad(generation)]
    if not ends:
        return float("-inf") if generations else None
    behind = [generation["ready"] for generation in ready if not bad(generation)]
    return min((t for t in behind if t > max(ends)), default=None)


def _control(
    generations: list[dict[str, Any]], remaining: set[str], queue: str, verdict: Verdict
) -> None:
    """What the broker confirmed for the queue must have been acked, or be left in it."""
    routed: set[str] = set()
    confirmed: set[str] = set()
    settled: set[str] = set()
    for generation in generations:
        for _, kind, _, _, what in generation["events"]:
            identity = _identity(what)
            if identity is None:
                continue
            if kind == "publish" and what["routing_key"] == queue:
                routed.add(identity)
            elif kind == "confirm" and what["ack"]:
                confirmed.add(identity)
            elif kind == "ack" or (kind in ("reject", "nack") and not what.get("requeue")):
                settled.add(identity)
            elif kind == "deliver" and what.get("no_ack"):
                settled.add(identity)  # the broker forgets it as it delivers it
    verdict.broker_lost = sorted((routed & confirmed) - settled - remaining)
