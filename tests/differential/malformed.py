"""Frames that are out of place, and handshakes that say something odd: tables by kind.

``frames`` gives the bytes of one kind for one channel. All of it is legal to send on any channel;
what is wrong with each is its name.
"""

from __future__ import annotations

import warnings
from typing import Any

from pamqp import commands
from pamqp import frame as pamqp_frame

from benchmarks.wire.frames import BODY, HEADER, HEARTBEAT, METHOD, frame

PUBLISH_METHOD = b"\0\x3c\0\x28\0\0\0\x02q1\0"


def _header(size: int, class_id: int = 60, flags: int = 0, properties: bytes = b"") -> bytes:
    return b"%b\0\0%b%b%b" % (
        class_id.to_bytes(2, "big"),
        size.to_bytes(8, "big"),
        flags.to_bytes(2, "big"),
        properties,
    )


_PUBLISH = (METHOD, PUBLISH_METHOD)
_FIVE = (HEADER, _header(5))
_ACK = (METHOD, b"\0\x3c\0\x50" + bytes(7) + b"\1\0")

#: By kind: the frames, as type and payload, or bytes as they are (``CH`` stands for the channel).
FRAMES: dict[str, list[tuple[int, bytes]]] = {
    "header without a publish": [_FIVE],
    "body without a publish": [(BODY, b"x")],
    "publish without a header": [_PUBLISH],
    "publish after a publish": [_PUBLISH, _PUBLISH],
    "body without a header": [_PUBLISH, (BODY, b"x")],
    "two headers": [_PUBLISH, _FIVE, _FIVE],
    "method instead of a body": [_PUBLISH, _FIVE, _ACK],
    "ack instead of a header": [_PUBLISH, _ACK],
    "publish without its body": [_PUBLISH, _FIVE],
    "body too long": [_PUBLISH, _FIVE, (BODY, b"x" * 9)],
    "body after an empty message": [_PUBLISH, (HEADER, _header(0)), (BODY, b"x")],
    "empty body frames": [_PUBLISH, _FIVE, (BODY, b""), (BODY, b"12345")],
    "body in pieces": [_PUBLISH, _FIVE, (BODY, b"12"), (BODY, b"345")],
    "header of another class": [_PUBLISH, (HEADER, _header(0, class_id=10))],
    "header cut short": [_PUBLISH, (HEADER, b"\0\x3c\0\0")],
    "header with unknown flags": [_PUBLISH, (HEADER, _header(0, flags=2))],
    "header with a cut table": [
        _PUBLISH,
        (HEADER, _header(0, flags=0x2000, properties=b"\xff\xff\xff\xff")),
    ],
    "header with bytes left over": [_PUBLISH, (HEADER, _header(0, properties=b"left"))],
    "message too large": [_PUBLISH, (HEADER, _header(1 << 30))],
    "heartbeat on a channel": [(HEARTBEAT, b"")],
    "heartbeat with a payload": [(HEARTBEAT, b"beat")],
    "method frame without a method": [(METHOD, b"\0\0")],
    "empty method frame": [(METHOD, b"")],
    "unknown method": [(METHOD, b"\0\x3c\0\xfa")],
    "unknown class": [(METHOD, b"\0\x01\0\x01")],
    "ack cut short": [(METHOD, b"\0\x3c\0\x50\0\0")],
    "publish cut short": [(METHOD, b"\0\x3c\0\x28\0\0\xff")],
    "publish with bytes left over": [(METHOD, PUBLISH_METHOD + b"left"), (HEADER, _header(0))],
    "declare with a broken table": [(METHOD, b"\0\x32\0\x0a\0\0\x02q1\0\0\0\0\x05ab")],
    "frame of the largest size": [_PUBLISH, (HEADER, _header(131064)), (BODY, bytes(131064))],
    "payload of frame_max": [_PUBLISH, (HEADER, _header(131072)), (BODY, bytes(131072))],
    "payload above frame_max": [_PUBLISH, (HEADER, _header(131073)), (BODY, bytes(131073))],
    "unknown frame type": [(9, b"")],
}
#: As bytes: what ``frame`` cannot say.
BROKEN: dict[str, bytes] = {
    "wrong frame end": b"\x03\0\x01\0\0\0\x01x\0",
    "announces four gigabytes": b"\x01\0\x01\xff\xff\xff\xff",
}
KINDS = (*FRAMES, *BROKEN)


def frames(kind: str, channel: int) -> bytes:
    """The bytes of one kind, for one channel."""
    if kind in BROKEN:
        raw = BROKEN[kind]
        return raw[:1] + channel.to_bytes(2, "big") + raw[3:]
    return b"".join(frame(type_, channel, payload) for type_, payload in FRAMES[kind])


#: Changes to what is said in the handshake, by kind.
LOGINS: dict[str, dict[str, Any]] = {
    "wrong password": {"response": "\0guest\0wrong"},
    "wrong user": {"response": "\0nobody\0guest"},
    "response that is no PLAIN": {"response": "guest"},
    "unknown mechanism": {"mechanism": "ODD"},
    "unknown vhost": {"virtual_host": "odd"},
    "frame_max too small": {"frame_max": 4095},
    "frame_max too large": {"frame_max": 131073},
    "frame_max smallest": {"frame_max": 4096},
    "frame_max zero": {"frame_max": 0},
    "channel_max zero": {"channel_max": 0},
    "channel_max too large": {"channel_max": 2048},
    "channel_max one": {"channel_max": 1},
    "heartbeat zero": {"heartbeat": 0},
    "nothing odd": {},
}


def marshal(channel: int, what: str, fields: dict[str, Any]) -> bytes:
    """Encode a method by its name and fields."""
    class_name, method_name = what.split(".")
    with warnings.catch_warnings():
        # pamqp warns of what the specification calls deprecated, and RabbitMQ carries out.
        warnings.simplefilter("ignore", DeprecationWarning)
        method = getattr(getattr(commands, class_name), method_name)(**fields)
    return bytes(pamqp_frame.marshal(method, channel))
