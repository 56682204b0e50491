"""One client connection and its upstream connection, and the frames that pass between them.

It owns the two sockets, the two directions, back-pressure and how a connection ends. It never
waits: the server's selector says when a socket is ready. Where one side is slow, the other is no
longer read, so that TCP slows it down as it would without a proxy. It prevents a bad peer from
hurting anybody but itself: garbage ends this link, and what one link holds is bounded by twice
HIGH_WATER, one read and one frame each way.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Callable
from typing import Final

from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT
from benchmarks.proxy.fields import Malformed
from benchmarks.proxy.ledger import CLOSE, Generation
from benchmarks.proxy.outbox import Outbox
from benchmarks.proxy.stream import Stream, negotiated
from benchmarks.wire.frames import Frame, FrameError

#: Bytes that may wait for a slow side before the other is no longer read: some thousand small
#: messages, and a few frames of the default frame_max.
HIGH_WATER: Final = 1024 * 1024
#: Bytes per read. Above 64 KiB nothing gets faster, and one busy link would hold up the others.
READ_SIZE: Final = 64 * 1024
#: Seconds for the connect to the broker. It is on loopback: it answers at once or is not there.
CONNECT_DEADLINE: Final = 5.0
#: Seconds from the end of one side until both sockets are closed. A sound peer closes its side
#: as soon as it reads the end of file; one that does not must not keep a broker connection.
DRAIN_DEADLINE: Final = 2.0


class Pipe:
    """One direction: a source that is read, frames that wait, a sink that is written."""

    def __init__(self, direction: int, source: socket.socket, sink: socket.socket) -> None:
        self.direction = direction
        self.source = source
        self.sink = sink
        self.stream = Stream(header_required=direction == TO_BROKER)
        self.outbox = Outbox()
        #: The source reached its end, or was reset.
        self.ended = False
        #: Everything went, and the sink was told that nothing follows.
        self.done = False

    @property
    def wants_read(self) -> bool:
        """Whether the source should be read: not at its end, and the sink keeps up."""
        return not self.ended and self.outbox.pending < HIGH_WATER


class Link:
    """A client's connection through the proxy. ``end`` is None as long as it lives.

    ``ended`` is called once, when both sockets are closed; that may be in the constructor.
    """

    def __init__(
        self,
        client: socket.socket,
        upstream_address: tuple[str, int],
        generation: Generation,
        selector: selectors.BaseSelector,
        ended: Callable[[Link], None],
    ) -> None:
        self.generation = generation
        self.client = client
        self.upstream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.end: str | None = None
        self._selector = selector
        self._ended = ended
        self._masks: dict[socket.socket, int] = {}
        self._to_broker = Pipe(TO_BROKER, client, self.upstream)
        self._to_client = Pipe(TO_CLIENT, self.upstream, client)
        self._tuned = False
        self._connecting = True
        self._first_end: str | None = None
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
        if self.end:  # ended by an event of the same round
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
        if self._deadline is not None and now >= self._deadline:
            self.close(self._reason())

    def close(self, end: str, t: float | None = None) -> None:
        """Close both sockets and note in the ledger how it ended, at ``t`` or now.

        A socket that the caller set SO_LINGER 0 on sends an RST.
        """
        if self.end:
            return
        self.end = end
        for sock in (self.client, self.upstream):
            if self._masks.pop(sock, 0):
                self._selector.unregister(sock)
            sock.close()
        self._to_broker.outbox.clear()
        self._to_client.outbox.clear()
        self.generation.finish(end, time.monotonic() if t is None else t)
        self._ended(self)

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
            pipe.outbox.put(error.frames)
            if error.frames and not self._connecting:
                self._flush(pipe)
            self._peer_error(pipe)
            return
        if not self._tuned and pipe.direction == TO_BROKER:
            self._tune(frames)
        pipe.outbox.put(frames)
        if frames and not (self._connecting and pipe.direction == TO_BROKER):
            self._flush(pipe)

    def _flush(self, pipe: Pipe) -> None:
        """Send what the sink takes, and book what it took whole."""
        t = time.monotonic()  # before the send: the peer cannot have seen it any earlier
        try:
            forwarded = pipe.outbox.send(pipe.sink)
        except BlockingIOError:
            return
        except OSError:  # the sink is gone, and with it whatever the source still says
            pipe.outbox.clear()
            return
        malformed = False
        for frame in forwarded:
            try:
                self.generation.feed(pipe.direction, frame, t)
            except Malformed:  # those behind it went out as well: book them
                malformed = True
        if malformed:
            self._peer_error(pipe)

    def _tune(self, frames: list[Frame]) -> None:
        frame_max = negotiated(frames)
        if frame_max is not None:
            self._tuned = True
            self._to_broker.stream.limit(frame_max)
            self._to_client.stream.limit(frame_max)

    def _peer_error(self, pipe: Pipe) -> None:
        self.close("client-error" if pipe.direction == TO_BROKER else "broker-error")

    def _source_ended(self, pipe: Pipe) -> None:
        pipe.ended = True
        if self._first_end is None:
            self._first_end = "client" if pipe.direction == TO_BROKER else "broker"
            self._deadline = time.monotonic() + DRAIN_DEADLINE

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
        if self.generation.close_ok:
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
            if outgoing.outbox.pending:
                mask |= selectors.EVENT_WRITE
            if self._connecting and incoming.source is self.upstream:
                mask = selectors.EVENT_WRITE
            self._register(incoming.source, mask)

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
