"""Parsing of what the peer sends, in place and bounded.

Owns the reading position and, per channel, the content that is being assembled. It never trusts
a length: a frame beyond the negotiated frame_max is refused from its 7-byte header, a body beyond
`content_max` is refused when it is announced, and what a frame does not say correctly (type, end
octet, order of content frames, a channel that is not open) is a `FrameError`. py-amqp's own
reader would allocate whatever a peer announces.

Nothing is decoded here but frame headers: arguments and properties are decoded by the thread that
dispatches the event, so that the reading thread stays short of work. Not thread-safe: it belongs
to the I/O thread.
"""

from __future__ import annotations

from collections.abc import Container
from struct import Struct
from typing import Final, NamedTuple

from amqp import spec

from .errors import FrameError
from .frames import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    FRAME_OVERHEAD,
    Sig,
)

_FRAME = Struct(">BHI").unpack_from
_SIG = Struct(">HH").unpack_from
_CONTENT = Struct(">HxxQ").unpack_from

_KINDS: Final = (FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT)
#: Methods that are followed by a content header and a body.
CONTENT_METHODS: Final = frozenset({spec.Basic.Return, spec.Basic.Deliver, spec.Basic.GetOk})
#: An event of the parser's own: a content too large for the channel was announced.
TOO_LARGE: Final[Sig] = (0, 0)
#: Class and weight, body size, property flags: no content header is shorter (section 4.2.6.1).
_MIN_CONTENT_HEADER: Final = 14


class Event(NamedTuple):
    """One method that came in, with its content if it has one; nothing is decoded yet."""

    sig: Sig
    args: bytes
    header: bytes | None = None
    body: tuple[bytes, ...] = ()


class _Content:
    """A content on its way: its method, its header, and the pieces of its body so far."""

    __slots__ = ("args", "header", "missing", "pieces", "sig")

    def __init__(self, sig: Sig, args: bytes) -> None:
        self.sig = sig
        self.args = args
        self.header: bytes | None = None
        self.missing = 0
        #: None when the content is being thrown away.
        self.pieces: list[bytes] | None = []


Batch = dict[int, list[Event]]


class FrameParser:
    """Turns a stream of bytes into events by channel."""

    def __init__(self, frame_max: int, content_max: int, channels: Container[int]) -> None:
        self.frame_max = frame_max
        #: Bytes of the frame that the last data ended in, of which the rest is to come; 0: unknown.
        self.needs = 0
        self._content_max = content_max
        self._channels = channels
        self._contents: dict[int, _Content] = {}

    def parse(self, data: bytes, batch: Batch) -> int:
        """Read the whole frames at the beginning of `data` into `batch`; return their length.

        Raises FrameError. What stood before the malformed frame is in `batch` by then.
        """
        position, end = 0, len(data)
        self.needs = 0
        limit = self.frame_max - FRAME_OVERHEAD
        while end - position >= 7:
            kind, channel, size = _FRAME(data, position)
            if size > limit:
                raise self._refused(data, position, kind, size)
            start = position + 7
            stop = start + size
            if stop >= end:
                # A wrong type is refused now: it may never become a whole frame.
                if kind not in _KINDS:
                    raise self._refused(data, position, kind, size)
                self.needs = stop + 1 - position
                break
            if data[stop] != FRAME_END:
                raise _malformed(f"frame of {size} bytes ends with {data[stop]:#04x}, not 0xce")
            if kind == FRAME_METHOD:
                self._method(channel, data[start:stop], batch)
            elif kind == FRAME_HEADER:
                self._header(channel, data[start:stop], batch)
            elif kind == FRAME_BODY:
                self._body(channel, data[start:stop], batch)
            elif kind != FRAME_HEARTBEAT:
                raise _malformed(f"frame type {kind}")
            elif channel or size:
                raise _malformed("a heartbeat with a channel or a payload")
            position = stop + 1
        return position

    def _method(self, channel: int, payload: bytes, batch: Batch) -> None:
        if channel in self._contents:
            raise _malformed(f"a method on channel {channel} in the midst of a content", 505)
        if len(payload) < 4:
            raise _malformed(f"method frame of {len(payload)} bytes")
        if channel not in self._channels:
            raise _malformed(f"a method on channel {channel}, which is not open", 504)
        sig = _SIG(payload)
        if sig not in CONTENT_METHODS:
            _put(batch, channel, Event(sig, payload))
        elif channel == 0:
            raise _malformed(f"method {sig} on channel 0", 503)
        else:
            self._contents[channel] = _Content(sig, payload)

    def _body(self, channel: int, payload: bytes, batch: Batch) -> None:
        content = self._contents.get(channel)
        if content is None or content.header is None:
            raise _malformed(f"a body without a header on channel {channel}", 505)
        content.missing -= len(payload)
        if content.missing < 0:
            raise _malformed(f"a body longer than announced on channel {channel}")
        if content.pieces is not None and payload:
            content.pieces.append(payload)
        if not content.missing:
            self._complete(channel, content, batch)

    def _header(self, channel: int, payload: bytes, batch: Batch) -> None:
        content = self._contents.get(channel)
        if content is None or content.header is not None:
            raise _malformed(f"a content header without a method on channel {channel}", 505)
        if len(payload) < _MIN_CONTENT_HEADER:
            raise _malformed(f"content header of {len(payload)} bytes")
        class_id, size = _CONTENT(payload)
        if class_id != content.sig[0]:
            raise _malformed(f"content header of class {class_id} behind method {content.sig}")
        content.header = payload
        content.missing = size
        if size > self._content_max:
            content.pieces = None
            _put(batch, channel, Event(TOO_LARGE, b""))
        elif not size:
            self._complete(channel, content, batch)

    def _complete(self, channel: int, content: _Content, batch: Batch) -> None:
        del self._contents[channel]
        if content.pieces is not None:
            event = Event(content.sig, content.args, content.header, tuple(content.pieces))
            _put(batch, channel, event)

    def _refused(self, data: bytes, position: int, kind: int, size: int) -> FrameError:
        if data[position : position + 4] == b"AMQP":
            return _malformed("the peer answered with a protocol header: it wants another AMQP")
        if kind not in _KINDS:
            return _malformed(f"frame type {kind}: the peer does not speak AMQP 0-9-1")
        return _malformed(f"a frame of {size} bytes was announced, frame_max is {self.frame_max}")


def _put(batch: Batch, channel: int, event: Event) -> None:
    events = batch.get(channel)
    if events is None:
        batch[channel] = [event]
    else:
        events.append(event)


def _malformed(what: str, code: int = 501) -> FrameError:
    return FrameError(f"the peer broke the protocol: {what}", reply_code=code)
