"""Deliveries and gets: missing, given to others, altered, disposed of unseen, discarded."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.books import TAIL
from tests.harness.story import CONSUMER, CRC, QUEUE, SIZE, Story, tally, told


def lose(story: Story, tag: int = 3, identity: str = "x", **more: Any) -> None:
    """A message that is delivered and that nobody sees; it is left in the queue at the end."""
    story.publish(identity)
    story.confirm(identity)
    story.deliver(tag, identity, told=False, **more)
    story.leave(identity)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("close", {"lost": [("deliver", "x")]}),
        ("fault:rst", {"in_doubt": 1}),
        ("client", {"in_doubt": 1, "dropped": 1}),
    ],
)
def test_a_delivery_that_nobody_saw(end: str, expected: Any) -> None:
    story = told()
    lose(story)
    story.tick()
    assert tally(story.end(end)) == expected


@pytest.mark.parametrize("end", ["close", "fault:rst", "client", "broker"])
def test_a_hole_before_a_delivery_that_was_seen_is_lost(end: str) -> None:
    story = told()
    lose(story)
    story.message("y", 4)
    story.cancel()
    assert tally(story.end(end)) == {"lost": [("deliver", "x")]}


def test_a_delivery_seen_by_another_consumer_is_no_later_one_of_the_same_stream() -> None:
    story = told()
    story.consume(consumer="other", lease=4)
    lose(story)
    story.publish("y")
    story.confirm("y")
    story.deliver(4, "y", consumer="other")
    story.ack(4, "y", consumer="other", lease=4)
    assert tally(story.end("fault:rst")) == {"in_doubt": 1}


def test_a_witness_names_consumer_thread_and_lease() -> None:
    story = told()
    lose(story)
    t = story.t
    assert story.end().verdict().lost == [
        {
            "direction": "inbound",
            "event": "deliver",
            "identity": "x",
            "generation": 1,
            "channel": 1,
            "incarnation": 1,
            "t": t,
            "consumer": CONSUMER,
            "tag": 3,
            "thread": "consumer-0",
            "lease": 3,
            "why": "it crossed a connection that nothing had broken",
        }
    ]


def test_a_redelivery_that_nobody_saw_is_lost_although_the_first_was_seen() -> None:
    story = Story().connect()
    story.consume()
    story.publish("m1")
    story.deliver(1, "m1")
    story.end("fault:rst").connect()
    story.consume(consumer="consumer-0.2")
    story.deliver(1, "m1", consumer="consumer-0.2", told=False, redelivered=True)
    story.tick()
    assert tally(story.end()) == {"lost": [("deliver", "m1")]}


# -- no_ack ----------------------------------------------------------------------------------


def without_acks(end: str, *, seen: bool) -> Story:
    story = Story().connect()
    story.consume(no_ack=True)
    story.publish("m1")
    story.confirm("m1")
    story.deliver(1, "m1", no_ack=True, told=seen)
    story.tick()
    return story.end(end)


@pytest.mark.parametrize("end", ["close", "fault:rst"])
def test_a_consumer_without_acks(end: str) -> None:
    assert tally(without_acks(end, seen=True)) == {}


def test_a_delivery_without_ack_that_nobody_saw() -> None:
    assert tally(without_acks("close", seen=False)) == {"lost": [("deliver", "m1")]}
    assert tally(without_acks("fault:rst", seen=False)) == {"in_doubt": 1}


# -- phantoms --------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "fault:rst"])
@pytest.mark.parametrize(
    "altered",
    [
        {"size": SIZE + 1},
        {"crc": CRC + 1},
        {"redelivered": True},
        {"body_identity": "m2"},
        {"body_identity": None},
        {"identity": "m2"},
        {"identity": None},
        {"tag": 9},
        {"consumer": "consumer-1.1"},
    ],
)
def test_a_delivery_told_otherwise_than_it_was_carried_is_one_phantom(
    altered: dict[str, Any], end: str
) -> None:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.deliver(3, "x", told_as=altered)
    story.leave("x")
    story.tick()
    verdict = tally(story.end(end))
    assert set(verdict) == {"phantoms"}
    assert [event for event, _ in verdict["phantoms"]] == ["deliver"]


def test_an_ack_of_a_phantom_is_no_second_event() -> None:
    story = told()
    story.publish("x")
    story.deliver(3, "x", consumer="a", told=False)
    story.log("consumer-1", "deliver", story.t, "b", 3, "x", "x", SIZE, CRC, False)
    story.ack(3, "x", consumer="b", crossed=False)
    assert tally(story.end()) == {"phantoms": [("deliver", "x")]}


def test_a_delivery_handed_on_twice_is_one_phantom_and_no_duplicate() -> None:
    story = told()
    story.deliver(2, "m2", carried=False)
    assert tally(story.end()) == {"phantoms": [("deliver", "m2")]}


def test_a_delivery_handed_on_twice_does_not_stand_for_another_that_is_missing() -> None:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.deliver(3, "x")
    story.deliver(3, "x", carried=False)
    story.deliver(4, "x", redelivered=True, told=False)
    story.leave("x")
    story.tick()
    expected = {"lost": [("deliver", "x")], "phantoms": [("deliver", "x")]}
    assert tally(story.end()) == expected


@pytest.mark.parametrize(
    ("identity", "why"),
    [("m2", "the wire never carried it"), ("nobody", "nobody published it")],
)
def test_a_delivery_that_the_wire_never_carried_is_a_phantom(identity: str, why: str) -> None:
    story = told()
    story.deliver(9, identity, carried=False)
    verdict = story.end().verdict()
    assert [witness["why"] for witness in verdict.phantoms] == [why]
    assert tally(story) == {"phantoms": [("deliver", identity)]}


# -- disposed of unseen ----------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "fault:rst", "client", "broker"])
@pytest.mark.parametrize(
    ("kind", "more"), [("ack", {}), ("reject", {"requeue": False}), ("nack", {"requeue": False})]
)
def test_what_the_client_disposed_of_unseen_is_a_lost_message_alone(
    end: str, kind: str, more: dict[str, Any]
) -> None:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.cancel()
    story.deliver(3, "x", told=False)
    story.settle(kind, 3, "x", **more)
    assert tally(story.end(end)) == {"lost_messages": [("deliver", "x")]}


def disposed() -> Story:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.deliver(3, "x", told=False)
    story.settle("ack", 3, "x")
    return story


def test_an_acked_delivery_is_a_lost_frame_when_its_message_came_again() -> None:
    story = disposed()
    story.deliver(4, "x", redelivered=True)
    story.ack(4, "x")
    story.settle("ack", 9, "nothing")
    verdict = tally(story.end())
    del verdict["broker_faults"]  # it came again although it was acked
    assert verdict == {"lost": [("deliver", "x")]}


def test_an_acked_delivery_is_a_lost_frame_when_the_message_is_still_there() -> None:
    story = disposed()
    story.leave("x")
    assert tally(story.end("fault:rst")) == {"lost": [("deliver", "x")]}


@pytest.mark.parametrize("word", [None, "unknown"])
def test_an_acked_delivery_is_a_lost_frame_when_nobody_was_told_of_a_confirm(
    word: str | None,
) -> None:
    story = told()
    story.publish("x")
    story.deliver(3, "x", told=False)
    story.settle("ack", 3, "x")
    if word:
        story.log("worker-0", "confirm", story.tick(), "x", word)
    assert tally(story.end("fault:rst")) == {"lost": [("deliver", "x")]}


def test_a_multiple_ack_over_what_nobody_saw_loses_each_message_once() -> None:
    story = told()
    for tag, name in enumerate("abc", 3):
        story.publish(name)
        story.confirm(name)
        story.deliver(tag, name, told=name == "c")
    story.ack(5, "c", multiple=True)
    for tag, name in ((3, "a"), (4, "b")):
        story.settle("ack", tag, name, multiple=True)
    assert tally(story.end()) == {"lost_messages": [("deliver", "a"), ("deliver", "b")]}


@pytest.mark.parametrize("kind", ["reject", "nack"])
def test_a_reject_with_requeue_of_the_unseen_is_sound(kind: str) -> None:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.cancel()
    story.deliver(3, "x", told=False)
    story.settle(kind, 3, "x", requeue=True)
    story.leave("x")
    assert tally(story.end()) == {"discarded": 1}


# -- discarded -------------------------------------------------------------------------------


def test_deliveries_in_flight_when_the_application_cancels_are_discarded() -> None:
    story = told()
    lose(story, 3, "x")
    story.cancel()
    lose(story, 4, "y")
    # The one two tails before the cancel is lost; the one behind it is discarded.
    assert tally(story.end()) == {"discarded": 1, "lost": [("deliver", "x")]}


@pytest.mark.parametrize(
    ("before", "expected"),
    [(0.9 * TAIL, {"discarded": 1}), (1.1 * TAIL, {"lost": [("deliver", "x")]})],
)
@pytest.mark.parametrize("how", ["cancel", "release"])
def test_the_tail_begins_shortly_before_cancel_or_release(
    before: float, expected: Any, how: str
) -> None:
    story = told()
    lose(story)
    t = story.t + before
    if how == "cancel":
        story.log("consumer-0", "cancel", t, t + 0.1, CONSUMER, "ok")
    else:
        story.log("consumer-0", "released", t, t + 0.1, 3, "ok")
    story.tick(5 * TAIL)
    assert tally(story.end()) == expected


def test_a_hole_just_before_the_cancel_is_lost_when_a_later_delivery_was_seen() -> None:
    story = told()
    lose(story)
    story.t -= 2 * TAIL  # the hole, what was seen and the cancel within one tail
    story.log("consumer-0", "cancel", story.t + 0.5 * TAIL, story.t + TAIL, CONSUMER, "ok")
    story.t += 0.1 * TAIL
    story.wire(
        "deliver", consumer=CONSUMER, tag=4, id="x", body_id="x", size=SIZE, crc=CRC,
        redelivered=True, no_ack=False,
    )  # fmt: skip
    story.log("consumer-0", "deliver", story.t, CONSUMER, 4, "x", "x", SIZE, CRC, True)
    story.tick()
    assert tally(story.end()) == {"lost": [("deliver", "x")]}


def test_what_comes_for_a_consume_that_failed_is_discarded() -> None:
    story = Story().connect()
    story.consume(status="error")
    lose(story, 1)
    assert tally(story.end()) == {"discarded": 1}


def test_the_cancel_or_release_of_another_excuses_nothing() -> None:
    story = told()
    story.cancel(consumer="consumer-1.1", thread="consumer-1")
    story.release(99)
    lose(story)
    assert tally(story.end()) == {"lost": [("deliver", "x")]}


# -- gets ------------------------------------------------------------------------------------


def published(*names: str, queue: str = QUEUE) -> Story:
    story = Story().connect()
    for name in names:
        story.publish(name, queue=queue)
        story.confirm(name)
    return story


@pytest.mark.parametrize("no_ack", [False, True])
def test_a_sane_get(no_ack: bool) -> None:
    story = published("a")
    story.get("a", no_ack=no_ack)
    if not no_ack:
        story.ack(1, "a", consumer=None, lease=5)
    story.get(None)
    assert tally(story.end()) == {}
    assert story.verdict().compared["get_ok"] == story.verdict().compared["get_empty"] == 1


@pytest.mark.parametrize(
    ("end", "expected"),
    [("close", {"discarded": 1}), ("fault:rst", {"discarded": 1})],
)
@pytest.mark.parametrize("status", ["error", "invoked"])
def test_the_answer_to_a_get_that_failed_is_discarded(status: str, end: str, expected: Any) -> None:
    story = published("a")
    story.get("a", status=status)
    story.leave("a")
    assert tally(story.end(end)) == expected


def test_one_get_that_failed_discards_one_answer() -> None:
    story = published("a", "b")
    story.get("a", tag=1, status="error")
    story.get("b", tag=2, status="error")
    story.history["worker-0"].pop()
    story.leave("a")
    story.leave("b")
    story.tick()
    assert tally(story.end()) == {"discarded": 1, "lost": [("get_ok", "b")]}


def test_each_answer_is_explained_by_the_call_before_it_on_whatever_channel() -> None:
    story = published("a", "b")
    story.get("a", 2, status="error")
    story.get("b", 1, status="error")
    story.leave("a")
    story.leave("b")
    assert tally(story.end()) == {"discarded": 2}


@pytest.mark.parametrize("end", ["close", "fault:rst"])
def test_a_get_that_was_told_empty_lost_its_message_and_nothing_else(end: str) -> None:
    story = published("a")
    story.get("a", status="empty")
    story.leave("a")
    assert tally(story.end(end)) == {"lost": [("get_ok", "a")]}


def test_a_get_told_empty_that_the_broker_never_answered_so_is_a_phantom() -> None:
    story = published()
    story.get(None, said=False)
    assert tally(story.end()) == {"phantoms": [("get_empty", None)]}


def test_a_get_told_of_a_message_while_the_wire_said_empty_is_a_phantom() -> None:
    story = published("a")
    story.leave("a")
    story.get(None)
    story.history["worker-0"].pop()
    story.get("a", said=False)
    assert tally(story.end()) == {"phantoms": [("get_ok", "a")]}


@pytest.mark.parametrize("altered", [{"size": 1}, {"crc": 1}, {"redelivered": True}, {"tag": 9}])
def test_a_get_told_otherwise_than_it_was_answered_is_one_phantom(altered: Any) -> None:
    story = published("a")
    story.get("a", told_as=altered)
    story.leave("a")
    assert tally(story.end()) == {"phantoms": [("get_ok", "a")]}


def test_the_reply_to_somebody_elses_get_is_a_phantom_for_each_who_was_given_one() -> None:
    story = Story().connect()
    for queue in ("q.a", "q.b"):
        story.publish(queue, queue=queue)
        story.confirm(queue)
        story.leave(queue, queue)
    story.get("q.a", 1, queue="q.a", asked="q.b")
    story.get("q.b", 2, queue="q.b", asked="q.a")
    assert tally(story.end()) == {"phantoms": [("get_ok", "q.a"), ("get_ok", "q.b")]}


def test_a_get_of_the_wrong_queue_is_the_brokers_fault_where_the_broker_answered_so() -> None:
    story = Story().connect()
    for queue in ("q.a", "q.b"):
        story.publish(queue, queue=queue)
        story.confirm(queue)
        story.leave(queue, queue)
    story.get("q.a", queue="q.b")
    verdict = tally(story.end())
    assert set(verdict) == {"broker_faults"}
    assert len(verdict["broker_faults"]) == 1


def test_a_get_that_the_client_acked_and_never_handed_on_is_a_lost_message() -> None:
    story = published("a")
    story.get("a", status="error")
    story.settle("ack", 1, "a", consumer=None)
    assert tally(story.end()) == {"lost_messages": [("get_ok", "a")]}


def test_a_get_told_empty_whose_message_the_client_acked_is_one_lost_message() -> None:
    story = published("a")
    story.get("a", status="empty")
    story.settle("ack", 1, "a", consumer=None)
    assert tally(story.end()) == {"lost_messages": [("get_ok", "a")]}
    [witness] = story.verdict().lost_messages
    assert (witness["thread"], witness["lease"]) == ("worker-0", 5)


def test_a_get_is_matched_with_the_answer_that_came_in_its_own_time() -> None:
    """The same message under the same tag: each fresh channel begins at 1."""
    story = published("a")
    story.get("a", status="error")
    story.end("fault:rst")
    story.connect()
    story.get("a", redelivered=True)
    story.ack(1, "a", consumer=None, lease=5)
    assert tally(story.end()) == {"discarded": 1}


def test_two_gets_at_one_time_are_told_apart_by_the_redelivered_flag() -> None:
    story = published("a")
    story.get("a", 1, status="error")
    story.get("a", 2, redelivered=True)
    # The call that succeeded had begun before the one that failed.
    story.history["worker-0"][-1][1] = story.history["worker-0"][-2][1] - 0.5
    story.ack(1, "a", 2, consumer=None, lease=5)
    assert tally(story.end()) == {"discarded": 1}
