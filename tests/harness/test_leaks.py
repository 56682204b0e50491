"""Leaks: empty, sane and pathological, each kind on its own."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.checkers import Finding, judge
from benchmarks.harness.checkers.leaks import living, open_channels
from tests.harness.reports import IDLE, REST, evidence, generation, ledger, report

ZERO = Finding(0)


def leaks(**more: Any) -> Finding:
    return judge(evidence(**more))["leaks"]


def opened(count: int, **more: Any) -> dict[str, Any]:
    """A connection on which that many channels were opened, the first ones first."""
    events = [(0.7 + number / 100, "open", number, 1) for number in range(1, count + 1)]
    return generation(1, *events, **more)


# -- empty and sane --------------------------------------------------------------------------


def test_without_any_connection_nothing_leaked() -> None:
    assert leaks(ledger={"generations": [], "faults": []}) == ZERO


def test_what_the_client_may_keep_is_no_leak() -> None:
    assert leaks(ledger=ledger(opened(IDLE))) == ZERO


@pytest.mark.parametrize("kind", ["close", "server_close"])
def test_a_channel_that_was_closed_is_no_leak_whoever_closed_it(kind: str) -> None:
    document = opened(IDLE + 1)
    document["events"].append([2.0, kind, 1, 1, {}])
    assert leaks(ledger=ledger(document)) == ZERO


def test_a_close_on_its_way_at_rest_is_no_leak() -> None:
    document = opened(IDLE + 1)
    document["events"].append([REST + 0.05, "close", 1, 1, {}])
    assert leaks(ledger=ledger(document)) == ZERO


def test_channels_of_connections_that_are_gone_are_no_leak() -> None:
    gone = opened(9, closed=1.0)
    assert leaks(ledger=ledger(gone, generation(2, (1.5, "open", 1, 1), opened=1.1))) == ZERO


def test_what_comes_up_after_rest_is_no_leak() -> None:
    later = generation(2, (3.2, "open", 1, 1), opened=REST + 0.1)
    document = opened(IDLE)
    document["events"].append([3.1, "open", 9, 1, {}])
    assert leaks(ledger=ledger(document, later)) == ZERO


# -- pathological ----------------------------------------------------------------------------


def test_the_channels_longest_unused_are_the_witnesses() -> None:
    document = opened(IDLE + 2)
    document["events"].append([1.0, "publish", 1, 1, {}])
    document["events"].append([1.1, "publish", 3, 1, {}])
    finding = leaks(ledger=ledger(document))
    assert finding.count == 2
    assert [(w["leak"], w["generation"], w["channel"]) for w in finding.witnesses] == [
        ("channel", 1, 2),
        ("channel", 1, 4),
    ]
    assert "4 channels are open at rest, 2 may be" in finding.witnesses[0]["detail"]


def test_a_channel_opened_again_after_its_close_is_open() -> None:
    document = opened(IDLE + 1)
    document["events"] += [[2.0, "close", 1, 1, {}], [2.1, "open", 1, 2, {}]]
    finding = leaks(ledger=ledger(document))
    assert [(w["channel"], w["incarnation"]) for w in finding.witnesses] == [(2, 1)]


def test_a_close_after_the_client_was_told_to_close_hides_no_leak() -> None:
    document = opened(IDLE + 1)
    document["events"].append([3.2, "close", 1, 1, {}])
    assert leaks(ledger=ledger(document)).count == 1


def test_channels_are_counted_over_all_connections() -> None:
    two = ledger(opened(IDLE), generation(2, (1.5, "open", 1, 1), opened=1.1))
    document = report()
    document["client"]["connections"] = 2
    finding = leaks(document=document, ledger=two)
    assert [w["leak"] for w in finding.witnesses] == ["channel"]


def test_a_connection_too_many_at_rest() -> None:
    finding = leaks(ledger=ledger(generation(1), generation(2, opened=0.6)))
    assert [(w["leak"], w["generation"]) for w in finding.witnesses] == [("connection", 1)]


def test_connections_that_are_up_after_close() -> None:
    finding = leaks(links_left=2)
    assert (finding.count, [w["leak"] for w in finding.witnesses]) == (2, ["link", "link"])


@pytest.mark.parametrize(
    ("key", "leak", "name"),
    [("new_threads", "thread", "amqpool-io"), ("new_fds", "fd", "socket:[123]")],
)
def test_what_is_left_after_close(key: str, leak: str, name: str) -> None:
    document = report()
    document["resources"][key] = [name]
    finding = leaks(document=document)
    assert [(w["leak"], w["name"]) for w in finding.witnesses] == [(leak, name)]
    assert name in finding.witnesses[0]["detail"]


# -- not judged ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "more", "reason"),
    [
        ({"rest_at": None}, {}, "the trial never came to rest"),
        ({"resources": None}, {}, "close() did not return"),
        ({}, {"ledger": None}, "there is no ledger"),
        ({}, {"links_left": None}, "nobody counted the connections after close"),
        (
            {"rest_at": None, "resources": None},
            {},
            "the trial never came to rest; close() did not return",
        ),
    ],
)
def test_where_nobody_could_look_it_is_not_judged(
    change: dict[str, Any], more: dict[str, Any], reason: str
) -> None:
    assert leaks(document=report(**change), **more) == Finding(None, reason=reason)


def test_a_leak_that_was_seen_counts_although_the_rest_was_not_judged() -> None:
    assert leaks(document=report(resources=None), ledger=ledger(opened(IDLE + 1))).count == 1
    assert leaks(document=report(rest_at=None), links_left=1).count == 1


# -- the parts -------------------------------------------------------------------------------


def test_living_generations() -> None:
    document = ledger(
        generation(1, opened=0.0, closed=1.0),
        generation(2, opened=0.5, closed=None),
        generation(3, opened=2.0),
    )
    numbers = {t: [one["generation"] for one in living(document, t)] for t in (0.2, 0.7, 1.0, 2.0)}
    assert numbers == {0.2: [1], 0.7: [1, 2], 1.0: [2], 2.0: [2, 3]}


def test_open_channels_know_when_they_were_last_used() -> None:
    one = generation(1, (1.0, "open", 1, 1), (1.5, "confirm", 1, 1), (9.0, "confirm", 1, 1))
    assert [vars(channel) for channel in open_channels([one], 2.0, 3.0)] == [
        {"generation": 1, "channel": 1, "incarnation": 1, "used": 1.5}
    ]
