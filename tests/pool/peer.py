"""A scripted broker for the pool's tests: raw sockets, a thread per connection, pamqp's codec.

`Peer` listens on loopback and runs a script for each connection. The script `obey` answers as a
broker would; a test changes single answers through `Session.answers`, or drives the session from
its own thread. Nothing here shares code with amqpool. Every wait has a deadline, and what a script
raises, other than a connection's end, fails the test at `close`.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pamqp.base
import pamqp.body
import pamqp.commands as c
import pamqp.frame
import pamqp.header

#: Seconds for anything that is expected to happen on loopback.
DEADLINE = 10.0

Answer = Callable[["Session", int, Any], object]


class Gone(Exception):
    """The client's end of the connection is closed."""


@dataclass
class Published:
    """One message as it came in."""

    channel: int
    method: Any
    properties: Any
    body: bytes
    tag: int


class Session:
    """One connection, seen from the broker's side."""

    def __init__(self, sock: socket.socket, peer: Peer) -> None:
        sock.settimeout(DEADLINE)
        self.sock = sock
        self.peer = peer
        self.seen: list[tuple[int, Any]] = []
        self.published: list[Published] = []
        self.changed = threading.Condition()
        self.answers: dict[type, Answer] = dict(ANSWERS)
        self.answers.update(peer.answers)
        #: False: publishes are kept, and the test confirms them.
        self.confirming = True
        self.heartbeats = 0
        #: Runs the script; it alone closes the socket.
        self.thread = threading.current_thread()
        self._over = False
        self._sending = threading.Lock()
        self._tags: dict[int, int] = {}

    # -- bytes -------------------------------------------------------------------------------

    def exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            if self._over:
                raise Gone
            try:
                piece = self.sock.recv(count - len(parts))
            except ConnectionError as error:
                raise Gone from error
            except OSError as error:
                if self.sock.fileno() == -1:
                    raise Gone from error
                raise
            if not piece:
                raise Gone
            parts += piece
        return bytes(parts)

    def read(self) -> tuple[int, int, bytes]:
        """The next frame: type, channel, payload."""
        kind, channel, size = struct.unpack(">BHI", self.exactly(7))
        payload = self.exactly(size)
        assert self.exactly(1) == b"\xce"
        return kind, channel, payload

    def send_raw(self, data: bytes) -> None:
        with self._sending:
            try:
                self.sock.sendall(data)
            except OSError as error:
                raise Gone from error

    def send(self, channel: int, *frames: Any) -> None:
        self.send_raw(b"".join(pamqp.frame.marshal(frame, channel) for frame in frames))

    def content(self, channel: int, method: Any, body: bytes, **properties: Any) -> None:
        header = pamqp.header.ContentHeader(
            body_size=len(body), properties=c.Basic.Properties(**properties)
        )
        frames = [method, header]
        frames += [
            pamqp.body.ContentBody(body[at : at + 100_000]) for at in range(0, len(body), 100_000)
        ]
        self.send(channel, *frames)

    # -- the script --------------------------------------------------------------------------

    def handshake(
        self, frame_max: int = 131_072, heartbeat: int = 0, channel_max: int = 2047
    ) -> None:
        assert self.exactly(8) == b"AMQP\x00\x00\x09\x01"
        self.send(0, start())
        self.expect(c.Connection.StartOk)
        self.send(0, c.Connection.Tune(channel_max, frame_max, heartbeat))
        self.expect(c.Connection.TuneOk)
        self.expect(c.Connection.Open)
        self.send(0, c.Connection.OpenOk())

    def expect(self, kind: type) -> Any:
        _, channel, payload = self.read()
        command = decode(payload)
        assert type(command) is kind, f"expected {kind.__name__}, got {command.name}"
        self.note(channel, command)
        return command

    def note(self, channel: int, command: Any) -> None:
        with self.changed:
            self.seen.append((channel, command))
            self.changed.notify_all()

    def obey(self) -> None:
        """Answer until the client is gone."""
        while True:
            kind, channel, payload = self.read()
            if kind == 8:
                self.heartbeats += 1
                continue
            assert kind == 1, f"frame type {kind} out of turn"
            command = decode(payload)
            if isinstance(command, c.Basic.Publish):
                self.receive(channel, command)
            self.note(channel, command)
            answer = self.answers.get(type(command))
            if answer is not None:
                answer(self, channel, command)

    def receive(self, channel: int, command: Any) -> None:
        kind, of, payload = self.read()
        assert (kind, of) == (2, channel), "another frame within a message"
        size = struct.unpack(">HHQ", payload[:12])[2]
        header = pamqp.header.ContentHeader()
        header.unmarshal(payload)
        body = b""
        while len(body) < size:
            kind, of, payload = self.read()
            assert (kind, of) == (3, channel), "another frame within a message"
            body += payload
        self._tags[channel] = tag = self._tags.get(channel, 0) + 1
        with self.changed:
            self.published.append(Published(channel, command, header.properties, body, tag))
            self.changed.notify_all()

    # -- what a test asks --------------------------------------------------------------------

    def wait(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        with self.changed:
            while not happened():
                remaining = deadline - time.monotonic()
                assert remaining > 0, f"it did not happen; seen: {self.seen}"
                self.changed.wait(remaining)

    def wait_for(self, kind: type, count: int = 1) -> list[tuple[int, Any]]:
        self.wait(lambda: len(self.all(kind)) >= count)
        return self.all(kind)

    def all(self, kind: type) -> list[tuple[int, Any]]:
        return [each for each in self.seen if type(each[1]) is kind]

    def reset(self) -> None:
        """End the connection by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close(socket.SHUT_RD)

    def close(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection. The script's thread, which reads, wakes and closes the socket.

        Anybody else would give a number back that this thread still reads from, and the next
        socket would get it.
        """
        self._over = True
        try:
            self.sock.shutdown(how)
        except OSError:
            pass  # ended by the client
        if self.thread is threading.current_thread():
            self.sock.close()


class Peer:
    """Listens; runs `script` for each connection. Use as a context manager."""

    def __init__(
        self,
        script: Callable[[Session], object] | None = None,
        answers: Mapping[Any, Answer] | None = None,
        **tune: Any,
    ) -> None:
        self.script = script or self._obedient
        self.answers = answers or {}
        self.tune = tune
        self.sessions: list[Session] = []
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="peer-accept", daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _obedient(self, session: Session) -> None:
        session.handshake(**self.tune)
        session.obey()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            session = Session(sock, self)
            session.thread = thread = threading.Thread(
                target=self._run, args=(session,), name=f"peer-{len(self.sessions)}", daemon=True
            )
            self._threads.append(thread)
            with self._changed:
                self.sessions.append(session)
                self._changed.notify_all()
            thread.start()

    def _run(self, session: Session) -> None:
        try:
            self.script(session)
        except Gone:
            pass  # the usual end
        except BaseException as error:  # noqa: BLE001 - raised again by close()
            self.failures.append(error)
        finally:
            session.close()

    def session(self, number: int = 0) -> Session:
        """The connection with that number, once it is there."""
        deadline = time.monotonic() + DEADLINE
        with self._changed:
            while len(self.sessions) <= number:
                remaining = deadline - time.monotonic()
                assert remaining > 0, f"connection {number} did not come"
                self._changed.wait(remaining)
            return self.sessions[number]

    def refuse(self) -> None:
        """No more connections (what listens is closed)."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed before
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.refuse()
        for session in list(self.sessions):
            session.close()
        for thread in [self._accepting, *self._threads]:
            thread.join(DEADLINE)
            assert not thread.is_alive(), thread
        if exc_info[0] is None and self.failures:
            raise self.failures[0]


def start(mechanisms: str = "PLAIN AMQPLAIN") -> c.Connection.Start:
    properties: dict[str, Any] = {
        "product": "scripted peer",
        "capabilities": {
            "publisher_confirms": True,
            "basic.nack": True,
            "consumer_cancel_notify": True,
            "connection.blocked": True,
            "authentication_failure_close": True,
        },
    }
    return c.Connection.Start(0, 9, properties, mechanisms, "en_US")


def decode(payload: bytes) -> Any:
    """A method frame's payload as pamqp's command."""
    frame = struct.pack(">BHI", 1, 1, len(payload)) + payload + b"\xce"
    return pamqp.frame.unmarshal(frame)[2]


def _publish(session: Session, channel: int, command: Any) -> None:
    selected = any(number == channel for number, _ in session.all(c.Confirm.Select))
    if selected and session.confirming:
        session.send(channel, c.Basic.Ack(session.published[-1].tag, False))


def _close(session: Session, channel: int, command: Any) -> None:
    session.send(0, c.Connection.CloseOk())
    session.close()


ANSWERS: dict[type, Answer] = {
    c.Channel.Open: lambda s, n, m: s.send(n, c.Channel.OpenOk()),
    c.Channel.Close: lambda s, n, m: s.send(n, c.Channel.CloseOk()),
    c.Confirm.Select: lambda s, n, m: s.send(n, c.Confirm.SelectOk()),
    c.Basic.Qos: lambda s, n, m: s.send(n, c.Basic.QosOk()),
    c.Basic.Consume: lambda s, n, m: s.send(n, c.Basic.ConsumeOk(m.consumer_tag or "made-up")),
    c.Basic.Cancel: lambda s, n, m: s.send(n, c.Basic.CancelOk(m.consumer_tag)),
    c.Basic.Get: lambda s, n, m: s.send(n, c.Basic.GetEmpty("")),
    c.Queue.Declare: lambda s, n, m: s.send(n, c.Queue.DeclareOk(m.queue, 0, 0)),
    c.Tx.Select: lambda s, n, m: s.send(n, c.Tx.SelectOk()),
    c.Basic.Publish: _publish,
    c.Connection.Close: _close,
}
