"""The one I/O thread of a connection: it reads, parses, sends what was left over, keeps the beat.

It owns the reading buffer, the parser and the poll, and it is the only thread that closes the
socket. It never runs user code, never waits for a caller and never decodes arguments, so nothing
that an application does can keep it from answering a heartbeat or a Close. What it reads goes, one
batch per read, to the connection, which sorts it into the channels' inboxes.

It is a thread that does nothing else (`start`), or the one that connected (`serve`): the pool's
thread connects, serves, and connects again. To start another, and to hand it each step of the
handshake, takes as long as a round trip on a fast network (docs/speed.md).

`wake` and `stop` may be called from any thread.
"""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from .errors import ConnectionLost, FrameError
from .frames import FRAME_OVERHEAD, HEARTBEAT
from .outbox import Outbox
from .parser import Batch, FrameParser
from .wire import Wire, knock

#: Read at least this much at once: many small frames then cost one system call.
READ_SIZE: Final = 128 * 1024
#: Without a heartbeat the thread wakes this often (seconds), so that no poll is without deadline.
IDLE_POLL: Final = 60.0
#: Reads of what a peer had sent before a write to it failed. Its last words fit into the kernel's
#: receive buffer, 6 MiB by default.
LAST_READS: Final = 64
#: How long the closing thread lets a sender leave the socket (seconds). Sends never block.
SENDER_LEAVES: Final = 1.0


class Handler(Protocol):
    """What the loop needs of the connection."""

    def on_batch(self, batch: Batch) -> None: ...

    def on_lost(self, error: Callable[[], ConnectionLost]) -> None: ...


class IoLoop:
    """See the module's text."""

    def __init__(self, handler: Handler, wire: Wire, outbox: Outbox, parser: FrameParser) -> None:
        self._handler = handler
        self._wire = wire
        self._outbox = outbox
        self._parser = parser
        self._stopping = False
        self._buffer = bytearray(READ_SIZE)
        self._end = 0
        #: Seconds between heartbeats, 0 for none; set once by the tune.
        self.heartbeat = 0.0
        self._last_received = time.monotonic()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        # Guards the waker against a wake-up after its descriptors were given back. A leaf.
        self._wake_lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self._wake_out.fileno(), select.POLLIN)
        self._wire_fd = wire.fileno()
        self._poll.register(self._wire_fd, select.POLLIN)
        self._writing = False
        #: The thread that serves the connection: who made this, unless `start` makes another.
        self.thread = threading.current_thread()
        self._started = False
        # The socket is closed, and the connection served no more.
        self._over = threading.Event()

    def start(self, name: str) -> None:
        """Serve in a thread that does nothing else. Raises RuntimeError when there is none left."""
        self.thread = threading.Thread(target=self.serve, name=name, daemon=True)
        self._started = True
        try:
            self.thread.start()
        except RuntimeError:
            self._close()
            raise

    def wake(self) -> None:
        """End the current poll. Who wakes it goes on: meanwhile there may be more to send."""
        with self._wake_lock:
            try:
                knock(self._wake_in)
            except OSError:
                pass  # full: it is awake already; closed: there is nobody to wake

    def stop(self) -> None:
        """Let the thread end soon; the socket is shut down at once."""
        self._stopping = True
        self._wire.shutdown()
        self.wake()

    def join(self, timeout: float) -> bool:
        """Whether the socket is closed, and a thread of its own gone, within `timeout` seconds.

        True within the thread that serves it.
        """
        if self.thread is threading.current_thread():
            return True
        deadline = time.monotonic() + timeout
        if not self._over.wait(timeout):
            return False
        if self._started:
            self.thread.join(max(0.0, deadline - time.monotonic()))
        return not self._started or not self.thread.is_alive()

    # -- the thread --------------------------------------------------------------------------

    def serve(self, until: Callable[[], bool] | None = None, deadline: float = math.inf) -> None:
        """Read and send, in `self.thread`, until the connection is lost; then close the socket.

        Or until `until()` holds or the deadline (monotonic seconds) has passed: then this may be
        called again. When it was stopped it only closes the socket.
        """
        over = True
        try:
            while not self._stopping:
                if until is not None and (until() or time.monotonic() >= deadline):
                    over = False
                    return
                self._turn(deadline)
        except ConnectionLost as error:
            # One instance per raise: only what it says is kept, not the instance.
            self._handler.on_lost(_again(error))
        except BaseException as error:
            # A defect of ours must not leave callers waiting for a thread that is gone.
            self._handler.on_lost(_failed(f"the I/O thread failed: {error!r}"))
            raise
        finally:
            if over:
                self._outbox.wait_idle(time.monotonic() + SENDER_LEAVES)
                self._close()

    def _turn(self, deadline: float) -> None:
        """One poll, what it brought, and the beat if it is due."""
        if self._writing != self._outbox.wants_io:
            self._writing = not self._writing
            events = select.POLLIN | (select.POLLOUT if self._writing else 0)
            self._poll.modify(self._wire_fd, events)
        for fd, events in self._poll.poll(self._poll_timeout(deadline)):
            if fd != self._wire_fd:
                self._drain_waker()
                continue
            if events & ~select.POLLOUT:
                self._read()
            if events & select.POLLOUT and self._outbox.wants_io:
                self._flush(io=True)
        if self._outbox.broken is not None and not self._stopping:
            self._last_words()
        self._beat()

    def _read(self) -> None:
        self._read_once()
        while self._wire.pending():
            self._read_once()

    def _read_once(self) -> bool:
        """One read and its frames; False when there was nothing to read."""
        try:
            with memoryview(self._buffer) as view:
                count = self._wire.receive(view[self._end :])
        except OSError as error:
            raise ConnectionLost(f"the connection broke: {_reason(error)}") from error
        if count is None:
            return False
        if not count:
            raise ConnectionLost("the broker ended the connection without a Close")
        self._last_received = time.monotonic()
        self._end += count
        if self._end >= self._parser.needs:
            self._parse()
        if self._end == len(self._buffer):
            # A frame larger than the buffer; the parser bounds it by the negotiated frame_max.
            self._buffer.extend(bytes(self._parser.frame_max + FRAME_OVERHEAD))
        return True

    def _parse(self) -> None:
        """The whole frames that are here go to the connection."""
        # One copy of all of it, so that each payload is one more and not two.
        with memoryview(self._buffer) as view:
            data = bytes(view[: self._end])
        batch: Batch = {}
        try:
            used = self._parser.parse(data, batch)
        finally:
            if batch:
                self._handler.on_batch(batch)
        if used:
            self._end -= used
            self._buffer[: self._end] = data[used:]

    def _last_words(self) -> None:
        """A write failed: read what the peer had sent before, then call the connection lost."""
        broken = self._outbox.broken
        for _ in range(LAST_READS):
            if not self._read_once():
                break
        assert broken is not None
        raise ConnectionLost(f"the connection broke: {_reason(broken)}")

    def _flush(self, *, io: bool = False) -> None:
        try:
            self._outbox.flush(io=io)
        except ConnectionLost:
            pass  # the outbox is broken now; the loop reads the last words, then gives up

    def _poll_timeout(self, deadline: float) -> float:
        """Milliseconds until the next beat is due, or the deadline."""
        now = time.monotonic()
        due = now + IDLE_POLL
        if self.heartbeat:
            due = min(
                self._outbox.last_sent + self.heartbeat / 2,
                self._last_received + 2 * self.heartbeat,
            )
            # While bytes are stuck no beat can be sent: then only the peer's silence counts.
            if self._outbox.pending:
                due = max(due, now + self.heartbeat / 4)
        return max(0.0, min(due, deadline) - now) * 1000 + 1

    def _beat(self) -> None:
        if not self.heartbeat:
            return
        now = time.monotonic()
        silent = now - self._last_received
        if silent >= 2 * self.heartbeat:
            raise ConnectionLost(
                f"no sign of life from the broker for {silent:.1f} s (two heartbeats)"
            )
        idle = now - self._outbox.last_sent >= self.heartbeat / 2 and not self._outbox.pending
        if idle and self._outbox.push_beat(HEARTBEAT):
            self._flush()

    def _drain_waker(self) -> None:
        try:
            while len(self._wake_out.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass  # emptied

    def _close(self) -> None:
        self._wire.shutdown()
        self._wire.close()
        with self._wake_lock:
            self._wake_in.close()
        self._wake_out.close()
        self._over.set()


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _again(error: ConnectionLost) -> Callable[[], ConnectionLost]:
    """A maker of new errors that say the same."""
    kind: type[ConnectionLost] = FrameError if isinstance(error, FrameError) else ConnectionLost
    text, code, sig = error.reply_text, error.reply_code, error.method_sig
    return lambda: kind(text, sig, reply_code=code)


def _failed(text: str) -> Callable[[], ConnectionLost]:
    return lambda: ConnectionLost(text)
