"""Coalesced confirms: one ack for all of a time, and never for what is not settled."""

from __future__ import annotations

from pamqp import commands

from benchmarks.broker.core import Broker, Settings

C = commands.Channel


def test_all_of_a_time_is_confirmed_by_one_ack(publisher, publishing, fire, broker):
    fire("confirm_coalesce", ms=20)
    assert publisher(1, *[publishing(1, "", "q")] * 2) == []
    assert publisher.after(0.01) == []
    assert publisher(1, publishing(1, "", "q")) == []
    assert publisher.after(0.011) == [(1, "Basic.Ack", 3, True)]
    assert publisher(1, publishing(1, "", "q")) == []
    assert publisher.after(0.021) == [(1, "Basic.Ack", 4, False)]
    assert broker.counts["confirmed"] == 4
    assert broker.faults.counted() == {"confirm_coalesce": 3}


def test_a_multiple_ack_ends_before_a_nack(publisher, publishing, fire):
    fire("confirm_coalesce", ms=20)
    fire("confirm_nack", every=3)
    assert publisher(1, *[publishing(1, "", "q")] * 5) == []
    assert publisher.after(0.021) == [
        (1, "Basic.Nack", 3, False, False),
        (1, "Basic.Ack", 2, True),
        (1, "Basic.Ack", 4, False),
        (1, "Basic.Ack", 5, False),
    ]
    # That one is settled now: it stops the next block no more.
    publisher(1, *[publishing(1, "", "q")] * 3)
    assert publisher.after(0.021) == [
        (1, "Basic.Nack", 6, False, False),
        (1, "Basic.Ack", 7, False),
        (1, "Basic.Ack", 8, False),
    ]
    publisher(1, publishing(1, "", "q"))
    publisher.after(0.021)
    publisher(1, *[publishing(1, "", "q")] * 2)
    assert publisher.after(0.021) == [(1, "Basic.Ack", 11, True)]


def test_at_heal_and_before_the_channel_ends_all_goes_out(publisher, publishing, fire, broker):
    fire("confirm_coalesce", ms=20)
    publisher(1, *[publishing(1, "", "q")] * 2)
    broker.faults.heal()
    assert publisher.read() == [(1, "Basic.Ack", 2, True)]
    fire("confirm_coalesce", ms=20)
    close = C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    assert publisher(1, *[publishing(1, "", "q")] * 2, close) == [
        (1, "Basic.Ack", 4, True),
        (1, "Channel.CloseOk"),
    ]


def test_a_broker_that_always_coalesces_does_so_again_afterwards(connect_to, publishing):
    broker = Broker(Settings(coalesce_confirms=True))
    peer = connect_to(broker)
    peer(1, commands.Confirm.Select())
    broker.faults.fire("confirm_delay", {"ms": 10})
    assert peer(1, *[publishing(1, "", "q")] * 2) == []
    assert peer.after(0.011) == [(1, "Basic.Ack", 1, False), (1, "Basic.Ack", 2, False)]
    broker.faults.heal()
    assert peer(1, *[publishing(1, "", "q")] * 2) == [(1, "Basic.Ack", 4, True)]


def test_controls_do_not_suffer(exempt, publishing, fire):
    fire("confirm_coalesce", ms=20)
    assert exempt(1, publishing(1, "", "q")) == [(1, "Basic.Ack", 1, False)]


def test_in_the_process(live, publishing):
    peer, control = live
    assert control.fault("confirm_coalesce", ms=300)["fired"]
    peer(1, publishing(1, "", "q"))
    peer(1, publishing(1, "", "q"))
    assert peer.get(1) == [(1, "Basic.Ack", 2, True)]
