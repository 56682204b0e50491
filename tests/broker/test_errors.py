"""What a client gets for what it does wrong. The expectations are RabbitMQ 3.10's answers."""

from __future__ import annotations

import pytest
from pamqp import commands, header
from pamqp import frame as pamqp_frame

from benchmarks.broker.core import Broker, Settings
from benchmarks.wire.frames import BODY, HEADER, HEARTBEAT, METHOD, frame

Q, B, E, C = commands.Queue, commands.Basic, commands.Exchange, commands.Channel

EXCLUSIVE_USE = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"

SOFT = [
    (Q.Declare(queue="x", passive=True), 404, "NOT_FOUND - no queue 'x' in vhost '/'"),
    (Q.Declare(queue="", passive=True), 404, "NOT_FOUND - no queue '' in vhost '/'"),
    (
        Q.Declare(queue="amq.x"),
        403,
        "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'",
    ),
    (
        Q.Declare(queue="q", durable=True),
        406,
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/':"
        " received 'true' but current is 'false'",
    ),
    (
        Q.Declare(queue="q", auto_delete=True),
        406,
        "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' in vhost '/':"
        " received 'true' but current is 'false'",
    ),
    (
        Q.Declare(queue="q", exclusive=True),
        405,
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It"
        " could be originally declared on another connection or the exclusive property value does"
        " not match that of the original declaration.",
    ),
    (Q.Purge(queue="x"), 404, "NOT_FOUND - no queue 'x' in vhost '/'"),
    (Q.Purge(queue=""), 404, "NOT_FOUND - no previously declared queue"),
    (Q.Bind(queue="x", exchange="y"), 404, "NOT_FOUND - no exchange 'y' in vhost '/'"),
    (Q.Bind(queue="x", exchange="amq.topic"), 404, "NOT_FOUND - no queue 'x' in vhost '/'"),
    (
        Q.Bind(queue="q", exchange=""),
        403,
        "ACCESS_REFUSED - operation not permitted on the default exchange",
    ),
    (E.Declare(exchange="x", passive=True), 404, "NOT_FOUND - no exchange 'x' in vhost '/'"),
    (
        E.Declare(exchange="", passive=True),
        403,
        "ACCESS_REFUSED - operation not permitted on the default exchange",
    ),
    (
        E.Declare(exchange="amq.x"),
        403,
        "ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'",
    ),
    (
        E.Declare(exchange="amq.direct", exchange_type="topic", durable=True),
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/':"
        " received 'topic' but current is 'direct'",
    ),
    (
        E.Delete(exchange="amq.none"),
        403,
        "ACCESS_REFUSED - deletion of system exchange 'amq.none' in vhost '/' not allowed",
    ),
    (
        E.Bind(destination="", source="none"),
        403,
        "ACCESS_REFUSED - operation not permitted on the default exchange",
    ),
    (Q.Unbind(queue="", exchange=""), 404, "NOT_FOUND - no previously declared queue"),
    (
        E.Delete(exchange="amq.direct"),
        403,
        "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    ),
    (B.Get(queue="x"), 404, "NOT_FOUND - no queue 'x' in vhost '/'"),
    (B.Consume(queue="x"), 404, "NOT_FOUND - no queue 'x' in vhost '/'"),
    (
        B.Consume(queue="q", exclusive=True),
        403,
        EXCLUSIVE_USE,
    ),
    (B.Ack(delivery_tag=1), 406, "PRECONDITION_FAILED - unknown delivery tag 1"),
    (B.Ack(delivery_tag=0), 406, "PRECONDITION_FAILED - unknown delivery tag 0"),
    (B.Nack(delivery_tag=3), 406, "PRECONDITION_FAILED - unknown delivery tag 3"),
    (B.Reject(delivery_tag=2), 406, "PRECONDITION_FAILED - unknown delivery tag 2"),
]


@pytest.mark.parametrize(("method", "code", "text"), SOFT)
def test_soft_errors_close_the_channel(peer, method, code, text):
    peer(3, C.Open(), Q.Declare(queue="q"), B.Consume(queue="q", consumer_tag="t"))
    close = (1, "Channel.Close", code, text, *divmod(method.index, 1 << 16))
    assert peer(1, method) == [close]
    # Everything but close-ok is ignored now; the other channels live on.
    assert peer(1, Q.Declare(queue="q"), frame(BODY, 1, b"late")) == []
    assert peer(2, C.Open()) == [(2, "Channel.OpenOk", "")]
    assert peer(2, Q.Declare(queue="q")) == [(2, "Queue.DeclareOk", "q", 0, 1)]
    assert peer(1, C.CloseOk(), C.Open()) == [(1, "Channel.OpenOk", "")]


HARD = [
    (C.Open(), 504, "CHANNEL_ERROR - second 'channel.open' seen"),
    (C.Flow(active=False), 540, "NOT_IMPLEMENTED - active=false"),
    (B.Recover(requeue=False), 540, "NOT_IMPLEMENTED - requeue=false"),
    (B.Qos(prefetch_size=5), 540, "NOT_IMPLEMENTED - prefetch_size!=0 (5)"),
    (
        B.Consume(queue="q", consumer_tag="t"),
        530,
        "NOT_ALLOWED - attempt to reuse consumer tag 't'",
    ),
    (
        E.Declare(exchange="x", exchange_type="odd"),
        503,
        "COMMAND_INVALID - unknown exchange type 'odd'",
    ),
    (
        E.Declare(exchange="", exchange_type=""),
        503,
        "COMMAND_INVALID - invalid exchange type ''",
    ),
    (B.CancelOk(consumer_tag="t"), 503, "COMMAND_INVALID - unimplemented method"),
    (C.CloseOk(), 503, "COMMAND_INVALID - unimplemented method"),
    (Q.PurgeOk(message_count=0), 503, "COMMAND_INVALID - unimplemented method"),
    (commands.Tx.Select(), 540, "NOT_IMPLEMENTED - transactions are not implemented"),
    (
        Q.Declare(queue="x", arguments={"x-message-ttl": 5}),
        540,
        "NOT_IMPLEMENTED - argument 'x-message-ttl' is not implemented",
    ),
]


@pytest.mark.parametrize(("method", "code", "text"), HARD)
def test_hard_errors_close_the_connection(peer, method, code, text, broker):
    peer(1, Q.Declare(queue="q"), B.Consume(queue="q", consumer_tag="t"))
    close = (0, "Connection.Close", code, text, *divmod(method.index, 1 << 16))
    assert peer(1, method) == [close]
    assert broker.stats()["channels"] == 0
    assert peer(1, Q.Declare(queue="q")) == []
    assert not peer.session.wants_close
    assert peer(0, commands.Connection.CloseOk()) == []
    assert peer.session.wants_close


def test_publishing_to_nowhere(peer, publishing):
    assert peer(1, publishing(1, "none", "k"), publishing(1, "", "k")) == [
        (1, "Channel.Close", 404, "NOT_FOUND - no exchange 'none' in vhost '/'", 60, 40)
    ]


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        (
            {"user_id": "other", "expiration": "odd"},
            "user_id property set to 'other' but authenticated user was 'guest'",
        ),
        (
            {"headers": {"a": 1}, "user_id": "guest", "priority": 1, "expiration": "odd"},
            "invalid expiration 'odd': no_integer",
        ),
    ],
)
def test_properties_that_the_broker_looks_at(peer, properties, text):
    content = header.ContentHeader(body_size=0, properties=B.Properties(**properties))
    publish = B.Publish(exchange="", routing_key="q")
    assert peer(1, publish, pamqp_frame.marshal(content, 1)) == [
        (1, "Channel.Close", 406, f"PRECONDITION_FAILED - {text}", 60, 40)
    ]


@pytest.mark.parametrize("exchange", ["", "none"])
def test_immediate_is_not_implemented(peer, publishing, exchange):
    assert peer(1, publishing(1, exchange, "k", immediate=True)) == [
        (0, "Connection.Close", 540, "NOT_IMPLEMENTED - immediate=true", 60, 40)
    ]


def test_an_exclusive_consumer_keeps_others_out(peer, connect):
    peer(1, Q.Declare(queue="q"), B.Consume(queue="q", consumer_tag="t", exclusive=True))
    assert connect()(1, B.Consume(queue="q")) == [
        (
            1,
            "Channel.Close",
            403,
            "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use",
            60,
            20,
        )
    ]


def test_a_channel_number_is_taken_until_close_ok(peer):
    assert peer(1, B.Ack(delivery_tag=9))[0][1] == "Channel.Close"
    assert peer(1, C.Open()) == [
        (0, "Connection.Close", 504, "CHANNEL_ERROR - second 'channel.open' seen", 20, 10)
    ]


def test_both_sides_close_a_channel_at_once(peer):
    peer(1, B.Ack(delivery_tag=9))
    close = C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    assert peer(1, close, C.CloseOk(), C.Open()) == [
        (1, "Channel.CloseOk"),
        (1, "Channel.OpenOk", ""),
    ]


def test_a_frame_on_a_channel_that_is_not_open(peer):
    assert peer(7, Q.Declare(queue="q")) == [
        (0, "Connection.Close", 504, "CHANNEL_ERROR - expected 'channel.open'", 50, 10)
    ]


def test_channel_max_limits_how_many_channels_are_open_at_a_time(connect_to):
    peer = connect_to(Broker(Settings(channel_max=3)))  # channel 1 is open
    for number in (65535, 4):
        assert peer(number, C.Open()) == [(number, "Channel.OpenOk", "")]
    close = C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    assert peer(4, close, C.Open()) == [(4, "Channel.CloseOk"), (4, "Channel.OpenOk", "")]
    text = "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)"
    assert peer(2, C.Open()) == [(0, "Connection.Close", 530, text, 0, 0)]


METHOD_FRAME = frame(METHOD, 1, b"\0\x3c\0\x28\0\0\0\x01k\0")
FIVE = frame(HEADER, 1, b"\0\x3c\0\0" + (5).to_bytes(8, "big") + b"\0\0")
NO_METHOD = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
NO_HEADER = (
    "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"
)
NO_BODY = "UNEXPECTED_FRAME - expected content body, got non content body frame instead"


@pytest.mark.parametrize(
    ("frames", "code", "text"),
    [
        ([FIVE], 505, NO_METHOD),
        ([frame(BODY, 1, b"x")], 505, NO_METHOD),
        ([METHOD_FRAME, METHOD_FRAME], 505, NO_HEADER),
        ([METHOD_FRAME, frame(BODY, 1, b"x")], 505, NO_HEADER),
        ([METHOD_FRAME, FIVE, FIVE], 505, NO_BODY),
        ([METHOD_FRAME, FIVE, METHOD_FRAME], 505, NO_BODY),
        (
            [METHOD_FRAME, FIVE, frame(BODY, 1, b"x" * 9)],
            505,
            NO_BODY,
        ),
        (
            [METHOD_FRAME, frame(HEADER, 1, b"\0\x0a" + bytes(12))],
            505,
            "UNEXPECTED_FRAME - expected content header for class 60, got one for class 10 instead",
        ),
        (
            [METHOD_FRAME, frame(HEADER, 1, b"\0\x3c" + bytes(10) + b"\x20\0" + b"\xff" * 4)],
            501,
            "FRAME_ERROR - malformed content header",
        ),
        ([frame(METHOD, 1, b"\0\0")], 501, "FRAME_ERROR - method frame without a method"),
        (
            [frame(METHOD, 1, b"\0\x3c\0\x28\0\0\xff")],
            501,
            "FRAME_ERROR - malformed basic.publish",
        ),
        (
            [frame(METHOD, 1, b"\0\x3c\0\x50\0\0")],
            501,
            "FRAME_ERROR - malformed acknowledgement",
        ),
        ([frame(HEARTBEAT, 1, b"")], 505, "UNEXPECTED_FRAME - heartbeat on a channel"),
        ([frame(HEARTBEAT, 0, b"x")], 501, "FRAME_ERROR - heartbeat with a payload"),
        ([b"\x09\0\x01\0\0\0\0\xce"], 501, "FRAME_ERROR - frame type 9 on channel 1"),
        (
            [b"\x01\0\x01\xff\xff\xff\xff"],
            501,
            "FRAME_ERROR - frame of 4294967295 bytes is above the limit of 131072",
        ),
        ([b"\x03\0\x01\0\0\0\0\0"], 501, "FRAME_ERROR - frame on channel 1 does not end with 0xCE"),
    ],
)
def test_frames_out_of_place(peer, frames, code, text, broker):
    events = peer.feed(b"".join(frames))
    assert [event[:4] for event in events] == [(0, "Connection.Close", code, text)]
    assert broker.counts["internal_errors"] == 0


@pytest.mark.parametrize(
    ("frames", "named"),
    [
        # A publish that stays without its content is to blame for it, not what came instead.
        ([METHOD_FRAME, frame(METHOD, 1, b"\0\x3c\0\x46")], (60, 40)),
        ([METHOD_FRAME, FIVE, METHOD_FRAME], (60, 40)),
        # A frame that says nothing belongs to no method.
        ([METHOD_FRAME, frame(HEADER, 1, b"\0\x3c")], (0, 0)),
    ],
)
def test_the_method_that_is_named(peer, frames, named):
    ((*_, class_id, method_id),) = peer.feed(b"".join(frames))
    assert (class_id, method_id) == named


def test_frames_before_a_broken_one_still_count(peer):
    sound = frame(METHOD, 1, b"\0\x55\0\x0a\0")  # confirm.select
    assert [event[1] for event in peer.feed(sound + b"garbage!")] == [
        "Confirm.SelectOk",
        "Connection.Close",
    ]


def test_tables_made_to_hurt_are_refused(peer, connect):
    start = b"\0\x32\0\x0a\0\0\x01q\0"
    nested = b""
    for _ in range(3000):
        nested = b"\x01aF" + len(nested).to_bytes(4, "big") + nested
    table = len(nested).to_bytes(4, "big") + nested
    assert peer.feed(frame(METHOD, 1, start + table))[0][2] == 501
    many = b"\x00V" * 50000
    table = len(many).to_bytes(4, "big") + many
    assert connect().feed(frame(METHOD, 1, start + table))[0][2] == 501
