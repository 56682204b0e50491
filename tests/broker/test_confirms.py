"""Publisher confirms and returns, one by one and coalesced."""

from __future__ import annotations

import pytest
from pamqp import commands

from benchmarks.broker.core import Broker, Settings

Q, B, C = commands.Queue, commands.Basic, commands.Channel


@pytest.fixture
def coalescing(connect_to):
    """A client of a broker that coalesces confirms."""
    return connect_to(Broker(Settings(coalesce_confirms=True)))


def test_each_publish_is_confirmed_from_select_on(peer, publishing):
    assert peer(1, publishing(1, "", "q")) == []
    assert peer(1, commands.Confirm.Select()) == [(1, "Confirm.SelectOk")]
    assert peer(1, publishing(1, "", "q"), publishing(1, "", "q", b"")) == [
        (1, "Basic.Ack", 1, False),
        (1, "Basic.Ack", 2, False),
    ]


def test_a_return_comes_before_its_confirm(peer, publishing):
    peer(1, commands.Confirm.Select())
    assert peer(1, publishing(1, "amq.topic", "k", b"back", mandatory=True)) == [
        (1, "Basic.Return", 312, "NO_ROUTE", "amq.topic", "k", b"back"),
        (1, "Basic.Ack", 1, False),
    ]


def test_channels_count_for_themselves(peer, publishing):
    peer(2, C.Open())
    peer(1, commands.Confirm.Select())
    peer(2, commands.Confirm.Select())
    mixed = peer(0, publishing(1, "", "q"), publishing(2, "", "q"), publishing(1, "", "q"))
    assert mixed == [
        (1, "Basic.Ack", 1, False),
        (2, "Basic.Ack", 1, False),
        (1, "Basic.Ack", 2, False),
    ]


def test_coalesced_confirms_of_one_read_are_one_multiple_ack(coalescing, publishing):
    peer = coalescing
    peer(2, C.Open())
    peer(1, commands.Confirm.Select())
    peer(2, commands.Confirm.Select())
    burst = [publishing(1, "", "q"), publishing(2, "", "q"), publishing(1, "", "q")]
    assert peer(0, *burst) == [(1, "Basic.Ack", 2, True), (2, "Basic.Ack", 1, False)]
    assert peer(0, *burst) == [(1, "Basic.Ack", 4, True), (2, "Basic.Ack", 2, False)]
    assert peer.broker.counts["confirmed"] == 6


def test_a_return_comes_before_its_coalesced_confirm(coalescing, publishing):
    coalescing(1, commands.Confirm.Select())
    events = coalescing(
        1, publishing(1, "", "no", b"r", mandatory=True), publishing(1, "", "no", b"s")
    )
    assert events == [
        (1, "Basic.Return", 312, "NO_ROUTE", "", "no", b"r"),
        (1, "Basic.Ack", 2, True),
    ]


@pytest.mark.parametrize(
    ("last", "answer"),
    [
        (B.Ack(delivery_tag=9), "Channel.Close"),
        (C.Close(reply_code=200, reply_text="", class_id=0, method_id=0), "Channel.CloseOk"),
    ],
)
def test_what_was_accepted_is_confirmed_before_the_channel_ends(
    coalescing, publishing, last, answer
):
    coalescing(1, commands.Confirm.Select())
    events = coalescing(1, publishing(1, "", "q"), publishing(1, "", "q"), last)
    assert events[0] == (1, "Basic.Ack", 2, True)
    assert [event[1] for event in events] == ["Basic.Ack", answer]


def test_what_was_accepted_is_confirmed_before_the_connection_ends(coalescing, publishing):
    coalescing(1, commands.Confirm.Select())
    close = commands.Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    events = coalescing(1, publishing(1, "", "q")) + coalescing(
        0, publishing(1, "", "q"), publishing(1, "", "q"), close
    )
    assert events == [
        (1, "Basic.Ack", 1, False),
        (1, "Basic.Ack", 3, True),
        (0, "Connection.CloseOk"),
    ]


def test_a_refused_publish_is_not_confirmed(peer, publishing):
    peer(1, commands.Confirm.Select())
    events = peer(1, publishing(1, "", "q"), publishing(1, "none", "q"), publishing(1, "", "q"))
    assert [event[1:3] for event in events] == [("Basic.Ack", 1), ("Channel.Close", 404)]
