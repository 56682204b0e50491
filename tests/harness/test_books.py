"""The books as a whole: empty and sane histories, each against the whole verdict."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.harness.books import Verdict
from tests.harness.story import Story, tally, told

#: What ``told()`` makes the books compare.
SANE = Counter(confirm=3, deliver=2, ack=2, publish=3, consume=1)
SANE["return"] = 1


def test_nothing_happened() -> None:
    assert Story().verdict() == Verdict()


def test_a_connection_on_which_nothing_happened() -> None:
    assert Story().connect().end().verdict() == Verdict()


def test_a_sane_run() -> None:
    # Of a consume-ok no book can say that it was lost.
    assert told().end().verdict() == Verdict(compared=SANE, judged=11)


def test_a_sane_run_whose_connection_is_still_open() -> None:
    assert told().verdict() == Verdict(compared=SANE, judged=11)


@pytest.mark.parametrize("how", ["fault:rst", "client", "client-error"])
def test_a_sane_run_on_a_faulted_connection_proves_nothing(how: str) -> None:
    assert told().end(how).verdict() == Verdict(compared=SANE, judged=0)


def test_several_generations_are_judged_each_on_its_own() -> None:
    story = told().end("fault:rst").connect()
    story.consume(consumer="consumer-0.2")
    story.publish("m3")
    story.confirm("m3")
    story.deliver(1, "m3", consumer="consumer-0.2")
    story.ack(1, "m3", consumer="consumer-0.2")
    expected = SANE + Counter(confirm=1, deliver=1, ack=1, publish=1, consume=1)
    assert story.end().verdict() == Verdict(compared=expected, judged=4)


def test_a_stall_that_was_released_faults_nothing() -> None:
    story = told()
    fault = {"kind": "stall", "t": story.t, "until": story.t + 1}
    story.generations[-1]["faults"].append(fault)
    story.message("m3", 3)
    assert tally(story.end()) == {}


def test_what_is_missing_after_a_released_stall_is_lost_and_not_in_doubt() -> None:
    story = told()
    fault = {"kind": "stall", "t": story.t, "until": story.t + 1}
    story.generations[-1]["faults"].append(fault)
    story.publish("x")
    story.confirm("x", told=None)
    story.leave("x")
    assert tally(story.end()) == {"lost": [("confirm", "x")]}


def test_a_message_that_comes_again_in_a_later_generation_is_a_duplicate_and_not_lost() -> None:
    story = Story().connect()
    story.consume()
    story.publish("m1")
    story.confirm("m1")
    story.deliver(1, "m1")
    story.end("fault:rst").connect()
    story.consume(consumer="consumer-0.2")
    story.deliver(1, "m1", consumer="consumer-0.2", redelivered=True)
    story.ack(1, "m1", consumer="consumer-0.2")
    assert tally(story.end()) == {"duplicates": 1}


def test_a_channel_number_that_is_used_again_starts_a_new_account() -> None:
    story = Story().connect()
    for incarnation in (1, 2, 3):
        story.open_channel(1, incarnation)
        consumer, name = f"consumer-0.{incarnation}", f"m{incarnation}"
        story.consume(1, incarnation, consumer=consumer)
        story.publish(name, 1, incarnation)
        story.confirm(name, 1, incarnation)
        story.deliver(1, name, 1, incarnation, consumer=consumer)
        story.ack(1, name, 1, incarnation, consumer=consumer)
        story.close_channel(1, incarnation)
    assert tally(story.end()) == {}


def test_a_hole_in_an_earlier_incarnation_is_not_filled_by_a_later_one() -> None:
    story = Story().connect()
    for incarnation in (1, 2):
        story.consume(1, incarnation, consumer=f"c{incarnation}")
        story.publish(f"m{incarnation}", 1, incarnation)
        told_of = incarnation == 2
        story.deliver(1, f"m{incarnation}", 1, incarnation, consumer=f"c{incarnation}",
                      told=told_of)  # fmt: skip
        story.tick()
        story.close_channel(1, incarnation)
    assert tally(story.end()) == {"lost": [("deliver", "m1")]}
