"""The control: does what the broker did add up, by the wire and the queues alone?

It owns what only the broker (or the harness) can have done wrong; where it finds something the run
proves nothing about the client. For each message and each queue that it routes to: what was
confirmed must have been acked, delivered or got without ack, rejected for good, or left. What
crossed on a connection that then broke may have been processed or not: it counts against a loss,
and never as one settlement too many. What needs no ack the broker forgets as it sends it, so a cut
may swallow it for good: that is a doubt, and nobody's loss. A node that is killed may forget that
it delivered a message, or that one was settled, but never one that it had confirmed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from benchmarks.harness.books.application import Application
from benchmarks.harness.books.verdict import Verdict
from benchmarks.harness.books.wire import Frame, Generation, Place, Wire

#: Phrases kept; one is enough to void a run.
FAULTS_AT_MOST = 20


def check_broker(
    wire: Wire,
    application: Application,
    remaining: Mapping[str, list[str]],
    verdict: Verdict,
    *,
    forgetful: bool = False,
) -> None:
    """Enter the broker's losses and faults. ``forgetful``: one of its nodes was killed."""
    queues = {publish.queue for publish in application.tried.values() if publish.queue is not None}
    faults = [
        *_receipts(wire),
        *_deliveries(wire, queues, forgetful),
        *_equation(wire, queues | set(remaining), remaining, verdict, forgetful),
    ]
    faults += [
        f"the broker answered a declare of {asked} with {answered}"
        for asked, answered in wire.declared
        if asked not in ("", answered)
    ]
    verdict.broker_faults = sorted(faults)[:FAULTS_AT_MOST]


def _receipts(wire: Wire) -> list[str]:
    faults = [
        f"the broker confirmed {frame.what['seq']} on channel {frame.place.channel} of generation "
        f"{frame.place.generation}, where nothing was outstanding under it"
        for frame in wire.stray
    ]
    returned: Counter[tuple[Place, str | None]] = Counter()
    for place, frames in wire.receipts.items():
        confirmed: set[str | None] = set()
        for frame in frames:
            if frame.kind == "confirm":
                confirmed.add(frame.name)
                continue
            returned[place, frame.name] += 1
            if frame.name in confirmed and len(wire.publishes.get(frame.name, ())) == 1:
                faults.append(f"the broker returned {frame.name} after it had confirmed it")
    for (place, name), count in returned.items():
        published = sum(frame.place == place for frame in wire.publishes.get(name, ()))
        if count > published:
            faults.append(f"the broker returned {name} {count} times for {published} publishes")
    return faults


def _deliveries(wire: Wire, queues: set[str], forgetful: bool) -> list[str]:
    """Messages that nobody published, that came as new once too often, or out of a wrong queue."""
    faults = []
    fresh: Counter[str | None] = Counter()
    for frame, queue in _came_in(wire):
        published = wire.publishes.get(frame.name, ())
        if not published:
            faults.append(f"the broker delivered {frame.name}, which nobody published")
            continue
        fresh[frame.name] += not frame.what["redelivered"]
        keys = {publish.what["routing_key"] for publish in published}
        if queue in queues and queue not in keys:
            faults.append(f"the broker delivered {frame.name} out of {queue}, where it never was")
    if forgetful:
        return faults
    faults += [
        f"the broker delivered {name} {count} times without the redelivered flag"
        for name, count in fresh.items()
        if count > len(wire.publishes[name])
    ]
    return faults


def _came_in(wire: Wire) -> list[tuple[Frame, str | None]]:
    """Deliveries and get-oks with the queue that they came out of, where that is known."""
    came_in: list[tuple[Frame, str | None]] = []
    for (place, consumer), frames in wire.deliveries.items():
        asked = {
            frame.what["queue"] for frame in wire.consumes.get(consumer, ()) if frame.place == place
        }
        queue = asked.pop() if len(asked) == 1 else None
        came_in += [(frame, queue) for frame in frames]
    for row in wire.gets.values():
        came_in += [(answer.frame, answer.queue) for answer in row]
    return came_in


def _equation(
    wire: Wire,
    queues: set[str],
    remaining: Mapping[str, list[str]],
    verdict: Verdict,
    forgetful: bool,
) -> list[str]:
    confirmed = Counter(
        frame.name
        for frames in wire.receipts.values()
        for frame in frames
        if frame.kind == "confirm" and frame.what["ack"]
    )
    settled, surely = _settlements(wire)
    left: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
    for queue, names in remaining.items():
        for identity in names:
            left[identity][queue] += 1
    faults = []
    for name, frames in wire.publishes.items():
        routed = Counter(frame.what["routing_key"] for frame in frames)
        for queue in queues & set(routed):
            there = left[name][queue]
            # Were a message routed to two queues, its confirms could not be told apart.
            due = min(confirmed[name], routed[queue])
            if settled[name] + there < due:
                swallower = _swallower(wire, queue)
                if swallower is None:
                    verdict.broker_lost.append(str(name))
                else:
                    verdict.doubt(dropped=not swallower.excused)
            elif surely[name] + there > routed[queue] and not forgetful:
                faults.append(
                    f"{name} was published {routed[queue]} times to {queue}, and settled "
                    f"{surely[name]} times with {there} left"
                )
    verdict.broker_lost.sort()
    return faults


def _swallower(wire: Wire, queue: str) -> Generation | None:
    """A faulted connection on which the broker may have sent the message, never to come again."""
    if wire.taken[queue]:
        return wire.taken[queue].pop()
    return wire.streamed.get(queue)


def _settlements(wire: Wire) -> tuple[Counter[str | None], Counter[str | None]]:
    """How often each message was settled, and how often beyond any doubt."""
    settled: Counter[str | None] = Counter()
    surely: Counter[str | None] = Counter()
    without_ack = [
        frame for row in wire.deliveries.values() for frame in row if frame.what["no_ack"]
    ]
    without_ack += [answer.frame for row in wire.gets.values() for answer in row if answer.no_ack]
    for frame in without_ack:  # the broker forgets it as it sends it
        settled[frame.name] += 1
        surely[frame.name] += 1
    names = {(frame.place, frame.what["tag"]): frame.name for frame, _ in _came_in(wire)}
    for key, frames in wire.settled.items():
        for frame in frames:
            if frame.what.get("unknown") or frame.what.get("requeue"):
                continue
            name = names.get(key, frame.name)
            settled[name] += 1
            sound = wire.generation(frame).sound and frame.place not in wire.by_broker
            surely[name] += sound
    return settled, surely
