"""ChannelCore: how a channel of a shared connection sends, waits, dispatches and ends.

It exists because of what py-amqp does with a shared connection: `channel.wait()` drains the whole
connection, so whoever waits dispatches everybody's frames, and a broker error is raised in
whichever thread happened to drain. Here each channel has an inbox of its own (inbox.py). A caller
dispatches its own channel's events in its own thread; the I/O thread touches a channel only to put
events in, to settle confirms and to answer Channel.Close.

Replies are matched to calls in the order of the calls: a nested call from within a callback cannot
take the reply of the call around it. A call whose reply does not come poisons its channel, since
the late reply could be taken for another's. An ended channel stays ended: it is not reopened under
the caller's feet, and each use of it raises a new error.

Locks: the channel lock (`inbox.lock`) guards state, calls and confirms; see inbox.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import amqp
from amqp import spec
from amqp.exceptions import error_for_code
from amqp.serialization import dumps

from .confirms import ConfirmBook, ReturnedMessage, return_key
from .decode import decode_args, decode_deliver, decode_message
from .draining import dispatch_next
from .errors import (
    ConnectionLost,
    DrainTimeout,
    FrameError,
    InboxOverflow,
    LeaseEnded,
    OperationTimeout,
)
from .frames import Sig, method_frame
from .inbox import Call, DeadlinePassed, Inbox
from .parser import TOO_LARGE, Event

if TYPE_CHECKING:
    from .connection import SharedConnection

_DELIVER: Final = spec.Basic.Deliver
#: Deliveries and replies, nearly all there is: the I/O thread puts them into the inbox. With the
#: others it does more, or something else.
_PLAIN: Final = frozenset(amqp.Channel._METHODS) - {
    spec.Basic.Ack,
    spec.Basic.Nack,
    spec.Basic.Return,
    spec.Channel.Close,
    spec.Channel.CloseOk,
    spec.Channel.Flow,
}


class ChannelCore(amqp.Channel):  # type: ignore[misc]
    """What is under `SharedChannel`; see the module's text."""

    connection: SharedConnection

    def __init__(
        self,
        connection: SharedConnection,
        channel_id: int | None = None,
        auto_decode: bool = True,
        on_open: Callable[..., object] | None = None,
    ) -> None:
        # Made first: the I/O thread can reach the channel as soon as the base class registers it.
        self.inbox = Inbox(connection.inbox_bytes)
        self._outbox = connection.outbox
        self._calls: deque[Call] = deque()
        self._book = ConfirmBook()
        self._confirming = False
        self._closing = False
        self._closed = False
        self._on_settled: Callable[[Any], None] | None = None
        super().__init__(connection, channel_id, auto_decode, on_open)

    @property
    def usable(self) -> bool:
        """Whether the channel is open, as far as is known without a round trip."""
        return self.inbox.ended is None

    @property
    def confirming(self) -> bool:
        """Whether the channel is in confirm mode."""
        return self._confirming

    # -- sending -----------------------------------------------------------------------------

    def send_method(
        self,
        sig: Sig,
        format: str | None = None,
        args: Any = None,
        content: Any = None,
        wait: Sig | list[Sig] | None = None,
        callback: Callable[[], object] | None = None,
        returns_tuple: bool = False,
    ) -> Any:
        """Send a method and, with `wait`, wait for its reply (up to the rpc_timeout).

        Raises the channel's own error, ConnectionLost, OperationTimeout or LeaseEnded.
        """
        if content is not None:
            raise TypeError("a content is sent by basic_publish")
        call = None if wait is None else Call(_methods(wait))
        self._send(method_frame(self.channel_id, sig, dumps(format, args) if format else b""), call)
        if callback is not None:
            callback()
        return None if call is None else self._reply(call, None, returns_tuple)

    def _send(self, frame: bytes, call: Call | None = None) -> None:
        """Append a control frame; the call, if any, is booked in the order of the wire."""
        with self.inbox.lock:
            self._check()
            flush = self._outbox.push(frame)
            if call is not None:
                self._calls.append(call)
        if flush:
            self._outbox.flush(short=call is None, patient=True)

    def _check(self) -> None:
        """Raise when the channel may not be used. Needs the channel lock."""
        if self.inbox.ended is not None:
            raise self.inbox.ended()
        if self.inbox.parked:
            raise LeaseEnded(f"channel {self.channel_id} was released; acquire another")

    # -- waiting -----------------------------------------------------------------------------

    def wait(
        self,
        method: Sig | list[Sig],
        callback: Callable[..., object] | None = None,
        timeout: float | None = None,
        returns_tuple: bool = False,
    ) -> Any:
        """Wait for a method on this channel, dispatching its events in this thread.

        `timeout` in seconds; None means the rpc_timeout. Raises OperationTimeout, after which the
        channel is dead.
        """
        call = Call(_methods(method))
        with self.inbox.lock:
            self._check()
            self._calls.append(call)
        result = self._reply(call, timeout, returns_tuple)
        if callback is not None:
            callback(*call.result)
        return result

    def _reply(self, call: Call, timeout: float | None, returns_tuple: bool) -> Any:
        allowed = self.connection.rpc_timeout if timeout is None else timeout
        deadline = time.monotonic() + allowed
        while self._dispatch_one(call, deadline, allowed):
            pass
        result = call.result
        return result if returns_tuple else (result and result[0])

    def _dispatch_one(self, call: Call, deadline: float, allowed: float) -> bool:
        try:
            event = self.inbox.take(call, deadline)
        except DeadlinePassed:
            self._poison(call, allowed)
            raise OperationTimeout(
                f"channel {self.channel_id}: no reply {_names(call.methods)} within "
                f"{allowed:.2f} s; the channel is closed, acquire another"
            ) from None
        if event is None:
            return False
        try:
            self._dispatch(event)
        finally:
            self.inbox.dispatched()
        return True

    def drain_events(self, timeout: float | None = None) -> None:
        """Dispatch the next event of this channel in this thread.

        `timeout` in seconds: 0 takes only what is here, None means the rpc_timeout. Raises
        DrainTimeout when nothing came, and the channel's own error when it has ended.
        """
        allowed = self.connection.rpc_timeout if timeout is None else timeout
        if not dispatch_next(self.inbox, self._dispatch, time.monotonic() + allowed):
            raise DrainTimeout(
                f"nothing came in for channel {self.channel_id} within {allowed:.2f} s"
            )

    def drain_one(self, deadline: float) -> bool:
        """Dispatch one event; False at the deadline (monotonic seconds)."""
        return dispatch_next(self.inbox, self._dispatch, deadline)

    # -- dispatching, in a caller's thread ---------------------------------------------------

    def _dispatch(self, event: Event) -> None:
        sig = event.sig
        method = self._METHODS[sig]
        try:
            if sig == _DELIVER:
                args = decode_deliver(event)
            else:
                args = decode_args(method.args, event) if method.args else []
            if event.header is not None:
                message = decode_message(event)
                if self.auto_decode:
                    _decode_text(message)
                args.append(message)
        except ConnectionLost as error:
            self.connection.fail(error)
            raise
        # A call is booked before its reply can come, so an empty deque needs no lock.
        call = self._answered(sig) if self._calls else None
        try:
            if call is not None and call.on_reply is not None:
                call.on_reply(args)
            listener = self._callbacks.get(sig)
            if listener is not None:
                listener(*args)
        finally:
            if call is not None:
                call.result = args
                call.done = True

    def _answered(self, sig: Sig) -> Call | None:
        """The call that this method answers: the oldest, if it waits for it."""
        with self.inbox.lock:
            if self._calls and sig in self._calls[0].methods:
                return self._calls.popleft()
        return None

    # -- ending ------------------------------------------------------------------------------

    def close(self, timeout: float | None = None, *_: Any) -> None:
        """Close the channel and wait for the broker's CloseOk, `timeout` seconds at most.

        Never raises for a channel that is closed, or whose connection is gone.
        """
        allowed = self.connection.rpc_timeout if timeout is None else timeout
        deadline = time.monotonic() + allowed
        self.discard("it was closed by its owner")
        with self.inbox.lock:
            while not self._closed:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return
                self.inbox.wait(remaining)

    def discard(self, why: str) -> None:
        """Close the channel without waiting; the number is reused after the broker's CloseOk."""
        number = self.channel_id
        self._abandon(
            lambda: amqp.exceptions.RecoverableChannelError(
                f"channel {number} is closed: {why}; acquire another"
            )
        )

    def _poison(self, call: Call, allowed: float) -> None:
        number, names = self.channel_id, _names(call.methods)
        self._abandon(
            lambda: OperationTimeout(
                f"channel {number} is closed: its call for {names} got no reply within "
                f"{allowed:.2f} s; acquire another"
            )
        )

    def _abandon(self, error: Callable[[], Exception]) -> None:
        with self.inbox.lock:
            flush = self._begin_close(error)
        if flush:
            self.connection.flush_quietly()

    def _begin_close(self, error: Callable[[], Exception], text: str = "") -> bool:
        """End this channel and send Channel.Close. Needs the channel lock; True: flush."""
        if self.inbox.ended is not None:
            return False
        self._closing = True
        self.inbox.clear()
        self.inbox.end(error)
        return self._answer(spec.Channel.Close, dumps("BsBB", (200, text, 0, 0)))

    def _answer(self, sig: Sig, args: bytes = b"") -> bool:
        """Append a frame that needs no living connection. Needs the channel lock; True: flush."""
        try:
            return self._outbox.push(method_frame(self.channel_id, sig, args))
        except ConnectionLost:
            return False  # the I/O thread is about to end every channel of this connection

    def collect(self) -> None:
        """py-amqp's clean-up sets the id to None and the connection too; nothing to do here."""

    # -- the I/O thread ----------------------------------------------------------------------

    def receive(self, events: list[Event]) -> None:
        """Sort events of one read into inbox, confirms and state. Raises FrameError."""
        flush = gone = False
        settled: Callable[[Any], None] | None = None
        inbox = self.inbox
        with inbox.lock:
            for event in events:
                sig = event.sig
                if sig in _PLAIN and not (self._closing or gone):
                    if not inbox.put(event):
                        flush |= self._overflow()
                elif sig in (spec.Basic.Ack, spec.Basic.Nack):
                    self._confirmed(event)
                elif sig == spec.Channel.Close:
                    flush |= self._closed_by_broker(event)
                    gone |= not self._closing
                elif self._closing or gone:
                    # Spec: after Close all but Close and CloseOk is discarded. What was published
                    # is still settled: an ack without its return would say that it was routed.
                    gone |= sig == spec.Channel.CloseOk
                    if sig == spec.Basic.Return and self._confirming:
                        self._came_back(event)
                elif sig == spec.Channel.Flow:
                    self.active = bool(decode_args("b", event)[0])
                    flush |= self._answer(spec.Channel.FlowOk, event.args[4:5])
                elif sig == spec.Basic.Return and self._confirming and self._came_back(event):
                    if self.events.get("basic_return"):
                        flush |= self._keep(event)
                elif sig == TOO_LARGE or sig in self._METHODS:
                    flush |= self._keep(event)
                else:
                    raise _unknown(event)
            if gone:
                self._closed = True
                self._book.end()
            if self._on_settled is not None and not self._book.open:
                settled, self._on_settled = self._on_settled, None
            inbox.wake()
        if gone:
            self.connection.forget(self)
        if flush:
            self.connection.flush_quietly()
        if settled is not None:
            settled(self)

    def connection_lost(self) -> None:
        """The connection is gone: everybody who waits here wakes with an error of their own."""
        with self.inbox.lock:
            self.inbox.end(self.connection.lost)
            self._closed = True
            self._book.end()
            self._on_settled = None

    def _confirmed(self, event: Event) -> None:
        tag, multiple, *_ = decode_args("Lb", event)
        ack = event.sig == spec.Basic.Ack
        self._book.resolve(tag, multiple, "ack" if ack else "nack")
        if self.events.get("basic_ack" if ack else "basic_nack") and not self._closing:
            self._keep(event)

    def _came_back(self, event: Event) -> bool:
        code, text, exchange, routing_key = decode_args("Bsss", event)
        message = decode_message(event)
        return self._book.returned(
            return_key(exchange, routing_key, message.properties, message.body),
            lambda: ReturnedMessage(code, text, exchange, routing_key, message),
        )

    def _keep(self, event: Event) -> bool:
        """Into the inbox, or, when it is full, the end of this channel. True: flush."""
        if event.sig != TOO_LARGE and self.inbox.put(event):
            return False
        return self._overflow()

    def _overflow(self) -> bool:
        """What came does not fit into the inbox: the end of this channel. True: flush."""
        number, limit = self.channel_id, self.connection.inbox_bytes
        return self._begin_close(
            lambda: InboxOverflow(
                f"channel {number} is closed: its inbox would hold more than {limit} bytes; "
                "drain it more often, use a smaller prefetch, or raise inbox_bytes"
            ),
            "the consumer's inbox is full",
        )

    def _closed_by_broker(self, event: Event) -> bool:
        """Answer Channel.Close; the owner gets the error at its next call. True: flush."""
        code, text, class_id, method_id = decode_args("BsBB", event)
        self.inbox.end(
            lambda: error_for_code(code, text, (class_id, method_id), amqp.exceptions.ChannelError)
        )
        return self._answer(spec.Channel.CloseOk)


def _methods(wait: Sig | list[Sig]) -> tuple[Sig, ...]:
    return tuple(wait) if isinstance(wait, list) else (wait,)


def _names(methods: tuple[Sig, ...]) -> str:
    return " or ".join(amqp.exceptions.METHOD_NAME_MAP.get(sig, str(sig)) for sig in methods)


def _decode_text(message: Any) -> None:
    """A body with a content_encoding becomes text, as in py-amqp; one that cannot stays bytes."""
    encoding = message.properties.get("content_encoding")
    if encoding is not None:
        try:
            message.body = message.body.decode(encoding)
        except (UnicodeError, LookupError):
            pass  # binary, or compressed (gzip): the application knows


def _unknown(event: Event) -> Exception:
    return FrameError(
        f"the peer broke the protocol: unknown method {event.sig}", event.sig, reply_code=540
    )
