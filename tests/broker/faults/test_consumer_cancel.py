"""Consumers that the broker cancels: their queue and what they have not acknowledged stay."""

from __future__ import annotations

from pamqp import commands

Q, B = commands.Queue, commands.Basic


def consume(peer, tag, channel=1):
    return peer(channel, B.Consume(queue="q", consumer_tag=tag))


def state(peer):
    return peer(1, Q.Declare(queue="q", passive=True))[0][2:]


def test_what_is_unacknowledged_stays_with_the_channel(peer, publishing, fire, broker):
    peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=2))
    peer(1, *[publishing(1, "", "q")] * 3)
    consume(peer, "t")
    fire("consumer_cancel")
    assert peer.read() == [(1, "Basic.Cancel", "t", True)]
    assert state(peer) == ("q", 1, 0)
    # Acks are good, and bring nothing more.
    assert peer(1, B.Ack(delivery_tag=1)) == []
    close = commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    peer(1, close, commands.Channel.Open())
    assert state(peer) == ("q", 2, 0)
    # The tag is free again.
    assert consume(peer, "t")[0] == (1, "Basic.ConsumeOk", "t")


def test_one_at_a_time_or_all(peer, connect, fire, broker):
    other = connect()
    peer(1, Q.Declare(queue="q"))
    consume(peer, "a")
    consume(peer, "b")
    consume(other, "c")
    fire("consumer_cancel")
    assert peer.read() == [(1, "Basic.Cancel", "a", True)]
    fire("consumer_cancel", consumers="all")
    assert peer.read() == [(1, "Basic.Cancel", "b", True)]
    assert other.read() == [(1, "Basic.Cancel", "c", True)]
    assert broker.faults.fire("consumer_cancel", {}) == {
        "fired": False,
        "why": "no client consumes",
    }
    assert broker.faults.counted() == {"consumer_cancel": 3}


def test_a_client_that_cannot_be_told_is_not_told(connect, publishing, fire):
    peer = connect(capabilities=False)
    peer(1, Q.Declare(queue="q"))
    consume(peer, "t")
    fire("consumer_cancel")
    assert peer(1, publishing(1, "", "q")) == []
    assert state(peer) == ("q", 1, 0)


def test_an_auto_delete_queue_goes_with_its_last_consumer(peer, fire, broker):
    peer(1, Q.Declare(queue="q", auto_delete=True))
    consume(peer, "a")
    consume(peer, "b")
    fire("consumer_cancel")
    assert list(broker.queues) == ["q"]
    fire("consumer_cancel", consumers="all")
    assert list(broker.queues) == []


def test_controls_are_not_hit(exempt, broker):
    exempt(1, Q.Declare(queue="q"))
    consume(exempt, "t")
    assert not broker.faults.fire("consumer_cancel", {"consumers": "all"})["fired"]


def test_in_the_process(live, publishing):
    peer, control = live
    peer(1, B.Consume(queue="q", consumer_tag="t"))
    peer.get(1)
    assert control.fault("consumer_cancel")["fired"]
    assert peer.get(1) == [(1, "Basic.Cancel", "t", True)]
    peer(1, publishing(1, "", "q"), Q.Declare(queue="q", passive=True))
    assert peer.get(2) == [(1, "Basic.Ack", 1, False), (1, "Queue.DeclareOk", "q", 1, 0)]
