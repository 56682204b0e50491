"""One connection: what is sent, what comes back as plain tuples, and which channels are open.

It owns a socket and the client's view of its channels; it takes nothing for granted that the
broker did not say. Every wait is for an event of the protocol and has a deadline.
"""

from __future__ import annotations

import socket
import time
from typing import Any
from zlib import crc32

from pamqp import commands, header
from pamqp import frame as pamqp_frame

from benchmarks.wire.frames import BODY, HEADER, METHOD, PROTOCOL_HEADER, Scanner, frame
from benchmarks.wire.url import Endpoint

from .malformed import marshal

#: Seconds within which whatever is expected must have come. Generous: the machine may be busy.
DEADLINE = 20.0
#: A channel of each connection that no step uses, to find out that a broker is at rest.
CONTROL = 1999
OPEN, CLOSING = "open", "closing"
FRAME_MAX = 131072
CAPABILITIES = {
    "authentication_failure_close": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "basic.nack": True,
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
}

#: Channel, name of the method, arguments, and the body where there is content.
Event = tuple[Any, ...]


class Late(Exception):
    """What was expected did not come within DEADLINE."""


class Link:
    """A connection to a broker. ``login`` changes what is said in the handshake."""

    def __init__(self, endpoint: Endpoint, login: dict[str, Any] | None = None) -> None:
        self._socket = socket.create_connection((endpoint.host, endpoint.port), DEADLINE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._scanner = Scanner(1 << 20)
        #: Events that came, oldest first, until someone takes them.
        self.events: list[Event] = []
        #: By channel, the message whose last frame has not come, and the bytes that it lacks.
        self._partial: dict[int, tuple[Event, int]] = {}
        #: By channel number: open, or closing (the broker has closed it, and waits for close-ok).
        self.channels: dict[int, str] = {}
        #: Open until the broker closes it or hangs up.
        self.open = True
        self.ended = False
        #: The broker's version, as it says itself.
        self.version = ""
        self._handshake(endpoint, login or {})

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._end()

    def _end(self) -> None:
        self.open = False
        self.ended = True
        self.channels.clear()

    # -- output ----------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes; a broker that has hung up is noticed by whoever reads."""
        try:
            self._socket.settimeout(DEADLINE)
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # What it said before it hung up is still to be read.

    def method(self, channel: int, name: str, **fields: Any) -> None:
        """Send one method."""
        self.send(marshal(channel, name, fields))

    # -- input -----------------------------------------------------------------------------

    def wait(self, name: str, channel: int, count: int = 1) -> bool:
        """Read until the method has come so often on the channel, and not been taken yet.

        False when the channel or the connection ended first.
        """
        while sum(event[:2] == (channel, name) for event in self.events) < count:
            if not self.open or self.channels.get(channel, OPEN) != OPEN:
                return False
            self.read()
        return True

    def wait_for_end(self) -> None:
        """Read until the broker hangs up."""
        while not self.ended:
            self.read()

    def take(self) -> list[Event]:
        """The events that came so far."""
        events, self.events = self.events, []
        return events

    def read(self, timeout: float = DEADLINE) -> None:
        """Wait for bytes and book what they say. Raises Late when none come."""
        end = time.monotonic() + timeout
        self._socket.settimeout(max(end - time.monotonic(), 0.001))
        try:
            data = self._socket.recv(1 << 18)
        except TimeoutError:
            raise Late from None
        except ConnectionResetError:
            data = b""
        if not data:
            self._end()
            return
        for kind, channel, raw in self._scanner.feed(data):
            if kind == METHOD:
                self._on_method(channel, raw)
            elif kind == HEADER:
                content = pamqp_frame.unmarshal(raw)[2]
                assert isinstance(content, header.ContentHeader)
                properties = tuple(pair for pair in content.properties if pair[1] is not None)
                event = (*self._partial[channel][0], properties, b"")
                self._on_content(channel, event, content.body_size or 0)
            elif kind == BODY:
                event, missing = self._partial[channel]
                body = raw[7:-1]
                self._on_content(channel, (*event[:-1], event[-1] + body), missing - len(body))

    def _on_method(self, channel: int, raw: bytes) -> None:
        method: Any = pamqp_frame.unmarshal(raw)[2]
        event = (channel, method.name, *(getattr(method, name) for name in method.attributes()))
        if method.name in ("Basic.Deliver", "Basic.GetOk", "Basic.Return"):
            self._partial[channel] = (event, 0)
            return
        self.events.append(event)
        if method.name == "Channel.OpenOk":
            self.channels[channel] = OPEN
        elif method.name == "Channel.CloseOk":
            self.channels.pop(channel, None)
        elif method.name == "Channel.Close":
            self.channels[channel] = CLOSING
        elif method.name == "Connection.Close":
            self.open = False
            self.channels.clear()

    def _on_content(self, channel: int, event: Event, missing: int) -> None:
        if missing > 0:
            self._partial[channel] = (event, missing)
        else:
            self._partial.pop(channel, None)
            self.events.append((*event[:-1], brief(event[-1])))

    # -- handshake -------------------------------------------------------------------------

    def _handshake(self, endpoint: Endpoint, login: dict[str, Any]) -> None:
        """Log in. The events of it stay to be taken when something odd was asked for."""
        self.send(PROTOCOL_HEADER)
        if not self.wait("Connection.Start", 0):
            return
        self.version = self.events[0][4].get("version", "")
        self.method(
            0,
            "Connection.StartOk",
            client_properties={"product": "a differential test", "capabilities": CAPABILITIES},
            mechanism=login.get("mechanism", "PLAIN"),
            response=login.get("response", f"\0{endpoint.user}\0{endpoint.password}"),
            locale="en_US",
        )
        if not self.wait("Connection.Tune", 0):
            return
        self.method(
            0,
            "Connection.TuneOk",
            channel_max=login.get("channel_max", 2047),
            frame_max=login.get("frame_max", FRAME_MAX),
            heartbeat=login.get("heartbeat", 0),
        )
        self.method(0, "Connection.Open", virtual_host=login.get("virtual_host", endpoint.vhost))
        if self.wait("Connection.OpenOk", 0) and not login:
            self.method(CONTROL, "Channel.Open")
            self.wait("Channel.OpenOk", CONTROL)
            self.events.clear()


def brief(body: bytes) -> bytes | tuple[str, int]:
    """A body, or what stands for one too long to be shown: its checksum and its length."""
    return body if len(body) < 40 else (f"crc {crc32(body):08x}", len(body))


def message(channel: int, fields: dict[str, Any], body: bytes, properties: dict[str, Any]) -> bytes:
    """The frames of one whole message."""
    content = header.ContentHeader(
        body_size=len(body), properties=commands.Basic.Properties(**properties)
    )
    parts = [marshal(channel, "Basic.Publish", fields), pamqp_frame.marshal(content, channel)]
    room = FRAME_MAX - 8
    for offset in range(0, len(body), room):
        parts.append(frame(BODY, channel, body[offset : offset + room]))
    return b"".join(parts)
