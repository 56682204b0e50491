"""Deliveries and gets that crossed the wire: were they handed on?

It owns which calls of the application explain what it did not see. An answer to a get that had
ended in an error is discarded; a get that was told "empty" while the wire carried a message lost
that message, and one that was told so while the wire carried no such word was told a phantom.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Container

from benchmarks.harness.books.application import Application, Get
from benchmarks.harness.books.disposed import Disposed
from benchmarks.harness.books.matching import Matched, match_deliveries, phantom
from benchmarks.harness.books.streams import Item, judge_stream
from benchmarks.harness.books.verdict import Verdict, Witness
from benchmarks.harness.books.wire import Answer, Wire

TOLD_EMPTY = "the get that it answers was told that the queue is empty"
NEVER_EMPTY = "the get was told that the queue is empty, and the broker never said so"


def judge_deliveries(
    wire: Wire, application: Application, left: Container[str | None], verdict: Verdict
) -> Matched:
    """Judge deliveries and gets. ``left``: identities that are still in some queue."""
    matched = match_deliveries(wire, application, verdict)
    disposed = Disposed(wire, application, matched, left, verdict)
    for (_, consumer), frames in wire.deliveries.items():
        consume = application.consumes.get(consumer)
        known: Witness = {}
        if consume is not None:
            known = {"thread": consume.thread, "lease": consume.lease}
        items = [disposed.item(frame, dict(known)) for frame in frames]
        judge_stream(wire, verdict, items, application.ends(consumer))
    _wrong_queues(wire, application, matched, verdict)
    _judge_gets(wire, application, disposed, verdict)
    verdict.duplicates = _duplicates(wire, matched)
    return matched


def _duplicates(wire: Wire, matched: Matched) -> int:
    frames = [frame for row in wire.deliveries.values() for frame in row]
    frames += [answer.frame for row in wire.gets.values() for answer in row]
    names = Counter(frame.name for frame in frames if frame.number in matched.seen)
    return sum(count - 1 for count in names.values())


def _wrong_queues(wire: Wire, application: Application, matched: Matched, verdict: Verdict) -> None:
    """A get of one queue that was given a message of another: somebody else's reply.

    Where the broker itself answered so, it is the broker's fault (control.py).
    """
    for row in wire.gets.values():
        for answer in row:
            get = matched.seen.get(answer.frame.number)
            publish = application.tried.get(str(answer.frame.name))
            if not isinstance(get, Get) or publish is None or answer.queue is None:
                continue
            if publish.queue not in (None, get.queue) and answer.queue != get.queue:
                why = f"a get of {get.queue} was given a message of {publish.queue}"
                verdict.phantoms.append(phantom(get, why, answer.frame))


def _judge_gets(wire: Wire, application: Application, disposed: Disposed, verdict: Verdict) -> None:
    untrue = _untrue(wire, application, verdict)

    def item_of(answer: Answer) -> Item:
        known: Witness = {"queue": answer.queue}
        told = untrue[answer.queue]
        if told and disposed.of(answer.frame):
            # The get that was told otherwise is the witness of what was disposed of, and counts
            # no second time.
            get = told.popleft()
            known |= {"thread": get.thread, "lease": get.lease}
        return disposed.item(answer.frame, known)

    rows = [[(answer, item_of(answer)) for answer in row] for row in wire.gets.values()]
    missing = [
        pair
        for row in rows
        for pair in row
        if not (pair[1].seen or pair[1].explained or pair[1].certain)
    ]
    failed: defaultdict[str | None, deque[Get]] = defaultdict(deque)
    for get in application.gets:
        if get.status in ("error", "invoked"):
            failed[get.queue].append(get)
    for answer, item in sorted(missing, key=lambda pair: pair[0].frame.t):
        told, calls = untrue[answer.queue], failed[answer.queue]
        if told:
            get = told.popleft()
            item.certain = TOLD_EMPTY
            item.known |= {"thread": get.thread, "lease": get.lease}
        elif calls and calls[0].t0 <= item.frame.t:
            calls.popleft()
            item.unheard = True
    for row in rows:
        judge_stream(wire, verdict, [item for _, item in row])
    for told in untrue.values():
        verdict.phantoms += [phantom(get, NEVER_EMPTY) | {"event": "get_empty"} for get in told]


def _untrue(
    wire: Wire, application: Application, verdict: Verdict
) -> defaultdict[str | None, deque[Get]]:
    """Gets by queue that were told "empty" once more than the broker said it."""
    said = Counter(wire.empties)
    untrue: defaultdict[str | None, deque[Get]] = defaultdict(deque)
    for get in application.gets:
        if get.status != "empty":
            continue
        verdict.compare("get_empty", judged=False)  # it has no identity: it cannot be found lost
        if said[get.queue]:
            said[get.queue] -= 1
        else:
            untrue[get.queue].append(get)
    return untrue
