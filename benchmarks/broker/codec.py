"""The hot frames by struct: publish, deliver, get-ok, return, confirm, and the client's acks.

These frames are nearly all the traffic of a run; encoding them here costs a few microseconds
less each than the general codec does. Everything else goes through pamqp (``decode``,
``encode``). This module holds no state.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

from pamqp import base, exceptions, frame

from benchmarks.wire.frames import BODY, HEADER, METHOD, OVERHEAD

from .errors import HardError

#: Class and method id of a method, as the one integer that pamqp calls its index.
PUBLISH, RETURN, DELIVER = 0x003C0028, 0x003C0032, 0x003C003C
DECLARE, DECLARE_OK, OPEN_OK = 0x0032000A, 0x0032000B, 0x0014000B
GET_OK, ACK, REJECT, NACK = 0x003C0047, 0x003C0050, 0x003C005A, 0x003C0078

#: pamqp copies the rest of a table for each of its fields: without a bound, one frame full of
#: empty fields costs a second. No honest method comes near it.
METHOD_LIMIT = 32768

_HEAD = Struct(">BHI")
_INDEX = Struct(">I")
_TAG_BIT = Struct(">QB")
_CONTENT = Struct(">HHQH")
_COUNT = Struct(">I")
_CONFIRM = Struct(">BHIIQBB")
_BARE = Struct(">BHIIB")
_OPEN_OK = Struct(">BHIIIB")
_SHORT = Struct(">H")

#: How each of basic's fourteen properties is stored, from the highest flag down: a short string,
#: a table, or a number of octets.
_PROPERTIES = (
    (0x8000, "s"),
    (0x4000, "s"),
    (0x2000, "t"),
    (0x1000, 1),
    (0x0800, 1),
    (0x0400, "s"),
    (0x0200, "s"),
    (0x0100, "s"),
    (0x0080, "s"),
    (0x0040, 8),
    (0x0020, "s"),
    (0x0010, "s"),
    (0x0008, "s"),
    (0x0004, "s"),
)
#: Flags of the properties that the broker itself looks at.
EXPIRATION, USER_ID = 0x0100, 0x0010


class Message(NamedTuple):
    """One published message, shared by every queue it was routed to."""

    exchange: str
    routing_key: str
    #: Exchange and routing key as two short strings: how deliver, get-ok and return end.
    route: bytes
    #: The payload of the content header frame as the publisher sent it.
    header: bytes
    body: bytes


class PublishHead(NamedTuple):
    """A decoded basic.publish method."""

    exchange: str
    routing_key: str
    route: bytes
    mandatory: bool
    immediate: bool


def method_index(raw: bytes) -> int:
    """The index of a method frame. Raises HardError 501 when it is too short to have one."""
    if len(raw) < OVERHEAD + 4:
        raise HardError(501, "method frame without a method")
    index: int = _INDEX.unpack_from(raw, 7)[0]
    return index


def decode(raw: bytes) -> base.Frame:
    """Decode any method frame. Raises HardError 501 for what is not one."""
    if len(raw) > METHOD_LIMIT:
        raise HardError(501, f"method frame of {len(raw)} bytes is above {METHOD_LIMIT}")
    try:
        method = frame.unmarshal(raw)[2]
    except (
        exceptions.PAMQPException,
        StructError,
        ValueError,
        LookupError,
        TypeError,
        ArithmeticError,
        OSError,  # a timestamp that the platform cannot represent
        RecursionError,  # a table nested thousands deep
    ) as error:
        raise HardError(501, f"cannot decode method: {type(error).__name__}") from error
    if not isinstance(method, base.Frame):
        raise HardError(501, "cannot decode method")
    return method


def encode(channel: int, method: base.Frame) -> bytes:
    """Encode any method frame."""
    return frame.marshal(method, channel)


# A publisher sends to few addresses, again and again.
@lru_cache(maxsize=1024)
def parse_publish(args: bytes) -> PublishHead:
    """Decode what follows the method's number in a basic.publish frame.

    Raises HardError 501 when it is malformed.
    """
    try:
        middle = 3 + args[2]
        end = middle + 1 + args[middle]
        if end + 2 != len(args):
            raise HardError(501, "malformed basic.publish")
        bits = args[end]
        return PublishHead(
            args[3:middle].decode(),
            args[middle + 1 : end].decode(),
            args[2:end],
            bits & 1 == 1,
            bits & 2 == 2,
        )
    except (IndexError, UnicodeDecodeError) as error:
        raise HardError(501, "malformed basic.publish") from error


def parse_tag(raw: bytes) -> tuple[int, int]:
    """Delivery tag and bits of an ack, nack or reject frame. Raises HardError 501."""
    if len(raw) != 21:
        raise HardError(501, "malformed acknowledgement")
    tag, bits = _TAG_BIT.unpack_from(raw, 11)
    return tag, bits


def parse_header(payload: bytes) -> int:
    """The body size that a content header announces, in bytes.

    Raises HardError 505 for another class than basic, and 501 when the properties do not fill
    the frame exactly: such a header, passed on, would break an innocent consumer.
    """
    try:
        class_id, _weight, size, flags = _CONTENT.unpack_from(payload)
        if class_id != 60:
            raise HardError(
                505, f"expected content header for class 60, got one for class {class_id} instead"
            )
        if flags & 0x0003:
            raise HardError(501, "unknown property flags")
        end = _skip_properties(payload, flags, 0)
    except (StructError, IndexError) as error:
        raise HardError(501, "malformed content header") from error
    if end != len(payload):
        raise HardError(501, "malformed content header")
    return int(size)


def property_text(payload: bytes, wanted: int) -> str:
    """A property that is a short string and is set, out of a header that is in order."""
    flags: int = _SHORT.unpack_from(payload, 12)[0]
    start = _skip_properties(payload, flags, wanted)
    return payload[start + 1 : start + 1 + payload[start]].decode(errors="replace")


def _skip_properties(payload: bytes, flags: int, until: int) -> int:
    """Where the property with that flag begins; with 0, where the last one ends."""
    offset = 14
    for kind in _kinds(flags, until):
        if kind == "s":
            offset += 1 + payload[offset]
        elif kind == "t":
            offset += 4 + _COUNT.unpack_from(payload, offset)[0]
        else:
            offset += kind
    return offset


# A publisher's messages set the same few combinations, again and again.
@lru_cache(maxsize=256)
def _kinds(flags: int, until: int) -> tuple[Any, ...]:
    """How the properties that are there are stored, up to the one with the flag ``until``."""
    return tuple(kind for flag, kind in _PROPERTIES if flags & flag and (not until or flag > until))


def short_string(text: str) -> bytes:
    """Encode a short string (at most 255 bytes of UTF-8)."""
    data = text.encode()
    return bytes((len(data),)) + data


def bare(channel: int, index: int) -> bytes:
    """A method without arguments."""
    return _BARE.pack(METHOD, channel, 4, index, 0xCE)


def channel_open_ok(channel: int) -> bytes:
    """Channel.OpenOk with an empty id, as RabbitMQ sends it (pamqp's own default is ``0``)."""
    return _OPEN_OK.pack(METHOD, channel, 8, OPEN_OK, 0, 0xCE)


def declare_ok(channel: int, queue: str, messages: int, consumers: int) -> bytes:
    """Queue.DeclareOk. Not left to pamqp, which refuses names that RabbitMQ allows."""
    method = b"%b%b%b%b" % (
        _INDEX.pack(DECLARE_OK),
        short_string(queue),
        _COUNT.pack(messages),
        _COUNT.pack(consumers),
    )
    return b"%b%b\xce" % (_HEAD.pack(METHOD, channel, len(method)), method)


def deliver_prefix(consumer_tag: str) -> bytes:
    """What every basic.deliver of one consumer begins with; computed once per consumer."""
    return _INDEX.pack(DELIVER) + short_string(consumer_tag)


def deliver(
    channel: int, frame_max: int, prefix: bytes, tag: int, redelivered: bool, message: Message
) -> bytes:
    """A whole delivery: method, header and body frames."""
    method = prefix + _TAG_BIT.pack(tag, redelivered) + message.route
    return content(channel, frame_max, method, message)


def get_ok(
    channel: int, frame_max: int, tag: int, redelivered: bool, message: Message, remaining: int
) -> bytes:
    """A whole answer to basic.get; ``remaining`` counts the messages left in the queue."""
    method = b"%b%b%b%b" % (
        _INDEX.pack(GET_OK),
        _TAG_BIT.pack(tag, redelivered),
        message.route,
        _COUNT.pack(remaining),
    )
    return content(channel, frame_max, method, message)


def no_route(channel: int, frame_max: int, message: Message) -> bytes:
    """A whole basic.return of a mandatory message that no queue took."""
    method = _INDEX.pack(RETURN) + _SHORT.pack(312) + b"\x08NO_ROUTE" + message.route
    return content(channel, frame_max, method, message)


def content(channel: int, frame_max: int, method: bytes, message: Message) -> bytes:
    """Method, header and as many body frames as ``frame_max`` (bytes, whole frame) asks for."""
    header, body = message.header, message.body
    start = b"%b%b\xce%b%b\xce" % (
        _HEAD.pack(METHOD, channel, len(method)),
        method,
        _HEAD.pack(HEADER, channel, len(header)),
        header,
    )
    size = len(body)
    if not size:
        return start
    room = frame_max - OVERHEAD
    if size <= room:
        return b"%b%b%b\xce" % (start, _HEAD.pack(BODY, channel, size), body)
    parts = [start]
    for offset in range(0, size, room):
        part = body[offset : offset + room]
        parts += (_HEAD.pack(BODY, channel, len(part)), part, b"\xce")
    return b"".join(parts)


def confirm(channel: int, tag: int, multiple: bool) -> bytes:
    """The broker's basic.ack of a publish."""
    return _CONFIRM.pack(METHOD, channel, 13, ACK, tag, multiple, 0xCE)


def refuse(channel: int, tag: int) -> bytes:
    """The broker's basic.nack of one publish."""
    return _CONFIRM.pack(METHOD, channel, 13, NACK, tag, 0, 0xCE)
