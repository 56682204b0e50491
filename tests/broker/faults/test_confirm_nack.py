"""Nacked publishes: no queue has them, and everybody else's go on as before."""

from __future__ import annotations

from pamqp import commands

from benchmarks.wire.client import WireClient

Q = commands.Queue


def ready(peer):
    return peer(1, Q.Declare(queue="q", passive=True))[0][3]


def test_each_nth_is_nacked_and_no_queue_gets_it(publisher, publishing, fire, broker):
    fire("confirm_nack", every=3)
    burst = [publishing(1, "", "q", b"%d" % number) for number in range(1, 7)]
    assert publisher(1, *burst) == [
        (1, "Basic.Ack", 1, False),
        (1, "Basic.Ack", 2, False),
        (1, "Basic.Nack", 3, False, False),
        (1, "Basic.Ack", 4, False),
        (1, "Basic.Ack", 5, False),
        (1, "Basic.Nack", 6, False, False),
    ]
    got = [publisher(1, commands.Basic.Get(queue="q", no_ack=True))[0][-1] for _ in range(4)]
    assert got == [b"1", b"2", b"4", b"5"]
    assert ready(publisher) == broker.stored == 0
    assert broker.faults.counted() == {"confirm_nack": 2}


def test_it_counts_over_all_channels_and_connections(publisher, connect, publishing, fire):
    other = connect()
    other(1, commands.Confirm.Select())
    fire("confirm_nack", every=2)
    assert publisher(1, publishing(1, "", "q")) == [(1, "Basic.Ack", 1, False)]
    assert other(1, publishing(1, "", "q")) == [(1, "Basic.Nack", 1, False, False)]


def test_what_no_queue_takes_is_confirmed_as_ever(publisher, publishing, fire):
    fire("confirm_nack", every=1)
    assert publisher(1, publishing(1, "", "none", b"r", mandatory=True)) == [
        (1, "Basic.Return", 312, "NO_ROUTE", "", "none", b"r"),
        (1, "Basic.Ack", 1, False),
    ]


def test_a_channel_without_confirms_loses_nothing(peer, publishing, fire):
    peer(1, Q.Declare(queue="q"))
    fire("confirm_nack", every=1)
    assert peer(1, publishing(1, "", "q")) == []
    assert ready(peer) == 1


def test_healed_or_over_it_nacks_no_more(publisher, publishing, fire, broker):
    fire("confirm_nack", every=1, seconds=2)
    assert publisher(1, publishing(1, "", "q"))[0][1] == "Basic.Nack"
    publisher.after(1.9)
    assert publisher(1, publishing(1, "", "q"))[0][1] == "Basic.Nack"
    publisher.after(0.1)
    assert publisher(1, publishing(1, "", "q")) == [(1, "Basic.Ack", 3, False)]
    fire("confirm_nack", every=1)
    assert broker.faults.heal("confirm_nack") == ["confirm_nack"]
    assert publisher(1, publishing(1, "", "q")) == [(1, "Basic.Ack", 4, False)]
    assert broker.faults.counted() == {"confirm_nack": 2}


def test_controls_do_not_suffer(publisher, exempt, publishing, fire):
    fire("confirm_nack", every=1)
    assert exempt(1, publishing(1, "", "q")) == [(1, "Basic.Ack", 1, False)]
    assert ready(publisher) == 1


def test_in_the_process(live, controlled, publishing):
    (peer, control), (process, _) = live, controlled
    assert control.fault("confirm_nack", every=2)["fired"]
    peer(1, publishing(1, "", "q"), publishing(1, "", "q"))
    assert peer.get(2) == [(1, "Basic.Ack", 1, False), (1, "Basic.Nack", 2, False, False)]
    with WireClient("127.0.0.1", process.port) as witness:
        for _ in range(4):  # it raises for a nack
            assert witness.publish("", "q", b"mine")
        assert witness.queue_declare("q", passive=True, durable=False).message_count == 5
    assert control.stats()["effects"] == {"confirm_nack": 1}
