"""A scripted client for the sans-I/O core, and the broker as a process.

``Peer`` speaks to the core in memory: no socket, no thread, and a clock that only the test moves.
What the broker answers is decoded by pamqp into plain tuples, so that tests compare whole values:
``(channel, method, *arguments)``, with the body at the end where content follows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pamqp import base, commands, header
from pamqp import frame as pamqp_frame

from benchmarks.broker.core import Broker, Settings
from benchmarks.wire.frames import BODY, HEADER, HEARTBEAT, METHOD, PROTOCOL_HEADER, Scanner, frame

MAIN = Path(__file__).parents[2] / "benchmarks" / "broker" / "__main__.py"
CAPABILITIES = {
    "authentication_failure_close": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
}


def publish(
    channel: int, exchange: str, key: str, body: bytes = b"m", size: int | None = None, **more: Any
) -> bytes:
    """The frames of one publish; ``size`` announces another size than the body's."""
    content = header.ContentHeader(
        body_size=len(body) if size is None else size,
        properties=commands.Basic.Properties(message_id="id"),
    )
    method = commands.Basic.Publish(exchange=exchange, routing_key=key, **more)
    frames = pamqp_frame.marshal(method, channel) + pamqp_frame.marshal(content, channel)
    return frames + (frame(BODY, channel, body) if body else b"")


class Peer:
    """One client of the core."""

    def __init__(self, broker: Broker, handshake: bool = True, capabilities: bool = True) -> None:
        self.broker = broker
        self.session = broker.connect()
        self._scanner = Scanner(1 << 20)
        if handshake:
            assert self.feed(PROTOCOL_HEADER)[0][1] == "Connection.Start"
            offered = {"capabilities": CAPABILITIES} if capabilities else {}
            assert self(0, start_ok(client_properties=offered))[0][1] == "Connection.Tune"
            self(0, tune_ok(broker.settings))
            assert self(0, commands.Connection.Open()) == [(0, "Connection.OpenOk", "")]
            assert self(1, commands.Channel.Open()) == [(1, "Channel.OpenOk", "")]

    def __call__(self, channel: int, *methods: base.Frame | bytes) -> list[tuple[Any, ...]]:
        """Send methods, or encoded frames, and return what this client gets."""
        return self.feed(
            b"".join(
                item if isinstance(item, bytes) else pamqp_frame.marshal(item, channel)
                for item in methods
            )
        )

    def feed(self, data: bytes) -> list[tuple[Any, ...]]:
        """Send bytes and return what this client gets."""
        self.session.receive(data)
        return self.read()

    def read(self) -> list[tuple[Any, ...]]:
        """What the broker has for this client."""
        self.broker.pump()
        raw = self.session.take_output() if self.session.has_output else b""
        self.session.sent(len(raw))
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

    def lose(self) -> None:
        """The network connection breaks."""
        self.session.lost()


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


@pytest.fixture
def broker() -> Broker:
    return Broker(Settings())


@pytest.fixture
def peer(broker: Broker) -> Peer:
    """A connected client with channel 1 open."""
    return Peer(broker)


@pytest.fixture
def connect(broker: Broker) -> Callable[..., Peer]:
    """Make further clients of the same broker."""
    return lambda **options: Peer(broker, **options)


@pytest.fixture
def connect_to() -> type[Peer]:
    """Make clients of any broker."""
    return Peer


@pytest.fixture
def publishing() -> Callable[..., bytes]:
    return publish


@pytest.fixture
def login() -> Callable[..., commands.Connection.StartOk]:
    return start_ok


@pytest.fixture
def tuning() -> Callable[..., commands.Connection.TuneOk]:
    return tune_ok


class Process:
    """A broker process, held by its lifeline."""

    def __init__(self, stats: Path, *arguments: str) -> None:
        self.stats = stats
        self.popen = subprocess.Popen(
            [sys.executable, str(MAIN), "--port", "0", "--stats", str(stats), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.popen.stdout is not None
        self.greeting = json.loads(self.popen.stdout.readline())
        self.port: int = self.greeting["port"]

    def end(self) -> tuple[int, bytes, bytes]:
        """Close the lifeline; exit status, rest of standard output, standard error."""
        try:
            out, err = self.popen.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.communicate(timeout=10)
            raise
        return self.popen.returncode, out, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start broker processes. At the end of the test each must end well, with no bug counted."""
    processes: list[Process] = []

    def begin(*arguments: str) -> Process:
        processes.append(Process(tmp_path / f"stats-{len(processes)}.json", *arguments))
        return processes[-1]

    yield begin
    for process in processes:
        if process.popen.returncode is None:
            assert process.end() == (0, b"", b"")
            assert json.loads(process.stats.read_text())["internal_errors"] == 0
