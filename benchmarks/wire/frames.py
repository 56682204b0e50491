"""Splitting an AMQP 0-9-1 byte stream into whole frames (specification section 2.3.5).

A frame is ``type:octet channel:short size:long payload[size] 0xCE``. The scanner owns the
partial frame at the end of the stream and nothing else; it never looks into a payload. It
prevents one failure above all: a peer that announces a huge length must not make this process
reserve memory for it, so a size above the limit is refused from the seven header bytes alone.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
FRAME_MIN_SIZE = 4096
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
#: Bytes of a frame that are not payload: seven in front, one behind.
OVERHEAD = 8
#: RabbitMQ's default frame_max. It accepts payloads of frame_max itself, so the scanner does too.
DEFAULT_FRAME_MAX = 131072

_HEAD = Struct(">BHI")
_head = _HEAD.unpack_from
_new = tuple.__new__
_TYPES = frozenset((METHOD, HEADER, BODY, HEARTBEAT))


class FrameError(ValueError):
    """The stream is not AMQP 0-9-1 frames (reply code 501): bad type, bad end, or too large.

    ``frames`` are the whole frames that the same chunk held in front of the broken one.
    """

    def __init__(self, message: str, frames: list[Frame]) -> None:
        super().__init__(message)
        self.frames = frames


class Frame(NamedTuple):
    """One whole frame. ``raw`` is every byte of it, ready to be forwarded."""

    type: int
    channel: int
    raw: bytes

    @property
    def payload(self) -> bytes:
        """The bytes between the header and the frame-end octet."""
        return self.raw[7:-1]


class Scanner:
    """Feed it bytes as they come; it returns the frames that are complete.

    It holds at most one partial frame: ``max_payload`` + 8 bytes plus the last chunk fed.
    """

    def __init__(self, max_payload: int = DEFAULT_FRAME_MAX) -> None:
        self.max_payload = max_payload
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes of the partial frame that waits for its end."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames completed by ``data``, in order.

        Raises FrameError on an unknown frame type, a payload above ``max_payload`` or a missing
        frame-end octet. After that the stream is lost: the scanner must not be fed again.
        """
        buffer = self._rest + data if self._rest else data
        frames: list[Frame] = []
        start, end, limit = 0, len(buffer), self.max_payload
        while end - start >= 7:
            kind, channel, size = _head(buffer, start)
            if kind not in _TYPES:
                raise FrameError(f"frame type {kind} on channel {channel}", frames)
            if size > limit:
                raise FrameError(f"frame of {size} bytes is above the limit of {limit}", frames)
            stop = start + OVERHEAD + size
            if stop > end:
                break
            if buffer[stop - 1] != FRAME_END:
                raise FrameError(f"frame on channel {channel} does not end with 0xCE", frames)
            # As Frame(...), in half the time.
            frames.append(_new(Frame, (kind, channel, buffer[start:stop])))
            start = stop
        self._rest = buffer[start:]
        return frames


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Encode one frame."""
    return b"%b%b\xce" % (_HEAD.pack(kind, channel, len(payload)), payload)


HEARTBEAT_FRAME = frame(HEARTBEAT, 0, b"")
