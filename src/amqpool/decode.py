"""Decoding of what came in: arguments, properties and bodies.

By py-amqp's own code, but for what comes by the thousand: the arguments of basic.deliver and the
basic properties. It runs in the thread that dispatches an event (for the few methods that the I/O
thread answers itself: there). Bytes from a peer may be anything: whatever decoding raises on them
becomes a `FrameError`, never a KeyError or struct.error in the face of a caller.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, Final

import amqp
from amqp.serialization import loads

from .errors import FrameError
from .frames import PROPERTIES
from .parser import Event

#: All that py-amqp's decoders were seen to raise on garbage: too short, not UTF-8, an unknown
#: type in a table, a timestamp beyond the calendar, tables nested thousands deep.
DECODE_ERRORS: Final = (
    struct.error,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
    OSError,
    RecursionError,
    amqp.exceptions.FrameSyntaxError,
)

_TAG_BITS_SIZE = struct.Struct(">QBB").unpack_from
_FLAGS = struct.Struct(">H").unpack_from
_TIMESTAMP = struct.Struct(">Q").unpack_from

#: Class, weight and body size stand before the property flags of a content header.
_FLAGS_AT: Final = 12

#: The arguments follow the class and method number.
_ARGS_AT: Final = 4


def decode_args(kinds: str, event: Event) -> list[Any]:
    """The arguments of a method. Raises FrameError."""
    try:
        values, end = loads(kinds, event.args, _ARGS_AT)
    except DECODE_ERRORS as error:
        raise _undecodable(event, error) from error
    if end > len(event.args):
        raise _undecodable(event, "arguments longer than their frame")
    return values  # type: ignore[no-any-return]


def decode_deliver(event: Event) -> list[Any]:
    """The arguments of basic.deliver, in a third of the time. Raises FrameError."""
    args = event.args
    try:
        at = 5 + args[4]
        consumer_tag = args[5:at].decode("utf-8", "surrogatepass")
        delivery_tag, bits, size = _TAG_BITS_SIZE(args, at)
        at += 10
        exchange = args[at : at + size].decode("utf-8", "surrogatepass")
        at += size
        end = at + 1 + args[at]
        routing_key = args[at + 1 : end].decode("utf-8", "surrogatepass")
    except DECODE_ERRORS as error:
        raise _undecodable(event, error) from error
    if end > len(args):
        raise _undecodable(event, "arguments longer than their frame")
    return [consumer_tag, delivery_tag, bits & 1 == 1, exchange, routing_key]


def decode_message(event: Event) -> Any:
    """The content of an event as an `amqp.Message` whose body is bytes. Raises FrameError."""
    assert event.header is not None
    message = amqp.Message(frame_method=event.sig, frame_args=event.args)
    try:
        message.properties = decode_properties(event.header)
    except DECODE_ERRORS as error:
        raise _undecodable(event, error) from error
    pieces = event.body
    message.body = body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    message.body_size = message.body_received = len(body)
    message.ready = True
    return message


def decode_properties(header: bytes) -> dict[str, Any]:
    """The basic properties that a content header's payload sets, as py-amqp names them.

    Raises some of DECODE_ERRORS, also where one is longer than the frame.
    """
    found: dict[str, Any] = {}
    at = _FLAGS_AT + 2
    for name, kind in _layout(*_FLAGS(header, _FLAGS_AT)):
        if kind == "s":
            start = at + 1
            at = start + header[at]
            found[name] = header[start:at].decode("utf-8", "surrogatepass")
        elif kind == "o":
            found[name] = header[at]
            at += 1
        elif kind == "L":
            (found[name],) = _TIMESTAMP(header, at)
            at += 8
        else:
            (found[name],), at = loads(kind, header, at)
    if at > len(header):
        raise ValueError("properties longer than their frame")
    return found


# An application's messages set the same few combinations, again and again.
@lru_cache(maxsize=256)
def _layout(flags: int) -> tuple[tuple[str, str], ...]:
    """Name and kind of the properties that these flags say are there, in wire order."""
    return tuple((name, kind) for name, bit, kind in PROPERTIES if flags & bit)


def _undecodable(event: Event, why: object) -> FrameError:
    return FrameError(
        f"the peer broke the protocol: method {event.sig} cannot be decoded ({why!r:.120})",
        event.sig,
        reply_code=502,
    )
