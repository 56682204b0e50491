"""Encoding of frames: the one place where outgoing bytes are made.

Owns the layout of method, content header and body frames (AMQP 0-9-1, section 4.2) and of the
basic properties. It holds no state and does no I/O: whoever calls it gets immutable bytes that
can be queued. All frames of one message are one `bytes`, so that no other channel's frame can
ever stand between them; py-amqp writes a message larger than its buffer frame by frame.

Arguments other than those of basic.publish are serialised by py-amqp (`amqp.serialization`).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any, Final

from amqp.serialization import dumps

Sig = tuple[int, int]

FRAME_METHOD: Final = 1
FRAME_HEADER: Final = 2
FRAME_BODY: Final = 3
FRAME_HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE
#: Type, channel and size before the payload, the frame-end octet after it.
FRAME_OVERHEAD: Final = 8
#: Every peer must accept frames of this size (AMQP 0-9-1, frame-min-size).
FRAME_MIN_SIZE: Final = 4096

HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_START = Struct(">BHI").pack
_METHOD_START = Struct(">BHIHH").pack
# The end of the method frame and the whole start of the header frame, up to the properties.
_TO_PROPERTIES = Struct(">BBHIHHQ").pack
# The end of one frame and the start of the next.
_NEXT = Struct(">BBHI").pack
_END = b"\xce"
_FLAGS = Struct(">H").pack
_OCTET = Struct(">B").pack
_ACK = Struct(">BHIHHQBB").pack
_LONGLONG = Struct(">Q").pack

#: Basic properties in wire order: name, flag bit, kind (s: short string, o: octet, F, L).
PROPERTIES: Final = (
    ("content_type", 0x8000, "s"),
    ("content_encoding", 0x4000, "s"),
    ("application_headers", 0x2000, "F"),
    ("delivery_mode", 0x1000, "o"),
    ("priority", 0x0800, "o"),
    ("correlation_id", 0x0400, "s"),
    ("reply_to", 0x0200, "s"),
    ("expiration", 0x0100, "s"),
    ("message_id", 0x0080, "s"),
    ("timestamp", 0x0040, "L"),
    ("type", 0x0020, "s"),
    ("user_id", 0x0010, "s"),
    ("app_id", 0x0008, "s"),
    ("cluster_id", 0x0004, "s"),
)


def method_frame(channel: int, sig: Sig, args: bytes = b"") -> bytes:
    """One method frame with its already serialised arguments."""
    return _METHOD_START(FRAME_METHOD, channel, len(args) + 4, sig[0], sig[1]) + args + _END


def short_string(value: str | bytes) -> bytes:
    """A short string. Raises ValueError beyond its 255 bytes."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if len(raw) > 255:
        raise ValueError(f"a short string holds at most 255 bytes, not {len(raw)}")
    return _OCTET(len(raw)) + raw


def ack_frame(channel: int, delivery_tag: int, multiple: bool) -> bytes:
    """The whole frame of basic.ack."""
    return _ACK(FRAME_METHOD, channel, 13, 60, 80, delivery_tag, bool(multiple), FRAME_END)


# Applications publish to few addresses, again and again. The bound keeps per-request reply
# queues from growing it: 1,024 entries of some 100 bytes.
@lru_cache(maxsize=1024)
def publish_method(exchange: str, routing_key: str, mandatory: bool, immediate: bool) -> bytes:
    """The payload of basic.publish's method frame."""
    return b"".join(
        (
            b"\x00\x3c\x00\x28\x00\x00",
            short_string(exchange),
            short_string(routing_key),
            _OCTET(mandatory | immediate << 1),
        )
    )


def encode_properties(properties: dict[str, Any]) -> bytes:
    """Property flags and values; names that AMQP does not know are left out, as in py-amqp."""
    if not properties:
        return b"\x00\x00"
    flags = 0
    parts = [b""]
    get = properties.get
    for name, bit, kind in PROPERTIES:
        value = get(name)
        if value is None:
            continue
        flags |= bit
        if kind == "s":
            parts.append(short_string(value))
        elif kind == "o":
            parts.append(_OCTET(value))
        elif kind == "F":
            parts.append(dumps("F", [value]))
        else:
            parts.append(_LONGLONG(value))
    parts[0] = _FLAGS(flags)
    return b"".join(parts)


def body_bytes(message: Any) -> bytes:
    """The body as immutable bytes; text is encoded, and says so in content_encoding (py-amqp)."""
    body = message.body
    if isinstance(body, str):
        return body.encode(message.properties.setdefault("content_encoding", "utf-8"))
    return body if type(body) is bytes else bytes(body)


def publish_frames(
    channel: int, method: bytes, properties: bytes, body: bytes, frame_max: int
) -> bytes:
    """All frames of one message, in one piece."""
    size = len(body)
    head = (
        _START(FRAME_METHOD, channel, len(method)),
        method,
        _TO_PROPERTIES(FRAME_END, FRAME_HEADER, channel, len(properties) + 12, 60, 0, size),
        properties,
    )
    limit = frame_max - FRAME_OVERHEAD
    if len(properties) + 12 > limit:
        raise ValueError(
            f"the message's properties take {len(properties)} bytes; with this broker's "
            f"frame_max of {frame_max} they must fit into one frame"
        )
    if size <= limit:
        if not size:
            return b"".join((*head, _END))
        return b"".join((*head, _NEXT(FRAME_END, FRAME_BODY, channel, size), body, _END))
    parts = list(head)
    for start in range(0, size, limit):
        piece = body[start : start + limit]
        parts += (_NEXT(FRAME_END, FRAME_BODY, channel, len(piece)), piece)
    parts.append(_END)
    return b"".join(parts)
