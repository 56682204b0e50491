"""A scripted client for the sans-I/O core, and the broker as a process.

``Peer`` speaks to the core in memory: no socket, no thread, and a clock that only the test moves.
What the broker answers is decoded into plain tuples (see ``wire_peer``).
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

from benchmarks.broker.control import BrokerControl
from benchmarks.broker.core import Broker, Settings
from benchmarks.wire.frames import BODY, PROTOCOL_HEADER, frame
from tests.broker.wire_peer import CAPABILITIES, Decoder, WirePeer, start_ok, tune_ok

MAIN = Path(__file__).parents[2] / "benchmarks" / "broker" / "__main__.py"
TOKEN = "a token of the tests"


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

    def __init__(
        self,
        broker: Broker,
        handshake: bool = True,
        capabilities: bool = True,
        product: str = "a client",
    ) -> None:
        self.broker = broker
        self.session = broker.connect()
        self._decode = Decoder()
        if handshake:
            assert self.feed(PROTOCOL_HEADER)[0][1] == "Connection.Start"
            offered = {"product": product, "capabilities": CAPABILITIES if capabilities else {}}
            assert self(0, start_ok(client_properties=offered))[0][1] == "Connection.Tune"
            self(0, tune_ok(broker.settings))
            assert self(0, commands.Connection.Open())[0] == (0, "Connection.OpenOk", "")
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
        return self._decode(raw)

    def after(self, seconds: float) -> list[tuple[Any, ...]]:
        """Let time pass, and return what this client gets."""
        self.broker.now += seconds
        return self.read()

    def lose(self) -> None:
        """The network connection breaks."""
        self.session.lost()


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
        self._clients: list[WirePeer | BrokerControl] = []

    def connect(self) -> WirePeer:
        """A client with channel 1 open."""
        self._clients.append(WirePeer(self.port))
        return self._clients[-1]

    def control(self) -> BrokerControl:
        """A session on the control port; it is there when the test has set the token."""
        self._clients.append(BrokerControl(self.greeting["control"], TOKEN))
        return self._clients[-1]

    def end(self) -> tuple[int, bytes, bytes]:
        """Close the lifeline; exit status, rest of standard output, standard error."""
        for client in self._clients:
            client.close()
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


@pytest.fixture
def controlled(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> tuple[Process, BrokerControl]:
    """A broker process with a control port, and a session on it."""
    monkeypatch.setenv("AMQPOOL_BROKER_TOKEN", TOKEN)
    process = start()
    return process, process.control()


@pytest.fixture
def token() -> str:
    return TOKEN
