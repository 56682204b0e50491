"""A scripted client on a real socket, and the decoder that all scripted clients share.

What the broker says is decoded by pamqp into plain tuples, so that tests compare whole values:
``(channel, method, *arguments)``, with the body at the end where content follows.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from pamqp import base, commands
from pamqp import frame as pamqp_frame

from benchmarks.broker.core import Settings
from benchmarks.wire.frames import BODY, HEADER, HEARTBEAT, METHOD, PROTOCOL_HEADER, Scanner

#: Seconds within which anything that is expected must have come.
DEADLINE = 10.0
CAPABILITIES = {
    "authentication_failure_close": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
}


def start_ok(**more: Any) -> commands.Connection.StartOk:
    values = {
        "client_properties": {"capabilities": CAPABILITIES},
        "mechanism": "PLAIN",
        "response": "\0guest\0guest",
        "locale": "en_US",
    }
    return commands.Connection.StartOk(**(values | more))


def tune_ok(settings: Settings, **more: int) -> commands.Connection.TuneOk:
    values = {
        "channel_max": settings.channel_max,
        "frame_max": settings.frame_max,
        "heartbeat": settings.heartbeat,
    }
    return commands.Connection.TuneOk(**(values | more))


class Decoder:
    """Turns bytes into events. A message whose last frame has not come waits for it."""

    def __init__(self) -> None:
        self._scanner = Scanner(1 << 20)

    def __call__(self, raw: bytes) -> list[tuple[Any, ...]]:
        if raw == PROTOCOL_HEADER:
            return [(0, "ProtocolHeader")]
        events: list[tuple[Any, ...]] = []
        for kind, channel, data in self._scanner.feed(raw):
            if kind == METHOD:
                method = pamqp_frame.unmarshal(data)[2]
                values = [getattr(method, name) for name in method.attributes()]
                events.append((channel, method.name, *values))
            elif kind == HEADER:
                events[-1] += (b"",)
            elif kind == BODY:
                events[-1] = (*events[-1][:-1], events[-1][-1] + data[7:-1])
            elif kind == HEARTBEAT:
                events.append((channel, "Heartbeat"))
        return events


class WirePeer:
    """One client of a broker process, with channel 1 open. Sends small things only."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self._decode = Decoder()
        self._events: list[tuple[Any, ...]] = []
        self._socket.sendall(PROTOCOL_HEADER)
        self.get(1)
        self(0, start_ok(), tune_ok(Settings()), commands.Connection.Open())
        self.get(2)
        self(1, commands.Channel.Open())
        assert self.get(1) == [(1, "Channel.OpenOk", "")]

    def __call__(self, channel: int, *methods: base.Frame | bytes) -> None:
        """Send methods, or encoded frames."""
        self._socket.sendall(
            b"".join(
                item if isinstance(item, bytes) else pamqp_frame.marshal(item, channel)
                for item in methods
            )
        )

    def get(self, count: int) -> list[tuple[Any, ...]]:
        """The next events, so many; fails when they do not come in time."""
        end = time.monotonic() + DEADLINE
        while len(self._events) < count:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            data = self._socket.recv(1 << 16)
            assert data, f"the broker hung up after {self._events}"
            self._events += self._decode(data)
        events, self._events = self._events[:count], self._events[count:]
        return events

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        self._socket.settimeout(seconds)
        try:
            self._events += self._decode(self._socket.recv(1 << 16))
        except TimeoutError:
            pass
        return not self._events

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
