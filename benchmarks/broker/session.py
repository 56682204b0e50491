"""One client's connection: handshake, heartbeats, the way in and the way out of its channels.

Bytes in by ``receive``, bytes out by ``take_output`` and ``sent``. A session never raises because
of its peer: what a peer does wrong ends in a Close method, or in ``wants_close``. All that it
keeps is bounded: one partial frame, one message per channel, and an output that makes deliveries
stop (``takes_deliveries``) and then reading (``wants_read``); frames that are kept because their
channel waits stop the reading as well.
"""

from __future__ import annotations

import enum
import hmac
from typing import TYPE_CHECKING

from pamqp import base, commands

from benchmarks.wire.frames import (
    DEFAULT_FRAME_MAX,
    FRAME_MIN_SIZE,
    HEARTBEAT,
    HEARTBEAT_FRAME,
    METHOD,
    OVERHEAD,
    PROTOCOL_HEADER,
    Frame,
    FrameError,
    Scanner,
)

from . import codec
from .channel import Channel
from .errors import HardError, ProtocolError

if TYPE_CHECKING:
    from .core import Broker

#: Bytes of unsent output above which a connection gets no deliveries, and below which again.
DELIVERY_HIGH_WATER = 1 << 20
DELIVERY_LOW_WATER = 1 << 18
#: Bytes of unsent output above which the connection is not read any more. Well above the other
#: mark: a client that publishes much before it reads its deliveries must not be locked out, one
#: that never reads the answers to its own calls must.
REPLY_HIGH_WATER = 1 << 24
#: Bytes kept for channels that wait, above which the connection is not read any more. One read
#: more may come on top. An honest client, which waits for its answer, keeps one frame of a channel.
KEPT_HIGH_WATER = 1 << 20
#: What the harness's own client calls itself. Its connections are the controls, and what remains
#: in the queues is read through them: no fault may touch them.
EXEMPT_PRODUCT = "amqpool wire client"
#: Seconds that a peer has to answer a Close, and to go away after the last byte was sent.
CLOSE_TIMEOUT = 5.0

SERVER_PROPERTIES: dict[str, object] = {
    "product": "amqpool embedded broker",
    "version": "1",
    "platform": "Python",
    "capabilities": {
        "publisher_confirms": True,
        "exchange_exchange_bindings": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "authentication_failure_close": True,
        "per_consumer_qos": True,
    },
}


class State(enum.Enum):
    """Where a connection is in its life."""

    HEADER = "waiting for the protocol header"
    START_OK = "waiting for start-ok"
    TUNE_OK = "waiting for tune-ok"
    OPENING = "waiting for open"
    OPEN = "running"
    CLOSING = "waiting for close-ok"
    CLOSED = "closed"


OPEN, CLOSED = State.OPEN, State.CLOSED


class Session:
    """The broker's side of one connection."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.state = State.HEADER
        self.channels: dict[int, Channel] = {}
        self.capabilities: frozenset[str] = frozenset()
        self.channel_max = broker.settings.channel_max
        self.frame_max = broker.settings.frame_max
        self.heartbeat = 0
        #: The method being handled: a Close names it.
        self.method = 0
        self.dirty = False
        #: Bytes of output not yet taken by the network.
        self.backlog = 0
        #: Set when the peer must be dropped without another word.
        self.abort = False
        self.has_published = False
        #: The broker is short of memory, or behaves as if: publishers are not read.
        self.blocked = False
        #: Faults pass this connection by.
        self.exempt = False
        #: Who decides about this connection's confirms; None: each goes out at once.
        self.confirming = broker.confirming(self)
        #: Bytes of messages that are still coming in, over all channels.
        self.assembling = 0
        #: Bytes of frames that are kept, over all channels that wait.
        self._kept = 0
        self._choked = False
        self._output: list[bytes] = []
        self._start = b""
        self._scanner = Scanner(DEFAULT_FRAME_MAX)
        self._received_at = self._sent_at = broker.now
        self._deadline: float | None = broker.now + broker.settings.handshake_timeout

    def __repr__(self) -> str:
        return f"<Session {self.state.name} channels={len(self.channels)} backlog={self.backlog}>"

    # -- what the driver asks --------------------------------------------------------------

    @property
    def wants_read(self) -> bool:
        """Whether more input is welcome now."""
        return not self.throttled and self.backlog < REPLY_HIGH_WATER

    @property
    def throttled(self) -> bool:
        """Whether it is the broker that stopped reading, so that silence proves nothing."""
        return (self.blocked and self.has_published) or self._kept >= KEPT_HIGH_WATER

    @property
    def wants_close(self) -> bool:
        """Whether the socket is to be closed once the output was sent (or at once: ``abort``)."""
        return self.state is State.CLOSED

    def take_output(self) -> bytes:
        """All output there is. The driver reports with ``sent`` how much the network took."""
        output = b"".join(self._output) if len(self._output) > 1 else self._output[0]
        self._output.clear()
        return output

    @property
    def has_output(self) -> bool:
        """Whether ``take_output`` has something to give."""
        return bool(self._output)

    def sent(self, size: int) -> None:
        """The network took ``size`` bytes of the output."""
        self.backlog -= size
        if self._choked and self.backlog <= DELIVERY_LOW_WATER:
            self._choked = False
            for channel in self.channels.values():
                channel.unpark_consumers()

    def takes_deliveries(self) -> bool:
        """Whether the peer keeps up with what it is sent."""
        if self.backlog < DELIVERY_HIGH_WATER:
            return True
        self._choked = True
        return False

    def lost(self) -> None:
        """The network connection is gone: give back what the client held."""
        self.catch_up()
        self._end(State.CLOSED)
        self.broker.sessions.pop(self, None)

    def tick(self) -> None:
        """Heartbeats and deadlines."""
        now = self.broker.now
        if self._deadline is not None and now >= self._deadline:
            self._drop()
        elif self.throttled:
            self._received_at = now
        if self.heartbeat and self.state is State.OPEN:
            if now - self._received_at > 2 * self.heartbeat:
                self._drop()
            elif now - self._sent_at >= self.heartbeat / 2 and not self.backlog:
                self.send(HEARTBEAT_FRAME)

    def heed_alarm(self) -> None:
        """Publishers are not read while the alarm is on; clients that can be told are told."""
        blocked = self.broker.alarm or (self.broker.blocking and not self.exempt)
        if blocked == self.blocked or self.state is not State.OPEN:
            return
        self.blocked = blocked
        if "connection.blocked" in self.capabilities:
            self.reply(
                0,
                commands.Connection.Blocked(reason="low on memory")
                if blocked
                else commands.Connection.Unblocked(),
            )
        self.broker.mark_dirty(self)

    def publishes(self) -> None:
        """The client is a publisher from now on: an alarm that is on concerns it."""
        self.has_published = True
        self.broker.mark_dirty(self)

    def keep(self, size: int) -> None:
        """So many bytes more are kept for channels that wait, or fewer."""
        self._kept += size
        self.broker.mark_dirty(self)

    # -- output ----------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Queue encoded frames."""
        self._output.append(data)
        self.backlog += len(data)
        self._sent_at = self.broker.now
        if not self.dirty:
            self.broker.mark_dirty(self)

    def reply(self, channel: int, method: base.Frame) -> None:
        """Queue one method."""
        self.send(codec.encode(channel, method))

    # -- input -----------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Handle bytes from the client, in chunks of any size."""
        self._received_at = self.broker.now
        if self.state is State.HEADER:
            data = self._protocol_header(data)
        if self.wants_close or not data:
            return
        broken: FrameError | None = None
        try:
            frames = self._scanner.feed(data)
        except FrameError as error:
            frames, broken = error.frames, error
        if self.handle(frames) and broken is not None:
            self.method = 0
            self.fail(HardError(501, str(broken)))

    def handle(self, frames: list[Frame]) -> bool:
        """Handle whole frames, in their order. False when one of them ended the connection."""
        channels = self.channels
        try:
            for frame in frames:
                kind, number, raw = frame
                channel = channels.get(number)
                if channel is None or kind == HEARTBEAT or self.state is not OPEN:
                    self._frame(frame)
                else:
                    # Nearly all there is; it names its method itself.
                    channel.on_frame(kind, raw)
                if self.state is CLOSED:
                    return False
        except HardError as error:
            self.fail(error)
            return False
        return True

    def catch_up(self) -> None:
        """Handle now what is kept for channels that wait, since the connection ends.

        It came in before the end, so it counts: an ack that is forgotten is a second delivery.
        """
        for channel in list(self.channels.values()):
            while channel.kept:
                channel.resume()

    def internal_error(self) -> None:
        """A bug of ours ended this connection; the driver has logged it."""
        self.broker.counts["internal_errors"] += 1
        self.fail(HardError(541, "internal error"))

    def _protocol_header(self, data: bytes) -> bytes:
        """Take the first eight bytes; returns what follows them."""
        self._start += data
        head, rest = self._start[:8], self._start[8:]
        if not PROTOCOL_HEADER.startswith(head):
            self.send(PROTOCOL_HEADER)
            self._close()
        elif len(head) == 8:
            self._start = b""
            self.state = State.START_OK
            self.reply(
                0,
                commands.Connection.Start(
                    server_properties=SERVER_PROPERTIES,  # type: ignore[arg-type]
                    mechanisms="PLAIN",
                    locales="en_US",
                ),
            )
            return rest
        return b""

    def _frame(self, frame: Frame) -> None:
        kind, number, raw = frame
        self.method = 0
        if self.state is State.CLOSING:
            self._frame_while_closing(frame)
        elif kind == HEARTBEAT:
            if len(raw) > OVERHEAD:
                raise HardError(501, "heartbeat with a payload")
            if number:
                raise HardError(505, "heartbeat on a channel")
        elif number == 0:
            if kind != METHOD:
                raise HardError(505, "content on channel 0")
            self.method = codec.method_index(raw)
            self._connection_method(codec.decode(raw))
        elif self.state is not State.OPEN:
            raise HardError(504, f"frame on channel {number} before the connection is open")
        else:
            self._open_channel(frame)

    def _open_channel(self, frame: Frame) -> None:
        number = frame.channel
        # How many there are, not how they are numbered: so RabbitMQ takes the word.
        if len(self.channels) >= self.channel_max:
            raise HardError(
                530,
                f"number of channels opened ({len(self.channels)}) has reached the negotiated"
                f" channel_max ({self.channel_max})",
            )
        if frame.type != METHOD:
            raise HardError(505, "expected method frame, got non method frame instead")
        self.method = codec.method_index(frame.raw)
        if self.method != commands.Channel.Open.index:
            raise HardError(504, "expected 'channel.open'")
        codec.decode(frame.raw)
        self.channels[number] = Channel(self, number)
        self.send(codec.channel_open_ok(number))

    def _connection_method(self, method: base.Frame) -> None:
        if isinstance(method, commands.Connection.Close):
            self.catch_up()
            self._end(State.CLOSED)
            self.reply(0, commands.Connection.CloseOk())
            self._close()
        elif self.state is State.START_OK and isinstance(method, commands.Connection.StartOk):
            self._start_ok(method)
        elif self.state is State.TUNE_OK and isinstance(method, commands.Connection.TuneOk):
            self._tune_ok(method)
        elif self.state is State.OPENING and isinstance(method, commands.Connection.Open):
            if method.virtual_host != "/":
                raise HardError(530, f"vhost {method.virtual_host} not found")
            self.state = State.OPEN
            self._deadline = None
            self.reply(0, commands.Connection.OpenOk())
            self.heed_alarm()
        elif self.state is State.OPEN and isinstance(method, commands.Connection.UpdateSecret):
            # For tokens that expire. A password does not: RabbitMQ takes any, and so do we.
            self.reply(0, commands.Connection.UpdateSecretOk())
        else:
            raise HardError(504, f"unexpected method in connection state {self.state.value}")

    def _start_ok(self, method: commands.Connection.StartOk) -> None:
        properties = method.client_properties
        offered = properties.get("capabilities") if isinstance(properties, dict) else None
        if isinstance(offered, dict):
            self.capabilities = frozenset(str(name) for name, on in offered.items() if on is True)
        self.exempt = isinstance(properties, dict) and properties.get("product") == EXEMPT_PRODUCT
        self.confirming = self.broker.confirming(self)
        if method.mechanism != "PLAIN":
            self._refuse_login(f"{method.mechanism}")
            return
        settings = self.broker.settings
        expected = f"\0{settings.user}\0{settings.password}".encode()
        response: object = method.response
        given = response.encode() if isinstance(response, str) else response
        if not isinstance(given, bytes) or not hmac.compare_digest(given, expected):
            self._refuse_login("PLAIN")
            return
        self.state = State.TUNE_OK
        self.reply(
            0,
            commands.Connection.Tune(
                channel_max=settings.channel_max,
                frame_max=settings.frame_max,
                heartbeat=settings.heartbeat,
            ),
        )

    def _refuse_login(self, mechanism: str) -> None:
        self.method = 0
        error = HardError(
            403,
            f"Login was refused using authentication mechanism {mechanism}."
            " For details see the broker logfile.",
        )
        if "authentication_failure_close" in self.capabilities:
            self.fail(error)
        else:
            self._close()

    def _tune_ok(self, method: commands.Connection.TuneOk) -> None:
        settings = self.broker.settings
        frame_max, channel_max = method.frame_max or 0, method.channel_max or 0
        if 0 < frame_max < FRAME_MIN_SIZE:
            raise HardError(
                530, f"negotiated frame_max = {frame_max} is lower than the minimum allowed value"
            )
        # 0 asks for no limit, which is more than was offered.
        for name, value, limit in (
            ("frame_max", frame_max, settings.frame_max),
            ("channel_max", channel_max, settings.channel_max),
        ):
            if not 0 < value <= limit:
                raise HardError(
                    530,
                    f"negotiated {name} = {value} is higher than the maximum allowed value"
                    f" ({limit})",
                )
        self.frame_max = frame_max
        self.channel_max = channel_max
        self.heartbeat = method.heartbeat or 0
        # RabbitMQ takes a payload of frame_max itself, and so do we.
        self._scanner.max_payload = frame_max
        self.state = State.OPENING

    def _frame_while_closing(self, frame: Frame) -> None:
        """After our Close all is ignored but close-ok, and the client's own Close."""
        if frame.type != METHOD or frame.channel:
            return
        index = codec.method_index(frame.raw)
        if index == commands.Connection.CloseOk.index:
            self._close()
        elif index == commands.Connection.Close.index:
            self.reply(0, commands.Connection.CloseOk())
            self._close()

    # -- the end ---------------------------------------------------------------------------

    def fail(self, error: ProtocolError) -> None:
        """Close the connection, naming the method in ``method``, and wait for close-ok."""
        if self.state in (State.CLOSING, State.CLOSED):
            self._close()
            return
        self._end(State.CLOSING)
        self._deadline = self.broker.now + CLOSE_TIMEOUT
        class_id, method_id = divmod(self.method, 1 << 16)
        self.reply(
            0,
            commands.Connection.Close(
                reply_code=error.code,
                reply_text=error.text,
                class_id=class_id,
                method_id=method_id,
            ),
        )

    def _end(self, state: State) -> None:
        """Leave the open state: the channels' messages go back, exclusive queues go."""
        for channel in self.channels.values():
            self.broker.release_confirms(channel)
        self.state = state
        # Whoever is to answer a Close must be read.
        self.blocked = False
        for channel in list(self.channels.values()):
            channel.release()
        self.channels.clear()
        for queue in [queue for queue in self.broker.queues.values() if queue.owner is self]:
            self.broker.delete_queue(queue)

    def _close(self) -> None:
        self.state = State.CLOSED
        self._deadline = self.broker.now + CLOSE_TIMEOUT
        self.broker.mark_dirty(self)

    def _drop(self) -> None:
        """Give the peer up without another word."""
        self.catch_up()
        self.abort = True
        self._end(State.CLOSED)
        self._deadline = None
        self.broker.mark_dirty(self)
