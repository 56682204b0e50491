"""What the proxy's tests stand on: frames made by pamqp, a proxy process, both ends of a link.

A test plays the client and the broker itself, on two sockets, so that it decides the order of
everything and needs no thread. Every wait has a deadline.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pamqp.base
import pamqp.body
import pamqp.commands as c
import pamqp.frame
import pamqp.header

from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT
from benchmarks.proxy.control import Control
from benchmarks.proxy.ledger import Generation
from benchmarks.wire.frames import PROTOCOL_HEADER, Frame, Scanner

MAIN = Path(__file__).resolve().parents[2] / "benchmarks" / "proxy" / "__main__.py"
TOKEN = "a token of the tests"
#: Seconds for anything that is expected to happen on loopback.
DEADLINE = 5.0


def method(channel: int, command: pamqp.base.Frame) -> bytes:
    """Encode a method frame."""
    return pamqp.frame.marshal(command, channel)


def content(
    channel: int,
    command: pamqp.base.Frame,
    body: bytes,
    message_id: str | None = None,
    piece: int = 100_000,
) -> list[bytes]:
    """Encode a method with its content: method, header, and body frames of ``piece`` bytes."""
    properties = c.Basic.Properties(message_id=message_id)
    header = pamqp.header.ContentHeader(body_size=len(body), properties=properties)
    return [
        method(channel, command),
        pamqp.frame.marshal(header, channel),
        *(
            pamqp.frame.marshal(pamqp.body.ContentBody(body[at : at + piece]), channel)
            for at in range(0, len(body), piece)
        ),
    ]


def publish(channel: int, message_id: str, **options: Any) -> list[bytes]:
    """Encode a publish whose identity stands in message-id and body, as the workload's do."""
    command = c.Basic.Publish(exchange="", routing_key="q", **options)
    return content(channel, command, f"{message_id}\n".encode(), message_id)


def deliver(channel: int, tag: int, message_id: str, consumer: str = "ctag") -> list[bytes]:
    """Encode a delivery of such a message."""
    command = c.Basic.Deliver(consumer_tag=consumer, delivery_tag=tag, routing_key="q")
    return content(channel, command, f"{message_id}\n".encode(), message_id)


class Book:
    """A generation that is fed frames by hand; the n-th call is at second n."""

    def __init__(self) -> None:
        self.generation = Generation(1, 0.0)
        self._now = 0.0

    def client(self, *raws: bytes | list[bytes]) -> Self:
        return self._feed(TO_BROKER, raws)

    def broker(self, *raws: bytes | list[bytes]) -> Self:
        return self._feed(TO_CLIENT, raws)

    def _feed(self, direction: int, raws: tuple[bytes | list[bytes], ...]) -> Self:
        self._now += 1.0
        for raw in raws:
            for frame in frames(raw if isinstance(raw, bytes) else b"".join(raw)):
                self.generation.feed(direction, frame, self._now)
        return self

    def take(self) -> list[tuple[Any, ...]]:
        """Return the events since the last take, without their times."""
        events = [event[1:] for event in self.generation.events]
        self.generation.events.clear()
        return events


def frames(raw: bytes) -> list[Frame]:
    """Split bytes that hold whole frames only."""
    scanner = Scanner()
    found = scanner.feed(raw)
    assert scanner.pending == 0
    return found


def opened(*channels: int) -> Book:
    """A book on which these channels are open and that has no events yet."""
    book = Book()
    for channel in channels:
        book.client(method(channel, c.Channel.Open())).broker(method(channel, c.Channel.OpenOk()))
    book.take()
    return book


def body_facts(message_id: str) -> dict[str, Any]:
    """What the ledger says of the body of ``publish`` and ``deliver``."""
    body = f"{message_id}\n".encode()
    return {"id": message_id, "body_id": message_id, "size": len(body), "crc": zlib.crc32(body)}


def until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Poll until ``condition`` holds; fail with ``what`` when it does not in time."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.002)


class Pair:
    """Both ends of one connection through the proxy."""

    def __init__(self, client: socket.socket, broker: socket.socket) -> None:
        self.client = client
        self.broker = broker

    def begin(self) -> Self:
        """Exchange as much of a handshake as makes the connection ready."""
        self.client.sendall(PROTOCOL_HEADER)
        assert exactly(self.broker, len(PROTOCOL_HEADER)) == PROTOCOL_HEADER
        return self.to_client(method(0, c.Connection.OpenOk()))

    def to_broker(self, *raws: bytes) -> Self:
        """Send from the client, and read the same bytes at the broker."""
        raw = b"".join(raws)
        self.client.sendall(raw)
        assert exactly(self.broker, len(raw)) == raw
        return self

    def to_client(self, *raws: bytes) -> Self:
        """Send from the broker, and read the same bytes at the client."""
        raw = b"".join(raws)
        self.broker.sendall(raw)
        assert exactly(self.client, len(raw)) == raw
        return self

    def close(self) -> None:
        self.client.close()
        self.broker.close()


class ProxyProcess:
    """A proxy process, and the listeners that are its brokers: one, or ``nodes`` of them."""

    def __init__(
        self,
        *,
        command: list[str] | None = None,
        port: int | None = None,
        nodes: int = 1,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.upstreams = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(nodes)]
        for upstream in self.upstreams:
            upstream.settimeout(DEADLINE)
        self.upstream = self.upstreams[0]
        ports = [port] if port else [one.getsockname()[1] for one in self.upstreams]
        options = [option for one in ports for option in ("--upstream", f"127.0.0.1:{one}")]
        self.process = subprocess.Popen(
            [*(command or []), sys.executable, str(MAIN), *options, "--port", "0", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "AMQPOOL_PROXY_TOKEN": TOKEN},
            cwd="/",
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready: dict[str, Any] = json.loads(line)
        self.control = Control(self.ready["control"], TOKEN)
        self._pairs: list[Pair] = []

    def connect(self, node: int = 0) -> socket.socket:
        """Connect a client."""
        return socket.create_connection(("127.0.0.1", self.ready["ports"][node]), DEADLINE)

    def pair(self, node: int = 0) -> Pair:
        """Connect a client and accept its upstream connection."""
        client = self.connect(node)
        broker, _ = self.upstreams[node].accept()
        broker.settimeout(DEADLINE)
        self._pairs.append(Pair(client, broker))
        return self._pairs[-1]

    def ledger(self, folder: Path) -> dict[str, Any]:
        """Have the ledger written, and read it."""
        path = folder / "ledger.json"
        self.control.ledger(path)
        document: dict[str, Any] = json.loads(path.read_text("ascii"))
        return document

    def ended(self, folder: Path, number: int = 1) -> dict[str, Any]:
        """Wait until the generation has ended; return what the ledger says of it."""
        found: dict[str, Any] = {}

        def over() -> bool:
            found.update(self.ledger(folder)["generations"][number - 1])
            return bool(found["end"] != "open")

        until(over, f"the end of generation {number}")
        return found

    def stop(self) -> int:
        """Close the lifeline and wait for the end."""
        for pair in self._pairs:
            pair.close()
        self.control.close()
        for upstream in self.upstreams:
            upstream.close()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait(DEADLINE)
            self.process.stdout.close()


@contextmanager
def running(**options: Any) -> Iterator[ProxyProcess]:
    """A proxy process that must still be alive at the end, and then end with status 0."""
    process = ProxyProcess(**options)
    try:
        yield process
        assert process.process.poll() is None, "the proxy died"
    finally:
        status = process.stop()
    assert status == 0


def exactly(sock: socket.socket, size: int) -> bytes:
    """Read exactly so many bytes."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, f"end of file after {len(data)} of {size} bytes"
        data += more
    return data


def to_end(sock: socket.socket) -> tuple[bytes, type[BaseException] | None]:
    """Read until the end; return what was read, and the error that ended it (None: end of file)."""
    data: list[bytes] = []
    while True:
        try:
            more = sock.recv(65536)
        except ConnectionError as error:
            return b"".join(data), type(error)
        if not more:
            return b"".join(data), None
        data.append(more)


def paused(sock: socket.socket) -> bool:
    """Whether the socket takes nothing for half a second: the other end no longer reads."""
    return not select.select([], [sock], [], 0.5)[1]


def fill(writer: socket.socket, message: bytes, most: int = 64 * 1024 * 1024) -> int:
    """Send the message again and again until nothing more is taken; return the bytes sent."""
    writer.setblocking(False)
    sent = 0
    while not paused(writer):
        assert sent < most, "the source was never paused"
        try:
            sent += writer.send(message[sent % len(message) :])
        except BlockingIOError:
            continue
    return sent


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far, to the nanosecond.

    Not that of /proc/PID/stat: where the kernel only looks who runs at each tick of its clock, a
    process that is woken by such ticks seems to use ten times what it does.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks) / 1e9


def silent(sock: socket.socket, seconds: float = 0.1) -> bool:
    """Whether nothing comes, neither bytes nor an end, for so long."""
    return not select.select([sock], [], [], seconds)[0]


def identities(ledger: dict[str, Any], number: int, kind: str) -> list[str]:
    """The messages of the events of one kind, in the books of one generation."""
    events = ledger["generations"][number - 1]["events"]
    return [fields["id"] for _, seen, _, _, fields in events if seen == kind]


def reset(sock: socket.socket) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
