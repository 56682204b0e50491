"""Omitted confirms: the message is there, its confirm never comes, and none covers it."""

from __future__ import annotations

from pamqp import commands

from benchmarks.broker.core import Broker, Settings

Q, C = commands.Queue, commands.Channel


def acks(events):
    return [event[2:] for event in events if event[1] == "Basic.Ack"]


def test_each_nth_confirm_never_comes_and_its_message_is_there(publisher, publishing, fire, broker):
    fire("confirm_omit", every=2)
    assert acks(publisher(1, *[publishing(1, "", "q")] * 5)) == [(1, False), (3, False), (5, False)]
    assert publisher(1, Q.Declare(queue="q", passive=True))[0][3] == 5
    assert broker.faults.heal() == ["confirm_omit"]
    assert publisher.after(100) == []
    assert acks(publisher(1, *[publishing(1, "", "q")] * 2)) == [(6, False), (7, False)]
    assert broker.faults.counted() == {"confirm_omit": 2}


def test_no_multiple_ack_covers_one_that_was_omitted(connect_to, publishing):
    broker = Broker(Settings(coalesce_confirms=True))
    peer = connect_to(broker)
    peer(1, commands.Confirm.Select())
    broker.faults.fire("confirm_omit", {"every": 3})
    assert acks(peer(1, *[publishing(1, "", "q")] * 5)) == [(2, True), (4, False), (5, False)]
    broker.faults.heal()
    # For as long as the channel lives; the next one of its number begins anew.
    assert acks(peer(1, *[publishing(1, "", "q")] * 2)) == [(6, False), (7, False)]
    peer(1, C.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    peer(1, C.Open(), commands.Confirm.Select())
    assert acks(peer(1, *[publishing(1, "", "q")] * 2)) == [(2, True)]


def test_closing_the_channel_confirms_it_neither(publisher, publishing, fire):
    fire("confirm_omit", every=1)
    close = C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    assert publisher(1, publishing(1, "", "q"), close) == [(1, "Channel.CloseOk")]


def test_controls_do_not_suffer(exempt, publishing, fire):
    fire("confirm_omit", every=1)
    assert acks(exempt(1, publishing(1, "", "q"))) == [(1, False)]


def test_in_the_process(live, publishing):
    peer, control = live
    assert control.fault("confirm_omit", every=2)["fired"]
    peer(1, *[publishing(1, "", "q")] * 3)
    assert acks(peer.get(2)) == [(1, False), (3, False)]
    assert control.heal()["healed"] == ["confirm_omit"]
    peer(1, Q.Declare(queue="q", passive=True))
    assert peer.get(1) == [(1, "Queue.DeclareOk", "q", 3, 0)]
