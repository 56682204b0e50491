"""What the client disposed of by itself: acked or rejected for good, and shown to nobody.

It owns the line between the two counters: the frame that was not shown is lost; where with it the
whole message is gone, though the application had been told that it is safe, the *message* is lost,
and that is counted instead. A reject or nack with requeue disposes of nothing. It prevents the
worst a client can do from hiding behind a cut or a cancel: an ack is never the end of a stream.
"""

from __future__ import annotations

from collections.abc import Container

from benchmarks.harness.books.application import Application
from benchmarks.harness.books.matching import Matched
from benchmarks.harness.books.streams import Item, witness
from benchmarks.harness.books.verdict import Verdict, Witness
from benchmarks.harness.books.wire import Frame, Wire

ACKED = "the client acked it, and the application never saw it"
REJECTED = "the client rejected it for good, and the application never saw it"


class Disposed:
    """Makes the items of a stream. ``left``: identities that are still in some queue."""

    def __init__(
        self,
        wire: Wire,
        application: Application,
        matched: Matched,
        left: Container[str | None],
        verdict: Verdict,
    ) -> None:
        self._wire = wire
        self._matched = matched
        self._left = left
        self._verdict = verdict
        self._seen = application.seen()
        told = {confirm.identity for confirm in application.confirms if confirm.outcome == "ack"}
        #: Confirmed by the broker, and to the application.
        self._confirmed = told & {
            frame.name
            for frames in wire.receipts.values()
            for frame in frames
            if frame.kind == "confirm" and frame.what["ack"]
        }
        self._gone: set[str | None] = set()

    def of(self, frame: Frame) -> bool:
        """Whether the client disposed of this frame, which the application never saw."""
        return frame.number not in self._matched.seen and self._how(frame) is not None

    def item(self, frame: Frame, known: Witness) -> Item:
        """The item for a delivery or a get-ok; a lost message is entered here."""
        item = Item(frame, seen=frame.number in self._matched.seen, known=known)
        if not item.seen:
            item.certain = self._how(frame)
            item.explained = item.certain is not None and self._is_gone(frame, item.certain, known)
        return item

    def _how(self, frame: Frame) -> str | None:
        for settled in self._wire.settled.get((frame.place, frame.what["tag"]), ()):
            if settled.kind == "ack":
                return ACKED
            if not settled.what["requeue"]:
                return REJECTED
        return None

    def _is_gone(self, frame: Frame, how: str, known: Witness) -> bool:
        name = frame.name
        if name not in self._confirmed or name in self._seen or name in self._left:
            return False
        if name not in self._gone:  # each message once, however often it was disposed of
            self._gone.add(name)
            self._verdict.lost_messages.append(witness(frame, how, known))
        return True
