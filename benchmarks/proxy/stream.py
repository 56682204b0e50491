"""One direction of an AMQP byte stream: the protocol header, then frames.

It owns the few bytes in front of the first frame and the limit on a frame's size. It never looks
into a payload, but for the one frame that negotiates that limit. It prevents a peer that is not
AMQP at all from being forwarded, and one that announces a huge frame from making this process
reserve memory for it.
"""

from __future__ import annotations

from typing import Final

from benchmarks.proxy.fields import CONNECTION_TUNE_OK, LONG
from benchmarks.wire.frames import METHOD, PROTOCOL_HEADER, Frame, FrameError, Scanner

#: The type of the pseudo frame that carries a protocol header. No real frame has type 0.
PROTOCOL: Final = 0
#: What stands in for a negotiated frame_max of 0 ("no limit") or above. RabbitMQ's own default
#: is 128 KiB; 16 MiB lets experiments through and still bounds what one peer can make us hold.
LARGEST_FRAME_MAX = 16 * 1024 * 1024

_MAGIC = PROTOCOL_HEADER[:4]
_TUNE_OK_SIZE = 12


class Stream:
    """Feed it bytes as they come; it returns whole frames, the protocol header first."""

    def __init__(self, *, header_required: bool) -> None:
        self._scanner = Scanner()
        self._header_required = header_required
        self._front: bytes | None = b""

    def limit(self, frame_max: int) -> None:
        """Use the negotiated frame_max (bytes) for the frames fed from now on."""
        self._scanner.max_payload = min(frame_max or LARGEST_FRAME_MAX, LARGEST_FRAME_MAX)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames completed by ``data``.

        Raises FrameError when the bytes are not AMQP. The stream must not be fed again after it.
        """
        if self._front is None:
            return self._scanner.feed(data)
        front = self._front + data
        if front[:4] != _MAGIC[: len(front)]:
            if self._header_required:
                raise FrameError("no protocol header", [])
            self._front = None
            return self._scanner.feed(front)
        if len(front) < len(PROTOCOL_HEADER):
            self._front = front
            return []
        self._front = None
        header = Frame(PROTOCOL, 0, front[: len(PROTOCOL_HEADER)])
        try:
            return [header, *self._scanner.feed(front[len(PROTOCOL_HEADER) :])]
        except FrameError as error:
            error.frames.insert(0, header)
            raise


def negotiated(frames: list[Frame]) -> int | None:
    """Return the frame_max in the Connection.TuneOk among these frames, None without one."""
    for frame in frames:
        if frame.type != METHOD or frame.channel != 0:
            continue
        payload = frame.payload
        if len(payload) == _TUNE_OK_SIZE and LONG.unpack_from(payload)[0] == CONNECTION_TUNE_OK:
            frame_max: int = LONG.unpack_from(payload, 6)[0]
            return frame_max
    return None
