"""One client connection and its upstream connection, and the frames that pass between them.

It owns the two sockets, the two directions, back-pressure and how a connection ends. It never
waits: the server's selector says when a socket is ready, its timers when a fault lets go. Where
one side is slow, or a fault holds bytes, the other is no longer read, so that TCP slows it down
as it would without a proxy. It prevents a bad peer from hurting anybody but itself: garbage ends
this link, and what one link holds is bounded by twice HIGH_WATER, one read and one frame each way.
"""

from __future__ import annotations

import errno
import select
import selectors
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, Protocol

from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT
from benchmarks.proxy.fields import Malformed
from benchmarks.proxy.ledger import BY_FAULT, CLOSE, Generation
from benchmarks.proxy.pipe import Pipe
from benchmarks.proxy.rules import Armed, Rules
from benchmarks.proxy.stream import negotiated
from benchmarks.proxy.valve import Shape
from benchmarks.wire.frames import Frame, FrameError

#: Bytes per read. Above 64 KiB nothing gets faster, and one busy link would hold up the others.
READ_SIZE: Final = 64 * 1024
#: Seconds for the connect to the broker: on loopback it answers at once or is not there, from
#: beyond a cut network nothing comes at all.
CONNECT_DEADLINE: Final = 5.0
#: Seconds from the end of one side until both sockets are closed. A sound peer closes its side
#: as soon as it reads the end of file; one that does not must not keep a broker connection. While
#: a fault holds bytes that were sent before the end, they do not run.
DRAIN_DEADLINE: Final = 2.0
#: SO_LINGER on, for 0 seconds: close() sends RST instead of FIN.
_RESET: Final = struct.pack("ii", 1, 0)
#: What poll says of a peer that has closed or reset, however many of its bytes are still unread.
_GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Host(Protocol):
    """What a link needs of whoever keeps it."""

    @property
    def rules(self) -> Rules:
        """The rules that are armed."""

    def ended(self, link: Link) -> None:
        """Both sockets of the link are closed; that may be in its constructor."""

    def reached(self, link: Link, armed: Armed) -> None:
        """All that was to go in front of the rule's point is gone: it fires."""

    def later(self, due: float, call: Callable[[], None]) -> None:
        """Have ``call`` called at ``due``."""


class Link:
    """A client's connection through the proxy. ``end`` is None as long as it lives."""

    def __init__(
        self,
        client: socket.socket,
        upstream_address: tuple[str, int],
        generation: Generation,
        selector: selectors.BaseSelector,
        host: Host,
    ) -> None:
        self.generation = generation
        self.client = client
        self.upstream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.end: str | None = None
        self._selector = selector
        self._host = host
        self._armed = host.rules.of
        self._masks: dict[socket.socket, int] = {}
        self._to_broker = Pipe(TO_BROKER, client, self.upstream)
        self._to_client = Pipe(TO_CLIENT, self.upstream, client)
        self._tuned = False
        self._connecting = True
        self._abandoned = False
        self._first_end: str | None = None
        self._leaving: set[socket.socket] = set()
        self._deadline: float | None = generation.opened + CONNECT_DEADLINE
        for sock in (self.client, self.upstream):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failure = self.upstream.connect_ex(upstream_address)
        if failure not in (0, errno.EINPROGRESS):
            self.close("broker")
        else:
            self._watch()

    @property
    def up(self) -> bool:
        """Whether Connection.OpenOk went to the client, and neither side has ended it since."""
        begun = self.generation.ready is not None
        return begun and not (self.generation.close_ok or self.end or self._first_end)

    def on_event(self, sock: socket.socket, mask: int) -> None:
        """Move what can be moved, now that ``sock`` is ready as ``mask`` says."""
        if self.end:  # ended by an event of the same round, or on its way out
            if sock in self._leaving:
                self._drain(sock)
            return
        incoming, outgoing = self._to_broker, self._to_client
        if sock is self.upstream:
            incoming, outgoing = outgoing, incoming
            if self._connecting and not self._connected():
                return
        if mask & selectors.EVENT_WRITE and outgoing.outbox.pending:
            self._flush(outgoing)
        if mask & selectors.EVENT_READ and not self.end and incoming.wants_read:
            self._read(incoming)
        self._settle()

    def expire(self, now: float) -> None:
        """Close a link whose connect or drain has run past its deadline."""
        if self._deadline is None or now < self._deadline:
            return
        if self.end:
            self._shut()
        elif self._connecting or not (self._held(self._to_broker) or self._held(self._to_client)):
            self.close(self._reason())
        else:
            self._deadline = now + DRAIN_DEADLINE

    # -- how it ends ----------------------------------------------------------------------------

    def close(self, end: str, t: float | None = None) -> None:
        """Close both sockets and note in the ledger how it ended, at ``t`` or now.

        One that left already only has its sockets closed.
        """
        if not self.end:
            self._finish(end, t)
        elif not self._leaving:
            return
        self._shut()

    def reset(self, end: str, t: float) -> None:
        """Close both sockets with an RST instead of a FIN."""
        if not self.end:
            for sock in (self.client, self.upstream):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close(end, t)

    def leave(self, end: str, t: float) -> None:
        """Send both sides a FIN; read and throw away what they still say until they close too."""
        if self.end:
            return
        self._finish(end, t)
        self._deadline = t + DRAIN_DEADLINE
        for sock in (self.client, self.upstream):
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:  # reset meanwhile, or never connected: nobody is left to tell
                self._register(sock, 0)
                continue
            self._leaving.add(sock)
            self._register(sock, selectors.EVENT_READ)
        if not self._leaving:
            self._shut()

    def _finish(self, end: str, t: float | None) -> None:
        by_fault = end.startswith(BY_FAULT)
        if by_fault and self.generation.close_ok and not self._abandoned:
            end = CLOSE  # the handshake was faster
        self.end = end
        for pipe in (self._to_broker, self._to_client):
            thrown = pipe.clear()
            if by_fault:
                self.generation.thrown += thrown
        self.generation.finish(end, time.monotonic() if t is None else t)

    def _shut(self) -> None:
        for sock in (self.client, self.upstream):
            self._register(sock, 0)
            sock.close()
        self._leaving.clear()
        self._deadline = None
        self._host.ended(self)

    def _drain(self, sock: socket.socket) -> None:
        """Throw away what a peer says to a link that left. At both ends' end the sockets close."""
        try:
            data = sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.generation.thrown += len(data)
        if not data:
            self._leaving.discard(sock)
            self._register(sock, 0)
            if not self._leaving:
                self._shut()

    # -- faults ---------------------------------------------------------------------------------

    def shape(self, direction: int, shape: Shape) -> None:
        """Let a lasting fault take effect on one direction."""
        pipe = self._to_broker if direction == TO_BROKER else self._to_client
        self.generation.thrown += pipe.add(shape, time.monotonic())
        self._settle()

    def unshape(self, owner: object) -> None:
        """Take a lasting fault away; what it held goes out, in order."""
        if self.end:
            return
        removed = [*self._to_broker.remove(owner), *self._to_client.remove(owner)]
        if not all(shape.reads for shape in removed):
            self._given_up()
        for pipe in (self._to_broker, self._to_client):
            self._resume(pipe)

    def _given_up(self) -> None:
        """Note who ended the connection while it was not read: that was the fault's doing."""
        now = time.monotonic()
        for name, sock in (("client", self.client), ("broker", self.upstream)):
            if self._connecting and sock is self.upstream:
                continue
            poll = select.poll()
            poll.register(sock, select.POLLRDHUP)
            if any(mask & _GONE for _, mask in poll.poll(0)):
                self._abandoned = True
                self._first_end = self._first_end or name
                self.generation.ending = self.generation.ending or now
                self._deadline = now + DRAIN_DEADLINE

    def _resume(self, pipe: Pipe) -> None:
        """Go on with a direction in which there may be room again."""
        if self.end or (self._connecting and pipe.direction == TO_BROKER):
            return
        if pipe.outbox.pending:
            self._flush(pipe)
        self._settle()

    def _held(self, pipe: Pipe) -> bool:
        """Whether a fault keeps this direction from moving."""
        valve = pipe.valve
        if valve is None:
            return False
        return not valve.reads or (
            pipe.outbox.pending > 0 and valve.room(time.monotonic()) < pipe.outbox.pending
        )

    # -- moving bytes ---------------------------------------------------------------------------

    def _connected(self) -> bool:
        """Whether the connect to the broker is through; the link ends when it failed."""
        if self.upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close("broker")
            return False
        self._connecting = False
        if self._first_end is None:
            self._deadline = None
        return True

    def _read(self, pipe: Pipe) -> None:
        try:
            data = pipe.source.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:  # reset; what is still sent to that side fails by itself
            data = b""
        if not data:
            self._source_ended(pipe)
            return
        try:
            frames = pipe.stream.feed(data)
        except FrameError as error:
            # What stood in front of the garbage goes out, however the bytes were cut.
            self._queue(pipe, error.frames)
            if error.frames and not self._connecting:
                self._flush(pipe)
            self._peer_error(pipe)
            return
        if not self._tuned and pipe.direction == TO_BROKER:
            self._tune(frames)
        # The short way for nearly every read: no rule is armed and no fault shapes this direction.
        plain = pipe.valve is None and not self._armed[pipe.direction]
        if plain:
            pipe.outbox.put(frames)
        else:
            self._queue(pipe, frames)
        if frames and not (self._connecting and pipe.direction == TO_BROKER):
            if plain:
                self._send(pipe)
            else:
                self._flush(pipe)

    def _queue(self, pipe: Pipe, frames: list[Frame]) -> None:
        """Put frames into the outbox, past rules and shapes."""
        armed, number = self._armed[pipe.direction], self.generation.number
        self.generation.thrown += pipe.put(frames, armed, number, time.monotonic())

    def _flush(self, pipe: Pipe) -> None:
        """Send what may go, and fire the rules whose point is reached by that."""
        valve = pipe.valve
        if valve is None:
            self._send(pipe)
            return
        now = time.monotonic()
        room = valve.room(now)
        before = pipe.outbox.pending
        if room > 0 and before:
            if not self._send(pipe, room) or self.end:
                return
            valve.gone(before - pipe.outbox.pending, now)
        while armed := valve.reached():
            if armed.live:
                self._host.reached(self, armed)
            if self.end:
                return
        pipe.tidy()

    def _send(self, pipe: Pipe, limit: int | None = None) -> bool:
        """Hand the kernel what it takes, and book what it took whole. False: it took nothing."""
        t = time.monotonic()  # before the send: the peer cannot have seen it any earlier
        try:
            forwarded = pipe.outbox.send(pipe.sink, limit)
        except BlockingIOError:
            return False
        except OSError:  # the sink is gone, and with it whatever the source still says
            pipe.clear()
            return False
        malformed = False
        for frame in forwarded:
            try:
                self.generation.feed(pipe.direction, frame, t)
            except Malformed:  # those behind it went out as well: book them
                malformed = True
        if malformed:
            self._peer_error(pipe)
        return True

    def _tune(self, frames: list[Frame]) -> None:
        frame_max = negotiated(frames)
        if frame_max is not None:
            self._tuned = True
            self._to_broker.stream.limit(frame_max)
            self._to_client.stream.limit(frame_max)

    def _peer_error(self, pipe: Pipe) -> None:
        if not self.end:  # by a rule that fired in front of the error
            self.close("client-error" if pipe.direction == TO_BROKER else "broker-error")

    def _source_ended(self, pipe: Pipe) -> None:
        pipe.ended = True
        now = time.monotonic()
        if self._first_end is None:
            self._first_end = "client" if pipe.direction == TO_BROKER else "broker"
            self._deadline = now + DRAIN_DEADLINE
            self.generation.ending = now
        if self._to_broker.discards or self._to_client.discards:
            # Bytes are missing: no orderly end of the stream may pretend that it is whole.
            self.reset(self._reason(), now)

    def _settle(self) -> None:
        """Pass an end of file on once all before it went; close when both sides are through."""
        if self.end:
            return
        pipes = (self._to_broker, self._to_client)
        for pipe in pipes:
            if pipe.ended and not pipe.done and not pipe.outbox.pending:
                pipe.done = True
                try:
                    pipe.sink.shutdown(socket.SHUT_WR)
                except OSError:  # it was reset meanwhile: there is nobody left to tell
                    pass
        if all(pipe.done for pipe in pipes):
            self.close(self._reason())
        else:
            self._watch()

    def _reason(self) -> str:
        if self.generation.close_ok and not self._abandoned:
            return CLOSE
        return self._first_end or "broker"  # neither side ended: the connect ran out of time

    def _watch(self) -> None:
        """Tell the selector what each socket is waited for; nothing at all is allowed."""
        for incoming, outgoing in (
            (self._to_broker, self._to_client),
            (self._to_client, self._to_broker),
        ):
            mask = 0
            if incoming.wants_read:
                mask |= selectors.EVENT_READ
            if outgoing.outbox.pending and (outgoing.valve is None or self._room(outgoing)):
                mask |= selectors.EVENT_WRITE
            if self._connecting and incoming.source is self.upstream:
                mask = selectors.EVENT_WRITE
            self._register(incoming.source, mask)

    def _room(self, pipe: Pipe) -> bool:
        """Whether something may go out now; if only time is missing, look again then."""
        valve = pipe.valve
        assert valve is not None
        now = time.monotonic()
        if valve.room(now) > 0:
            return True
        due = valve.wake(now)
        if due is not None and (pipe.wake is None or due < pipe.wake):
            pipe.wake = due

            def look() -> None:
                pipe.wake = None
                self._resume(pipe)

            self._host.later(due, look)
        return False

    def _register(self, sock: socket.socket, mask: int) -> None:
        before = self._masks.get(sock, 0)
        if mask == before:
            return
        if not before:
            self._selector.register(sock, mask, self.on_event)
        elif mask:
            self._selector.modify(sock, mask, self.on_event)
        else:
            self._selector.unregister(sock)
        self._masks[sock] = mask
