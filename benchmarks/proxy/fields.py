"""Reading the few AMQP 0-9-1 method and header fields that the ledger needs, by struct.

It owns field offsets and method numbers, and no state. It never decodes a whole method (a full
decode costs eight times as much per frame) and never reads Connection.StartOk, which holds the
password. It prevents one failure: a payload that ends early raises Malformed, and is never read
beyond its end into the frame-end octet.
"""

from __future__ import annotations

from functools import cache
from struct import Struct
from struct import error as struct_error
from typing import Final

OCTET: Final = Struct(">B")
SHORT: Final = Struct(">H")
LONG: Final = Struct(">I")
LONGLONG: Final = Struct(">Q")
#: Content header: class, weight, body size, property flags.
CONTENT: Final = Struct(">HHQH")

# Class number << 16 | method number, as the first four octets of a method payload read.
CONNECTION_TUNE_OK: Final = 10 << 16 | 31
CONNECTION_OPEN_OK: Final = 10 << 16 | 41
CONNECTION_CLOSE: Final = 10 << 16 | 50
CONNECTION_CLOSE_OK: Final = 10 << 16 | 51
CONNECTION_BLOCKED: Final = 10 << 16 | 60
CONNECTION_UNBLOCKED: Final = 10 << 16 | 61
CHANNEL_OPEN: Final = 20 << 16 | 10
CHANNEL_OPEN_OK: Final = 20 << 16 | 11
CHANNEL_CLOSE: Final = 20 << 16 | 40
CHANNEL_CLOSE_OK: Final = 20 << 16 | 41
QUEUE_DECLARE: Final = 50 << 16 | 10
QUEUE_DECLARE_OK: Final = 50 << 16 | 11
BASIC_CONSUME: Final = 60 << 16 | 20
BASIC_CONSUME_OK: Final = 60 << 16 | 21
BASIC_CANCEL: Final = 60 << 16 | 30
BASIC_CANCEL_OK: Final = 60 << 16 | 31
BASIC_PUBLISH: Final = 60 << 16 | 40
BASIC_RETURN: Final = 60 << 16 | 50
BASIC_DELIVER: Final = 60 << 16 | 60
BASIC_GET: Final = 60 << 16 | 70
BASIC_GET_OK: Final = 60 << 16 | 71
BASIC_GET_EMPTY: Final = 60 << 16 | 72
BASIC_ACK: Final = 60 << 16 | 80
BASIC_REJECT: Final = 60 << 16 | 90
BASIC_RECOVER_ASYNC: Final = 60 << 16 | 100
BASIC_RECOVER: Final = 60 << 16 | 110
BASIC_NACK: Final = 60 << 16 | 120
CONFIRM_SELECT: Final = 85 << 16 | 10

# Property flags in the order in which their values follow (specification section 4.2.6.1).
# Those that stand before message-id: a short string each, but for the table and two octets.
_BEFORE_MESSAGE_ID: Final = (
    (1 << 15, "short string"),  # content-type
    (1 << 14, "short string"),  # content-encoding
    (1 << 13, "table"),  # headers
    (1 << 12, "octet"),  # delivery-mode
    (1 << 11, "octet"),  # priority
    (1 << 10, "short string"),  # correlation-id
    (1 << 9, "short string"),  # reply-to
    (1 << 8, "short string"),  # expiration
)
_BEFORE_MESSAGE_ID_MASK: Final = 0xFF00
_MESSAGE_ID: Final = 1 << 7
_MORE_FLAGS: Final = 1


class Malformed(ValueError):
    """A payload ends before its fields do: the peer that sent it broke the protocol (502)."""


def method_key(payload: bytes) -> int:
    """Return class number << 16 | method number. Raises Malformed when they are not there."""
    try:
        key: int = LONG.unpack_from(payload)[0]
    except struct_error:
        raise Malformed(f"a method frame of {len(payload)} bytes") from None
    return key


def short_string(payload: bytes, start: int) -> tuple[str, int]:
    """Return the short string at ``start`` and the offset behind it.

    Bytes that are not UTF-8 come back as ``\\xNN``, so that every string can be printed.
    Raises Malformed when the payload ends before the string does.
    """
    end = skip_short_string(payload, start)
    return payload[start + 1 : end].decode("utf-8", "backslashreplace"), end


def skip_short_string(payload: bytes, start: int) -> int:
    """Return the offset behind the short string at ``start``. Raises Malformed."""
    if start >= len(payload):
        raise Malformed("a short string is missing")
    end = start + 1 + payload[start]
    if end > len(payload):
        raise Malformed("a short string is cut off")
    return end


def header(payload: bytes) -> tuple[int, str | None]:
    """Return body size in bytes and message-id (None when absent) of a content header payload.

    Raises Malformed when the payload ends early.
    """
    try:
        _, _, size, flags = CONTENT.unpack_from(payload)
        at = CONTENT.size
        more = flags
        while more & _MORE_FLAGS:
            (more,) = SHORT.unpack_from(payload, at)
            at += SHORT.size
        if not flags & _MESSAGE_ID:
            return size, None
        for kind in _before_message_id(flags & _BEFORE_MESSAGE_ID_MASK):
            if kind == "octet":
                at += 1
            elif kind == "table":
                at += LONG.size + LONG.unpack_from(payload, at)[0]
            else:
                at = skip_short_string(payload, at)
    except struct_error:
        raise Malformed("a content header is cut off") from None
    return size, short_string(payload, at)[0]


@cache
def _before_message_id(flags: int) -> tuple[str, ...]:
    """What stands before message-id under these flags; 256 answers at most are kept."""
    return tuple(kind for flag, kind in _BEFORE_MESSAGE_ID if flags & flag)
