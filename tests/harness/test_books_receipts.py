"""Confirms and returns: missing, late, wrong, fabricated, credited to another."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.books import TAIL
from tests.harness.story import Story, tally, told


def lose(story: Story, kind: str, identity: str = "x") -> None:
    """One more event of that kind, which the application never hears of."""
    story.publish(identity, routable=kind == "confirm")
    if kind == "confirm":
        story.confirm(identity, told=None)
        story.leave(identity)
    else:
        story.bounce(identity, told=False)


@pytest.mark.parametrize("kind", ["confirm", "return"])
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("close", "lost"),
        ("fault:rst", {"in_doubt": 1}),
        # A client cannot hide a loss behind its own hang-up: nobody's fault explains it.
        ("client", {"in_doubt": 1, "dropped": 1}),
        ("broker", "lost"),
    ],
)
def test_what_crossed_and_was_never_told(kind: str, end: str, expected: Any) -> None:
    story = told()
    lose(story, kind)
    story.tick()
    assert tally(story.end(end)) == ({"lost": [(kind, "x")]} if expected == "lost" else expected)


@pytest.mark.parametrize("kind", ["confirm", "return"])
def test_a_witness_names_place_thread_and_lease(kind: str) -> None:
    story = told()
    lose(story, kind)
    t = story.t
    (witness,) = story.end().verdict().lost
    assert witness.pop("seq", 4) == 4
    assert witness == {
        "direction": "inbound",
        "event": kind,
        "identity": "x",
        "generation": 1,
        "channel": 1,
        "incarnation": 1,
        "t": t,
        "thread": "worker-0",
        "lease": 7,
        "why": "it crossed a connection that nothing had broken",
    }


@pytest.mark.parametrize("kind", ["confirm", "return"])
@pytest.mark.parametrize("end", ["close", "fault:rst", "client", "broker"])
def test_a_hole_before_what_was_told_is_lost_however_it_ends(kind: str, end: str) -> None:
    story = told()
    lose(story, kind)
    story.publish("y")
    story.confirm("y")
    story.leave("y")
    assert tally(story.end(end)) == {"lost": [(kind, "x")]}


def test_a_return_whose_own_confirm_was_told_is_no_tail() -> None:
    story = told()
    story.publish("x", routable=False)
    story.bounce("x", told=False)
    story.confirm("x")
    assert tally(story.end("fault:rst")) == {"lost": [("return", "x")]}


def test_a_hole_on_another_channel_or_incarnation_proves_nothing() -> None:
    story = told()
    lose(story, "confirm")
    for channel, incarnation in ((2, 1), (1, 2)):
        story.publish(f"y{channel}", channel, incarnation, routable=False)
        story.confirm(f"y{channel}", channel, incarnation)
    assert tally(story.end("fault:rst")) == {"in_doubt": 1}


def test_a_multiple_ack_confirms_every_message() -> None:
    story = told()
    for name in "abc":
        story.publish(name)
    for name in "abc":  # the proxy expands it: three confirms in one moment
        story.confirm(name)
        story.leave(name)
    assert tally(story.end()) == {}


def test_a_multiple_ack_of_which_the_client_told_the_last_only_lost_the_others() -> None:
    story = told()
    for name in "abc":
        story.publish(name)
        story.leave(name)
    for name in "abc":
        story.confirm(name, told="ack" if name == "c" else None)
    assert tally(story.end()) == {"lost": [("confirm", "a"), ("confirm", "b")]}


def test_a_nack_told_as_a_nack_is_sound() -> None:
    story = told()
    story.publish("x")
    story.confirm("x", told="nack", ack=False)
    assert tally(story.end()) == {}


def test_a_confirm_told_as_unknown_is_lost() -> None:
    story = told()
    story.publish("x")
    story.confirm("x", told="unknown")
    story.leave("x")
    assert tally(story.end()) == {"lost": [("confirm", "x")]}


@pytest.mark.parametrize("ack", [True, False])
def test_a_confirm_told_in_other_words_is_a_phantom_alone(ack: bool) -> None:
    story = told()
    story.publish("x")
    story.confirm("x", told="nack" if ack else "ack", ack=ack)
    if ack:
        story.leave("x")
    assert tally(story.end()) == {"phantoms": [("confirm", "x")]}


@pytest.mark.parametrize("end", ["close", "fault:rst"])
def test_a_confirm_that_the_broker_never_sent_is_a_phantom(end: str) -> None:
    story = told()
    story.publish("x")
    story.confirm("x", said=False)
    assert tally(story.end(end)) == {"phantoms": [("confirm", "x")]}


@pytest.mark.parametrize("end", ["close", "fault:rst"])
def test_a_fabricated_confirm_of_what_was_never_sent_is_a_phantom_alone(end: str) -> None:
    story = told()
    story.publish("x", crossed=False)
    story.confirm("x", said=False)
    assert tally(story.end(end)) == {"phantoms": [("confirm", "x")]}
    assert "never crossed" in story.verdict().phantoms[0]["why"]


def test_a_confirm_told_before_the_broker_sent_it_is_a_phantom_alone() -> None:
    story = told()
    story.publish("x")
    story.log("worker-0", "confirm", story.tick(), "x", "ack")
    story.confirm("x", told=None)
    story.leave("x")
    assert tally(story.end()) == {"phantoms": [("confirm", "x")]}


def test_a_confirm_told_twice_is_one_phantom() -> None:
    story = told()
    story.log("worker-0", "confirm", story.tick(), "m1", "ack")
    assert tally(story.end()) == {"phantoms": [("confirm", "m1")]}


def test_a_confirm_credited_to_another_publish_is_one_phantom_that_names_it() -> None:
    story = told()
    story.publish("x")
    story.publish("y")
    story.confirm("x", told=None)
    story.log("worker-0", "confirm", story.t + 0.1, "y", "ack")
    story.confirm("y", told=None)
    story.leave("x")
    story.leave("y")
    assert tally(story.end()) == {"phantoms": [("confirm", "y")]}
    assert story.verdict().phantoms[0]["instead_of"] == "x"


def test_a_missing_confirm_is_lost_beside_a_phantom_that_came_before_it() -> None:
    story = told()
    story.publish("y")
    story.confirm("y", said=False)
    lose(story, "confirm")
    assert tally(story.end()) == {"lost": [("confirm", "x")], "phantoms": [("confirm", "y")]}


def test_a_phantom_on_another_channel_accounts_for_nothing() -> None:
    story = told()
    lose(story, "confirm")
    story.publish("y", 2)
    story.confirm("y", 2, said=False)
    assert tally(story.end()) == {"lost": [("confirm", "x")], "phantoms": [("confirm", "y")]}


def test_a_return_that_the_broker_never_sent_is_a_phantom() -> None:
    story = told()
    story.log("worker-0", "return", story.tick(), "m2")
    assert tally(story.end()) == {"phantoms": [("return", "m2")]}


def test_a_return_credited_to_another_publish_is_one_event() -> None:
    story = told()
    story.publish("x", routable=False)
    story.bounce("x", told=False)
    story.log("worker-0", "return", story.t + 0.1, "r1")
    assert tally(story.end()) == {"phantoms": [("return", "r1")]}


@pytest.mark.parametrize("status", ["error", "invoked"])
def test_what_answers_a_publish_that_did_not_return_is_discarded(status: str) -> None:
    story = told()
    story.publish("x", status=status, routable=False)
    story.bounce("x", told=False)
    story.confirm("x", told=None)
    story.publish("y", status=status, crossed=False)
    assert tally(story.end()) == {"discarded": 2}


def test_what_answers_a_call_that_failed_is_no_hole() -> None:
    story = told()
    story.publish("x", status="error")
    story.confirm("x", told=None)
    story.leave("x")
    story.message("m3", 3)
    assert tally(story.end()) == {"discarded": 1}


# -- ends of a channel -----------------------------------------------------------------------


def test_what_comes_in_behind_the_close_of_its_channel_is_discarded() -> None:
    story = told()
    story.publish("x")
    story.publish("y", routable=False)
    story.close_channel()
    story.leave("x")
    story.confirm("x", told=None)
    story.bounce("y", told=False)
    assert tally(story.end()) == {"discarded": 2}


@pytest.mark.parametrize(
    ("before", "expected"),
    [(0.9 * TAIL, {"discarded": 1}), (1.1 * TAIL, {"lost": [("confirm", "x")]})],
)
def test_the_tail_begins_shortly_before_the_close(before: float, expected: Any) -> None:
    story = told()
    lose(story, "confirm")
    story.tick(before)
    story.wire("close", code=200)
    assert tally(story.end()) == expected


def test_the_close_of_another_channel_or_incarnation_excuses_nothing() -> None:
    story = told()
    story.close_channel(2)
    story.close_channel(1, 2)
    lose(story, "confirm")
    assert tally(story.end()) == {"lost": [("confirm", "x")]}


@pytest.mark.parametrize("what", ["channel", "connection"])
def test_what_was_on_its_way_when_the_broker_closed_is_in_doubt(what: str) -> None:
    story = told()
    lose(story, "return")
    story.tick(0.9 * TAIL)
    if what == "channel":
        story.wire("server_close", code=404, text="")
        story.end()
        # And the publish itself was not confirmed when its channel was closed.
        assert tally(story) == {"in_doubt": 1, "discarded": 1}
    else:
        story.wire("connection_close", 0, 0, by="broker", code=320, text="")
        story.generations[-1].update(closed=story.tick(), end="close")
        assert tally(story) == {"in_doubt": 1}


def test_a_client_that_hangs_up_on_the_brokers_close_drops_nothing() -> None:
    story = told()
    lose(story, "confirm")
    story.tick(0.5 * TAIL)
    story.wire("connection_close", 0, 0, by="broker", code=320, text="")
    story.generations[-1].update(closed=story.tick(), end="client", faulted=True)
    assert tally(story) == {"in_doubt": 1}


def test_publishes_behind_what_the_broker_closed_the_channel_for_are_discarded() -> None:
    story = told()
    for name in "abc":
        story.publish(name)
    story.confirm("a")
    story.close_by_broker()
    for name in "bc":
        story.log("worker-0", "confirm", story.tick(), name, "unknown")
    story.leave("a")
    assert tally(story.end()) == {"discarded": 2}


@pytest.mark.parametrize("end", ["close", "fault:rst"])
def test_a_return_whose_confirm_the_broker_never_sent_was_told_all_the_same(end: str) -> None:
    story = told()
    story.publish("x", routable=False)
    story.bounce("x")
    story.publish("y")
    story.leave("y")
    assert tally(story.end(end)) == {}
