"""The books: what crossed the wire (P), what the application knows (A), what remained (Q).

Pure functions of recorded data: no sockets, no threads, no clocks. P is the proxy's ledger and is
told by somebody who shares no code with the client; A is the history; Q the identities that were
still in the queue at the end. Each message carries an identity, so that everything is compared by
name and nothing by count.

This version judges the generations that were not faulted, in both directions. What is missing in
a faulted generation is *in doubt*, and is counted and shown beside what is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
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
    discarded: int = 0
    duplicates: int = 0
    #: Messages that the broker confirmed and that are neither acked nor left: the broker's loss.
    broker_lost: list[str] = field(default_factory=list)
    #: Events that were compared, by kind: a book that compared nothing proves nothing.
    compared: Counter[str] = field(default_factory=Counter)


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
    """A missing event is lost where nothing was faulted, in doubt where something was."""
    if generation["faulted"]:
        verdict.in_doubt += 1
    else:
        verdict.lost.append(witness)


def _inbound(
    generation: dict[str, Any], application: Application, verdict: Verdict
) -> Iterator[dict[str, Any]]:
    """Confirms, returns and deliveries that crossed the wire and are missing in A."""
    number = generation["generation"]
    closes = _client_closes(generation)
    returns = Counter(application.returns)
    tail = _Tail(generation, application, closes)
    for t, kind, channel, incarnation, what in generation["events"]:
        if kind not in ("confirm", "return", "deliver"):
            continue
        identity = what.get("id") or what.get("body_id")
        if kind == "deliver":
            seen = (what["consumer"], what["tag"], identity) in application.deliveries
            discarded = not seen and tail.discards(t, channel, incarnation, what)
        else:
            if identity is None:
                continue  # a confirm of what no publish is on record for: a phantom, if anything
            if kind == "confirm":
                told = "ack" if what["ack"] else "nack"
                seen = told in application.confirms.get(identity, ())
            else:
                seen = returns[identity] > 0
                returns[identity] -= seen
            closed = closes.get((channel, incarnation))
            discarded = not seen and closed is not None and t >= closed - TAIL
        verdict.compared[kind] += 1
        if discarded:
            verdict.discarded += 1
        elif not seen:
            yield {
                "direction": "inbound",
                "event": kind,
                "identity": identity,
                "generation": number,
                "channel": channel,
                "incarnation": incarnation,
                "t": t,
                **{key: what[key] for key in ("consumer", "tag", "seq") if key in what},
            }


def _client_closes(generation: dict[str, Any]) -> dict[tuple[int, int], float]:
    """When the client closed each channel incarnation by itself."""
    return {
        (channel, incarnation): t
        for t, kind, channel, incarnation, _ in generation["events"]
        if kind == "close"
    }


class _Tail:
    """What may be discarded: the end of a consumer that the application itself ended.

    A hole *before* a delivery that the application saw is never the end of anything.
    """

    def __init__(
        self,
        generation: dict[str, Any],
        application: Application,
        closes: dict[tuple[int, int], float],
    ) -> None:
        self._cancels = application.cancels
        self._closes = closes
        self._last_seen: dict[str, int] = {}
        for _, kind, _, _, what in generation["events"]:
            if kind == "deliver":
                identity = what.get("id") or what.get("body_id")
                if (what["consumer"], what["tag"], identity) in application.deliveries:
                    self._last_seen[what["consumer"]] = what["tag"]

    def discards(self, t: float, channel: int, incarnation: int, what: dict[str, Any]) -> bool:
        ends = [self._cancels.get(what["consumer"]), self._closes.get((channel, incarnation))]
        ended = [end for end in ends if end is not None]
        after_all_seen = what["tag"] > self._last_seen.get(what["consumer"], 0)
        return bool(ended) and after_all_seen and t >= min(ended) - TAIL


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
        verdict.compared["ack"] += 1
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
    cut = _last_cut(generations)
    for identity, entry in application.tried.items():
        _, t0, _, _, lease, _, status = entry
        if status != "ok":
            continue
        verdict.compared["publish"] += 1
        if identity in crossed:
            continue
        if cut is None or t0 <= cut:
            verdict.in_doubt += 1
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


def _last_cut(generations: list[dict[str, Any]]) -> float | None:
    """When the first sound generation behind the last faulted one was ready.

    -infinity when none was faulted; None when none was sound behind it.
    """
    faulted = [g["closed"] for g in generations if g["faulted"]]
    if not faulted:
        return float("-inf") if generations else None
    last = max(faulted)
    behind = [g["ready"] for g in generations if not g["faulted"] and g["ready"] is not None]
    behind = [ready for ready in behind if ready > last]
    return min(behind) if behind else None


def _control(
    generations: list[dict[str, Any]], remaining: set[str], queue: str, verdict: Verdict
) -> None:
    """What the broker confirmed for the queue must have been acked, or be left in it."""
    routed: set[str] = set()
    confirmed: set[str] = set()
    settled: set[str] = set()
    for generation in generations:
        for _, kind, _, _, what in generation["events"]:
            identity = what.get("id") or what.get("body_id")
            if identity is None:
                continue
            if kind == "publish" and what["routing_key"] == queue:
                routed.add(identity)
            elif kind == "confirm" and what["ack"]:
                confirmed.add(identity)
            elif kind == "ack" or (kind in ("reject", "nack") and not what.get("requeue")):
                settled.add(identity)
    verdict.broker_lost = sorted((routed & confirmed) - settled - remaining)
