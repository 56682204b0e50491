"""SharedConnection: one physical AMQP connection, used by any number of threads.

It ties the pieces together: the outbox (outbox.py) is the one way out, the I/O thread (ioloop.py)
the one way in, and each channel has its own inbox. It owns the life of the connection: handshake
under one total deadline, channel numbers, and death, which happens once and wakes every waiter
with an error of its own. It never recovers itself: a lost connection stays lost, the pool makes
the next one.

py-amqp's `Connection` may be used by one thread at a time, and its reader allocates whatever a
peer announces. What of its methods cannot be shared is overridden here or raises.

Locks: the inbox of channel 0 guards the life of the connection; it is taken alone. Nothing else
here has a lock: `channels` is a dict whose single steps are atomic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import amqp
from amqp import sasl, spec
from amqp.exceptions import error_for_code
from amqp.serialization import dumps

from .channel import SharedChannel
from .decode import decode_args
from .dial import transport
from .draining import dispatch_next
from .errors import ConnectionLost, DrainTimeout, FrameError, LoginRefused, PoolError
from .exits import flush_at_exit
from .frames import FRAME_MIN_SIZE, Sig, method_frame
from .inbox import DeadlinePassed, Inbox
from .ioloop import IoLoop
from .numbers import ChannelNumbers
from .outbox import Outbox
from .parser import Batch, Event, FrameParser
from .unshared import OneReader
from .wire import Wire, open_wire

#: The largest frame we take unless told otherwise: RabbitMQ's own default.
FRAME_MAX: Final = 131_072
#: Channels per connection: RabbitMQ's own default.
CHANNEL_MAX: Final = 2_047
#: Connection events (blocked, unblocked) that nobody drains: a few are worth keeping, no more.
EVENTS_BYTES: Final = 64 * 1024
#: The share of close()'s time that is kept for the end of the I/O thread, at most a second.
JOIN_SHARE: Final = 0.2
#: What a broker answers to a wrong user or password, and to a virtual host that is not there.
REFUSALS: Final = (403, 530)

_Conn = spec.Connection
#: What may come next on channel 0 during the handshake; afterwards only Close and the events.
_BEFORE_OPEN: Final[dict[Sig | None, tuple[Sig, ...]]] = {
    None: (_Conn.Start,),
    _Conn.Start: (_Conn.Secure, _Conn.Tune),
    _Conn.Secure: (_Conn.Secure, _Conn.Tune),
    _Conn.Tune: (_Conn.OpenOk,),
    _Conn.OpenOk: (),
}


class SharedConnection(OneReader):
    """One connection; `connect()` it once. All times are in seconds."""

    Channel = SharedChannel
    Transport = staticmethod(transport)

    def __init__(
        self,
        host: str = "127.0.0.1:5672",
        userid: str = "guest",
        password: str = "guest",
        virtual_host: str = "/",
        *,
        ssl: bool | dict[str, Any] = False,
        heartbeat: float = 10,
        connect_timeout: float = 10.0,
        rpc_timeout: float = 30.0,
        publish_timeout: float = 30.0,
        max_outbox_bytes: int = 1024 * 1024,
        inbox_bytes: int = 64 * 1024 * 1024,
        prefetch: int = 100,
        confirms: bool = False,
        generation: int = 1,
        own_thread: bool = True,
        frame_max: int = FRAME_MAX,
        channel_max: int = CHANNEL_MAX,
        on_lost: Callable[[SharedConnection], object] | None = None,
        on_blocked: Callable[[str], object] | None = None,
        on_unblocked: Callable[[], object] | None = None,
    ) -> None:
        self.rpc_timeout = rpc_timeout
        self.publish_timeout = publish_timeout
        self.inbox_bytes = inbox_bytes
        self.prefetch = prefetch
        self.confirms = confirms
        self.generation = generation
        self.inbox = Inbox(EVENTS_BYTES)
        self._numbers = ChannelNumbers()
        self._on_lost = on_lost
        self._own_thread = own_thread
        self._heard: Sig | None = None
        self._close_sent = False
        self._dying = False
        self._aborted = False
        self._wire: Wire | None = None
        self._loop: IoLoop | None = None
        super().__init__(
            host,
            authentication=(sasl.PLAIN(userid, password), sasl.AMQPLAIN(userid, password)),
            virtual_host=virtual_host,
            ssl=ssl,
            connect_timeout=connect_timeout,
            heartbeat=round(heartbeat),
            frame_max=frame_max,
            channel_max=channel_max,
            on_blocked=on_blocked,
            on_unblocked=on_unblocked,
        )
        self._parser = FrameParser(frame_max, inbox_bytes, self.channels)
        self.outbox = Outbox(
            self._send_bytes, self._wake, self.lost, max_outbox_bytes, self._send_short
        )

    def __repr__(self) -> str:
        if self.inbox.ended is not None:
            state = "lost"
        else:
            state = "open" if self._handshake_complete else "not open"
        return (
            f"<SharedConnection {self.host}{self.virtual_host} generation {self.generation}:"
            f" {state}, {len(self.channels) - 1} channels, {self.outbox.pending} bytes to send>"
        )

    # -- opening -----------------------------------------------------------------------------

    def connect(self, callback: Callable[[], object] | None = None) -> None:
        """Connect and open, within `connect_timeout` seconds in all.

        Raises ConnectionLost (also when nobody listens), FrameError for a peer that is no broker,
        LoginRefused for a wrong user, password or virtual host. Name resolution is the system's and
        has its own time. Without `own_thread` this thread goes on with `serve`, or, when this
        raised, with `close`.
        """
        deadline = time.monotonic() + self.connect_timeout
        try:
            self._dial()
            while not self._handshake_complete:
                if not self._own_thread:
                    assert self._loop is not None
                    self._loop.serve(self._has_event, deadline)
                event = self.inbox.take(None, deadline)
                assert event is not None
                try:
                    self._dispatch(event)
                finally:
                    self.inbox.dispatched()
        except DeadlinePassed:
            error = ConnectionLost(
                f"{self.host} did not open the connection within {self.connect_timeout:.2f} s"
            )
            self.fail(error)
            raise error from None
        except (PoolError, amqp.exceptions.AMQPError) as error:
            self._end(lambda: ConnectionLost("the connection was not opened"))
            if isinstance(error, PoolError):
                raise
            # py-amqp found no way to log in among those that the broker offers.
            raise LoginRefused(str(error)) from error
        except BaseException:
            self._end(lambda: ConnectionLost("the connection was not opened"))
            raise
        if callback is not None:
            callback()

    def _dial(self) -> None:
        transport = self.Transport(self.host, self.connect_timeout, self.ssl)
        self._transport = transport
        try:
            transport.connect()
        except OSError as error:
            if self._aborted:
                raise self._aborted_error() from error
            reason = error.strerror or str(error) or type(error).__name__
            raise ConnectionLost(f"cannot connect to {self.host}: {reason}") from error
        except BaseException:
            if transport.sock is not None:
                transport.sock.close()
            raise
        self._wire = open_wire(transport.sock)
        if self._aborted:
            self._wire.close()
            raise self._aborted_error()
        self._loop = IoLoop(self, self._wire, self.outbox, self._parser)
        flush_at_exit(self)
        if self._own_thread:
            try:
                self._loop.start(f"amqpool-io-{self.generation}")
            except RuntimeError as error:
                self._loop = None
                raise ConnectionLost(f"no thread for the connection: {error}") from error
        if self._aborted:
            raise self._aborted_error()

    def _has_event(self) -> bool:
        return self.inbox.ready

    def serve(self) -> None:
        """Be the I/O thread of this connection until it is lost.

        Without `own_thread` whoever connected it calls this, at once: nobody else reads.
        """
        assert self._loop is not None
        self._loop.serve()

    def abort(self) -> None:
        """End a connection attempt that another thread makes, or the connection, at once."""
        self._aborted = True
        self._end(self._aborted_error)
        transport = self._transport
        sock = None if transport is None else transport.sock
        if sock is not None and self._loop is None:
            Wire.shutdown_socket(sock)

    def _aborted_error(self) -> ConnectionLost:
        return ConnectionLost(f"connecting to {self.host} was given up: the pool is closing")

    def _on_tune(
        self, channel_max: int, frame_max: int, server_heartbeat: int, argsig: str = "BlB"
    ) -> None:
        """py-amqp lets the broker's limits replace ours; here the smaller of the two holds."""
        if frame_max and frame_max < FRAME_MIN_SIZE:
            raise FrameError(f"the broker wants a frame_max of {frame_max}", reply_code=501)
        channel_max = min(channel_max, self.channel_max) if channel_max else self.channel_max
        frame_max = min(frame_max, self.frame_max) if frame_max else self.frame_max
        super()._on_tune(channel_max, frame_max, server_heartbeat, argsig)
        self._parser.frame_max = self.frame_max
        if self._loop is not None and self.heartbeat:
            self._loop.heartbeat = float(self.heartbeat)
            if self._own_thread:
                self._loop.wake()

    # -- state -------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the connection is open, as far as is known without a round trip."""
        return (
            self._handshake_complete
            and self.inbox.ended is None
            and self.outbox.broken is None
            and not self._close_sent
        )

    @property
    def usable(self) -> bool:
        """The same, by the name that a channel has for it."""
        return self.connected

    @property
    def blocked(self) -> str | None:
        """The broker's reason for blocking publishers, or None."""
        return self.outbox.blocked

    def lost(self) -> Exception:
        """A new error that says why the connection is gone."""
        ended = self.inbox.ended
        if ended is not None:
            return ended()
        broken = self.outbox.broken
        if broken is not None:
            return ConnectionLost(f"the connection broke: {broken.strerror or broken}")
        return _closed_here()

    # -- channels ----------------------------------------------------------------------------

    def channel(
        self, channel_id: int | None = None, callback: Callable[..., object] | None = None
    ) -> SharedChannel:
        """Open a channel, or return the open one with that number.

        Raises amqp.ResourceError when all numbers are in use, ConnectionLost, OperationTimeout.
        (py-amqp looks up None here, and its KeyError(None) stays the context of a failing open.)
        """
        if channel_id is not None:
            known = self.channels.get(channel_id)
            if known is not None:
                return known  # type: ignore[no-any-return]
        if self.inbox.ended is not None:
            raise self.lost()
        channel = self.Channel(self, channel_id, on_open=callback)
        channel.open()
        return channel

    def _get_free_channel_id(self) -> int:
        return self._numbers.take(self.channel_max)

    def _claim_channel_id(self, channel_id: int) -> int:
        return self._numbers.claim(channel_id, self.channel_max)

    def forget(self, channel: SharedChannel) -> None:
        """The channel is closed on both sides: its number is free."""
        if self.channels.get(channel.channel_id) is channel:
            del self.channels[channel.channel_id]
        self._numbers.give_back(channel.channel_id)

    # -- sending and waiting -----------------------------------------------------------------

    def send_method(
        self,
        sig: Sig,
        format: str | None = None,
        args: Any = None,
        content: Any = None,
        wait: Sig | list[Sig] | None = None,
        callback: Callable[[], object] | None = None,
        returns_tuple: bool = False,
    ) -> None:
        """Send a method of the connection class, together with what `callback` sends.

        Raises ConnectionLost.
        """
        if wait is not None or content is not None:
            raise NotImplementedError("no call on channel 0 waits; close() has its own way")
        flush = self.outbox.push(method_frame(0, sig, dumps(format, args) if format else b""))
        try:
            if callback is not None:
                callback()
        finally:
            if flush:
                self.outbox.flush()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was published so far is with the kernel; False after `timeout`."""
        return self.outbox.wait_sent(self.outbox.mark, time.monotonic() + timeout)

    def flush_quietly(self) -> None:
        """Send what a control frame left; the I/O thread reports a connection that is gone."""
        try:
            self.outbox.flush()
        except ConnectionLost:
            pass  # the outbox is broken now, and the I/O thread knows

    def drain_events(self, timeout: float | None = None) -> None:
        """Dispatch the next connection event (blocked, unblocked) in this thread.

        Channels are drained one by one, by their owners. `timeout` in seconds, None means the
        rpc_timeout. Raises DrainTimeout when nothing came, ConnectionLost.
        """
        allowed = self.rpc_timeout if timeout is None else timeout
        if not self.drain_one(time.monotonic() + allowed):
            raise DrainTimeout(f"no event of the connection came within {allowed:.2f} s")

    def drain_one(self, deadline: float) -> bool:
        """Dispatch one connection event; False at the deadline (monotonic seconds)."""
        return dispatch_next(self.inbox, self._dispatch, deadline)

    def _dispatch(self, event: Event) -> None:
        sig = event.sig
        try:
            if sig == _Conn.Blocked:
                if self.on_blocked is not None:
                    self.on_blocked(decode_args("s", event)[0])
                return
            kinds = self._METHODS[sig].args
            args = decode_args(kinds, event) if kinds else []
            self._callbacks[sig](*args)
        except FrameError as error:
            self.fail(error)
            raise

    def _on_secure(self, challenge: str) -> None:
        raise FrameError("the broker wants another round of authentication", reply_code=503)

    # -- the I/O thread ----------------------------------------------------------------------

    def on_batch(self, batch: Batch) -> None:
        """What one read brought, by channel. Raises FrameError."""
        for number, events in batch.items():
            if not number:
                self._receive(events)
                continue
            channel = self.channels.get(number)
            if channel is not None:
                channel.receive(events)

    def on_lost(self, error: Callable[[], ConnectionLost]) -> None:
        """The loop's last word."""
        self._end(error)

    def _receive(self, events: list[Event]) -> None:
        for event in events:
            sig = event.sig
            if sig == _Conn.Close:
                self._closed_by_broker(event)
                return
            if sig == _Conn.CloseOk and self._close_sent:
                self._end(_closed_here)
                return
            if self._close_sent:
                continue
            if sig == _Conn.Blocked and self._heard == _Conn.OpenOk:
                self.outbox.set_blocked(decode_args("s", event)[0])
            elif sig == _Conn.Unblocked and self._heard == _Conn.OpenOk:
                self.outbox.set_blocked(None)
            elif sig in _BEFORE_OPEN[self._heard]:
                self._heard = sig
            else:
                raise FrameError(
                    f"the peer broke the protocol: method {sig} came out of turn",
                    sig,
                    reply_code=503,
                )
            with self.inbox.lock:
                if not self.inbox.put(event):
                    # Nobody drains connection events here; the state itself is kept above.
                    self.inbox.clear()
                self.inbox.wake()

    def _closed_by_broker(self, event: Event) -> None:
        code, text, class_id, method_id = decode_args("BsBB", event)
        try:
            if self.outbox.push(method_frame(0, _Conn.CloseOk)):
                self.outbox.flush()
        except ConnectionLost:
            pass  # the broker did not wait for it
        sig = (class_id, method_id)
        refused = code in REFUSALS and not self._handshake_complete

        def error() -> Exception:
            if refused:
                return LoginRefused(text, sig, reply_code=code)
            lost = ConnectionLost(f"the broker closed the connection: {text}", sig, reply_code=code)
            lost.__cause__ = error_for_code(code, text, sig, amqp.exceptions.ConnectionError)
            return lost

        self._end(error)

    # -- ending ------------------------------------------------------------------------------

    def fail(self, error: ConnectionLost) -> None:
        """End the connection because of what a peer sent; others get errors that say the same."""
        kind, text, code, sig = type(error), error.reply_text, error.reply_code, error.method_sig
        self._end(lambda: kind(text, sig, reply_code=code))

    def _end(self, error: Callable[[], Exception]) -> None:
        """The one way into death: the first reason stays, and everybody wakes at once."""
        with self.inbox.lock:
            first = not self._dying
            self._dying = True
            self.inbox.end(error)
        if not first:
            return
        self.outbox.close()
        # list() of a dict is one step; a channel that registers later finds the outbox closed.
        for channel in list(self.channels.values()):
            if channel is not self:
                channel.connection_lost()
        if self._loop is not None:
            self._loop.stop()
        if self._on_lost is not None:
            self._on_lost(self)

    def close(self, timeout: float = 10.0, *_: Any) -> bool:
        """Close in order: what was published, Close, CloseOk. True when so, False when forced.

        Returns within `timeout` seconds, whatever the broker does; safe from any thread, at any
        time, more than once.
        """
        deadline = time.monotonic() + timeout
        polite = deadline - min(1.0, timeout * JOIN_SHARE)
        with self.inbox.lock:
            was_open = self._handshake_complete and self.inbox.ended is None
            first = not self._close_sent
            self._close_sent = True
        clean = True
        if was_open and first:
            try:
                # Behind all that was published; the CloseOk then says that all of it was read.
                goodbye = method_frame(0, _Conn.Close, dumps("BsBB", (200, "", 0, 0)))
                if self.outbox.push_last(goodbye):
                    self.outbox.flush()
            except ConnectionLost:
                clean = False
        with self.inbox.lock:
            while was_open and self.inbox.ended is None:
                remaining = polite - time.monotonic()
                if remaining <= 0:
                    clean = False
                    break
                self.inbox.wait(remaining)
        self._end(_closed_here)
        if self._loop is not None:
            self._loop.stop()
            if self._loop.thread is threading.current_thread():
                # Nobody else would close the socket.
                self._loop.serve()
            clean = self._loop.join(max(0.0, deadline - time.monotonic())) and clean
        return clean

    # -- what the outbox needs ---------------------------------------------------------------

    def _send_bytes(self, data: bytes | memoryview) -> int:
        assert self._wire is not None
        return self._wire.send(data)

    def _send_short(self, data: bytes | memoryview) -> int:
        assert self._wire is not None
        return self._wire.send_short(data)

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.wake()


def _closed_here() -> ConnectionLost:
    return ConnectionLost("the connection was closed by this program")
