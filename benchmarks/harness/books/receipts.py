"""Confirms and returns: what the broker said of each publish, and what the application was told.

It owns the rule for a confirm that was credited to the wrong publish, which is *one* event seen
from two sides. The application was told something of a publish that the broker had not said: a
phantom, and it counts there alone. The confirm that it was made of, unseen on that same channel, is
named in the witness (``instead_of``) and is no second count in ``lost_frames``; a confirm that is
missing with no phantom to take it is lost. The same goes for returns.

Confirms and returns of an incarnation are one stream: a client that knows of a confirm has read
the returns in front of it. Times decide what the wire can have said by then: the proxy notes a
frame before it sends it, on the application's own clock.
"""

from __future__ import annotations

from collections import defaultdict, deque

from benchmarks.harness.books.application import Application, Confirm, Return
from benchmarks.harness.books.streams import Item, judge_stream, where
from benchmarks.harness.books.verdict import Verdict, Witness
from benchmarks.harness.books.wire import Frame, Place, Wire

#: What was said of a publish: "ack", "nack" (or, by the client alone, "unknown"), or "return".
Word = str


def judge_receipts(wire: Wire, application: Application, verdict: Verdict) -> set[str]:
    """Judge both directions. Returns what was fabricated: confirmed, but never on the wire."""
    said = _said(wire)
    told: set[tuple[str, Word]] = set()
    fabricated: set[str] = set()
    takers = _Takers()
    for receipt in _in_time(application):
        identity, word = receipt.identity, _told(receipt)
        told.add((identity, word))
        if word == "unknown" or _take(said.get((identity, word), []), receipt.t):
            continue
        published = wire.publishes.get(identity)
        phantom = _phantom(receipt, word, application, _why(word, wire, identity))
        verdict.phantoms.append(phantom)
        if published:
            phantom.update(where(published[0].place))
            takers.add(published[0].place, phantom)
        elif word != "return":
            fabricated.add(identity)
    for frames in wire.receipts.values():
        judge_stream(wire, verdict, _items(frames, told, takers, application))
    return fabricated


def _in_time(application: Application) -> list[Confirm | Return]:
    both: list[Confirm | Return] = [*application.confirms, *application.returns]
    return sorted(both, key=lambda receipt: (receipt.t, receipt.thread, receipt.identity))


def _told(receipt: Confirm | Return) -> Word:
    return "return" if isinstance(receipt, Return) else receipt.outcome


def _word(frame: Frame) -> Word:
    if frame.kind == "return":
        return "return"
    return "ack" if frame.what["ack"] else "nack"


def _said(wire: Wire) -> dict[tuple[str, Word], list[Frame]]:
    """What the broker said of each identity, latest first: ``_take`` takes the earliest."""
    said: dict[tuple[str, Word], list[Frame]] = defaultdict(list)
    for frames in wire.receipts.values():
        for frame in frames:
            if frame.name is not None:
                said[frame.name, _word(frame)].append(frame)
    for frames in said.values():
        frames.sort(key=lambda frame: -frame.t)
    return said


def _take(frames: list[Frame], t: float) -> bool:
    """Had the broker said so by ``t``? Each of its words is taken once."""
    if frames and frames[-1].t <= t:
        frames.pop()
        return True
    return False


def _phantom(receipt: Confirm | Return, word: Word, application: Application, why: str) -> Witness:
    publish = application.tried.get(receipt.identity)
    return {
        "event": "return" if word == "return" else "confirm",
        "identity": receipt.identity,
        "t": receipt.t,
        "thread": receipt.thread,
        **({} if publish is None else {"lease": publish.lease}),
        "why": why,
    }


def _why(word: Word, wire: Wire, identity: str) -> str:
    told = f"the application was told: {word}"
    published = wire.publishes.get(identity)
    if not published:
        return f"{told}; the publish never crossed the wire"
    words = {
        _word(frame)
        for frame in wire.receipts.get(published[0].place, ())
        if frame.name == identity
    }
    if word in words:
        return f"{told}, before the broker said so or once more than it did"
    if word == "return" or not words - {"return"}:
        return f"{told}; the broker never said so"
    return f"{told}; the broker said {' and '.join(sorted(words - {'return'}))}"


class _Takers:
    """The phantoms that an unseen confirm or return may have been turned into, each once."""

    def __init__(self) -> None:
        self._queues: defaultdict[tuple[Place, str], deque[Witness]] = defaultdict(deque)
        self._own: dict[tuple[str, str], Witness] = {}
        self._taken: set[tuple[str, str]] = set()

    def add(self, place: Place, phantom: Witness) -> None:
        self._queues[place, phantom["event"]].append(phantom)
        self._own[phantom["identity"], phantom["event"]] = phantom

    def take(self, frame: Frame) -> bool:
        """Was this event told in other words, or of another publish of its channel, since?"""
        own = self._own.get((str(frame.name), frame.kind))
        if own is not None and own["t"] >= frame.t:
            self._taken.add((own["identity"], own["event"]))
            return True
        queue = self._queues[frame.place, frame.kind]
        while queue:  # frames come in order: what was told before this one is of no use later
            phantom = queue.popleft()
            free = (phantom["identity"], phantom["event"]) not in self._taken
            if free and phantom["t"] >= frame.t:
                phantom["instead_of"] = frame.name
                return True
        return False


def _items(
    frames: list[Frame],
    told: set[tuple[str, Word]],
    takers: _Takers,
    application: Application,
) -> list[Item]:
    items: list[Item] = []
    first: set[tuple[str, str]] = set()
    for frame in frames:
        publish = application.tried.get(str(frame.name))
        if publish is None or (publish.identity, frame.kind) in first:
            # Of what nobody tried, or carried twice: that publish is the phantom, not its answer.
            continue
        first.add((publish.identity, frame.kind))
        item = Item(frame, seen=(publish.identity, _word(frame)) in told)
        if not item.seen:
            # A call that raised left no receipt behind on which anything could be told.
            item.unheard = publish.status != "ok"
            item.explained = not item.unheard and takers.take(frame)
            item.known = {"thread": publish.thread, "lease": publish.lease}
        items.append(item)
    return items
