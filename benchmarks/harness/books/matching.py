"""Which frame on the wire each delivery and get of the application is.

It owns the matching by consumer, tag and content; the rest of the books asks it what was seen. One
event is counted once: a message that was given to the wrong consumer, under another tag, or
altered, is a phantom, and the frame that it was made of is no loss beside it. What matches nothing,
or is told more often than the wire carried it, is a phantom too.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.books.application import Application, Delivery, Get
from benchmarks.harness.books.streams import where
from benchmarks.harness.books.verdict import Verdict, Witness
from benchmarks.harness.books.wire import Frame, Wire

Entry = Delivery | Get
#: Consumer tag (None: a get), delivery tag, and the two identities of the content.
Key = tuple[str | None, int | None, str | None, str | None]


@dataclass
class Matched:
    """What the application saw."""

    #: number of the frame -> the entry that saw it
    seen: dict[int, Entry] = field(default_factory=dict)
    #: (consumer or None, tag, identity) -> the frames that were handed on unaltered, in order
    frames: defaultdict[tuple[str | None, int | None, str | None], list[Frame]] = field(
        default_factory=lambda: defaultdict(list)
    )


def match_deliveries(wire: Wire, application: Application, verdict: Verdict) -> Matched:
    """Find the frame of each entry; phantoms go to the verdict."""
    matched = Matched()
    delivered = sorted(frame for frames in wire.deliveries.values() for frame in frames)
    answers = sorted(answer.frame for row in wire.gets.values() for answer in row)
    gets = [get for get in application.gets if get.status == "ok"]
    for entries, frames in ((application.deliveries, delivered), (gets, answers)):
        _match(entries, frames, application, matched, verdict)
    return matched


def phantom(entry: Entry, why: str, frame: Frame | None = None) -> Witness:
    """The witness for something that the application was given and should not have been."""
    told: Witness = {
        "event": "deliver" if isinstance(entry, Delivery) else "get_ok",
        "identity": entry.identity or entry.body_identity,
        "thread": entry.thread,
        "tag": entry.tag,
        "why": why,
    }
    if isinstance(entry, Delivery):
        told |= {"consumer": entry.consumer, "t": entry.t}
    else:
        told |= {"queue": entry.queue, "lease": entry.lease, "t": entry.t1}
    return told if frame is None else told | where(frame.place)


def _match(
    entries: Sequence[Entry],
    frames: list[Frame],
    application: Application,
    matched: Matched,
    verdict: Verdict,
) -> None:
    waiting: defaultdict[Key, deque[Frame]] = defaultdict(deque)
    for frame in frames:
        waiting[_wire_key(frame)].append(frame)
    strangers = []
    for entry in entries:
        queue = waiting.get(_key(entry))
        if not queue:
            strangers.append(entry)
            continue
        frame = _take(queue, entry)
        matched.seen[frame.number] = entry
        matched.frames[_consumer(entry), entry.tag, entry.identity].append(frame)
        if (entry.size, entry.crc) != (frame.what["size"], frame.what["crc"]):
            verdict.phantoms.append(phantom(entry, "its body was altered on the way", frame))
        elif entry.redelivered != frame.what["redelivered"]:
            verdict.phantoms.append(phantom(entry, "its redelivered flag was altered", frame))
    if strangers:
        unseen = [frame for frame in frames if frame.number not in matched.seen]
        _account_for(strangers, unseen, waiting, application, matched, verdict)


def _take(frames: deque[Frame], entry: Entry) -> Frame:
    """Take the frame that this entry saw; there is at least one of its key.

    Consumer tags are unique, and one consumer's tags count up: a delivery has one frame. The
    answers to gets have no such name: each fresh channel begins at tag 1, and a message whose get
    failed may be got again. So a get takes the answer that came while it waited.
    """
    if len(frames) > 1 and isinstance(entry, Get):
        fits = [frame for frame in frames if _while_it_waited(entry, frame)]
        same = [frame for frame in fits if frame.what["redelivered"] == entry.redelivered]
        chosen = next(iter(same or fits or frames))
        frames.remove(chosen)
        return chosen
    return frames.popleft()


def _while_it_waited(get: Get, frame: Frame) -> bool:
    return get.t0 <= frame.t and (get.t1 is None or frame.t <= get.t1)


def _account_for(
    strangers: list[Entry],
    unseen: list[Frame],
    carried: Container[Key],
    application: Application,
    matched: Matched,
    verdict: Verdict,
) -> None:
    """One phantom for each stranger, and the unseen frame that it was made of, if any."""
    by_tag: defaultdict[tuple[str | None, int | None], deque[Frame]] = defaultdict(deque)
    by_name: defaultdict[str | None, deque[Frame]] = defaultdict(deque)
    for frame in unseen:
        if frame.kind == "deliver":  # the tag of a get names no frame: each channel has a 1
            by_tag[frame.what["consumer"], frame.what["tag"]].append(frame)
        by_name[frame.name].append(frame)
    for entry in strangers:
        if _key(entry) in carried:
            verdict.phantoms.append(phantom(entry, "it was handed on twice"))
            continue
        same_tag = _next(by_tag[_consumer(entry), entry.tag], matched)
        made_of = same_tag or _next(by_name[entry.identity or entry.body_identity], matched)
        if made_of is not None:
            matched.seen[made_of.number] = entry
            why = f"the wire carried {_describe(made_of)}"
        elif entry.identity in application.tried:
            why = "the wire never carried it"
        else:
            why = "nobody published it"
        verdict.phantoms.append(phantom(entry, why, made_of))


def _next(frames: deque[Frame], matched: Matched) -> Frame | None:
    while frames:
        frame = frames.popleft()
        if frame.number not in matched.seen:
            return frame
    return None


def _describe(frame: Frame) -> str:
    to = f" to {frame.what['consumer']}" if frame.kind == "deliver" else ""
    return f"{frame.name}{to} under tag {frame.what['tag']}"


def _consumer(entry: Entry) -> str | None:
    return entry.consumer if isinstance(entry, Delivery) else None


def _key(entry: Entry) -> Key:
    return _consumer(entry), entry.tag, entry.identity, entry.body_identity


def _wire_key(frame: Frame) -> Key:
    what = frame.what
    return what.get("consumer"), what["tag"], what["id"], what["body_id"]
