"""What became of inbound events that the application never saw: lost, in doubt, or discarded.

It owns the rules for one *stream*: events of one incarnation that a client hands on in the order
in which they came (receipts, deliveries of one consumer, answers to gets). It prevents both
wrong answers: a hole in the middle is never excused by how the stream ended, and the end of a
stream, where a cut, a cancel or a close raced with what was on its way, is never called a loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.books.verdict import Verdict, Witness
from benchmarks.harness.books.wire import Frame, Place, Wire

#: Seconds before the end of a stream in which its last events may have been on their way and
#: unread: a thread of some hundred on two busy cores runs again within a second. It costs little
#: to be generous, as a hole before an event that was seen is lost however close to the end it is.
TAIL = 1.0

HOLE = "a later event of the same stream reached the application"
MISSED = "it crossed a connection that nothing had broken"


@dataclass
class Item:
    """One event of a stream and what is known of it."""

    frame: Frame
    seen: bool
    #: The call that it answers had ended in an error: nobody waited for it any more.
    unheard: bool = False
    #: Another entry of the verdict accounts for it.
    explained: bool = False
    #: Why it is lost wherever it stands, for instance since the client acked it.
    certain: str | None = None
    #: What its witness tells beside the frame itself: thread, lease.
    known: Witness = field(default_factory=dict)


def judge_stream(
    wire: Wire,
    verdict: Verdict,
    items: Sequence[Item],
    ends: Iterable[float] = (),
) -> None:
    """Judge the events of one place, in the order of the wire.

    ``ends``: when the application itself ended the stream.
    """
    if not items:
        return
    place = items[0].frame.place
    generation = wire.generations[place.generation]
    own = min([*ends, *wire.given_up(place)], default=float("inf")) - TAIL
    broker = min(wire.cut_short(place), default=float("inf")) - TAIL
    last = max((n for n, item in enumerate(items) if item.seen), default=-1)
    for n, item in enumerate(items):
        frame = item.frame
        missing = not (item.seen or item.explained)
        at_the_end = n > last and frame.t >= own
        if missing and item.certain is None and (item.unheard or at_the_end):
            verdict.discarded += 1
            continue
        verdict.compare(frame.kind, judged=generation.sound)
        if not missing:
            continue
        if item.certain or n < last:
            verdict.lost.append(witness(frame, item.certain or HOLE, item.known))
        elif generation.faulted or frame.t >= broker:
            excused = generation.excused or not generation.faulted
            verdict.doubt(dropped=not excused)
        else:
            verdict.lost.append(witness(frame, MISSED, item.known))


def witness(frame: Frame, why: str, known: Witness) -> Witness:
    """The witness for something that crossed the wire inwards."""
    told: Witness = {
        key: frame.what[key] for key in ("consumer", "tag", "seq") if key in frame.what
    }
    return {
        "direction": "inbound",
        "event": frame.kind,
        "identity": frame.name,
        **where(frame.place),
        "t": frame.t,
        **told,
        **known,
        "why": why,
    }


def where(place: Place) -> Witness:
    """A place in the words of a witness."""
    return place._asdict()
