"""The driver: listener, lifeline, control port and clients in one ``selectors`` loop, one thread.

It owns the sockets and the clock and nothing of AMQP. Every client socket is non-blocking; writes
of one loop are sent together; a bug in the core ends the one connection it happened on, is logged
to standard error and counted. Nothing here waits without a deadline.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.wire.commands import CommandError, Commands

from .core import Broker, Settings
from .session import Session

#: Seconds between two looks at heartbeats and deadlines; AMQP's unit for them is the second.
TICK = 0.25
#: Bytes of one read: large, since one wake-up costs more than parsing a hundred small frames.
READ_SIZE = 1 << 18
#: Connections accepted before the others get a turn again.
ACCEPT_BUDGET = 64
#: Tracebacks that are written out; the count goes on.
TRACEBACKS_SHOWN = 20


class Peer:
    """A client's socket and what is being sent to it."""

    __slots__ = ("events", "half_closed", "sending", "session", "sock")

    def __init__(self, sock: socket.socket, session: Session) -> None:
        self.sock = sock
        self.session = session
        self.sending = memoryview(b"")
        self.events = selectors.EVENT_READ
        self.half_closed = False


class Server:
    """Serves one broker on 127.0.0.1 until it is told to stop.

    With a ``token`` it has a control port too, for whoever knows the token.
    """

    def __init__(self, settings: Settings, port: int = 0, token: str = "") -> None:
        self.broker = Broker(settings, time.monotonic())
        self._stack = ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self._peers: dict[Session, Peer] = {}
        self._stopping = False
        self._accepting = True
        self._listener = self._stack.enter_context(
            socket.create_server(("127.0.0.1", port), backlog=1024)
        )
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._commands: Commands | None = None
        if token:
            handlers = {
                "status": self._status,
                "stats": self._stats,
                "fault": self._fault,
                "heal": self._heal,
            }
            self._commands = Commands(token, handlers, self._selector)
            self._stack.callback(self._commands.close)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def control_port(self) -> int | None:
        """The port of the control connection, None when there is none."""
        return None if self._commands is None else self._commands.port

    def stop_at_end_of(self, descriptor: int) -> None:
        """Stop when this descriptor, a pipe that the parent holds open, reaches its end.

        Raises OSError when it can never be waited for, as is the case with a file.
        """

        def readable(_file: object, _mask: int) -> None:
            if not os.read(descriptor, 4096):
                self._stopping = True

        self._selector.register(descriptor, selectors.EVENT_READ, readable)

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT. Main thread only."""
        reader, writer = socket.socketpair()
        self._stack.enter_context(reader)
        self._stack.enter_context(writer)
        reader.setblocking(False)
        writer.setblocking(False)

        def readable(_file: object, _mask: int) -> None:
            reader.recv(4096)
            self._stopping = True

        self._selector.register(reader, selectors.EVENT_READ, readable)
        signal.set_wakeup_fd(writer.fileno())
        self._stack.callback(signal.set_wakeup_fd, -1)
        for number in (signal.SIGTERM, signal.SIGINT):
            # The handler itself has nothing to do: the byte in the pair wakes the loop.
            previous = signal.signal(number, lambda *_: None)
            self._stack.callback(signal.signal, number, previous)

    def stop(self) -> None:
        """Let ``run`` return within a tick. The only method that another thread may call."""
        self._stopping = True

    def run(self) -> None:
        """Serve until stopped, then close everything."""
        with self._stack:
            next_tick = time.monotonic() + TICK
            while not self._stopping:
                ready = self._selector.select(self._wait(next_tick))
                now = self.broker.now = time.monotonic()
                for key, events in ready:
                    if isinstance(key.data, Peer):
                        self._serve(key.data, events)
                    else:
                        key.data(key.fileobj, events)
                if now >= next_tick:
                    next_tick = now + TICK
                    self.broker.tick()
                    self._resume_accepting()
                self.broker.pump()
                self._flush_dirty()
            for peer in list(self._peers.values()):
                self._drop(peer)

    def _wait(self, next_tick: float) -> float:
        """Seconds that the loop may sleep."""
        if self.broker.busy:
            return 0.0
        due = self.broker.due()
        until = next_tick if due is None else min(next_tick, due)
        return max(0.0, until - time.monotonic())

    def _flush_dirty(self) -> None:
        for session in self.broker.take_dirty():
            peer = self._peers.get(session)
            if peer is not None:
                self._flush(peer)

    # -- requests --------------------------------------------------------------------------

    def _status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        _nothing_more(request)
        return {
            "now": time.monotonic(),
            "connections": len(self.broker.clients()),
            "active": list(self.broker.faults.active),
        }

    def _stats(self, request: Mapping[str, Any]) -> dict[str, Any]:
        _nothing_more(request)
        return {**self.broker.stats(), "effects": self.broker.faults.counted()}

    def _fault(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = request.pop("kind", None)
        self.broker.now = time.monotonic()
        try:
            answer = self.broker.faults.fire(str(kind), request)
        except ValueError as error:
            raise CommandError(str(error)) from error
        # Whoever asked is answered when the first effect is out, not before.
        self._flush_dirty()
        return answer

    def _heal(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = request.pop("kind", None)
        _nothing_more(request)
        now = self.broker.now = time.monotonic()
        try:
            healed = self.broker.faults.heal(kind if kind is None else str(kind))
        except ValueError as error:
            raise CommandError(str(error)) from error
        self._flush_dirty()
        return {"t": now, "healed": healed}

    # -- connections -----------------------------------------------------------------------

    def _accept(self, _sock: object, _mask: int) -> None:
        for _ in range(ACCEPT_BUDGET):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            except OSError as error:
                # Out of descriptors: the listener would stay readable and spin the loop.
                print(f"broker: cannot accept: {error}", file=sys.stderr)
                self._selector.unregister(self._listener)
                self._accepting = False
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, self.broker.connect())
            self._peers[peer.session] = peer
            self._selector.register(sock, peer.events, peer)

    def _resume_accepting(self) -> None:
        if not self._accepting:
            self._accepting = True
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _serve(self, peer: Peer, events: int) -> None:
        if events & selectors.EVENT_READ and peer.session in self._peers:
            self._read(peer)
        if events & selectors.EVENT_WRITE and peer.session in self._peers:
            self._flush(peer)

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(peer)
            return
        session = peer.session
        try:
            session.receive(data)
        except Exception:  # noqa: BLE001 - one connection's bug must not end the others; counted
            if self.broker.counts["internal_errors"] < TRACEBACKS_SHOWN:
                traceback.print_exc()
            session.internal_error()

    def _flush(self, peer: Peer) -> None:
        """Send what there is, then adjust what the socket is watched for."""
        session = peer.session
        if session.abort:
            self._drop(peer)
            return
        try:
            while True:
                if not peer.sending:
                    if not session.has_output:
                        break
                    peer.sending = memoryview(session.take_output())
                size = peer.sock.send(peer.sending)
                peer.sending = peer.sending[size:]
                session.sent(size)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(peer)
            return
        if session.wants_close and not peer.sending and not peer.half_closed:
            # Closing with unread input would send RST and may cost the peer our last words:
            # send FIN, and read on until the peer has closed too or its time is up.
            peer.half_closed = True
            try:
                peer.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._drop(peer)
                return
        self._watch(peer)

    def _watch(self, peer: Peer) -> None:
        session = peer.session
        events = 0
        if session.wants_read:
            events |= selectors.EVENT_READ
        if peer.sending:
            events |= selectors.EVENT_WRITE
        if events == peer.events:
            return
        if not events:
            self._selector.unregister(peer.sock)
        elif not peer.events:
            self._selector.register(peer.sock, events, peer)
        else:
            self._selector.modify(peer.sock, events, peer)
        peer.events = events

    def _drop(self, peer: Peer) -> None:
        if peer.events:
            self._selector.unregister(peer.sock)
        peer.sock.close()
        del self._peers[peer.session]
        peer.session.lost()


def _nothing_more(request: Mapping[str, Any]) -> None:
    """Refuse what a request does not know: a word that was ignored would be a wish unfulfilled."""
    for name in sorted(request):
        raise CommandError(f"unknown field {name!r}")
