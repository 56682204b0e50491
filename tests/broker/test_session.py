"""Handshake, heartbeats, deadlines and bounds of one connection."""

from __future__ import annotations

import pytest
from pamqp import commands

from benchmarks.broker.core import ENTRY_WEIGHT, Broker, Settings
from benchmarks.broker.session import (
    CLOSE_TIMEOUT,
    DELIVERY_HIGH_WATER,
    DELIVERY_LOW_WATER,
    REPLY_HIGH_WATER,
)
from benchmarks.wire.frames import BODY, HEADER, HEARTBEAT, METHOD, PROTOCOL_HEADER, frame

Q, B, C, N = commands.Queue, commands.Basic, commands.Channel, commands.Connection


def test_the_handshake_byte_by_byte(connect, login):
    peer = connect(handshake=False)
    events = [event for byte in PROTOCOL_HEADER for event in peer.feed(bytes((byte,)))]
    assert [event[1] for event in events] == ["Connection.Start"]
    assert peer(0, login()) == [(0, "Connection.Tune", 2047, 131072, 60)]


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"AMQP\0\0\x09\x02", b"AMQP\x01", b"\0"])
def test_anything_else_is_answered_with_our_header(connect, start):
    peer = connect(handshake=False)
    assert peer.feed(start) == [(0, "ProtocolHeader")]
    assert peer.session.wants_close
    assert peer.feed(b"more") == []


@pytest.mark.parametrize(
    "answer",
    [
        {"response": "\0guest\0wrong"},
        {"response": "\0other\0guest"},
        {"response": ""},
        {"mechanism": "EXTERNAL"},
    ],
)
def test_a_wrong_password(connect, login, answer):
    peer = connect(handshake=False)
    peer.feed(PROTOCOL_HEADER)
    ((channel, name, code, text, *ids),) = peer(0, login(**answer))
    assert (channel, name, code, ids) == (0, "Connection.Close", 403, [0, 0])
    assert text.startswith("ACCESS_REFUSED - Login was refused using authentication mechanism ")
    # A client that did not say that it understands this gets nothing but the end.
    peer = connect(handshake=False)
    peer.feed(PROTOCOL_HEADER)
    assert peer(0, login(client_properties={}, **answer)) == []
    assert peer.session.wants_close


def test_a_new_secret_is_taken_at_any_time_once_the_connection_is_open(connect):
    peer = connect()
    for _ in range(2):
        assert peer(0, N.UpdateSecret(new_secret="s", reason="r")) == [
            (0, "Connection.UpdateSecretOk")
        ]
    early = connect(handshake=False)
    early.feed(PROTOCOL_HEADER)
    (event,) = early(0, N.UpdateSecret(new_secret="s", reason="r"))
    assert event[1:3] == ("Connection.Close", 504)


def test_user_and_password_are_configurable_and_hidden(connect_to, login):
    settings = Settings(user="ann", password="s3cret")
    assert "s3cret" not in repr(settings)
    peer = connect_to(Broker(settings), handshake=False)
    peer.feed(PROTOCOL_HEADER)
    assert peer(0, login(response="\0ann\0s3cret"))[0][1] == "Connection.Tune"


@pytest.mark.parametrize(
    "wish", [{"frame_max": 4095}, {"frame_max": 131073}, {"frame_max": 0}, {"channel_max": 2048}]
)
def test_tune_cannot_ask_for_more_than_was_offered(connect, login, tuning, broker, wish):
    peer = connect(handshake=False)
    peer.feed(PROTOCOL_HEADER)
    peer(0, login())
    assert peer(0, tuning(broker.settings, **wish))[0][1:3] == ("Connection.Close", 530)


def test_an_unknown_vhost(connect, login, tuning, broker):
    peer = connect(handshake=False)
    peer.feed(PROTOCOL_HEADER)
    peer(0, login(), tuning(broker.settings))
    assert peer(0, N.Open(virtual_host="no"))[0][1:4] == (
        "Connection.Close",
        530,
        "NOT_ALLOWED - vhost no not found",
    )


def test_a_handshake_out_of_order(connect, login):
    peer = connect(handshake=False)
    peer.feed(PROTOCOL_HEADER)
    assert peer(0, N.Open())[0][1:3] == ("Connection.Close", 504)
    peer = connect(handshake=False)
    peer.feed(PROTOCOL_HEADER)
    assert peer(1, C.Open())[0][1:3] == ("Connection.Close", 504)


def test_a_handshake_has_a_deadline(connect, broker):
    silent, slow = connect(handshake=False), connect(handshake=False)
    slow.feed(PROTOCOL_HEADER)
    broker.now = broker.settings.handshake_timeout - 0.1
    broker.tick()
    assert not silent.session.abort
    broker.now = broker.settings.handshake_timeout
    broker.tick()
    assert (silent.session.abort, slow.session.abort) == (True, True)


def test_closing_ends_with_close_ok_and_the_end_of_the_stream(peer, broker):
    close = N.Close(reply_code=200, reply_text="bye", class_id=0, method_id=0)
    assert peer(0, close) == [(0, "Connection.CloseOk")]
    assert peer.session.wants_close
    assert not peer.session.abort
    broker.now += CLOSE_TIMEOUT  # the peer does not go away by itself
    broker.tick()
    assert peer.session.abort


def test_a_peer_that_never_answers_a_close_is_dropped(peer, broker):
    peer(0, C.Open())
    broker.now += CLOSE_TIMEOUT
    broker.tick()
    assert peer.session.abort


def test_heartbeats_go_out_when_idle_and_a_silent_peer_is_dropped(peer, broker, publishing):
    interval = broker.settings.heartbeat
    peer(1, Q.Declare(queue="q"))
    peer(1, publishing(1, "", "q"), B.Get(queue="q"))
    broker.now += interval / 2 - 1
    broker.tick()
    assert peer.read() == []
    broker.now += 1
    broker.tick()
    assert peer.read() == [(0, "Heartbeat")]
    peer.feed(frame(HEARTBEAT, 0, b""))
    broker.now += 2 * interval
    broker.tick()
    assert not peer.session.abort
    broker.now += 1
    broker.tick()
    assert peer.session.abort
    assert len(broker.queues["q"]) == 1  # its message is back


def test_no_heartbeats_where_none_were_agreed(connect, login, tuning, broker):
    peer = connect(handshake=False)
    peer.feed(PROTOCOL_HEADER)
    peer(0, login(), tuning(broker.settings, heartbeat=0), N.Open())
    broker.now += 10_000
    broker.tick()
    assert peer.read() == []
    assert not peer.session.abort


def test_a_heartbeat_belongs_to_channel_zero(peer):
    assert peer.feed(frame(HEARTBEAT, 1, b""))[0][1:3] == ("Connection.Close", 505)


def test_big_bodies_are_split_for_each_receiver(connect, login, tuning, broker, publishing, peer):
    peer(1, Q.Declare(queue="q"))
    body = bytes(range(256)) * 512  # 131072: RabbitMQ takes a payload of frame_max itself
    peer(1, publishing(1, "", "q", body))
    small = connect(handshake=False)
    small.feed(PROTOCOL_HEADER)
    small(0, login(), tuning(broker.settings, frame_max=4096), N.Open())
    small(1, C.Open())
    small.session.receive(frame(METHOD, 1, b"\0\x3c\0\x46\0\0\x01q\x01"))
    raw = small.session.take_output()
    sizes, offset = [], 0
    while offset < len(raw):
        size = 8 + int.from_bytes(raw[offset + 3 : offset + 7], "big")
        sizes.append(size)
        offset += size
    assert max(sizes) == 4096
    assert len(sizes) == 2 + -(-len(body) // 4088)
    assert small.feed(frame(BODY, 1, bytes(4097)))[-1][1:3] == ("Connection.Close", 501)


def test_a_message_too_large_is_refused_from_its_header(peer, broker, publishing):
    limit = broker.settings.max_message_size
    ((_, name, code, text, *_rest),) = peer(1, publishing(1, "", "q", b"x", size=limit + 1))
    assert (name, code) == ("Channel.Close", 406)
    assert text == (
        f"PRECONDITION_FAILED - message size {limit + 1} is larger than configured max size {limit}"
    )


def test_unfinished_messages_are_bounded_over_all_channels(connect_to, publishing):
    peer = connect_to(Broker(Settings(max_message_size=100_000)))
    head = publishing(1, "", "q", b"", size=90_000)
    answers = []
    for channel in range(1, 4):
        if channel > 1:
            peer(channel, C.Open())
        start = head.replace(b"\x01\0\x01", b"\x01\0" + bytes((channel,)))
        start = start.replace(b"\x02\0\x01", b"\x02\0" + bytes((channel,)))
        answers += peer.feed(start + frame(BODY, channel, bytes(50_000)))
    assert [event[1:4] for event in answers] == [
        ("Connection.Close", 506, "RESOURCE_ERROR - too many bytes of unfinished messages")
    ]
    assert peer.session.assembling == 0


def test_finished_messages_leave_the_account(peer, publishing, broker):
    peer(1, Q.Declare(queue="q"))
    peer(1, publishing(1, "", "q", b"ab", size=6), frame(BODY, 1, b"cd"))
    assert peer.session.assembling == 4
    peer(1, frame(BODY, 1, b"ef"))
    assert peer.session.assembling == 0
    assert peer(1, B.Get(queue="q"))[0][-1] == b"abcdef"


def test_a_slow_consumer_stops_deliveries_not_its_own_calls(peer, connect, publishing, broker):
    slow = connect()
    peer(1, Q.Declare(queue="q"))
    slow(1, B.Consume(queue="q", consumer_tag="t", no_ack=True))
    count = 4 * DELIVERY_HIGH_WATER // 10_000
    for _ in range(count):
        peer(1, publishing(1, "", "q", bytes(10_000)))
    assert DELIVERY_HIGH_WATER <= slow.session.backlog < DELIVERY_HIGH_WATER + 20_000
    assert slow.session.wants_read
    held = len(broker.queues["q"])
    assert held > count // 2
    # It takes a little: nothing yet. It takes nearly all: deliveries go on.
    slow.session.sent(10_000)
    broker.pump()
    assert len(broker.queues["q"]) == held
    slow.session.sent(slow.session.backlog - DELIVERY_LOW_WATER)
    broker.pump()
    assert len(broker.queues["q"]) < held


def test_a_client_that_never_reads_its_answers_is_not_read(peer):
    ask = frame(METHOD, 1, b"\0\x32\0\x0a\0\0\xff" + b"q" * 255 + b"\0\0\0\0\0")
    calls = 0
    while peer.session.wants_read:
        peer.session.receive(ask * 1000)
        calls += 1000
        assert calls < 10**6
    assert peer.session.backlog < REPLY_HIGH_WATER + 1000 * 400
    peer.session.sent(REPLY_HIGH_WATER // 2)
    assert peer.session.wants_read


def test_publishers_are_blocked_while_memory_is_short(connect_to, publishing):
    weight = 1000 + ENTRY_WEIGHT
    broker = Broker(Settings(memory_limit=10 * weight))
    publisher, consumer = connect_to(broker), connect_to(broker)
    untold = connect_to(broker, capabilities=False)
    publisher(1, Q.Declare(queue="q"))
    sent = 0
    while publisher.session.wants_read:
        blocked = publisher(1, publishing(1, "", "q", bytes(1000)))
        sent += 1
        assert sent < 20
    assert blocked == [(0, "Connection.Blocked", "low on memory")]
    assert consumer.read() == [(0, "Connection.Blocked", "low on memory")]
    assert untold.read() == []
    assert consumer.session.wants_read  # it has published nothing
    got = consumer(1, B.Consume(queue="q", no_ack=True, consumer_tag="t"))
    assert [event[1] for event in got].count("Basic.Deliver") == sent
    assert (0, "Connection.Unblocked") in got
    assert publisher.read() == [(0, "Connection.Unblocked")]
    assert publisher.session.wants_read
    assert broker.stored == 0


def test_an_internal_error_ends_one_connection_and_is_counted(peer, connect, broker):
    other = connect()
    peer.session.internal_error()
    ((channel, name, code, text, *_method),) = peer.read()
    assert (channel, name, code) == (0, "Connection.Close", 541)
    assert text == "INTERNAL_ERROR - internal error"
    assert broker.counts["internal_errors"] == 1
    assert other(1, Q.Declare(queue="q")) == [(1, "Queue.DeclareOk", "q", 0, 0)]


def test_the_header_of_a_message_arrives_unchanged(peer):
    properties = b"\xb0\x00" + b"\x01t" + b"\0\0\0\x08\x01kS\0\0\0\x01v" + b"\x02"
    header = b"\0\x3c\0\0" + (1).to_bytes(8, "big") + properties
    peer(1, Q.Declare(queue="q"))
    method = frame(METHOD, 1, b"\0\x3c\0\x28\0\0\0\x01q\0")
    assert peer.feed(method + frame(HEADER, 1, header) + frame(BODY, 1, b"x")) == []
    peer.session.receive(frame(METHOD, 1, b"\0\x3c\0\x46\0\0\x01q\x01"))
    assert frame(HEADER, 1, header) in peer.session.take_output()
