"""The ledger P of the books: what the proxy forwarded, connection by connection.

It owns the generations (the count of physical connections), their events and the faults. It is
pure: no sockets, no threads, no clock; whoever forwards says what and when. An event is booked
when its *last* frame is fed, and a frame is fed only when the kernel took all of it, so an event
whose frames were still in the proxy when its connection died is not in the ledger. That prevents
a fault of our own from being charged to the client. Bodies are never kept, and neither is any
frame of the login, which holds a password. What is booked grows with the run and has no bound: in
the file an event takes some 150 bytes (185 a publish or a delivery, 110 a confirm or an ack), in
memory about 480.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from struct import error as struct_error
from typing import Any, Final

from benchmarks.proxy import fields as f
from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT, Channel, Fields
from benchmarks.wire.frames import BODY, HEADER, METHOD, Frame

#: time (seconds of CLOCK_MONOTONIC), kind, channel, incarnation, fields. A tuple, since the
#: garbage collector stops visiting tuples of plain values and there will be very many.
Event = tuple[float, str, int, int, Fields]

#: The end of a generation that has none yet.
OPEN: Final = "open"
#: The one end that faults nothing: the Close / CloseOk handshake was forwarded.
CLOSE: Final = "close"
#: How the ends begin that are a fault's own doing; its kind follows.
BY_FAULT: Final = "fault:"
#: Faults that a peer notices only by a timeout of its own. If it then gives the connection up,
#: that is the fault's doing and not the peer's.
SILENT: Final = frozenset({"stall", "blackhole"})
#: Seconds behind a silent fault in which giving up still counts as its doing: a peer decides at
#: its timeout, and on a busy machine it closes some hundred milliseconds later.
AFTERMATH: Final = 1.0


class Generation:
    """The books of one physical connection. Feed it frames in the order they were forwarded."""

    def __init__(self, number: int, opened: float, upstream: int = 0) -> None:
        self.number = number
        #: Which of the proxy's upstreams it goes to, counted from 0.
        self.upstream = upstream
        self.opened = opened
        self.ready: float | None = None
        self.closed: float | None = None
        self.end = OPEN
        #: Whether a Connection.CloseOk answered a Close: the connection ends by the handshake.
        self.close_ok = False
        #: When the first side ended it, which may be before both sockets were closed.
        self.ending: float | None = None
        #: Faults that hit it: kind, t, until (None: it lasts).
        self.faults: list[dict[str, Any]] = []
        #: Bytes of its frames that a fault threw away. What no longer left the kernel's buffers
        #: of a peer that was reset is not known here.
        self.thrown = 0
        self.events: list[Event] = []
        self._channels: dict[int, Channel] = {}
        self._incarnations: dict[int, int] = {}
        self._closing: set[int] = set()
        self._now = opened

    @property
    def faulted(self) -> bool:
        """Whether it ended other than by Close / CloseOk, or bytes were thrown away."""
        return self.end not in (OPEN, CLOSE) or self.thrown > 0

    @property
    def injected(self) -> bool:
        """Whether a fault of ours ended it, or drove a peer to give it up without handshake."""
        if self.end in (OPEN, CLOSE) or self.closed is None:
            return False
        if self.end.startswith(BY_FAULT) or self.thrown > 0:
            return True
        ending = self.closed if self.ending is None else self.ending
        return any(
            fault["kind"] in SILENT and ending <= fault["until"] + AFTERMATH
            for fault in self.faults
        )

    def fault(self, kind: str, t: float, until: float | None) -> dict[str, Any]:
        """Note a fault that hits this connection. Returns the entry, for its ``until``."""
        entry = {"kind": kind, "t": t, "until": self.closed if until is None else until}
        self.faults.append(entry)
        return entry

    def feed(self, direction: int, frame: Frame, t: float) -> None:
        """Take a frame that the kernel took whole; ``t`` is just before the last of it went.

        So an event's time is never after the peer's reaction to it.
        Raises Malformed when a payload ends before the fields that the ledger reads.
        """
        self._now = t
        kind, number, raw = frame
        payload = raw[7:-1]
        try:
            if number == 0:
                if kind == METHOD:
                    self._connection_method(direction, f.method_key(payload), payload)
                return
            # Frames on a channel that was never opened belong to incarnation 0: they did cross.
            channel = self._channels.get(number) or self._begin(number, 0)
            if kind == METHOD:
                key = f.method_key(payload)
                if key == f.CHANNEL_OPEN and direction == TO_BROKER:
                    self._open(number)
                else:
                    channel.method(direction, key, payload)
            elif kind == BODY:
                channel.body(direction, payload)
            elif kind == HEADER:
                channel.header(direction, payload)
        except struct_error:
            raise f.Malformed(f"a frame of {len(payload)} bytes ends before its fields") from None

    def finish(self, end: str, t: float) -> None:
        """Note when and how the connection ended. Nothing is fed afterwards."""
        self.end, self.closed = end, t
        for fault in self.faults:
            if fault["until"] is None:
                fault["until"] = t
        self._channels.clear()

    def document(self) -> dict[str, Any]:
        """Return what the ledger file says of this generation."""
        return {
            "generation": self.number,
            "upstream": self.upstream,
            "opened": self.opened,
            "ready": self.ready,
            "closed": self.closed,
            "end": self.end,
            "faulted": self.faulted,
            "injected": self.injected,
            "thrown": self.thrown,
            "faults": self.faults,
            "events": self.events,
        }

    def _open(self, number: int) -> None:
        incarnation = self._incarnations[number] = self._incarnations.get(number, 0) + 1
        self._begin(number, incarnation)
        self.events.append((self._now, "open", number, incarnation, {}))

    def _begin(self, number: int, incarnation: int) -> Channel:
        def book(kind: str, fields: Fields) -> None:
            self.events.append((self._now, kind, number, incarnation, fields))

        channel = self._channels[number] = Channel(book)
        return channel

    def _connection_method(self, direction: int, key: int, payload: bytes) -> None:
        if key == f.CONNECTION_CLOSE:
            by = "client" if direction == TO_BROKER else "broker"
            code, text = f.SHORT.unpack_from(payload, 4)[0], f.short_string(payload, 6)[0]
            self._closing.add(direction)
            self._book("connection_close", {"by": by, "code": code, "text": text})
        elif key == f.CONNECTION_CLOSE_OK:
            # Nobody can excuse its own end by answering a Close that was never sent.
            self.close_ok = self.close_ok or (1 - direction) in self._closing
            self._book("connection_close_ok", {})
        elif direction == TO_CLIENT:
            if key == f.CONNECTION_OPEN_OK and self.ready is None:
                self.ready = self._now
            elif key == f.CONNECTION_BLOCKED:
                self._book("blocked", {})
            elif key == f.CONNECTION_UNBLOCKED:
                self._book("unblocked", {})

    def _book(self, kind: str, fields: Fields) -> None:
        self.events.append((self._now, kind, 0, 0, fields))


class Unbooked(Generation):
    """A generation of which only beginning and end are booked: what the books cost is the rest."""

    def feed(self, direction: int, frame: Frame, t: float) -> None:
        """Take what concerns the connection as a whole. Raises Malformed."""
        if frame.channel == 0:
            super().feed(direction, frame, t)


class Ledger:
    """All generations and faults of one run; with ``booking`` off, without their messages."""

    def __init__(self, *, booking: bool = True) -> None:
        self._kind = Generation if booking else Unbooked
        self.generations: list[Generation] = []
        self.faults: list[dict[str, Any]] = []

    def open(self, t: float, upstream: int = 0) -> Generation:
        """Begin the next generation, whichever upstream it goes to; the first is number 1."""
        generation = self._kind(len(self.generations) + 1, t, upstream)
        self.generations.append(generation)
        return generation

    def fault(
        self, kind: str, generations: Sequence[Generation], t: float, until: float | None
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Note a fault that fired, here and with the generations that it hit.

        ``until`` is when it was over, None when it lasts. Returns the entry here and theirs.
        """
        numbers = [generation.number for generation in generations]
        entry = {"t": t, "kind": kind, "generations": numbers, "until": until}
        self.faults.append(entry)
        return entry, [generation.fault(kind, t, until) for generation in generations]

    def document(self) -> dict[str, Any]:
        """Return the whole ledger as it is written."""
        return {
            "generations": [generation.document() for generation in self.generations],
            "faults": self.faults,
        }

    def write(self, path: Path) -> int:
        """Write the ledger to ``path`` as JSON, whole or not at all. Returns the events written.

        Raises OSError when the file cannot be written.
        """
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="ascii") as file:
                # dumps, not dump: only the former uses the C encoder, nine times as fast.
                file.write(json.dumps(self.document(), separators=(",", ":")))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return sum(len(generation.events) for generation in self.generations)
