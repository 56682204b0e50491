"""The control: what the broker did must add up, and what does not is never the client's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.story import QUEUE, Story, tally, told


def confirmed(**more: Any) -> Story:
    """One message that the broker confirmed and delivered, and that is not settled yet."""
    story = Story().connect()
    story.consume(**more)
    story.publish("m1")
    story.confirm("m1")
    story.deliver(1, "m1", **more)
    return story


def test_confirmed_and_gone_is_the_brokers_loss() -> None:
    assert tally(confirmed().end()) == {"broker_lost": ["m1"]}


def test_confirmed_and_still_in_its_queue_is_not_lost() -> None:
    story = confirmed()
    story.leave("m1")
    assert tally(story.end()) == {}


def test_in_another_queue_it_is_lost_all_the_same() -> None:
    story = confirmed()
    story.leave("m1", "elsewhere")
    assert tally(story.end()) == {"broker_lost": ["m1"]}


@pytest.mark.parametrize(
    ("kind", "more", "lost"),
    [
        ("ack", {}, False),
        ("reject", {"requeue": False}, False),
        ("nack", {"requeue": False}, False),
        ("reject", {"requeue": True}, True),
        ("nack", {"requeue": True}, True),
    ],
)
@pytest.mark.parametrize("end", ["close", "fault:rst"])
def test_what_the_client_settled_is_not_the_brokers_loss(
    kind: str, more: dict[str, Any], lost: bool, end: str
) -> None:
    story = confirmed()
    story.log("consumer-0", "ack", story.t + 1, story.t + 1.1, "consumer-0.1", 1, "m1", "error", 3)
    story.settle(kind, 1, "m1", **more)
    assert tally(story.end(end)) == ({"broker_lost": ["m1"]} if lost else {})


def test_a_delivery_without_ack_settles_its_message() -> None:
    assert tally(confirmed(no_ack=True).end("fault:rst")) == {}


@pytest.mark.parametrize("ack", [None, False])
def test_what_was_not_confirmed_the_broker_need_not_keep(ack: bool | None) -> None:
    story = Story().connect()
    story.publish("m1")
    if ack is not None:
        story.confirm("m1", ack=ack, told="nack")
    assert tally(story.end()) == {}


def test_what_routes_nowhere_need_not_be_kept() -> None:
    story = Story().connect()
    story.publish("m1", routable=False)
    story.bounce("m1")
    story.confirm("m1")
    assert tally(story.end()) == {}


def test_every_private_queue_is_judged_on_its_own() -> None:
    story = Story().connect()
    for queue in ("q.a", "q.b"):
        story.publish(queue, queue=queue)
        story.confirm(queue)
    story.leave("q.a", "q.a")
    assert tally(story.end()) == {"broker_lost": ["q.b"]}


def test_settled_and_still_there_is_the_brokers_fault() -> None:
    story = told()
    story.leave("m1")
    assert tally(story.end()) == {
        "broker_faults": [f"m1 was published 1 times to {QUEUE}, and settled 1 times with 1 left"]
    }


@pytest.mark.parametrize("end", ["fault:rst", "broker"])
def test_an_ack_on_a_connection_that_broke_may_have_been_in_vain(end: str) -> None:
    story = told()
    story.leave("m2")
    assert tally(story.end(end)) == {}


def test_an_ack_on_a_channel_that_the_broker_closed_may_have_been_in_vain() -> None:
    story = told()
    story.close_by_broker()
    story.leave("m2")
    verdict = tally(story.end())
    verdict.pop("discarded", None)
    assert verdict == {}


def test_a_second_delivery_that_is_not_marked_redelivered_is_the_brokers_fault() -> None:
    story = confirmed().end("fault:rst").connect()
    story.consume(consumer="c2")
    story.deliver(1, "m1", consumer="c2")
    story.leave("m1")
    assert tally(story.end()) == {
        "duplicates": 1,
        "broker_faults": ["the broker delivered m1 2 times without the redelivered flag"],
    }


def test_a_node_that_was_killed_may_forget_a_delivery_and_an_ack_but_no_message() -> None:
    story = confirmed().end("fault:rst").connect()
    story.consume(consumer="c2")
    story.deliver(1, "m1", consumer="c2")
    story.leave("m1")
    story.forgetful = True
    assert tally(story.end()) == {"duplicates": 1}
    story = told()
    story.leave("m1")
    story.forgetful = True
    assert tally(story.end()) == {}
    story = confirmed()
    story.forgetful = True
    assert tally(story.end()) == {"broker_lost": ["m1"]}


def test_a_message_that_was_published_twice_may_come_as_new_twice() -> None:
    story = Story().connect()
    story.consume()
    story.publish("m1", status="error")
    story.publish("m1", tried=False)
    for tag in (1, 2):
        story.deliver(tag, "m1")
        story.ack(tag, "m1")
    assert tally(story.end()) == {"duplicates": 1}


def test_a_delivery_of_what_nobody_published_is_the_brokers_fault() -> None:
    story = told()
    story.deliver(3, "x")
    assert tally(story.end()) == {
        "broker_faults": ["the broker delivered x, which nobody published"]
    }


def test_a_delivery_out_of_a_queue_that_it_was_not_in_is_the_brokers_fault() -> None:
    story = told()
    story.publish("x", queue="q.other")
    story.deliver(3, "x")
    story.leave("x", "q.other")
    assert tally(story.end()) == {
        "broker_faults": [f"the broker delivered x out of {QUEUE}, where it never was"]
    }


def test_a_confirm_of_nothing_is_the_brokers_fault() -> None:
    story = told()
    story.tick()
    story.wire("confirm", seq=9, id=None, body_id=None, ack=True, unknown=True)
    verdict = tally(story.end())
    assert set(verdict) == {"broker_faults"}
    assert "nothing was outstanding" in verdict["broker_faults"][0]


def test_a_return_after_its_confirm_is_the_brokers_fault() -> None:
    story = told()
    story.publish("x", routable=False)
    story.confirm("x")
    story.bounce("x")
    assert tally(story.end()) == {
        "broker_faults": ["the broker returned x after it had confirmed it"]
    }


def test_two_returns_of_one_publish_are_the_brokers_fault() -> None:
    story = told()
    story.publish("x", routable=False)
    story.bounce("x")
    story.bounce("x", told=False)
    assert tally(story.end()) == {
        "broker_faults": ["the broker returned x 2 times for 1 publishes"]
    }


# -- what a cut swallows for good ------------------------------------------------------------


def swallowed(end: str, *, no_ack: bool = True, gets: int = 1, messages: int = 1) -> Story:
    """Messages that are gone behind gets whose answers the wire never carried."""
    story = Story().connect()
    for number in range(messages):
        story.publish(f"m{number}")
        story.confirm(f"m{number}")
    for _ in range(gets):
        t = story.tick()
        story.wire("get", queue=QUEUE, no_ack=no_ack)
        nothing = [None] * 6
        story.log("worker-0", "get", t, t + 1, QUEUE, 5, "error", no_ack, *nothing)
    return story.end(end)


@pytest.mark.parametrize(
    ("end", "expected"),
    [("fault:rst", {"in_doubt": 1}), ("client", {"in_doubt": 1, "dropped": 1})],
)
def test_the_answer_to_a_get_without_ack_may_go_with_the_connection(
    end: str, expected: Any
) -> None:
    assert tally(swallowed(end)) == expected


def test_each_get_swallows_one_message() -> None:
    assert tally(swallowed("fault:rst", gets=2, messages=3)) == {
        "in_doubt": 2,
        "broker_lost": ["m2"],
    }


def test_on_a_sound_connection_or_with_an_ack_it_is_the_brokers_loss() -> None:
    assert tally(swallowed("close")) == {"broker_lost": ["m0"]}
    assert tally(swallowed("fault:rst", no_ack=False)) == {"broker_lost": ["m0"]}


@pytest.mark.parametrize(
    ("no_ack", "end", "doubtful"),
    [(True, "fault:rst", True), (False, "fault:rst", False), (True, "close", False)],
)
def test_deliveries_without_ack_may_go_with_the_connection(
    no_ack: bool, end: str, doubtful: bool
) -> None:
    story = Story().connect()
    story.consume(no_ack=no_ack)
    for name in ("a", "b"):
        story.publish(name)
        story.confirm(name)
    expected = {"in_doubt": 2} if doubtful else {"broker_lost": ["a", "b"]}
    assert tally(story.end(end)) == expected
