"""The books over many made-up runs: what is there is not lost, and what is missing is found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.harness.story import CRC, SIZE, Story, tally

#: Runs for each property: all of them together stay within some seconds.
RUNS_EACH = settings(max_examples=60, deadline=None)


@dataclass(frozen=True)
class Message:
    """What becomes of one publish; the rest only where it was routed and confirmed."""

    routable: bool
    ack: bool
    #: "deliver", "get" or None: it stays in the queue.
    taken: str | None
    acked: bool


MESSAGES = st.builds(
    Message,
    st.sampled_from([True, True, True, False]),
    st.sampled_from([True, True, False]),
    st.sampled_from(["deliver", "deliver", "get", None]),
    st.booleans(),
)
#: Messages by channel by generation.
RUNS = st.lists(
    st.lists(st.lists(MESSAGES, max_size=5), min_size=1, max_size=3), min_size=1, max_size=3
)
RANDOM = st.randoms(use_true_random=False)
ENDS = st.sampled_from(["close", "fault:rst", "client", "broker"])


def tell(run: list[list[list[Message]]], order: random.Random, end: str = "close") -> Story:
    """A consistent P, A and Q; channels and their threads are interleaved by ``order``."""
    story = Story()
    for number, channels in enumerate(run):
        story.connect()
        todo = [
            channel_script(story, number, channel, messages)
            for channel, messages in enumerate(channels, 1)
        ]
        while any(todo):
            order.choice([script for script in todo if script]).pop(0)()
        story.tick()
        story.end(end)
    return story


def channel_script(
    story: Story, number: int, channel: int, messages: list[Message]
) -> list[Callable[[], object]]:
    name = f"g{number}c{channel}"
    worker, thread, queue = f"worker-{name}", f"consumer-{name}", f"q.{name}"
    lease = 10 * number + channel
    kept = {"consumer": name, "thread": thread}

    def start() -> None:
        story.lease(lease, name, worker)
        story.open_channel(channel)
        story.consume(channel, **kept, lease=lease, queue=queue)

    script: list[Callable[[], object]] = [start]
    for tag, message in enumerate(messages, 1):
        script += message_script(story, f"{name}/{tag}", tag, channel, message, queue, lease)
    return script


def message_script(
    story: Story, identity: str, tag: int, channel: int, message: Message, queue: str, lease: int
) -> list[Callable[[], object]]:
    name = identity.split("/")[0]
    worker, thread = f"worker-{name}", f"consumer-{name}"

    def publish() -> None:
        story.publish(
            identity, channel, routable=message.routable, thread=worker, queue=queue, lease=lease
        )
        if not message.routable:
            story.bounce(identity, channel, thread=worker)

    def confirm() -> None:
        told = "ack" if message.ack else "nack"
        story.confirm(identity, channel, told=told, ack=message.ack, thread=worker)

    def take() -> None:
        if message.taken == "deliver":
            story.deliver(tag, identity, channel, consumer=name, thread=thread)
        else:
            story.get(identity, channel, tag=tag, queue=queue, lease=lease, thread=worker)

    def ack() -> None:
        consumer = name if message.taken == "deliver" else None
        story.ack(tag, identity, channel, consumer=consumer, lease=lease, thread=thread)

    script: list[Callable[[], object]] = [publish, confirm]
    if message.routable and message.ack:
        if message.taken is not None:
            script += [take, ack] if message.acked else [take]
        if not (message.taken and message.acked):
            story.leave(identity, queue)
    return script


def entries(story: Story, *kinds: str) -> list[tuple[list[list[Any]], list[Any]]]:
    return [(log, entry) for log in story.history.values() for entry in log if entry[0] in kinds]


def events(story: Story, *kinds: str) -> list[tuple[list[Any], list[Any]]]:
    return [
        (generation["events"], event)
        for generation in story.generations
        for event in generation["events"]
        if event[1] in kinds
    ]


def identity_of(entry: list[Any]) -> str:
    return str(entry[{"deliver": 4, "confirm": 2, "return": 2}[entry[0]]])


@RUNS_EACH
@given(RUNS, RANDOM, ENDS)
def test_a_consistent_run_has_an_empty_verdict(run: Any, order: random.Random, end: str) -> None:
    story = tell(run, order, end)
    assert tally(story) == {}
    verdict = story.verdict()
    published = sum(len(messages) for channels in run for messages in channels)
    assert verdict.compared["publish"] == verdict.compared["confirm"] == published
    frames = verdict.compared.total() - verdict.compared["consume"]
    assert verdict.judged == (frames if end == "close" else 0)


@RUNS_EACH
@given(RUNS, RANDOM, RANDOM)
def test_the_order_of_independent_channels_and_threads_changes_nothing(
    run: Any, one: random.Random, other: random.Random
) -> None:
    first, second = tell(run, one), tell(run, other)
    second.history = dict(reversed(second.history.items()))
    for left in second.remaining.values():
        left.reverse()
    assert first.verdict() == second.verdict()


@RUNS_EACH
@given(RUNS, RANDOM, ENDS, st.data())
def test_one_delivery_missing_in_the_middle_of_a_generation_is_always_a_loss(
    run: Any, order: random.Random, end: str, data: st.DataObject
) -> None:
    story = tell(run, order, end)
    seen = list(entries(story, "deliver"))
    middle = [
        (log, entry)
        for log, entry in seen
        if any(other[2] == entry[2] and other[1] > entry[1] for _, other in seen)
    ]
    assume(middle)
    log, entry = data.draw(st.sampled_from(middle))
    log.remove(entry)
    verdict = tally(story)
    acked = any(ack[5] == entry[4] for _, ack in entries(story, "ack"))
    kind = "lost_messages" if acked else "lost"
    assert verdict == {kind: [("deliver", identity_of(entry))]}


@RUNS_EACH
@given(RUNS, RANDOM, ENDS, st.data())
def test_one_confirm_or_return_missing_before_a_later_one_is_always_a_loss(
    run: Any, order: random.Random, end: str, data: st.DataObject
) -> None:
    story = tell(run, order, end)
    told = entries(story, "confirm", "return")
    middle = [
        (log, entry)
        for log, entry in told
        if any(other is log and later[1] > entry[1] for other, later in told)
    ]
    assume(middle)
    log, entry = data.draw(st.sampled_from(middle))
    log.remove(entry)
    lost = tally(story)
    # Nobody was told that the message is safe, should the client have disposed of it.
    assert lost == {"lost": [(entry[0], identity_of(entry))]}


@RUNS_EACH
@given(RUNS, RANDOM, ENDS, st.data())
def test_one_inbound_event_missing_anywhere_is_one_loss_or_one_doubt(
    run: Any, order: random.Random, end: str, data: st.DataObject
) -> None:
    story = tell(run, order, end)
    inbound = entries(story, "confirm", "return", "deliver")
    assume(inbound)
    log, entry = data.draw(st.sampled_from(inbound))
    log.remove(entry)
    verdict = tally(story)
    found = verdict.get("lost", []) + verdict.get("lost_messages", [])
    assert len(found) + verdict.get("in_doubt", 0) == 1
    assert found in ([], [(entry[0], identity_of(entry))])
    if end in ("close", "broker"):
        assert found
    assert verdict.get("dropped", 0) == (verdict.get("in_doubt", 0) if end == "client" else 0)
    assert not {"phantoms", "broker_lost", "broker_faults", "discarded"} & set(verdict)


@RUNS_EACH
@given(RUNS, RANDOM, ENDS, st.data())
def test_one_publish_missing_between_two_others_of_its_lease_is_always_a_loss(
    run: Any, order: random.Random, end: str, data: st.DataObject
) -> None:
    story = tell(run, order, end)
    crossed = events(story, "publish")
    middle = [
        (log, event)
        for log, event in crossed
        if any(o is log and e[2] == event[2] and e[0] < event[0] for o, e in crossed)
        and any(o is log and e[2] == event[2] and e[0] > event[0] for o, e in crossed)
    ]
    assume(middle)
    _log, event = data.draw(st.sampled_from(middle))
    identity = event[4]["id"]
    for what, trace in events(story, "publish", "confirm", "return", "deliver", "get_ok", "ack"):
        if trace[4].get("id") == identity:
            what.remove(trace)
    for kept, entry in entries(story, "confirm", "return", "deliver", "get", "ack"):
        if identity in entry:
            kept.remove(entry)
    for left in story.remaining.values():
        left[:] = [name for name in left if name != identity]
    assert tally(story) == {"lost": [("publish", identity)]}


@RUNS_EACH
@given(RUNS, RANDOM, ENDS, st.data())
def test_a_delivery_that_the_wire_does_not_have_is_exactly_one_phantom(
    run: Any, order: random.Random, end: str, data: st.DataObject
) -> None:
    story = tell(run, order, end)
    tried = [entry for _, entry in entries(story, "publish")]
    identity = data.draw(st.sampled_from(["nobody/1", *(entry[3] for entry in tried)]))
    t = data.draw(st.floats(0.0, story.t))
    story.log("other", "deliver", t, "other.1", 1, identity, identity, SIZE, CRC, False)
    assert tally(story) == {"phantoms": [("deliver", identity)]}


@RUNS_EACH
@given(RUNS, RANDOM, ENDS, st.data())
def test_a_word_that_the_broker_never_said_is_exactly_one_phantom(
    run: Any, order: random.Random, end: str, data: st.DataObject
) -> None:
    story = tell(run, order, end)
    said = events(story, "confirm", "return")
    assume(said)
    log, event = data.draw(st.sampled_from(said))
    log.remove(event)
    assume(event[1] == "return" or not event[4]["ack"] or not taken(story, event[4]["id"]))
    assert tally(story) == {"phantoms": [(event[1], event[4]["id"])]}


def taken(story: Story, identity: str) -> bool:
    return any(event[4].get("id") == identity for _, event in events(story, "deliver", "get_ok"))


@RUNS_EACH
@given(RUNS, RANDOM, st.data())
def test_one_ack_missing_in_p_is_exactly_one_loss(
    run: Any, order: random.Random, data: st.DataObject
) -> None:
    story = tell(run, order)
    acks = events(story, "ack")
    assume(acks)
    log, event = data.draw(st.sampled_from(acks))
    log.remove(event)
    identity = event[4]["id"]
    story.leave(identity, f"q.{identity.split('/')[0]}")  # the broker never heard of it
    assert tally(story) == {"lost": [("ack", identity)]}
