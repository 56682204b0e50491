"""Encoding against py-amqp's own writer, parsing against pamqp, and any chunking of a stream."""

from __future__ import annotations

import struct
from typing import Any

import amqp
import pamqp.body
import pamqp.commands as c
import pamqp.frame
import pamqp.header
import pytest
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import given, settings
from hypothesis import strategies as st

from amqpool import decode, frames
from amqpool.errors import FrameError
from amqpool.parser import TOO_LARGE, Batch, Event, FrameParser


class _Capture:
    """As much of a connection and its transport as py-amqp's writer needs."""

    def __init__(self, frame_max: int) -> None:
        self.frame_max = frame_max
        self.bytes_sent = 0
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data


def py_amqp(channel: int, exchange: str, key: str, message: Any, frame_max: int) -> bytes:
    capture = _Capture(frame_max)
    args = dumps("Bssbb", (0, exchange, key, True, False))
    frame_writer(capture, capture)(1, channel, (60, 40), args, message)
    return bytes(capture.written)


def ours(channel: int, exchange: str, key: str, message: Any, frame_max: int) -> bytes:
    body = frames.body_bytes(message)
    return frames.publish_frames(
        channel,
        frames.publish_method(exchange, key, True, False),
        frames.encode_properties(message.properties),
        body,
        frame_max,
    )


short = st.text(max_size=60)
properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": short,
        "application_headers": st.dictionaries(
            short, st.one_of(short, st.integers(-(2**31) + 1, 2**31 - 1), st.booleans(), st.none())
        ),
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 9),
        "correlation_id": short,
        "reply_to": short,
        "expiration": short,
        "message_id": short,
        "timestamp": st.integers(0, 2**63),
        "type": short,
        "user_id": short,
        "app_id": short,
        "cluster_id": short,
    },
)


@given(properties, st.binary(max_size=20_000), short, short, st.integers(1, 65535))
def test_a_publish_is_encoded_byte_for_byte_as_by_py_amqp(
    props: dict[str, Any], body: bytes, exchange: str, key: str, channel: int
) -> None:
    frame_max = 4096
    expected = py_amqp(channel, exchange, key, amqp.Message(body, **props), frame_max)
    got = ours(channel, exchange, key, amqp.Message(body, **props), frame_max)
    # py-amqp splits a body when the whole message passes the buffer; we when the body does.
    assert messages(got) == messages(expected)


def messages(stream: bytes) -> tuple[list[Any], bytes]:
    """Methods and headers as they are, the bodies joined."""
    heads, body = [], b""
    while stream:
        kind, channel, size = struct.unpack_from(">BHI", stream)
        assert size <= 4096 - 8
        assert stream[7 + size] == 0xCE
        if kind == 3:
            body += stream[7 : 7 + size]
        else:
            heads.append((kind, channel, stream[7 : 7 + size]))
        stream = stream[8 + size :]
    return heads, body


def test_text_is_encoded_and_says_so() -> None:
    message = amqp.Message("grün")
    assert frames.body_bytes(message) == "grün".encode()
    assert message.properties == {"content_encoding": "utf-8"}


@pytest.mark.parametrize(
    "message",
    [
        amqp.Message(b"", message_id="x" * 256),
        amqp.Message(b"", application_headers={"a": "x" * 140_000}),
    ],
)
def test_what_cannot_be_encoded_is_a_value_error_before_anything_is_sent(message: Any) -> None:
    with pytest.raises(ValueError, match=r"bytes"):
        ours(1, "", "key", message, 131_072)


def stream(*parts: tuple[int, Any]) -> bytes:
    return b"".join(pamqp.frame.marshal(frame, channel) for channel, frame in parts)


def deliver(channel: int, body: bytes, piece: int = 100) -> bytes:
    header = pamqp.header.ContentHeader(
        body_size=len(body), properties=c.Basic.Properties(message_id="m")
    )
    pieces = [pamqp.body.ContentBody(body[at : at + piece]) for at in range(0, len(body), piece)]
    method = c.Basic.Deliver("tag", 1, False, "", "key")
    return stream(*((channel, each) for each in (method, header, *pieces)))


def parse(data: bytes, **limits: Any) -> tuple[Batch, int]:
    parser = FrameParser(
        limits.get("frame_max", 4096), limits.get("content_max", 10_000), {0, 1, 2, 3}
    )
    batch: Batch = {}
    return batch, parser.parse(data, batch)


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.builds(lambda n: stream((n, c.Basic.Ack(7, False))), st.integers(1, 3)),
            st.builds(deliver, st.integers(1, 3), st.binary(max_size=500), st.integers(1, 200)),
            st.just(frames.HEARTBEAT),
            st.just(stream((0, c.Connection.Unblocked()))),
        ),
        max_size=12,
    ),
    st.data(),
)
def test_any_chunking_of_a_stream_gives_the_same_events(parts: list[bytes], data: Any) -> None:
    whole = b"".join(parts)
    expected, used = parse(whole)
    assert used == len(whole)
    parser = FrameParser(4096, 10_000, {0, 1, 2, 3})
    got: Batch = {}
    buffer = bytearray()
    rest = whole
    while rest:
        count = data.draw(st.integers(1, len(rest)))
        buffer += rest[:count]
        rest = rest[count:]
        del buffer[: parser.parse(bytes(buffer), got)]
    assert not buffer
    assert got == expected


@given(short, st.integers(0, 2**64 - 1), st.booleans(), short, short)
def test_a_delivery_is_decoded_as_by_py_amqp(
    tag: str, number: int, redelivered: bool, exchange: str, key: str
) -> None:
    args = b"\x00\x3c\x00\x3c" + dumps("sLbss", (tag, number, redelivered, exchange, key))
    event = Event((60, 60), args)
    assert decode.decode_deliver(event) == [tag, number, redelivered, exchange, key]
    assert decode.decode_deliver(event) == decode.decode_args("sLbss", event)
    for end in range(4, len(args)):
        with pytest.raises(FrameError):
            decode.decode_deliver(Event((60, 60), args[:end]))


def content(header: bytes, *body: bytes) -> Event:
    return Event((60, 60), b"", header, body)


@given(properties, st.binary(max_size=20))
def test_a_message_is_decoded_as_by_py_amqp(values: dict[str, Any], body: bytes) -> None:
    given = amqp.Message(body, **values)
    header = struct.pack(">HHQ", 60, 0, len(body)) + given._serialize_properties()
    expected = amqp.Message()
    expected.inbound_header(header)
    expected.inbound_body(body)
    message = decode.decode_message(content(header, body))
    assert message.properties == expected.properties
    assert list(message.properties) == list(expected.properties)
    for name in ("body", "body_size", "body_received", "ready", "headers"):
        assert getattr(message, name) == getattr(expected, name)
    # What a frame promises and does not hold is refused, and never another property's bytes.
    for end in range(14, len(header)):
        with pytest.raises(FrameError):
            decode.decode_message(content(header[:end], body))


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(b"\x80\x00\x05text", id="a short string cut off"),
        pytest.param(b"\x80\x00\x02\xff\xfe", id="not UTF-8"),
        pytest.param(b"\x00\x40\x00\x00", id="half a timestamp"),
        pytest.param(b"\x20\x00\x00\x00\x00\x09\x01aS", id="a table cut off"),
        pytest.param(b"\x10\x00", id="no delivery mode"),
        pytest.param(b"\x10", id="half of the flags"),
    ],
)
def test_properties_that_are_none_are_the_peer_s_error(properties: bytes) -> None:
    with pytest.raises(FrameError, match="cannot be decoded"):
        decode.decode_message(content(struct.pack(">HHQ", 60, 0, 0) + properties))


def test_a_content_is_one_event_with_its_pieces() -> None:
    batch, _ = parse(deliver(2, b"abcdef", piece=4))
    (event,) = batch[2]
    assert isinstance(event, Event)
    assert (event.sig, event.body) == ((60, 60), (b"abcd", b"ef"))


HUGE = struct.pack(">BHI", 1, 1, 0x7FFFFFFF)
ACK = stream((1, c.Basic.Ack(1, False)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (HUGE, "2147483647 bytes was announced"),
        (struct.pack(">BHI", 1, 1, 4089), "4089 bytes was announced"),
        (b"HTTP/1.1 400 Bad Request", "does not speak AMQP"),
        (b"\x07\x00\x00\x00\x00\x00\x04", "does not speak AMQP"),
        (b"AMQP\x00\x00\x09\x01", "wants another AMQP"),
        (ACK[:-1] + b"\x00", "not 0xce"),
        (struct.pack(">BHI", 1, 1, 2) + b"ab\xce", "method frame of 2 bytes"),
        (stream((9, c.Basic.Ack(1, False))), "channel 9, which is not open"),
        (stream((0, c.Basic.Deliver("t", 1, False, "", ""))), "on channel 0"),
        (stream((1, pamqp.body.ContentBody(b"x"))), "body without a header"),
        (stream((1, pamqp.header.ContentHeader(body_size=1))), "header without a method"),
        (deliver(1, b"ab")[:-10] + ACK, "in the midst of a content"),
        (b"\x08\x00\x01\x00\x00\x00\x00\xce", "heartbeat with a channel"),
        (
            stream((1, c.Basic.Deliver("t", 1, False, "", "")))
            + struct.pack(">BHI", 2, 1, 13)
            + bytes(13)
            + b"\xce",
            "content header of 13 bytes",
        ),
        (
            stream((1, c.Basic.Deliver("t", 1, False, "", "")))
            + struct.pack(">BHIHHQH", 2, 1, 14, 50, 0, 0, 0)
            + b"\xce",
            "header of class 50",
        ),
        (
            stream((1, c.Basic.Deliver("t", 1, False, "", "")))
            + stream((1, pamqp.header.ContentHeader(body_size=1)))
            + stream((1, pamqp.body.ContentBody(b"xy"))),
            "longer than announced",
        ),
    ],
)
def test_a_malformed_stream_is_refused(data: bytes, says: str) -> None:
    if says == "in the midst of a content":
        data = deliver(1, b"ab")[: -len(stream((1, pamqp.body.ContentBody(b"ab"))))] + ACK
    with pytest.raises(FrameError, match=says):
        parse(data)


def test_what_came_before_a_malformed_frame_is_kept() -> None:
    parser = FrameParser(4096, 100, {0, 1})
    batch: Batch = {}
    with pytest.raises(FrameError):
        parser.parse(ACK + HUGE, batch)
    assert [event.sig for event in batch[1]] == [(60, 80)]


def test_a_huge_content_is_announced_once_and_never_kept() -> None:
    header = pamqp.header.ContentHeader(body_size=2**63 - 1)
    start = stream((1, c.Basic.Deliver("t", 1, False, "", "")), (1, header))
    body = stream((1, pamqp.body.ContentBody(b"x" * 4000)))
    parser = FrameParser(4096, 10_000, {1})
    batch: Batch = {}
    for data in (start, *[body] * 50):
        parser.parse(data, batch)
    assert batch == {1: [Event(TOO_LARGE, b"")]}
