"""Reordered confirms: reversed in blocks, each channel for itself, and none too late."""

from __future__ import annotations

from pamqp import commands

C = commands.Channel


def tags(events, channel=1):
    return [event[2] for event in events if event[:2] == (channel, "Basic.Ack")]


def test_full_blocks_are_reversed_and_the_rest_has_a_time(publisher, publishing, fire, broker):
    fire("confirm_reorder", window=3, ms=20)
    assert tags(publisher(1, *[publishing(1, "", "q")] * 8)) == [3, 2, 1, 6, 5, 4]
    assert publisher.after(0.019) == []
    assert tags(publisher.after(0.002)) == [8, 7]
    assert broker.due() is None
    assert broker.faults.counted() == {"confirm_reorder": 8}


def test_channels_do_not_wait_for_each_other(publisher, publishing, fire):
    publisher(2, C.Open(), commands.Confirm.Select())
    fire("confirm_reorder", window=2)
    events = publisher(0, publishing(1, "", "q"), publishing(2, "", "q"), publishing(1, "", "q"))
    assert events == [(1, "Basic.Ack", 2, False), (1, "Basic.Ack", 1, False)]
    assert tags(publisher.after(0.021), 2) == [1]


def test_one_that_waits_for_each_confirm_gets_it_and_nothing_was_reordered(
    publisher, publishing, fire, broker
):
    fire("confirm_reorder", window=5)
    for tag in (1, 2):
        assert publisher(1, publishing(1, "", "q")) == []
        assert tags(publisher.after(0.021)) == [tag]
    assert broker.faults.counted() == {"confirm_reorder": 0}


def test_nacks_take_part(publisher, publishing, fire):
    fire("confirm_reorder", window=2)
    fire("confirm_nack", every=2)
    assert publisher(1, *[publishing(1, "", "q")] * 2) == [
        (1, "Basic.Nack", 2, False, False),
        (1, "Basic.Ack", 1, False),
    ]


def test_at_heal_and_before_the_channel_ends_all_goes_out(publisher, publishing, fire, broker):
    fire("confirm_reorder", window=5)
    publisher(1, *[publishing(1, "", "q")] * 2)
    broker.faults.heal()
    assert tags(publisher.read()) == [2, 1]
    fire("confirm_reorder", window=5)
    close = C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    events = publisher(1, *[publishing(1, "", "q")] * 2, close)
    assert [event[1:3] for event in events[:2]] == [("Basic.Ack", 4), ("Basic.Ack", 3)]
    assert events[2] == (1, "Channel.CloseOk")


def test_what_is_held_is_bounded(publisher, publishing, fire, monkeypatch):
    monkeypatch.setattr("benchmarks.broker.faults.holder.HELD_LIMIT", 3)
    publisher(2, C.Open(), commands.Confirm.Select())
    fire("confirm_reorder", window=100, ms=60_000)
    publisher(0, publishing(1, "", "q"), publishing(1, "", "q"), publishing(2, "", "q"))
    assert tags(publisher(2, publishing(2, "", "q"))) == [2, 1]
    assert tags(publisher(2, publishing(2, "", "q")), 2) == []


def test_controls_do_not_suffer(exempt, publishing, fire):
    fire("confirm_reorder", window=2)
    assert tags(exempt(1, publishing(1, "", "q"))) == [1]


def test_in_the_process(live, publishing):
    peer, control = live
    assert control.fault("confirm_reorder", window=3)["fired"]
    peer(1, *[publishing(1, "", "q")] * 4)
    assert tags(peer.get(4)) == [3, 2, 1, 4]
