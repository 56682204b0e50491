"""A minimal blocking AMQP 0-9-1 client: one socket, one thread, every call with a deadline.

It sets up queues, reads what remains in them and serves as the control beside a client under
test, so it shares no code with any of those. It uses channel 1 alone, opens it when needed (also
again, after the broker closed it), asks for no heartbeats and never reconnects. After a timeout
or a protocol error its connection is closed: a late answer could be taken for the next one's.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from struct import error as StructError
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from pamqp import base, commands, exceptions, header
from pamqp import frame as pamqp_frame

from .frames import (
    BODY,
    DEFAULT_FRAME_MAX,
    HEADER,
    HEARTBEAT,
    METHOD,
    OVERHEAD,
    PROTOCOL_HEADER,
    Frame,
    FrameError,
    Scanner,
    frame,
)
from .url import Endpoint

CHANNEL = 1
#: Bytes of one message that is taken in; RabbitMQ's own default limit.
MAX_MESSAGE_SIZE = 134217728
#: Gets on their way at a time while draining: enough to hide the round trip.
DRAIN_WINDOW = 64
#: Bytes that ``fill`` sends at a time: many messages, and far less than a call's deadline allows.
FILL_BYTES = 1 << 16
#: Seconds that close() gives the broker for its close-ok.
CLOSE_TIMEOUT = 2.0
_READ_SIZE = 1 << 17

_M = TypeVar("_M", bound=base.Frame)


class WireError(Exception):
    """The broker closed the channel or the connection (``code``, ``text``), or broke the protocol
    or the connection (code 0)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}" if code else text)
        self.code = code
        self.text = text


class WireTimeout(TimeoutError):
    """The broker did not answer in time; the connection is closed."""


class Message(NamedTuple):
    """A message that was fetched."""

    message_id: str
    body: bytes
    redelivered: bool
    exchange: str
    routing_key: str


class QueueState(NamedTuple):
    """The answer to a declaration."""

    name: str
    message_count: int
    consumer_count: int


class WireClient:
    """A connection to a broker. Every call raises WireError or WireTimeout when it fails.

    ``timeout`` is the deadline of each call, in seconds; connecting is one call.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: str = "guest",
        password: str = "guest",
        vhost: str = "/",
        timeout: float = 10.0,
    ) -> None:
        self.host = host
        self.port = port
        self.timeout = timeout
        self._scanner = Scanner(DEFAULT_FRAME_MAX)
        self._frames: deque[Frame] = deque()
        self._room = DEFAULT_FRAME_MAX - OVERHEAD
        self._channel_open = False
        self._confirming = False
        # What was filled in last: queue, body, and both as frames.
        self._last: tuple[str, bytes, bytes] | None = None
        self._published = 0
        self._confirmed = 0
        self._returns = 0
        self._deadline = time.monotonic() + timeout
        self._socket: socket.socket | None
        try:
            self._socket = socket.create_connection((host, port), timeout)
        except TimeoutError as error:
            raise WireTimeout(f"no connection to {host}:{port} within {timeout:g} s") from error
        except OSError as error:
            raise WireError(0, f"cannot connect to {host}:{port}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._handshake(user, password, vhost)
        except BaseException:
            self._abandon()
            raise

    @classmethod
    def to(cls, endpoint: Endpoint, timeout: float = 10.0) -> Self:
        """Connect to where a URL points."""
        return cls(
            endpoint.host,
            endpoint.port,
            endpoint.user,
            endpoint.password,
            endpoint.vhost,
            timeout,
        )

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else "open"
        return f"<WireClient {self.host}:{self.port} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- queues and exchanges --------------------------------------------------------------

    def queue_declare(
        self,
        name: str,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        passive: bool = False,
        arguments: dict[str, object] | None = None,
    ) -> QueueState:
        """Declare a queue (``passive``: only look at it); an empty name asks for a new one."""
        answer = self._call(
            commands.Queue.Declare(
                queue=name,
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                passive=passive,
                arguments=arguments or {},  # type: ignore[arg-type]
            ),
            commands.Queue.DeclareOk,
        )
        return QueueState(
            str(answer.queue), int(answer.message_count or 0), int(answer.consumer_count or 0)
        )

    def queue_delete(self, name: str) -> int:
        """Delete a queue, if there is one; returns how many messages went with it."""
        answer = self._call(commands.Queue.Delete(queue=name), commands.Queue.DeleteOk)
        return int(answer.message_count or 0)

    def queue_purge(self, name: str) -> int:
        """Throw away the messages that are ready; returns how many."""
        answer = self._call(commands.Queue.Purge(queue=name), commands.Queue.PurgeOk)
        return int(answer.message_count or 0)

    def queue_bind(self, queue: str, exchange: str, routing_key: str) -> None:
        """Bind a queue to an exchange."""
        self._call(
            commands.Queue.Bind(queue=queue, exchange=exchange, routing_key=routing_key),
            commands.Queue.BindOk,
        )

    def exchange_declare(self, name: str, type: str, durable: bool = True) -> None:
        """Declare an exchange of type direct, fanout or topic."""
        self._call(
            commands.Exchange.Declare(exchange=name, exchange_type=type, durable=durable),
            commands.Exchange.DeclareOk,
        )

    def exchange_delete(self, name: str) -> None:
        """Delete an exchange, if there is one."""
        self._call(commands.Exchange.Delete(exchange=name), commands.Exchange.DeleteOk)

    # -- messages --------------------------------------------------------------------------

    def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        message_id: str = "",
        mandatory: bool = False,
        confirm: bool = True,
    ) -> bool:
        """Publish a persistent message; with ``confirm``, return once the broker has confirmed it.

        Returns False when a mandatory message came back (known only with ``confirm``), else True.
        Raises WireError with code 0 when the broker answered with a nack.
        """
        self._begin()
        if confirm and not self._confirming:
            self._request(commands.Confirm.Select(), commands.Confirm.SelectOk)
            self._confirming = True
            self._published = self._confirmed = 0
        content = header.ContentHeader(
            body_size=len(body),
            properties=commands.Basic.Properties(message_id=message_id or None, delivery_mode=2),
        )
        parts = [
            pamqp_frame.marshal(
                commands.Basic.Publish(
                    exchange=exchange, routing_key=routing_key, mandatory=mandatory
                ),
                CHANNEL,
            ),
            pamqp_frame.marshal(content, CHANNEL),
        ]
        for offset in range(0, len(body), self._room):
            parts.append(frame(BODY, CHANNEL, body[offset : offset + self._room]))
        returns = self._returns
        self._send(b"".join(parts))
        if self._confirming:
            self._published += 1
        if not confirm:
            return True
        while self._confirmed < self._published:
            self._confirm(self._next_method())
        return self._returns == returns

    def fill(self, queue: str, body: bytes, count: int) -> None:
        """Put the same message into a queue ``count`` times: encoded once, transient, unconfirmed.

        Returns when it is with the kernel; ask the queue itself when the broker has it.
        """
        self._begin()
        one = self._encoded(queue, body)
        at_once = max(1, FILL_BYTES // len(one))
        for sent in range(0, count, at_once):
            self._send(one * min(at_once, count - sent))
        if self._confirming:
            self._published += count

    def _encoded(self, queue: str, body: bytes) -> bytes:
        """All frames of the message; the last one is remembered."""
        if self._last is None or self._last[:2] != (queue, body):
            content = header.ContentHeader(
                body_size=len(body), properties=commands.Basic.Properties(delivery_mode=1)
            )
            frames = [
                pamqp_frame.marshal(commands.Basic.Publish(routing_key=queue), CHANNEL),
                pamqp_frame.marshal(content, CHANNEL),
                *(
                    frame(BODY, CHANNEL, body[offset : offset + self._room])
                    for offset in range(0, len(body), self._room)
                ),
            ]
            self._last = (queue, body, b"".join(frames))
        return self._last[2]

    def get(self, queue: str, no_ack: bool = True) -> Message | None:
        """Fetch one message, None when there is none.

        With ``no_ack=False`` it stays unacknowledged, and goes back when the client is closed.
        """
        self._begin()
        self._send(_get(queue, no_ack))
        return self._get_answer()

    def drain(self, queue: str, limit: int) -> list[Message]:
        """Fetch messages until the queue is empty or there are ``limit`` of them."""
        messages: list[Message] = []
        more = True
        while more and len(messages) < limit:
            window = min(DRAIN_WINDOW, limit - len(messages))
            self._begin()
            self._send(_get(queue, no_ack=True) * window)
            for _ in range(window):
                message = self._get_answer()
                if message is None:
                    more = False
                else:
                    messages.append(message)
        return messages

    def consume_alike(self, queue: str, count: int, prefetch: int) -> None:
        """Consume and acknowledge ``count`` messages, as fast as it can be done.

        They must be as long as the first, of one body frame, and all that come: so they are
        counted by their bytes and never decoded, and all that one read brings are acknowledged
        with one frame. Raises WireError when one is longer, and
        WireTimeout when they are too few or one is shorter.
        """
        self._begin()
        self._request(commands.Basic.Qos(prefetch_count=prefetch), commands.Basic.QosOk)
        tag = self._request(commands.Basic.Consume(queue=queue), commands.Basic.ConsumeOk)
        deliver = self._next_method()
        if not isinstance(deliver, commands.Basic.Deliver):
            raise self._broken(f"{deliver.name} where a delivery must be")
        first = int(deliver.delivery_tag or 0)
        content = [self._next_frame(), self._next_frame()]
        if [item.type for item in content] != [HEADER, BODY]:
            raise self._broken("a message whose body is not one frame")
        length = len(pamqp_frame.marshal(deliver, CHANNEL)) + sum(len(each.raw) for each in content)
        received = length + self._scanner.pending + sum(len(item.raw) for item in self._frames)
        self._scanner = Scanner(DEFAULT_FRAME_MAX)
        self._frames.clear()
        done = 0
        while done < count:
            whole = received // length
            if whole > done:
                done = whole
                self._send_method(
                    CHANNEL, commands.Basic.Ack(delivery_tag=first + done - 1, multiple=True)
                )
            else:
                received += len(self._read())
        if received != count * length:
            raise self._broken(f"{received} bytes for {count} messages of {length}")
        self._request(
            commands.Basic.Cancel(consumer_tag=tag.consumer_tag or ""), commands.Basic.CancelOk
        )

    def close(self) -> None:
        """Close the connection, politely if the broker answers in time. Never raises."""
        if self._socket is None:
            return
        self._deadline = time.monotonic() + min(self.timeout, CLOSE_TIMEOUT)
        try:
            self._send_method(
                0,
                commands.Connection.Close(
                    reply_code=200, reply_text="bye", class_id=0, method_id=0
                ),
            )
            while not isinstance(self._next_method(), commands.Connection.CloseOk):
                pass
        except (WireError, WireTimeout):
            pass  # It is closed in any case; whoever closes has no use for the reason.
        self._abandon()

    # -- one call --------------------------------------------------------------------------

    def _handshake(self, user: str, password: str, vhost: str) -> None:
        self._send(PROTOCOL_HEADER)
        start = self._expect(commands.Connection.Start)
        #: What the broker says of itself: product, version and the like.
        self.server = {name: str(value) for name, value in start.server_properties.items()}
        self._send_method(
            0,
            commands.Connection.StartOk(
                client_properties={
                    "product": "amqpool wire client",
                    "capabilities": {"authentication_failure_close": True, "basic.nack": True},
                },
                mechanism="PLAIN",
                response=f"\0{user}\0{password}",
                locale="en_US",
            ),
        )
        tune = self._expect(commands.Connection.Tune)
        frame_max = min(tune.frame_max or DEFAULT_FRAME_MAX, DEFAULT_FRAME_MAX)
        self._room = frame_max - OVERHEAD
        self._send_method(
            0,
            commands.Connection.TuneOk(
                channel_max=tune.channel_max or 0, frame_max=frame_max, heartbeat=0
            ),
        )
        self._send_method(0, commands.Connection.Open(virtual_host=vhost))
        self._expect(commands.Connection.OpenOk)

    def _begin(self) -> None:
        """Start the clock of a call, and make sure that there is a channel."""
        self._deadline = time.monotonic() + self.timeout
        if not self._channel_open:
            self._request(commands.Channel.Open(), commands.Channel.OpenOk)
            self._channel_open = True

    def _call(self, method: base.Frame, answer: type[_M]) -> _M:
        self._begin()
        return self._request(method, answer)

    def _request(self, method: base.Frame, answer: type[_M]) -> _M:
        self._send_method(CHANNEL, method)
        return self._expect(answer)

    def _expect(self, answer: type[_M]) -> _M:
        """The next method, which must be this one; confirms and returns are booked on the way."""
        while True:
            method = self._next_method()
            if isinstance(method, answer):
                return method
            self._confirm(method)

    def _confirm(self, method: base.Frame) -> None:
        """Book a confirm or a return; anything else is out of place here."""
        if isinstance(method, commands.Basic.Ack):
            self._confirmed = max(self._confirmed, int(method.delivery_tag or 0))
        elif isinstance(method, commands.Basic.Return):
            self._content()
            self._returns += 1
        elif isinstance(method, commands.Basic.Nack):
            self._confirmed = max(self._confirmed, int(method.delivery_tag or 0))
            raise WireError(0, "the broker answered a publish with a nack")
        else:
            raise self._broken(f"unexpected {method.name}")

    def _get_answer(self) -> Message | None:
        while True:
            method = self._next_method()
            if isinstance(method, commands.Basic.GetEmpty):
                return None
            if isinstance(method, commands.Basic.GetOk):
                message_id, body = self._content()
                return Message(
                    message_id,
                    body,
                    bool(method.redelivered),
                    str(method.exchange),
                    str(method.routing_key),
                )
            self._confirm(method)

    def _content(self) -> tuple[str, bytes]:
        """The content that follows a method: its message id and body."""
        kind, _channel, raw = self._next_frame()
        if kind != HEADER:
            raise self._broken("no content header where one must be")
        content = self._decode(raw)
        if not isinstance(content, header.ContentHeader):
            raise self._broken("no content header where one must be")
        size = content.body_size or 0
        if size > MAX_MESSAGE_SIZE:
            raise self._broken(f"a message of {size} bytes is above {MAX_MESSAGE_SIZE}")
        parts, missing = [], size
        while missing > 0:
            kind, _channel, raw = self._next_frame()
            if kind != BODY:
                raise self._broken("no content body where one must be")
            parts.append(raw[7:-1])
            missing -= len(raw) - OVERHEAD
        if missing:
            raise self._broken("a content body is longer than announced")
        return str(getattr(content.properties, "message_id", None) or ""), b"".join(parts)

    # -- frames ----------------------------------------------------------------------------

    def _next_method(self) -> base.Frame:
        """The next method. Raises WireError for a Close, after answering it."""
        kind, channel, raw = self._next_frame()
        method = self._decode(raw) if kind == METHOD else None
        if not isinstance(method, base.Frame):
            raise self._broken("content where a method must be")
        if isinstance(method, commands.Channel.Close):
            self._channel_open = self._confirming = False
            self._send_method(channel, commands.Channel.CloseOk())
            raise WireError(int(method.reply_code or 0), str(method.reply_text))
        if isinstance(method, commands.Connection.Close):
            self._send_method(0, commands.Connection.CloseOk())
            self._abandon()
            raise WireError(int(method.reply_code or 0), str(method.reply_text))
        return method

    def _next_frame(self) -> Frame:
        while True:
            while self._frames:
                item = self._frames.popleft()
                if item.type != HEARTBEAT:
                    return item
            self._receive()

    def _receive(self) -> None:
        data = self._read()
        try:
            self._frames.extend(self._scanner.feed(data))
        except FrameError as error:
            raise self._broken(f"not AMQP: {error}") from error

    def _read(self) -> bytes:
        sock = self._ready_socket("answer")
        try:
            data = sock.recv(_READ_SIZE)
        except TimeoutError as error:
            raise self._late("answer") from error
        except OSError as error:
            raise self._broken(f"connection lost: {error}") from error
        if not data:
            raise self._broken("connection closed by the broker")
        return data

    def _send_method(self, channel: int, method: base.Frame) -> None:
        self._send(pamqp_frame.marshal(method, channel))

    def _send(self, data: bytes) -> None:
        sock = self._ready_socket("room to send")
        try:
            sock.sendall(data)
        except TimeoutError as error:
            raise self._late("room to send") from error
        except OSError as error:
            raise self._broken(f"connection lost: {error}") from error

    def _ready_socket(self, what: str) -> socket.socket:
        """The socket, with what is left of this call's time as its timeout."""
        if self._socket is None:
            raise WireError(0, f"the connection to {self.host}:{self.port} is closed")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late(what)
        self._socket.settimeout(left)
        return self._socket

    def _decode(self, raw: bytes) -> object:
        try:
            return pamqp_frame.unmarshal(raw)[2]
        except (
            exceptions.PAMQPException,
            StructError,
            ValueError,
            LookupError,
            TypeError,
            ArithmeticError,
            OSError,
            RecursionError,
        ) as error:
            raise self._broken(f"cannot decode a frame: {type(error).__name__}") from error

    def _late(self, what: str) -> WireTimeout:
        self._abandon()
        return WireTimeout(f"no {what} from {self.host}:{self.port} within {self.timeout:g} s")

    def _broken(self, why: str) -> WireError:
        self._abandon()
        return WireError(0, f"{self.host}:{self.port}: {why}")

    def _abandon(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _get(queue: str, no_ack: bool) -> bytes:
    return pamqp_frame.marshal(commands.Basic.Get(queue=queue, no_ack=no_ack), CHANNEL)
