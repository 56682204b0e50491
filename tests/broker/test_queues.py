"""The life of messages in queues: order, redelivery, prefetch, acknowledgement."""

from __future__ import annotations

from pamqp import commands

from benchmarks.wire.frames import METHOD, frame

Q, B = commands.Queue, commands.Basic


def fill(peer, publishing, count, queue="q"):
    for number in range(count):
        assert peer(1, publishing(1, "", queue, b"m%d" % number)) == []


def get(peer, no_ack=False):
    return peer(1, B.Get(queue="q", no_ack=no_ack))[0][1:]


def state(peer, queue="q"):
    return peer(1, Q.Declare(queue=queue, passive=True))[0][2:]


def test_a_message_is_published_fetched_and_acknowledged(peer, publishing, broker):
    assert peer(1, Q.Declare(queue="q")) == [(1, "Queue.DeclareOk", "q", 0, 0)]
    fill(peer, publishing, 2)
    assert get(peer) == ("Basic.GetOk", 1, False, "", "q", 1, b"m0")
    assert get(peer, no_ack=True) == ("Basic.GetOk", 2, False, "", "q", 0, b"m1")
    assert get(peer) == ("Basic.GetEmpty", "")
    assert broker.stored > 0
    assert peer(1, B.Ack(delivery_tag=1)) == []
    assert broker.stored == 0


def test_messages_that_come_back_keep_their_place_and_say_so(peer, publishing):
    peer(1, Q.Declare(queue="q"))
    fill(peer, publishing, 5)
    for _ in range(4):
        get(peer)
    # Given back in the wrong order, on purpose.
    peer(1, B.Nack(delivery_tag=3, multiple=False, requeue=True))
    peer(1, B.Reject(delivery_tag=1, requeue=True))
    peer(1, B.Reject(delivery_tag=2, requeue=False))
    assert [get(peer)[2:] for _ in range(3)] == [
        (True, "", "q", 2, b"m0"),
        (True, "", "q", 1, b"m2"),
        (False, "", "q", 0, b"m4"),
    ]


def test_a_lost_connection_gives_everything_back_in_order(peer, connect, publishing, broker):
    peer(1, Q.Declare(queue="q"), commands.Basic.Qos(prefetch_count=2))
    fill(peer, publishing, 4)
    peer(1, B.Consume(queue="q", consumer_tag="t"))
    get(peer)
    peer.lose()
    assert broker.stats()["sessions"] == 0
    other = connect()
    assert [get(other)[2:] for _ in range(4)] == [
        (True, "", "q", 3, b"m0"),
        (True, "", "q", 2, b"m1"),
        (True, "", "q", 1, b"m2"),
        (False, "", "q", 0, b"m3"),
    ]


def test_multiple_and_tag_zero(peer, publishing, broker):
    peer(1, Q.Declare(queue="q"))
    fill(peer, publishing, 6)
    for _ in range(6):
        get(peer)
    assert peer(1, B.Ack(delivery_tag=2, multiple=True)) == []
    assert peer(1, B.Nack(delivery_tag=4, multiple=True, requeue=True)) == []
    assert state(peer) == ("q", 2, 0)
    assert peer(1, B.Ack(delivery_tag=0, multiple=True)) == []
    assert [get(peer, no_ack=True)[-1] for _ in range(2)] == [b"m2", b"m3"]
    assert broker.stored == 0
    # Nothing is outstanding: "all of it" is no error, any tag is.
    assert peer(1, B.Ack(delivery_tag=0, multiple=True)) == []
    assert peer(1, B.Ack(delivery_tag=2, multiple=True)) == [
        (1, "Channel.Close", 406, "PRECONDITION_FAILED - unknown delivery tag 2", 60, 80)
    ]


def test_prefetch_of_a_consumer(peer, publishing):
    peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=2))
    fill(peer, publishing, 5)
    assert peer(1, B.Consume(queue="q", consumer_tag="t")) == [
        (1, "Basic.ConsumeOk", "t"),
        (1, "Basic.Deliver", "t", 1, False, "", "q", b"m0"),
        (1, "Basic.Deliver", "t", 2, False, "", "q", b"m1"),
    ]
    assert peer(1, B.Ack(delivery_tag=1)) == [(1, "Basic.Deliver", "t", 3, False, "", "q", b"m2")]
    # A rejected one counts as room, and comes back before those behind it.
    assert peer(1, B.Reject(delivery_tag=3, requeue=True)) == [
        (1, "Basic.Deliver", "t", 4, True, "", "q", b"m2")
    ]
    assert peer(1, B.Cancel(consumer_tag="t")) == [(1, "Basic.CancelOk", "t")]
    assert peer(1, B.Ack(delivery_tag=0, multiple=True)) == []
    assert state(peer) == ("q", 2, 0)


def test_prefetch_of_a_channel_is_shared_and_gets_do_not_count(peer, publishing):
    peer(1, Q.Declare(queue="q"), Q.Declare(queue="r"), B.Qos(prefetch_count=3, global_=True))
    fill(peer, publishing, 4)
    fill(peer, publishing, 4, "r")
    get(peer)
    peer(1, B.Consume(queue="q", consumer_tag="t"))
    got = peer(1, B.Consume(queue="r", consumer_tag="u"))
    assert got == [(1, "Basic.ConsumeOk", "u")]  # t took all three
    assert peer(1, B.Ack(delivery_tag=2)) == [(1, "Basic.Deliver", "u", 5, False, "", "r", b"m0")]
    raised = peer(1, B.Qos(prefetch_count=5, global_=True))
    assert [event[1] for event in raised] == ["Basic.QosOk", "Basic.Deliver", "Basic.Deliver"]


def test_consumers_take_turns(peer, connect, publishing):
    other = connect()
    peer(1, Q.Declare(queue="q"))
    peer(1, B.Consume(queue="q", consumer_tag="a", no_ack=True))
    other(1, B.Consume(queue="q", consumer_tag="b", no_ack=True))
    mine = [peer(1, publishing(1, "", "q", b"m%d" % n)) for n in range(4)]
    assert [event[-1] for events in mine for event in events] == [b"m0", b"m2"]
    assert [event[-1] for event in other.read()] == [b"m1", b"m3"]


def test_recover_gives_back_what_is_unacknowledged(peer, publishing):
    peer(1, Q.Declare(queue="q"))
    fill(peer, publishing, 2)
    get(peer)
    assert peer(1, B.Recover(requeue=True)) == [(1, "Basic.RecoverOk")]
    assert get(peer) == ("Basic.GetOk", 2, True, "", "q", 1, b"m0")


def test_what_one_gives_back_another_gets_at_once(peer, connect, publishing):
    peer(1, Q.Declare(queue="q"))
    fill(peer, publishing, 1)
    get(peer)
    other = connect()
    assert other(1, B.Consume(queue="q", consumer_tag="t")) == [(1, "Basic.ConsumeOk", "t")]
    peer(1, B.Reject(delivery_tag=1, requeue=True))
    assert other.read() == [(1, "Basic.Deliver", "t", 1, True, "", "q", b"m0")]


def test_closing_a_channel_gives_back_and_cancels(peer, publishing):
    peer(1, Q.Declare(queue="q"))
    fill(peer, publishing, 2)
    peer(2, commands.Channel.Open())
    assert [event[:2] for event in peer(2, B.Consume(queue="q", consumer_tag="t"))] == [
        (2, "Basic.ConsumeOk"),
        (2, "Basic.Deliver"),
        (2, "Basic.Deliver"),
    ]
    assert state(peer) == ("q", 0, 1)
    close = commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    assert peer(2, close) == [(2, "Channel.CloseOk")]
    assert state(peer) == ("q", 2, 0)


def test_purge_counts_what_is_ready(peer, publishing, broker):
    peer(1, Q.Declare(queue="q"))
    fill(peer, publishing, 3)
    get(peer)
    assert peer(1, Q.Purge(queue="q")) == [(1, "Queue.PurgeOk", 2)]
    assert state(peer) == ("q", 0, 0)
    peer(1, B.Reject(delivery_tag=1, requeue=False))
    assert broker.stored == 0


def test_a_deleted_queue_takes_its_messages_and_consumers(peer, publishing, broker):
    peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=1))
    fill(peer, publishing, 3)
    peer(1, B.Consume(queue="q", consumer_tag="t"))
    assert peer(1, Q.Delete(queue="q", if_unused=True)) == [
        (1, "Channel.Close", 406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use", 50, 40)
    ]
    peer(1, commands.Channel.CloseOk(), commands.Channel.Open(), B.Qos(prefetch_count=1))
    peer(1, B.Consume(queue="q", consumer_tag="t"))
    assert peer(1, Q.Delete(queue="q")) == [
        (1, "Queue.DeleteOk", 2),
        (1, "Basic.Cancel", "t", True),
    ]
    # The delivered one comes back to a queue that is gone.
    assert peer(1, B.Reject(delivery_tag=1, requeue=True)) == []
    assert broker.stored == 0
    assert peer(1, Q.Delete(queue="q")) == [(1, "Queue.DeleteOk", 0)]


def test_what_was_fetched_stays_with_a_channel_until_close_ok(peer, publishing):
    peer(1, Q.Declare(queue="q"), Q.Declare(queue="r"))
    peer(1, publishing(1, "", "q"), publishing(1, "", "r"))
    peer(2, commands.Channel.Open(), B.Consume(queue="q", consumer_tag="t"), B.Get(queue="r"))
    assert peer(2, B.Ack(delivery_tag=9))[0][1] == "Channel.Close"
    # The channel consumed from the first queue, and only fetched from the second.
    assert [state(peer, "q")[1], state(peer, "r")[1]] == [1, 0]
    peer(2, commands.Channel.CloseOk())
    assert [state(peer, "q")[1], state(peer, "r")[1]] == [1, 1]


def test_consumers_come_back_in_the_order_in_which_they_left(peer, publishing):
    peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=2, global_=True))
    peer(1, B.Consume(queue="q", consumer_tag="a"), B.Consume(queue="q", consumer_tag="b"))
    # Both are tried and leave, "a" first.
    peer(1, *[publishing(1, "", "q")] * 4)
    # "a" takes one; then "b" is tried before it, and leaves first.
    assert [event[2:4] for event in peer(1, B.Ack(delivery_tag=1))] == [("a", 3)]
    events = peer(1, B.Qos(prefetch_count=3, global_=True))
    assert [event[2:4] for event in events if event[1] == "Basic.Deliver"] == [("b", 4)]


def test_whose_message_was_acknowledged_is_not_first_for_that(peer, publishing):
    peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=1, global_=True))
    peer(1, B.Consume(queue="q", consumer_tag="a"), B.Consume(queue="q", consumer_tag="b"))
    peer(1, *[publishing(1, "", "q")] * 2)
    # "a" had its turn, so "b" was tried first for the second message.
    assert [event[2:4] for event in peer(1, B.Ack(delivery_tag=1))] == [("b", 2)]


def test_what_was_fetched_before_a_limit_counts_against_it(peer, publishing):
    peer(1, Q.Declare(queue="q"), *[publishing(1, "", "q")] * 2)
    peer(1, B.Get(queue="q"), B.Qos(prefetch_count=1, global_=True))
    assert peer(1, B.Consume(queue="q", consumer_tag="t")) == [(1, "Basic.ConsumeOk", "t")]
    # Not even its ack makes room: RabbitMQ takes off only what consumers had.
    assert peer(1, B.Ack(delivery_tag=1)) == []
    events = peer(1, B.Qos(prefetch_count=0, global_=True))
    assert [event[1] for event in events] == ["Basic.QosOk", "Basic.Deliver"]


def test_a_full_channel_keeps_its_no_ack_consumers_waiting(peer, publishing):
    peer(1, Q.Declare(queue="q"), Q.Declare(queue="r"), B.Qos(prefetch_count=1, global_=True))
    peer(1, B.Consume(queue="q", consumer_tag="a"))
    peer(1, B.Consume(queue="r", consumer_tag="b", no_ack=True))
    assert peer(1, publishing(1, "", "q"), publishing(1, "", "r"))[1:] == []
    assert [event[2:4] for event in peer(1, B.Ack(delivery_tag=1))] == [("b", 2)]


def test_recover_gives_back_consumer_by_consumer(peer, publishing):
    peer(1, Q.Declare(queue="q"))
    peer(1, B.Consume(queue="q", consumer_tag="b"), B.Consume(queue="q", consumer_tag="a"))
    peer(1, publishing(1, "", "q", b"first"), publishing(1, "", "q", b"second"))
    # What "a" had is delivered again, to "b" whose turn it is, before "b" loses what it had.
    events = peer(1, B.Recover(requeue=True))
    assert [(event[1], event[2], event[-1]) for event in events[1:]] == [
        ("Basic.Deliver", "b", b"second"),
        ("Basic.Deliver", "a", b"first"),
    ]
    assert events[0] == (1, "Basic.RecoverOk")


def test_a_limit_of_each_consumer_ends_that_of_the_channel(peer, publishing):
    peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=1, global_=True))
    peer(1, B.Consume(queue="q", consumer_tag="t"))
    peer(1, *[publishing(1, "", "q")] * 3)
    events = peer(1, B.Qos(prefetch_count=2))
    # The consumer that is there was made without a limit of its own.
    assert [event[1:4] for event in events] == [
        ("Basic.QosOk",),
        ("Basic.Deliver", "t", 2),
        ("Basic.Deliver", "t", 3),
    ]


def test_a_client_that_cannot_be_told_of_a_cancel_is_not_told(connect):
    peer = connect(capabilities=False)
    peer(1, Q.Declare(queue="q"), B.Consume(queue="q", consumer_tag="t"))
    assert peer(1, Q.Delete(queue="q")) == [(1, "Queue.DeleteOk", 0)]


def test_if_empty(peer, publishing):
    peer(1, Q.Declare(queue="q"))
    fill(peer, publishing, 1)
    assert peer(1, Q.Delete(queue="q", if_empty=True)) == [
        (
            1,
            "Channel.Close",
            406,
            "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
            50,
            40,
        )
    ]


def test_auto_delete_waits_for_the_last_consumer(peer):
    peer(1, Q.Declare(queue="q", auto_delete=True))
    peer(1, B.Consume(queue="q", consumer_tag="a"), B.Consume(queue="q", consumer_tag="b"))
    peer(1, B.Cancel(consumer_tag="a"))
    assert state(peer) == ("q", 0, 1)
    peer(1, B.Cancel(consumer_tag="b"))
    assert peer(1, Q.Declare(queue="q", passive=True))[0][2] == 404


def test_an_exclusive_queue_is_its_connections_alone_and_goes_with_it(peer, connect):
    peer(1, Q.Declare(queue="q", exclusive=True))
    for method in (
        Q.Declare(queue="q", passive=True),
        Q.Declare(queue="q", durable=True),  # inequivalent, too: 405 comes before 406
        Q.Declare(queue="q", exclusive=True),
        Q.Purge(queue="q"),
        Q.Delete(queue="q"),
        B.Get(queue="q"),
        B.Consume(queue="q"),
    ):
        other = connect()
        assert other(1, method)[0][1:3] == ("Channel.Close", 405), method.name
    peer.lose()
    assert connect()(1, Q.Declare(queue="q", passive=True))[0][2] == 404


def test_server_named_queues_and_the_last_declared_one(peer):
    first = peer(1, Q.Declare(queue=""))[0][2]
    second = peer(1, Q.Declare(queue=""))[0][2]
    assert first.startswith("amq.gen-")
    assert first != second
    assert peer(1, Q.Purge(queue="")) == [(1, "Queue.PurgeOk", 0)]
    tag = peer(1, B.Consume(queue=""))[0][2]
    assert tag.startswith("amq.ctag-")
    assert state(peer, second) == (second, 0, 1)


def test_names_that_the_general_codec_refuses_are_taken(peer):
    payload = b"\0\x32\0\x0a\0\0" + b"\x05\xc3\xbc'a!" + b"\0\0\0\0\0"
    peer.session.receive(frame(METHOD, 1, payload))
    assert list(peer.broker.queues) == ["ü'a!"]
    assert b"\x05\xc3\xbc'a!" in peer.session.take_output()
