"""The books: empty, sane and pathological histories, each against the whole verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from benchmarks.harness.books import TAIL, Verdict
from tests.harness.story import CONSUMER, Story, told

#: What ``told()`` makes the books compare.
SANE = Counter(confirm=3, deliver=2, ack=2, publish=3)
SANE["return"] = 1


def counts(base: Counter[str] | None = None, **more: int) -> Counter[str]:
    total = Counter(base or {})
    total.update({"return" if kind == "bounce" else kind: n for kind, n in more.items()})
    return total


def inbound(story: Story, kind: str, identity: str, **more: Any) -> dict[str, Any]:
    """The witness for an inbound event of that identity, with its place on the wire."""
    generation, event = next(
        (generation, event)
        for generation in story.generations
        for event in generation["events"]
        if event[1] == kind and event[4]["id"] == identity
    )
    what = event[4]
    return {
        "direction": "inbound",
        "event": kind,
        "identity": identity,
        "generation": generation["generation"],
        "channel": event[2],
        "incarnation": event[3],
        "t": event[0],
        **{key: what[key] for key in ("consumer", "tag", "seq") if key in what},
        **more,
    }


# -- empty and sane --------------------------------------------------------------------------


def test_nothing_happened() -> None:
    assert Story().verdict() == Verdict()


def test_a_connection_on_which_nothing_happened() -> None:
    assert Story().connect().end().verdict() == Verdict()


def test_a_sane_run() -> None:
    assert told().end().verdict() == Verdict(compared=SANE, judged=11)


def test_a_sane_run_whose_connection_is_still_open() -> None:
    assert told().verdict() == Verdict(compared=SANE, judged=11)


def test_a_sane_run_that_was_killed_at_its_end_proves_nothing() -> None:
    assert told().end("fault:rst").verdict() == Verdict(compared=SANE, judged=0)


def test_several_generations_are_judged_each_on_its_own() -> None:
    story = told().end("fault:rst").connect()
    story.consume(consumer="consumer-0.2")
    story.publish("m3")
    story.confirm("m3")
    story.deliver(1, "m3", consumer="consumer-0.2")
    story.ack(1, "m3", consumer="consumer-0.2")
    assert story.end().verdict() == Verdict(
        compared=counts(SANE, confirm=1, deliver=1, ack=1, publish=1), judged=4
    )


def test_a_message_that_comes_again_in_a_later_generation_is_a_duplicate_and_not_lost() -> None:
    story = Story().connect()
    story.consume()
    story.publish("m1")
    story.confirm("m1")
    story.deliver(1, "m1")
    story.end("fault:rst").connect()
    story.consume(consumer="consumer-0.2")
    story.deliver(1, "m1", consumer="consumer-0.2")
    story.ack(1, "m1", consumer="consumer-0.2")
    assert story.end().verdict() == Verdict(
        duplicates=1, compared=counts(publish=1, confirm=1, deliver=2, ack=1), judged=2
    )


def test_a_redelivery_that_nobody_saw_is_lost_although_the_first_delivery_was_seen() -> None:
    story = Story().connect()
    story.consume()
    story.publish("m1")
    story.deliver(1, "m1")
    story.end("fault:rst").connect()
    story.consume(consumer="consumer-0.2")
    story.deliver(1, "m1", consumer="consumer-0.2", told=False)
    verdict = story.end().verdict()
    assert [(w["event"], w["generation"], w["consumer"]) for w in verdict.lost] == [
        ("deliver", 2, "consumer-0.2")
    ]
    assert verdict.in_doubt == 0


# -- inbound ---------------------------------------------------------------------------------


def lose(story: Story, kind: str) -> None:
    """One more event of that kind, which the application never hears of."""
    if kind == "confirm":
        story.publish("x")
        story.confirm("x", told=None)
        story.remaining = ["x"]
    elif kind == "return":
        story.publish("x", routable=False)
        story.bounce("x", told=False)
    else:
        story.publish("x")
        story.deliver(3, "x", told=False)


@pytest.mark.parametrize("kind", ["confirm", "return", "deliver"])
def test_what_crossed_the_wire_and_was_never_seen_is_lost(kind: str) -> None:
    story = told()
    lose(story, kind)
    assert story.end().verdict() == Verdict(
        lost=[inbound(story, kind, "x")],
        compared=counts(SANE, publish=1, **{kind.replace("return", "bounce"): 1}),
        judged=13,
    )


@pytest.mark.parametrize("kind", ["confirm", "return", "deliver"])
def test_the_same_on_a_killed_connection_is_in_doubt(kind: str) -> None:
    story = told()
    lose(story, kind)
    assert story.end("fault:rst").verdict() == Verdict(
        in_doubt=1,
        compared=counts(SANE, publish=1, **{kind.replace("return", "bounce"): 1}),
    )


@pytest.mark.parametrize("kind", ["confirm", "return", "deliver"])
def test_a_client_cannot_hide_a_loss_behind_its_own_hang_up(kind: str) -> None:
    story = told()
    lose(story, kind)
    assert story.end("client").verdict() == Verdict(
        in_doubt=1,
        dropped=1,
        compared=counts(SANE, publish=1, **{kind.replace("return", "bounce"): 1}),
    )


@pytest.mark.parametrize("how", ["client", "broker", "client-error", "broker-error"])
def test_a_connection_that_ends_by_itself_drops_nothing_when_nothing_is_missing(how: str) -> None:
    assert told().end(how).verdict() == Verdict(compared=SANE)


@pytest.mark.parametrize(
    ("ack", "outcome"), [(True, "nack"), (False, "ack"), (True, "unknown"), (False, "unknown")]
)
def test_a_confirm_told_with_the_wrong_outcome_is_lost(ack: bool, outcome: str) -> None:
    story = told()
    story.publish("x")
    story.confirm("x", told=outcome, ack=ack)
    story.remaining = ["x"]
    assert story.end().verdict() == Verdict(
        lost=[inbound(story, "confirm", "x")],
        compared=counts(SANE, publish=1, confirm=1),
        judged=13,
    )


def test_a_nack_told_as_a_nack_is_sound() -> None:
    story = told()
    story.publish("x")
    story.confirm("x", told="nack", ack=False)
    assert story.end().verdict() == Verdict(compared=counts(SANE, publish=1, confirm=1), judged=13)


def test_a_confirm_of_what_nobody_published_is_not_this_books_affair() -> None:
    story = told()
    story.confirm(None, told=None)
    assert story.end().verdict() == Verdict(compared=SANE, judged=11)


def test_a_return_credited_to_another_publish_is_lost() -> None:
    story = told()
    story.publish("x", routable=False)
    story.bounce("x", told=False)
    story.log("worker-0", "return", story.tick(), "r1")
    assert story.end().verdict().lost == [inbound(story, "return", "x")]


def test_two_returns_on_the_wire_are_not_one_return_told() -> None:
    story = told()
    story.bounce("r1", told=False)
    verdict = story.end().verdict()
    assert [(w["event"], w["identity"], w["t"]) for w in verdict.lost] == [
        ("return", "r1", story.t - 1)
    ]


def test_a_delivery_told_with_another_tag_is_lost() -> None:
    story = told()
    story.publish("x")
    story.deliver(3, "x", told_tag=4)
    verdict = story.end().verdict()
    assert verdict == Verdict(
        lost=[inbound(story, "deliver", "x")],
        compared=counts(SANE, publish=1, deliver=1),
        judged=13,
    )


def test_a_delivery_given_to_another_consumer_is_lost() -> None:
    story = told()
    story.publish("x")
    story.deliver(3, "x", told=False)
    story.log("consumer-1", "deliver", story.t, "consumer-1.1", 3, "x", "x", 64, 0, False)
    assert story.end().verdict().lost == [inbound(story, "deliver", "x")]


# -- discarded -------------------------------------------------------------------------------


def test_the_tail_behind_the_applications_own_cancel_is_discarded() -> None:
    story = told()
    story.cancel()
    story.deliver(3, "late", told=False)
    story.deliver(4, "later", told=False)
    assert story.end().verdict() == Verdict(discarded=2, compared=SANE, judged=11)


def test_a_hole_before_a_delivery_that_was_seen_is_no_tail() -> None:
    story = told()
    story.cancel()
    story.deliver(3, "hole", told=False)
    story.deliver(4, "seen")
    assert story.end().verdict() == Verdict(
        lost=[inbound(story, "deliver", "hole")], compared=counts(SANE, deliver=2), judged=13
    )


@pytest.mark.parametrize(("before", "discarded"), [(TAIL * 0.9, 1), (TAIL * 1.1, 0)])
def test_the_tail_begins_shortly_before_the_cancel(before: float, discarded: int) -> None:
    story = told()
    story.deliver(3, "x", told=False)
    story.log("consumer-0", "cancel", story.t + before, story.t + 1, CONSUMER, "ok")
    verdict = story.end().verdict()
    assert (verdict.discarded, len(verdict.lost)) == (discarded, 1 - discarded)


def test_a_delivery_long_before_the_cancel_is_lost() -> None:
    story = told()
    story.deliver(3, "x", told=False)
    story.cancel()
    assert story.end().verdict().lost == [inbound(story, "deliver", "x")]


def test_the_cancel_of_another_consumer_excuses_nothing() -> None:
    story = told()
    story.cancel(consumer="consumer-1.1", thread="consumer-1")
    story.deliver(3, "x", told=False)
    assert story.end().verdict().lost == [inbound(story, "deliver", "x")]


def test_what_comes_in_behind_the_close_of_its_channel_is_discarded() -> None:
    story = told()
    story.publish("x")
    story.publish("y", routable=False)
    story.close_channel()
    story.remaining = ["x"]
    story.confirm("x", told=None)
    story.bounce("y", told=False)
    story.deliver(3, "x", told=False)
    assert story.end().verdict() == Verdict(
        discarded=3, compared=counts(SANE, publish=2), judged=13
    )


@pytest.mark.parametrize("kind", ["confirm", "return"])
def test_a_hole_before_a_close_is_no_tail(kind: str) -> None:
    story = told()
    story.publish("x", routable=kind == "confirm")
    story.publish("y", routable=kind == "confirm")
    story.close_channel()
    if kind == "confirm":
        story.confirm("x", told=None)
        story.confirm("y")
    else:
        story.bounce("x", told=False)
        story.bounce("y")
    assert story.end().verdict().lost == [inbound(story, kind, "x")]


def test_the_close_of_another_channel_or_incarnation_excuses_nothing() -> None:
    story = told()
    story.close_channel(2)
    story.wire("close", 1, 2, code=200)
    story.publish("x")
    story.confirm("x", told=None)
    assert story.end().verdict().lost == [inbound(story, "confirm", "x")]


@pytest.mark.parametrize("end", ["close", "fault:rst"])
def test_an_ack_of_what_the_application_never_saw_is_lost_even_behind_a_cancel_or_a_cut(
    end: str,
) -> None:
    story = told()
    story.publish("x")
    story.cancel()
    story.deliver(3, "x", told=False)
    story.ack(3, "x", tried=False)
    sound = end == "close"
    assert story.end(end).verdict() == Verdict(
        lost=[inbound(story, "deliver", "x", acked=True)],
        compared=counts(SANE, publish=1, deliver=1),
        judged=13 if sound else 0,
    )


# -- acks ------------------------------------------------------------------------------------


def missing_ack(end: str, status: str = "ok") -> Story:
    story = told()
    story.publish("x")
    story.deliver(3, "x")
    story.ack(3, "x", status=status, crossed=False)
    return story.end(end)


def test_an_ack_that_was_reported_and_never_crossed_the_wire_is_lost() -> None:
    story = missing_ack("close")
    assert story.verdict() == Verdict(
        lost=[
            {
                "direction": "outbound",
                "event": "ack",
                "identity": "x",
                "generation": 1,
                "consumer": CONSUMER,
                "tag": 3,
                "t": story.history["consumer-0"][-1][1],
            }
        ],
        compared=counts(SANE, publish=1, deliver=1, ack=1),
        judged=14,
    )


def test_an_ack_missing_on_a_killed_connection_is_in_doubt() -> None:
    assert missing_ack("fault:rst").verdict() == Verdict(
        in_doubt=1, compared=counts(SANE, publish=1, deliver=1, ack=1)
    )


@pytest.mark.parametrize("status", ["error", "invoked"])
def test_an_ack_that_was_not_reported_as_sent_may_be_missing(status: str) -> None:
    assert missing_ack("close", status).verdict() == Verdict(
        compared=counts(SANE, publish=1, deliver=1), judged=13
    )


def test_an_ack_sent_with_another_tag_is_lost() -> None:
    story = told()
    story.publish("x")
    story.deliver(3, "x")
    story.ack(3, "x", crossed=False)
    story.settle("ack", 4, "x")
    assert [w["tag"] for w in story.end().verdict().lost] == [3]


def test_one_ack_on_the_wire_settles_one_ack_of_the_application() -> None:
    story = told()
    story.publish("x")
    story.deliver(3, "x")
    story.ack(3, "x")
    story.ack(3, "x", crossed=False)
    assert [w["event"] for w in story.end().verdict().lost] == ["ack"]


# -- publishes -------------------------------------------------------------------------------


def lost_publish(story: Story, identity: str = "x") -> list[dict[str, Any]]:
    entry = next(e for e in story.history["worker-0"] if e[0] == "publish" and e[3] == identity)
    return [
        {
            "direction": "outbound",
            "event": "publish",
            "identity": identity,
            "lease": 7,
            "t": entry[1],
        }
    ]


def test_a_publish_that_returned_and_never_crossed_the_wire_is_lost() -> None:
    story = told()
    story.publish("x", crossed=False)
    assert story.end().verdict() == Verdict(
        lost=lost_publish(story), compared=counts(SANE, publish=1), judged=12
    )


@pytest.mark.parametrize("status", ["error", "invoked"])
def test_a_publish_that_did_not_return_may_exist_or_not(status: str) -> None:
    story = told()
    story.publish("x", crossed=False, status=status)
    story.publish("y", status=status)
    assert story.end().verdict() == Verdict(compared=SANE, judged=11)


def test_a_publish_before_a_cut_is_in_doubt_and_one_behind_it_is_lost() -> None:
    story = told()
    story.publish("before", crossed=False)
    story.end("fault:rst")
    story.publish("between", crossed=False)
    story.connect()
    story.publish("x", crossed=False)
    assert story.end().verdict() == Verdict(
        lost=lost_publish(story), in_doubt=2, compared=counts(SANE, publish=3), judged=1
    )


def test_with_no_sound_generation_behind_the_cut_every_publish_is_in_doubt() -> None:
    story = told().end("fault:rst").connect()
    story.publish("x", crossed=False)
    assert story.end("fault:rst").verdict() == Verdict(in_doubt=1, compared=counts(SANE, publish=1))


def test_a_publish_between_two_cuts_is_in_doubt() -> None:
    story = told().end("fault:rst").connect()
    story.publish("x", crossed=False)
    verdict = story.end("fault:rst").connect().end().verdict()
    assert (verdict.lost, verdict.in_doubt, verdict.dropped) == ([], 1, 0)


def test_a_publish_that_only_the_clients_own_hang_up_excuses_is_dropped() -> None:
    story = told().end("fault:rst").connect()
    story.publish("x", crossed=False)
    verdict = story.end("client").connect().end().verdict()
    assert (verdict.lost, verdict.in_doubt, verdict.dropped) == ([], 1, 1)


def test_a_connection_that_was_never_ready_swallowed_no_publish() -> None:
    story = told()
    story.publish("x", crossed=False)
    story.end().connect(ready=False)
    assert story.end("client").verdict() == Verdict(
        lost=lost_publish(story), compared=counts(SANE, publish=1), judged=12
    )


def test_without_any_connection_a_publish_is_in_doubt() -> None:
    story = Story()
    story.publish("x", crossed=False)
    assert story.verdict() == Verdict(in_doubt=1, compared=counts(publish=1))


def test_a_publish_whose_message_id_was_lost_is_found_by_its_body() -> None:
    story = told()
    story.publish("x", crossed=False)
    story.wire("publish", seq=4, id=None, body_id="x", routing_key="q")
    assert story.end().verdict() == Verdict(compared=counts(SANE, publish=1), judged=12)


# -- the control -----------------------------------------------------------------------------


def confirmed() -> Story:
    """One message that the broker confirmed and delivered, and that is not settled yet."""
    story = Story().connect()
    story.consume()
    story.publish("m1")
    story.confirm("m1")
    story.deliver(1, "m1")
    return story


def test_confirmed_and_gone_is_the_brokers_loss() -> None:
    assert confirmed().end().verdict() == Verdict(
        broker_lost=["m1"], compared=counts(publish=1, confirm=1, deliver=1), judged=3
    )


def test_confirmed_and_still_in_the_queue_is_not_lost() -> None:
    story = confirmed()
    story.remaining = ["m1"]
    assert story.end().verdict().broker_lost == []


@pytest.mark.parametrize(
    ("kind", "more", "lost"),
    [
        ("ack", {}, []),
        ("reject", {"requeue": False}, []),
        ("nack", {"requeue": False}, []),
        ("reject", {"requeue": True}, ["m1"]),
        ("nack", {"requeue": True}, ["m1"]),
    ],
)
def test_what_the_client_disposed_of_is_not_the_brokers_loss(
    kind: str, more: dict[str, Any], lost: list[str]
) -> None:
    story = confirmed()
    story.settle(kind, 1, "m1", **more)
    assert story.end().verdict().broker_lost == lost


def test_a_delivery_that_needs_no_ack_settles_its_message() -> None:
    story = Story().connect()
    story.consume()
    story.publish("m1")
    story.confirm("m1")
    story.deliver(1, "m1", no_ack=True)
    assert story.end().verdict().broker_lost == []


def test_what_was_never_confirmed_or_never_routed_cannot_be_lost_by_the_broker() -> None:
    story = Story().connect()
    story.publish("unconfirmed")
    story.publish("nacked")
    story.confirm("nacked", told="nack", ack=False)
    story.publish("unrouted", routable=False)
    story.bounce("unrouted")
    story.confirm("unrouted")
    assert story.end().verdict().broker_lost == []


def test_the_control_holds_across_generations() -> None:
    story = confirmed()
    story.end("fault:rst").connect()
    story.consume(consumer="consumer-0.2")
    story.deliver(1, "m1", consumer="consumer-0.2")
    story.ack(1, "m1", consumer="consumer-0.2")
    assert story.end().verdict().broker_lost == []
