"""What one direction of a connection still has to hand to the kernel, frame by frame.

It owns whole frames in order and how much of the first one is gone. It never drops and never
reorders. It prevents the worst lie the ledger could tell: a frame is reported as forwarded when
``send`` has taken its last byte, and not when the proxy merely meant to send it.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from socket import MSG_EOR, socket

from benchmarks.wire.frames import Frame

#: Most bytes joined for one ``send``. A loopback socket takes a few hundred KiB at once, and
#: what it does not take is joined again: more would be copied for nothing.
BATCH = 256 * 1024


class Outbox:
    """Frames that wait for one socket."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._sent_of_first = 0
        #: Bytes that the kernel has not taken yet.
        self.pending = 0

    def put(self, frames: list[Frame]) -> None:
        """Queue frames behind those that wait already."""
        self._frames.extend(frames)
        for frame in frames:
            self.pending += len(frame.raw)

    def send(self, sink: socket, limit: int | None = None) -> list[Frame]:
        """Hand a batch of bytes to ``sink``; return the frames whose last byte went.

        ``limit`` (at least 1) is the most bytes that may go, None as many as a batch holds. What
        goes under a limit stays a segment of its own (``MSG_EOR``): on a busy machine the kernel
        would join it with the next one before the first is on its way.
        Raises what ``send`` raises: BlockingIOError when the kernel takes nothing now, another
        OSError when the connection is gone.
        """
        chunk = self._chunk() if limit is None else self._piece(limit)
        sent = sink.send(chunk, 0 if limit is None else MSG_EOR)
        self.pending -= sent
        if not self.pending:
            done = list(self._frames)
            self._frames.clear()
            self._sent_of_first = 0
            return done
        done = []
        sent += self._sent_of_first
        while sent and sent >= (size := len(self._frames[0].raw)):
            sent -= size
            done.append(self._frames.popleft())
        self._sent_of_first = sent
        return done

    def clear(self) -> int:
        """Throw away what waits, since its connection is gone. Returns the bytes thrown away."""
        thrown, self.pending, self._sent_of_first = self.pending, 0, 0
        self._frames.clear()
        return thrown

    def _piece(self, limit: int) -> bytes:
        """At most ``limit`` bytes, and no more than a batch, without joining what stays here."""
        limit = min(limit, BATCH)
        at = self._sent_of_first
        parts = [self._frames[0].raw[at : at + limit]]
        limit -= len(parts[0])
        for frame in islice(self._frames, 1, None):
            if not limit:
                break
            parts.append(frame.raw[:limit])
            limit -= len(parts[-1])
        return b"".join(parts)

    def _chunk(self) -> bytes:
        first = self._frames[0].raw
        if self._sent_of_first:
            first = first[self._sent_of_first :]
        if len(self._frames) == 1:
            return first
        parts, size = [first], len(first)
        for frame in islice(self._frames, 1, None):
            if size >= BATCH:
                break
            parts.append(frame.raw)
            size += len(frame.raw)
        return b"".join(parts)
