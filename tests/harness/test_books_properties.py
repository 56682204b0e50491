"""The books over many made-up runs: what is there is not lost, and what is missing is found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.harness.story import Story


@dataclass(frozen=True)
class Message:
    """What becomes of one publish; ``delivered`` and ``acked`` only where it was routed."""

    routable: bool
    ack: bool
    delivered: bool
    acked: bool


MESSAGES = st.builds(
    Message, st.sampled_from([True, True, False]), st.booleans(), st.booleans(), st.booleans()
)
#: Messages by channel by generation.
RUNS = st.lists(st.lists(st.lists(MESSAGES, max_size=4), min_size=1, max_size=3), max_size=3)


def tell(run: list[list[list[Message]]], order: random.Random, end: str = "close") -> Story:
    """A consistent P, A and Q; channels and their threads are interleaved by ``order``."""
    story = Story()
    for number, channels in enumerate(run):
        story.connect()
        todo = [
            channel_script(story, f"g{number}c{channel}", channel, messages)
            for channel, messages in enumerate(channels, 1)
        ]
        while any(todo):
            order.choice([script for script in todo if script]).pop(0)()
        story.end(end)
    return story


def channel_script(
    story: Story, name: str, channel: int, messages: list[Message]
) -> list[Callable[[], object]]:
    worker, thread = f"worker-{name}", f"consumer-{name}"
    script: list[Callable[[], object]] = [
        lambda: story.consume(channel, consumer=name, thread=thread)
    ]
    tag = 0
    for number, message in enumerate(messages):
        identity = f"{name}/{number}"
        told = "ack" if message.ack else "nack"

        def publish(identity: str = identity, message: Message = message) -> None:
            story.publish(identity, channel, routable=message.routable, thread=worker)
            if not message.routable:
                story.bounce(identity, channel, thread=worker)

        def confirm(identity: str = identity, message: Message = message, told: str = told) -> None:
            story.confirm(identity, channel, told=told, ack=message.ack, thread=worker)

        script += [publish, confirm]
        if message.routable and message.ack:
            if message.delivered:
                tag += 1

                def deliver(identity: str = identity, tag: int = tag) -> None:
                    story.deliver(tag, identity, channel, consumer=name, thread=thread)

                def ack(identity: str = identity, tag: int = tag) -> None:
                    story.ack(tag, identity, channel, consumer=name, thread=thread)

                script += [deliver, ack] if message.acked else [deliver]
            if not (message.delivered and message.acked):
                story.remaining.append(identity)
    return script


def entries(story: Story, *kinds: str) -> list[tuple[list[list[Any]], list[Any]]]:
    return [(log, entry) for log in story.history.values() for entry in log if entry[0] in kinds]


def identity_of(entry: list[Any]) -> str:
    return str(entry[{"publish": 3, "deliver": 4, "confirm": 2, "return": 2}[entry[0]]])


@given(RUNS, st.randoms(use_true_random=False), st.sampled_from(["close", "fault:rst", "client"]))
def test_a_consistent_run_loses_nothing(run: Any, order: random.Random, end: str) -> None:
    verdict = tell(run, order, end).verdict()
    assert (verdict.lost, verdict.in_doubt, verdict.dropped) == ([], 0, 0)
    assert (verdict.discarded, verdict.duplicates, verdict.broker_lost) == (0, 0, [])
    published = sum(len(messages) for channels in run for messages in channels)
    assert verdict.compared["publish"] == verdict.compared["confirm"] == published
    assert verdict.judged == (verdict.compared.total() if end == "close" else 0)


@given(RUNS, st.randoms(use_true_random=False), st.randoms(use_true_random=False))
def test_the_order_of_independent_channels_and_threads_changes_nothing(
    run: Any, one: random.Random, other: random.Random
) -> None:
    first, second = tell(run, one), tell(run, other)
    second.history = dict(reversed(second.history.items()))
    second.remaining.reverse()
    assert first.verdict() == second.verdict()


@given(RUNS, st.randoms(use_true_random=False), st.data())
def test_one_inbound_event_missing_in_a_is_exactly_one_loss(
    run: Any, order: random.Random, data: st.DataObject
) -> None:
    story = tell(run, order)
    inbound = entries(story, "confirm", "return", "deliver")
    assume(inbound)
    log, entry = data.draw(st.sampled_from(inbound))
    log.remove(entry)
    verdict = story.verdict()
    assert [(w["event"], w["identity"]) for w in verdict.lost] == [(entry[0], identity_of(entry))]
    assert (verdict.in_doubt, verdict.discarded, verdict.broker_lost) == (0, 0, [])


@given(RUNS, st.randoms(use_true_random=False), st.data())
def test_the_same_on_killed_connections_is_in_doubt_unless_it_was_acked(
    run: Any, order: random.Random, data: st.DataObject
) -> None:
    story = tell(run, order, "fault:rst")
    inbound = entries(story, "confirm", "return", "deliver")
    assume(inbound)
    log, entry = data.draw(st.sampled_from(inbound))
    log.remove(entry)
    acked = entry[0] == "deliver" and any(
        ack[5] == identity_of(entry) for _, ack in entries(story, "ack")
    )
    verdict = story.verdict()
    assert [w["identity"] for w in verdict.lost] == ([identity_of(entry)] if acked else [])
    assert (verdict.in_doubt, verdict.dropped) == (0 if acked else 1, 0)


@given(
    RUNS,
    st.randoms(use_true_random=False),
    st.sampled_from([("close", 1, 0, 0), ("fault:rst", 0, 1, 0), ("client", 0, 1, 1)]),
    st.data(),
)
def test_one_publish_missing_in_p_is_one_loss_or_one_doubt(
    run: Any, order: random.Random, expected: tuple[str, int, int, int], data: st.DataObject
) -> None:
    end, lost, in_doubt, dropped = expected
    story = tell(run, order, end)
    published = [
        (generation["events"], event)
        for generation in story.generations
        for event in generation["events"]
        if event[1] == "publish"
    ]
    assume(published)
    events, event = data.draw(st.sampled_from(published))
    events.remove(event)
    verdict = story.verdict()
    assert [(w["event"], w["identity"]) for w in verdict.lost] == [
        ("publish", event[4]["id"])
    ] * lost
    assert (verdict.in_doubt, verdict.dropped) == (in_doubt, dropped)


@given(RUNS, st.randoms(use_true_random=False), st.data())
def test_one_ack_missing_in_p_is_exactly_one_loss(
    run: Any, order: random.Random, data: st.DataObject
) -> None:
    story = tell(run, order)
    acks = [
        (generation["events"], event)
        for generation in story.generations
        for event in generation["events"]
        if event[1] == "ack"
    ]
    assume(acks)
    events, event = data.draw(st.sampled_from(acks))
    events.remove(event)
    story.remaining.append(event[4]["id"])  # the broker never heard of it
    verdict = story.verdict()
    assert [(w["event"], w["identity"]) for w in verdict.lost] == [("ack", event[4]["id"])]
    assert (verdict.in_doubt, verdict.broker_lost) == (0, [])
