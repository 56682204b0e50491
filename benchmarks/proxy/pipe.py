"""One direction of a link: a source that is read, frames that wait, a sink that is written.

It owns the outbox and, while a fault or a rule is at work, the valve in front of the sink. It
never reads or writes a socket itself. It prevents the hot path from paying for faults: without a
valve, frames go into the outbox and out again as if there were none.
"""

from __future__ import annotations

import socket
from typing import Final

from benchmarks.proxy.channel import TO_BROKER
from benchmarks.proxy.outbox import Outbox
from benchmarks.proxy.rules import Armed
from benchmarks.proxy.stream import Stream
from benchmarks.proxy.valve import Shape, Valve
from benchmarks.wire.frames import Frame

#: Bytes that may wait for a slow side before the other is no longer read: some thousand small
#: messages, and a few frames of the default frame_max.
HIGH_WATER: Final = 1024 * 1024


class Pipe:
    """One direction of a link."""

    def __init__(self, direction: int, source: socket.socket, sink: socket.socket) -> None:
        self.direction = direction
        self.source = source
        self.sink = sink
        self.stream = Stream(header_required=direction == TO_BROKER)
        self.outbox = Outbox()
        self.valve: Valve | None = None
        #: The source reached its end, or was reset.
        self.ended = False
        #: Everything went, and the sink was told that nothing follows.
        self.done = False
        #: When somebody looks again whether there is room; None: nobody does.
        self.wake: float | None = None

    @property
    def wants_read(self) -> bool:
        """Whether the source should be read: not at its end, and the sink keeps up."""
        return (
            not self.ended
            and self.outbox.pending < HIGH_WATER
            and (self.valve is None or self.valve.reads)
        )

    @property
    def discards(self) -> bool:
        """Whether a fault throws away what is read."""
        return self.valve is not None and self.valve.discards

    def put(self, frames: list[Frame], armed: list[Armed], generation: int, now: float) -> int:
        """Queue frames past the armed rules and the shapes. Returns the bytes thrown away."""
        valve = self.valve or Valve(self.outbox.pending)
        if valve.discards:
            return sum(len(frame.raw) for frame in frames)
        self.outbox.put(frames)
        for frame in frames:
            size, start = len(frame.raw), valve.queued
            for one in armed:
                if one.names(generation, frame):
                    valve.mark(start + one.rule.point(size), one)
            valve.queue(size, now)
        self.valve = None if valve.idle else valve
        return 0

    def add(self, shape: Shape, now: float) -> int:
        """Let a shape take effect. Returns the bytes that it threw away."""
        if self.valve is None:
            self.valve = Valve(self.outbox.pending)
        self.valve.add(shape, now)
        return self.clear() if shape.discards else 0

    def remove(self, owner: object) -> list[Shape]:
        """Take away the shapes of one fault, and return them."""
        if self.valve is None:
            return []
        removed = self.valve.remove(owner)
        self.tidy()
        return removed

    def tidy(self) -> None:
        """Take the valve out when it has nothing to do."""
        if self.valve is not None and self.valve.idle:
            self.valve = None

    def clear(self) -> int:
        """Throw away what waits. Returns the bytes thrown away."""
        if self.valve is not None:
            self.valve.clear()
        return self.outbox.clear()
