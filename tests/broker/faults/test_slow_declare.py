"""Late answers to queue.declare: the channel waits in order, the others do not."""

from __future__ import annotations

import time

import pytest
from pamqp import commands

from benchmarks.broker.session import KEPT_HIGH_WATER
from benchmarks.wire.client import WireClient

Q, B, C = commands.Queue, commands.Basic, commands.Channel
CLOSE = C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
OK = (1, "Queue.DeclareOk", "q", 0, 0)


def names(events):
    return [event[1] for event in events]


def test_the_answer_and_all_behind_it_is_late_and_in_order(peer, publishing, fire, broker):
    peer(1, commands.Confirm.Select())
    fire("slow_declare", ms=50)
    burst = [publishing(1, "", "q", b"x"), B.Get(queue="q"), B.Ack(delivery_tag=1)]
    assert peer(1, Q.Declare(queue="q"), *burst) == []
    assert (broker.queues, broker.due()) == ({}, pytest.approx(0.05))
    assert peer.after(0.049) == []
    assert peer.after(0.002) == [
        OK,
        (1, "Basic.Ack", 1, False),
        (1, "Basic.GetOk", 1, False, "", "q", 0, b"x"),
    ]
    assert (broker.stored, broker.due()) == (0, None)
    assert broker.faults.counted() == {"slow_declare": 1}


def test_each_declaration_waits_for_itself(peer, fire):
    fire("slow_declare", ms=50)
    passive = Q.Declare(queue="q", passive=True)
    assert peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=1), passive, B.Qos()) == []
    assert names(peer.after(0.051)) == ["Queue.DeclareOk", "Basic.QosOk"]
    assert names(peer.after(0.051)) == ["Queue.DeclareOk", "Basic.QosOk"]


def test_other_channels_and_controls_go_on(peer, exempt, fire):
    peer(2, C.Open())
    fire("slow_declare", ms=50)
    assert peer(1, Q.Declare(queue="q")) == []
    assert peer(2, B.Qos()) == [(2, "Basic.QosOk")]
    assert exempt(1, Q.Declare(queue="r")) == [(1, "Queue.DeclareOk", "r", 0, 0)]


def test_a_channel_that_waits_gets_no_deliveries(peer, connect, publishing, fire):
    peer(1, Q.Declare(queue="q"), B.Consume(queue="q", consumer_tag="t", no_ack=True))
    fire("slow_declare", ms=50)
    assert peer(1, Q.Declare(queue="q", passive=True)) == []
    connect()(1, publishing(1, "", "q", b"x"))
    assert peer.read() == []
    assert names(peer.after(0.051)) == ["Queue.DeclareOk", "Basic.Deliver"]


def test_an_error_behind_the_wait_is_the_channels(peer, fire):
    fire("slow_declare", ms=50)
    missing = Q.Declare(queue="none", passive=True)
    assert peer(1, missing, B.Qos()) == []
    assert [event[:3] for event in peer.after(0.051)] == [(1, "Channel.Close", 404)]
    assert peer(1, C.CloseOk(), C.Open()) == [(1, "Channel.OpenOk", "")]


def test_an_error_of_the_connection_too(peer, fire):
    fire("slow_declare", ms=50)
    assert peer(1, Q.Declare(queue="q"), C.Open()) == []
    assert [event[1:3] for event in peer.after(0.051)] == [
        ("Queue.DeclareOk", "q"),
        ("Connection.Close", 504),
    ]


def test_closing_and_opening_behind_the_wait(peer, fire):
    fire("slow_declare", ms=50)
    assert peer(1, Q.Declare(queue="q"), CLOSE, C.Open(), B.Qos()) == []
    assert names(peer.after(0.051)) == [
        "Queue.DeclareOk",
        "Channel.CloseOk",
        "Channel.OpenOk",
        "Basic.QosOk",
    ]


def test_at_heal_everybody_goes_on_at_once(peer, fire, broker):
    peer(2, C.Open())
    fire("slow_declare", ms=50)
    peer(0, b"")
    assert peer(1, Q.Declare(queue="q"), Q.Declare(queue="q")) == []
    assert peer(2, Q.Declare(queue="q")) == []
    broker.faults.heal()
    assert peer.read() == [OK, OK, (2, "Queue.DeclareOk", "q", 0, 0)]
    assert peer(1, Q.Declare(queue="q")) == [OK]


@pytest.mark.parametrize("how", ["lost", "closed"])
def test_what_came_in_before_the_end_counts(peer, exempt, publishing, fire, broker, how):
    exempt(1, Q.Declare(queue="q"), publishing(1, "", "q", b"1"))
    assert names(peer(1, B.Get(queue="q"))) == ["Basic.GetOk"]
    fire("slow_declare", ms=50)
    declare = Q.Declare(queue="q", passive=True)
    assert peer(1, declare, B.Ack(delivery_tag=1), declare, publishing(1, "", "q", b"2")) == []
    if how == "lost":
        peer.lose()
    else:
        close = commands.Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
        assert names(peer(0, close)) == ["Queue.DeclareOk"] * 2 + ["Connection.CloseOk"]
    got = exempt(1, B.Get(queue="q", no_ack=True), B.Get(queue="q"))
    assert (names(got), got[0][-1]) == (["Basic.GetOk", "Basic.GetEmpty"], b"2")
    assert (broker.stored, broker.due()) == (0, None)


def test_what_is_kept_is_bounded(peer, publishing, fire):
    fire("slow_declare", ms=50)
    assert peer(1, Q.Declare(queue="q")) == []
    sent = 0
    while peer.session.wants_read:
        assert peer(1, publishing(1, "", "q", bytes(1000))) == []
        sent += 1
        assert sent * 1000 < KEPT_HIGH_WATER
    # Silent it is because nobody reads it, not because it is gone.
    peer.broker.now += 1000
    peer.session.tick()
    assert not peer.session.abort
    assert peer.read() == [(0, "Heartbeat"), OK]
    assert peer.session.wants_read
    peer.broker.faults.heal()
    assert peer(1, Q.Declare(queue="q"))[0][3] == sent


def test_many_that_wait_and_go_wrong_end_together(peer, fire, broker):
    """More channels than Python has stack: none may end the connection out of another's wait."""
    numbers = range(2, 2000)
    for number in numbers:
        peer(number, C.Open())
    fire("slow_declare", ms=50)
    for number in numbers:
        assert peer(number, Q.Declare(queue="q"), C.Open()) == []
    peer.lose()
    assert (broker.stats()["sessions"], broker.due()) == (0, None)


def test_in_the_process(live, controlled):
    (peer, control), (process, _) = live, controlled
    assert control.fault("slow_declare", ms=10)["fired"]
    begun = time.monotonic()
    for _ in range(20):
        peer(1, Q.Declare(queue="q", passive=True), B.Qos())
        assert names(peer.get(2)) == ["Queue.DeclareOk", "Basic.QosOk"]
    # Not before their time, and not at the next look at the heartbeats only: that is 5 s in all.
    assert 0.2 <= time.monotonic() - begun < 2.5
    with WireClient("127.0.0.1", process.port) as witness:
        witness.queue_declare("w")
    assert control.stats()["effects"] == {"slow_declare": 20}
