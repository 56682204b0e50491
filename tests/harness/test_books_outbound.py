"""What the client said it had sent: publishes, acks, and replies to the right caller."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.books import TAIL
from tests.harness.story import QUEUE, Story, tally, told

# -- acks ------------------------------------------------------------------------------------


def missing_ack(status: str = "ok") -> Story:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.deliver(3, "x")
    story.ack(3, "x", status=status, crossed=False)
    story.leave("x")
    story.tick()
    return story


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("close", {"lost": [("ack", "x")]}),
        ("fault:rst", {"in_doubt": 1}),
        ("client", {"in_doubt": 1, "dropped": 1}),
        ("broker", {"lost": [("ack", "x")]}),
    ],
)
def test_an_ack_that_was_reported_and_never_crossed(end: str, expected: Any) -> None:
    assert tally(missing_ack().end(end)) == expected


@pytest.mark.parametrize("end", ["close", "fault:rst", "client", "broker"])
def test_an_ack_missing_before_one_that_crossed_is_lost(end: str) -> None:
    story = missing_ack()
    story.message("y", 4)
    assert tally(story.end(end)) == {"lost": [("ack", "x")]}


@pytest.mark.parametrize("status", ["error", "invoked"])
def test_an_ack_that_was_not_reported_as_sent_may_be_missing(status: str) -> None:
    assert tally(missing_ack(status).end()) == {}


def test_an_ack_sent_with_another_tag_is_lost() -> None:
    story = missing_ack()
    story.settle("ack", 4, "x", unknown=True)
    assert tally(story.end()) == {"lost": [("ack", "x")]}


def test_one_ack_on_the_wire_settles_one_ack_of_the_application() -> None:
    story = told()
    story.ack(2, "m2", crossed=False)
    assert tally(story.end()) == {"lost": [("ack", "m2")]}


def test_an_ack_that_nobody_asked_for_is_a_phantom() -> None:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.deliver(3, "x")
    story.settle("ack", 3, "x")
    assert tally(story.end()) == {"phantoms": [("ack", "x")]}


@pytest.mark.parametrize("what", ["channel", "connection"])
def test_an_ack_on_its_way_when_the_broker_closed_is_in_doubt(what: str) -> None:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.deliver(3, "x")
    story.ack(3, "x", crossed=False)
    story.leave("x")
    story.tick(0.5 * TAIL)
    if what == "channel":
        story.wire("server_close", code=404, text="")
    else:
        story.wire("connection_close", 0, 0, by="broker", code=320, text="")
    story.generations[-1].update(closed=story.tick(), end="close")
    assert tally(story) == {"in_doubt": 1}


# -- publishes that are missing --------------------------------------------------------------


def test_a_publish_that_returned_and_never_crossed_is_lost() -> None:
    story = told()
    story.publish("x", crossed=False)
    t = story.t
    assert story.end().verdict().lost == [
        {
            "direction": "outbound",
            "event": "publish",
            "identity": "x",
            "t": t,
            "thread": "worker-0",
            "lease": 7,
            "why": "no connection that was faulted can have swallowed it",
        }
    ]
    assert set(tally(story)) == {"lost"}


@pytest.mark.parametrize("status", ["error", "invoked"])
def test_a_publish_that_did_not_return_may_exist_any_number_of_times(status: str) -> None:
    story = told()
    story.publish("x", crossed=False, status=status)
    story.publish("y", status=status)
    story.publish("y", tried=False)
    story.leave("y")
    assert tally(story.end()) == {}


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("fault:rst", {"in_doubt": 2}),
        ("broker", {"in_doubt": 2}),
        ("client", {"in_doubt": 2, "dropped": 2}),
    ],
)
def test_a_publish_before_a_cut_is_in_doubt_and_one_behind_the_reconnect_is_lost(
    end: str, expected: Any
) -> None:
    story = told()
    story.publish("before", crossed=False, lease=8)
    story.end(end)
    story.publish("between", crossed=False, lease=9)
    story.connect()
    story.publish("x", crossed=False, lease=10)
    assert tally(story.end()) == expected | {"lost": [("publish", "x")]}


def test_a_publish_between_two_of_its_channel_that_crossed_is_lost_in_spite_of_the_cut() -> None:
    story = Story().connect()
    for number in (1, 2, 3):
        story.lease(number, "(1, 1)" if number < 3 else "(1, 2)")
    story.publish("a", lease=1)
    story.publish("x", lease=2, crossed=False)
    story.publish("b", lease=1)
    story.publish("y", lease=3, crossed=False)  # another channel: nothing is known of it
    story.publish("z", lease=2, crossed=False)  # the last of its channel: the cut's own
    assert tally(story.end("fault:rst")) == {"lost": [("publish", "x")], "in_doubt": 2}


def test_a_key_seen_on_two_connections_is_no_sandwich() -> None:
    story = Story().connect()
    story.lease(1, "1")
    story.lease(2, "1")
    story.publish("a", lease=1)
    story.publish("x", lease=1, crossed=False)
    story.end("fault:rst").connect()
    story.publish("b", lease=2)
    assert tally(story.end()) == {"in_doubt": 1}


def test_when_no_connection_comes_back_every_later_publish_is_in_doubt() -> None:
    story = told().end("fault:rst")
    story.publish("x", crossed=False)
    assert tally(story) == {"in_doubt": 1}


def test_a_publish_between_two_cuts_is_in_doubt() -> None:
    story = told().end("fault:rst").connect()
    story.publish("x", crossed=False)
    story.end("fault:rst").connect()
    assert tally(story.end()) == {"in_doubt": 1}


def test_a_publish_that_only_the_clients_own_hang_up_excuses_is_dropped() -> None:
    story = told().end("fault:rst").connect()
    story.publish("x", crossed=False, lease=8)
    story.end("client").connect()
    assert tally(story.end()) == {"in_doubt": 1, "dropped": 1}


def test_a_connection_that_was_never_ready_swallowed_nothing() -> None:
    story = told()
    story.end().connect(ready=False)
    story.publish("x", crossed=False)
    assert tally(story.end("client")) == {"lost": [("publish", "x")]}


def test_without_any_connection_nothing_can_have_swallowed_a_publish() -> None:
    story = Story()
    story.publish("x", crossed=False)
    assert tally(story) == {"lost": [("publish", "x")]}


def several(count: int) -> Story:
    """A connection for each thread, each with a lease on it."""
    story = Story()
    for number in range(count):
        story.connect()
        story.lease(number, f"c{number}")
        story.publish(f"first-{number}", lease=number)
    return story


def test_several_connections_killed_at_once_are_excused_until_each_came_back() -> None:
    story = several(3)
    for number in range(3):
        story.end("fault:rst", number)
    story.connect()  # the first to come back says nothing of the others
    for number in range(3):
        story.publish(f"late-{number}", lease=number, crossed=False)
    story.connect().connect()
    assert tally(story) == {"in_doubt": 3}


def test_when_all_came_back_nothing_is_excused_any_more() -> None:
    story = several(3)
    for number in range(3):
        story.end("fault:rst", number)
    story.connect().connect().connect()
    story.publish("x", lease=9, crossed=False)
    assert tally(story) == {"lost": [("publish", "x")]}


def test_the_cut_of_another_connection_excuses_nothing() -> None:
    story = several(2)
    story.publish("x", lease=1, crossed=False)
    story.end("fault:rst", 0)
    assert tally(story) == {"lost": [("publish", "x")]}


@pytest.mark.parametrize("known", [True, False])
def test_a_publish_whose_channel_the_broker_closed_meanwhile_is_in_doubt(known: bool) -> None:
    story = Story().connect()
    story.lease(1, "(1, 1)")
    if known:
        story.publish("a", lease=1)
        story.confirm("a")
        story.leave("a")
    story.publish("x", lease=1, crossed=False)
    story.tick(0.5 * TAIL)
    story.wire("server_close", code=404, text="")
    assert tally(story.end()) == {"in_doubt": 1}


def test_the_close_of_another_channel_or_another_time_excuses_no_publish() -> None:
    story = Story().connect()
    story.lease(1, "(1, 1)")
    story.publish("a", lease=1)
    story.confirm("a")
    story.leave("a")
    story.publish("x", lease=1, crossed=False)
    story.wire("server_close", 2, code=404, text="")
    story.close_by_broker()
    assert tally(story.end()) == {"lost": [("publish", "x")]}


# -- publishes that crossed wrongly ----------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "fault:rst"])
@pytest.mark.parametrize(
    "altered",
    [
        {"size": 1},
        {"crc": 1},
        {"id": None},
        {"body_id": None},
        {"body_id": "m1"},
        {"routing_key": "elsewhere"},
    ],
)
def test_a_publish_altered_on_the_way_is_one_phantom(altered: dict[str, Any], end: str) -> None:
    story = told()
    story.publish("x", **altered)
    assert tally(story.end(end)) == {"phantoms": [("publish", "x")]}


def test_an_unroutable_publish_may_have_any_key_but_that_of_a_queue() -> None:
    story = told()
    story.publish("x", routable=False, routing_key="anything")
    story.publish("y", routable=False, routing_key=QUEUE)
    assert tally(story.end()) == {"phantoms": [("publish", "y")]}


def test_a_publish_that_nobody_tried_is_a_phantom_and_so_is_what_is_told_of_it() -> None:
    story = told()
    story.publish("x", tried=False)
    story.confirm("x", told=None)
    story.leave("x")
    assert tally(story.end()) == {"phantoms": [("publish", "x")]}


@pytest.mark.parametrize("end", ["close", "fault:rst"])
def test_a_publish_carried_twice_for_one_call_is_one_phantom(end: str) -> None:
    story = told()
    story.publish("x")
    story.confirm("x")
    story.end(end).connect()
    story.publish("x", tried=False)
    story.confirm("x", told=None)
    story.leave("x")
    story.leave("x")
    assert tally(story.end()) == {"phantoms": [("publish", "x")]}


# -- replies ---------------------------------------------------------------------------------


def test_a_declare_answered_with_its_own_name_is_sound() -> None:
    story = told()
    story.declare("a", "a")
    assert tally(story.end()) == {}


def test_a_declare_answered_with_another_name_is_a_phantom() -> None:
    story = told()
    story.declare("a", "b")
    story.declare("b", "b")
    assert tally(story.end()) == {"phantoms": [("declare_ok", "b")]}


def test_a_name_that_the_broker_got_wrong_is_no_phantom() -> None:
    story = told()
    story.declare("a", "b", said="b")
    verdict = tally(story.end())
    assert verdict == {"broker_faults": ["the broker answered a declare of a with b"]}


def test_a_consume_answered_with_another_tag_is_a_phantom() -> None:
    story = told()
    story.consume(2, consumer="mine", answered="yours")
    assert tally(story.end()) == {"phantoms": [("consume_ok", "yours")]}
