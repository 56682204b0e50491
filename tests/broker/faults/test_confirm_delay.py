"""Delayed confirms: not before their time, in their order, and never on the next channel."""

from __future__ import annotations

import time

import pytest
from pamqp import commands

from benchmarks.broker.faults import holder

C = commands.Channel
CLOSE = C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)


def ack(channel, tag):
    return (channel, "Basic.Ack", tag, False)


def test_each_confirm_comes_after_its_own_time(publisher, publishing, fire, broker):
    fire("confirm_delay", ms=50)
    assert broker.due() is None
    assert publisher(1, publishing(1, "", "q")) == []
    assert broker.due() == pytest.approx(0.05)
    assert publisher.after(0.02) == []
    assert publisher(1, publishing(1, "", "q"), publishing(1, "", "q")) == []
    assert publisher.after(0.029) == []
    assert publisher.after(0.001) == [ack(1, 1)]
    assert broker.due() == pytest.approx(0.07)
    assert publisher.after(0.0201) == [ack(1, 2), ack(1, 3)]
    assert broker.due() is None
    assert broker.faults.counted() == {"confirm_delay": 3}


def test_the_message_and_its_return_are_not_late(publisher, publishing, fire):
    fire("confirm_delay", ms=50)
    publisher(1, publishing(1, "", "q", b"there"))
    assert publisher(1, commands.Basic.Get(queue="q"))[0][-1] == b"there"
    returned = publisher(1, publishing(1, "", "none", mandatory=True))
    assert [event[1] for event in returned] == ["Basic.Return"]
    assert publisher.after(0.06) == [ack(1, 1), ack(1, 2)]


def test_at_heal_all_goes_out_at_once(publisher, publishing, fire, broker):
    fire("confirm_delay", ms=50)
    publisher(1, publishing(1, "", "q"), publishing(1, "", "q"))
    broker.faults.heal("confirm_delay")
    assert publisher.read() == [ack(1, 1), ack(1, 2)]
    assert publisher(1, publishing(1, "", "q")) == [ack(1, 3)]
    assert publisher.after(0.1) == []


@pytest.mark.parametrize(
    ("end", "answer"),
    [
        (CLOSE, "Channel.CloseOk"),
        (commands.Basic.Ack(delivery_tag=9), "Channel.Close"),
    ],
)
def test_what_is_held_back_goes_out_before_the_channel_ends(
    publisher, publishing, fire, end, answer
):
    """And never on the next channel of that number, whose tags begin anew."""
    fire("confirm_delay", ms=50)
    publisher(2, C.Open(), commands.Confirm.Select())
    publisher(0, publishing(1, "", "q"), publishing(2, "", "q"), publishing(1, "", "q"))
    events = publisher(1, end)
    assert events[:2] == [ack(1, 1), ack(1, 2)]
    assert [event[1] for event in events[2:]] == [answer]
    if answer == "Channel.Close":
        publisher(1, C.CloseOk())
    publisher(1, C.Open(), commands.Confirm.Select(), publishing(1, "", "q"))
    assert publisher.after(0.06) == [ack(2, 1), ack(1, 1)]


def test_it_goes_out_before_the_connection_ends(publisher, publishing, fire, broker):
    fire("confirm_delay", ms=50)
    publisher(1, publishing(1, "", "q"))
    close = commands.Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    assert publisher(0, close) == [ack(1, 1), (0, "Connection.CloseOk")]


def test_a_lost_connection_takes_its_confirms_along(publisher, connect, publishing, fire, broker):
    fire("confirm_delay", ms=50)
    other = connect()
    publisher(1, publishing(1, "", "q"))
    publisher.lose()
    assert other.after(1) == []
    assert broker.due() is None


def test_what_is_held_is_bounded(publisher, publishing, fire, broker, monkeypatch):
    monkeypatch.setattr("benchmarks.broker.faults.confirm_delay.HELD_LIMIT", 4)
    assert holder.HELD_LIMIT > 1000
    fire("confirm_delay", ms=60_000)
    assert publisher(1, *[publishing(1, "", "q")] * 6) == [ack(1, 1), ack(1, 2)]
    # Channels that come and go leave no more behind than that either.
    for _ in range(10):
        publisher(1, CLOSE, C.Open(), commands.Confirm.Select(), publishing(1, "", "q"))
    fault = broker.faults.active["confirm_delay"].fault
    assert len(fault._order) <= 4
    assert len(fault._held) == 1


def test_controls_do_not_suffer(exempt, publishing, fire):
    fire("confirm_delay", ms=50)
    assert exempt(1, publishing(1, "", "q")) == [ack(1, 1)]


def test_in_the_process(live, publishing):
    peer, control = live
    assert control.fault("confirm_delay", ms=10)["fired"]
    begun = time.monotonic()
    for tag in range(1, 21):
        peer(1, publishing(1, "", "q"))
        assert peer.get(1) == [ack(1, tag)]
    # Not before their time, and not at the next look at the heartbeats only: that is 5 s in all.
    assert 0.2 <= time.monotonic() - begun < 2.5
