"""SharedChannel: an `amqp.Channel` that many connections' threads can live with.

It exists because of what py-amqp does with a shared connection: `channel.wait()` drains the whole
connection, so whoever waits dispatches everybody's frames, and a broker error is raised in
whichever thread happened to drain. Here each channel has an inbox of its own (inbox.py). A caller
dispatches its own channel's events in its own thread; the I/O thread touches a channel only to put
events in, to settle confirms and to answer Channel.Close.

Replies are matched to calls in the order of the calls: a nested call from within a callback cannot
take the reply of the call around it. A call whose reply does not come poisons its channel, since
the late reply could be taken for another's. An ended channel stays ended: it is not reopened under
the caller's feet, and each use of it raises a new error.

Locks: the channel lock (`inbox.cond`) guards state, calls and confirms; see inbox.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import amqp
from amqp import spec
from amqp.exceptions import MessageNacked, error_for_code
from amqp.protocol import queue_declare_ok_t
from amqp.serialization import dumps

from .confirms import MAX_OUTSTANDING, Confirmation, ConfirmBook, ReturnedMessage, ReturnKey
from .decode import decode_args, decode_message
from .errors import (
    ConnectionLost,
    DrainTimeout,
    FrameError,
    InboxOverflow,
    LeaseEnded,
    OperationTimeout,
    PublishTimeout,
)
from .frames import (
    Sig,
    body_bytes,
    encode_properties,
    method_frame,
    publish_frames,
    publish_method,
)
from .inbox import Call, DeadlinePassed, Inbox
from .parser import TOO_LARGE, Event

if TYPE_CHECKING:
    from .connection import SharedConnection

#: How a returned channel stands: lend it again, lend it once its confirms are in, close it, it is
#: closed already.
CLEAN: Final = "clean"
SETTLING: Final = "settling"
DIRTY: Final = "dirty"
DEAD: Final = "dead"


class SharedChannel(amqp.Channel):  # type: ignore[misc]
    """One channel of a `SharedConnection`; made by its `channel()`.

    It belongs to one lease. Several threads may publish on it; one at a time should wait on it.
    """

    connection: SharedConnection

    def __init__(
        self,
        connection: SharedConnection,
        channel_id: int | None = None,
        auto_decode: bool = True,
        on_open: Callable[..., object] | None = None,
    ) -> None:
        # Made first: the I/O thread can reach the channel as soon as the base class registers it.
        self._inbox = Inbox(connection.inbox_bytes)
        self._outbox = connection.outbox
        self._calls: deque[Call] = deque()
        self._book = ConfirmBook()
        self._confirming = False
        self._closing = False
        self._closed = False
        self._on_settled: Callable[[SharedChannel], None] | None = None
        # What keeps a channel from being lent again; `_spoiled` says why for good.
        self._spoiled: str | None = None
        self._unacked: dict[int, None] = {}
        self._prefetch_set = False
        super().__init__(connection, channel_id, auto_decode, on_open)

    def __repr__(self) -> str:
        state = "open"
        if self._inbox.ended is not None:
            state = "ended"
        elif self._inbox.parked:
            state = "idle"
        return (
            f"<SharedChannel {self.channel_id} of generation {self.connection.generation}: {state},"
            f" {len(self._inbox)} in the inbox, {len(self._book)} unconfirmed,"
            f" {len(self._unacked)} unacked>"
        )

    @property
    def usable(self) -> bool:
        """Whether the channel is open, as far as is known without a round trip."""
        return self._inbox.ended is None

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
        with self._inbox.cond:
            self._check()
            flush = self._outbox.push(frame)
            if call is not None:
                self._calls.append(call)
        if flush:
            self._outbox.flush()

    def _check(self) -> None:
        """Raise when the channel may not be used. Needs the channel lock."""
        if self._inbox.ended is not None:
            raise self._inbox.ended()
        if self._inbox.parked:
            raise LeaseEnded(f"channel {self.channel_id} was released; acquire another")

    def basic_publish(
        self,
        msg: Any,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        immediate: bool = False,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        argsig: str = "Bssbb",
    ) -> Confirmation | None:
        """Publish a message; in confirm mode returns its `Confirmation`, else None.

        "Returned" promises: the bytes are with the kernel, or with a thread that is sending at
        this moment. At most `max_outbox_bytes` are on that way (or half of it and one message
        larger than that), and the end of a lease, `flush()`, `close()` and the interpreter's exit
        wait for them. It does not say that the broker holds the message; only a confirm does.

        `timeout` in seconds (None: the publish_timeout) bounds the wait for room when the broker
        reads too slowly or blocks publishers. Raises PublishTimeout, ConnectionLost, the channel's
        own error, LeaseEnded, and ValueError for a message that cannot be encoded; then nothing
        was appended (after ConnectionLost the message may have been sent).
        """
        body = body_bytes(msg)
        method = publish_method(exchange, routing_key, bool(mandatory), bool(immediate))
        properties = encode_properties(msg.properties)
        data = publish_frames(
            self.channel_id, method, properties, body, self.connection.frame_max
        )
        inbox, outbox, book = self._inbox, self._outbox, self._book
        allowed = self.connection.publish_timeout if timeout is None else timeout
        deadline = 0.0
        while True:
            confirmation = None
            with inbox.cond:
                self._check()
                held = not self.active or len(book) >= MAX_OUTSTANDING
                flush = None if held else outbox.admit(data)
                if flush is not None:
                    # Under the same lock as the append: the order of tags is that of the wire.
                    if self._confirming:
                        confirmation = Confirmation(
                            book.last_tag + 1, inbox, self.connection.rpc_timeout
                        )
                        book.add(
                            confirmation,
                            _return_key(exchange, routing_key, msg.properties, body)
                            if mandatory
                            else None,
                        )
                    elif mandatory:
                        self._spoiled = "a mandatory message may still come back"
                    break
                deadline = deadline or time.monotonic() + allowed
                if held:
                    self._wait_held(deadline, allowed)
                    continue
            outbox.wait_room(len(data), deadline, allowed)
        if flush:
            outbox.flush()
        return confirmation

    def _wait_held(self, deadline: float, allowed: float) -> None:
        """Wait for channel.flow or for confirms to come in. Needs the channel lock."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            why = (
                f"{len(self._book)} messages are unconfirmed"
                if self.active
                else "the broker paused it (channel.flow)"
            )
            raise PublishTimeout(
                f"channel {self.channel_id} could not publish for {allowed:.2f} s: {why}"
            )
        self._inbox.wait(remaining)

    def basic_publish_confirm(self, *args: Any, **kwargs: Any) -> Confirmation:
        """Publish and wait for this message's own confirm (py-amqp takes any ack).

        Raises MessageNacked, OperationTimeout after `confirm_timeout` (seconds, else the
        rpc_timeout), and what `basic_publish` raises.
        """
        confirm_timeout = kwargs.pop("confirm_timeout", None)
        self.confirm_select()
        confirmation = self.basic_publish(*args, **kwargs)
        assert confirmation is not None
        if not confirmation.wait(confirm_timeout):
            raise MessageNacked(f"the broker refused message {confirmation.tag} (basic.nack)")
        return confirmation

    def confirm_select(self, nowait: bool = False) -> None:
        """Put the channel into confirm mode; does nothing when it is."""
        call = None if nowait else Call((spec.Confirm.SelectOk,))
        with self._inbox.cond:
            self._check()
            if self._confirming:
                return
            flush = self._outbox.push(
                method_frame(self.channel_id, spec.Confirm.Select, dumps("b", [nowait]))
            )
            # From here on the broker counts: the next publish on the wire has tag 1.
            self._confirming = True
            if not self.connection.confirms:
                self._spoiled = "it is in confirm mode"
            if call is not None:
                self._calls.append(call)
        if flush:
            self._outbox.flush()
        if call is not None:
            self._reply(call, None, False)

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
        with self._inbox.cond:
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
            event = self._inbox.take(call, deadline)
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
            self._inbox.dispatched()
        return True

    def drain_events(self, timeout: float | None = None) -> None:
        """Dispatch the next event of this channel in this thread.

        `timeout` in seconds: 0 takes only what is here, None means the rpc_timeout. Raises
        DrainTimeout when nothing came, and the channel's own error when it has ended.
        """
        allowed = self.connection.rpc_timeout if timeout is None else timeout
        if not self._drain(time.monotonic() + allowed):
            raise DrainTimeout(
                f"nothing came in for channel {self.channel_id} within {allowed:.2f} s"
            )

    def _drain(self, deadline: float) -> bool:
        """Dispatch one event; False at the deadline (monotonic seconds)."""
        try:
            event = self._inbox.take(None, deadline)
        except DeadlinePassed:
            return False
        assert event is not None
        try:
            self._dispatch(event)
        finally:
            self._inbox.dispatched()
        return True

    # -- dispatching, in a caller's thread ---------------------------------------------------

    def _dispatch(self, event: Event) -> None:
        sig = event.sig
        method = self._METHODS[sig]
        try:
            args = decode_args(method.args, event) if method.args else []
            if method.content:
                message = decode_message(event)
                if self.auto_decode:
                    _decode_text(message)
                args.append(message)
        except ConnectionLost as error:
            self.connection.fail(error)
            raise
        call = self._answered(sig)
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
        with self._inbox.cond:
            if self._calls and sig in self._calls[0].methods:
                return self._calls.popleft()
        return None

    def _on_basic_deliver(
        self,
        consumer_tag: str,
        delivery_tag: int,
        redelivered: bool,
        exchange: str,
        routing_key: str,
        msg: Any,
    ) -> None:
        no_ack = consumer_tag in self.no_ack_consumers
        if not no_ack:
            self._unacked[delivery_tag] = None
        if self.callbacks.get(consumer_tag) is None and no_ack:
            # py-amqp rejects it; on a consumer without acks that costs the channel (406).
            return
        super()._on_basic_deliver(
            consumer_tag, delivery_tag, redelivered, exchange, routing_key, msg
        )

    # -- methods of py-amqp that need care ---------------------------------------------------

    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,
        arguments: Any = None,
        argsig: str = "BsbbbbbF",
    ) -> Any:
        """Declare a queue; see `amqp.Channel.queue_declare`."""
        args = (0, queue, passive, durable, exclusive, auto_delete, nowait, arguments)
        wait = None if nowait else spec.Queue.DeclareOk
        reply = self.send_method(spec.Queue.Declare, argsig, args, wait=wait, returns_tuple=True)
        return None if nowait else queue_declare_ok_t(*reply)

    def basic_consume(
        self,
        queue: str = "",
        consumer_tag: str = "",
        no_local: bool = False,
        no_ack: bool = False,
        exclusive: bool = False,
        nowait: bool = False,
        callback: Callable[[Any], object] | None = None,
        arguments: Any = None,
        on_cancel: Callable[[str], object] | None = None,
        argsig: str = "BssbbbbF",
    ) -> str:
        """Start a consumer; see `amqp.Channel.basic_consume`.

        The first consumer with acks on a channel without a qos of its own gets the pool's
        prefetch: without one a broker sends the whole queue, and the inbox is bounded.
        """
        if callback is None:
            raise ValueError("a consumer needs a callback")
        if nowait and not consumer_tag:
            raise ValueError("a consumer tag must be given with nowait")
        if not no_ack and not self._prefetch_set and self.connection.prefetch:
            self._prefetch_set = True
            super().basic_qos(0, self.connection.prefetch, False)

        def register(args: list[Any]) -> None:
            tag = args[0]
            if no_ack:
                self.no_ack_consumers.add(tag)
            if on_cancel is not None:
                self.cancel_callbacks[tag] = on_cancel
            self.callbacks[tag] = callback

        args = (0, queue, consumer_tag, no_local, no_ack, exclusive, nowait, arguments)
        frame = method_frame(self.channel_id, spec.Basic.Consume, dumps(argsig, args))
        if nowait:
            register([consumer_tag])
            self._send(frame)
            return consumer_tag
        # Registered when the reply is dispatched, so before any delivery can be.
        call = Call((spec.Basic.ConsumeOk,), register)
        self._send(frame, call)
        return str(self._reply(call, None, False))

    def basic_cancel(self, consumer_tag: str, nowait: bool = False, argsig: str = "sb") -> Any:
        """End a consumer. Deliveries on their way are still dispatched before this returns."""
        if nowait:
            self._spoiled = "deliveries of a cancelled consumer may still come"
        wait = None if nowait else spec.Basic.CancelOk
        return self.send_method(spec.Basic.Cancel, argsig, (consumer_tag, nowait), wait=wait)

    def basic_qos(
        self, prefetch_size: int, prefetch_count: int, a_global: bool, argsig: str = "lBb"
    ) -> Any:
        """Set the prefetch; the channel is then not lent to another."""
        self._prefetch_set = True
        self._spoiled = "its qos was changed"
        return super().basic_qos(prefetch_size, prefetch_count, a_global, argsig)

    def basic_get(self, queue: str = "", no_ack: bool = False, argsig: str = "Bsb") -> Any:
        """One message from a queue, or None; see `amqp.Channel.basic_get`."""
        message = super().basic_get(queue, no_ack, argsig)
        if message is not None and not no_ack:
            self._unacked[message.delivery_tag] = None
        return message

    def basic_ack(self, delivery_tag: int, multiple: bool = False, argsig: str = "Lb") -> Any:
        """Acknowledge one delivery, or all up to it."""
        self._settle(delivery_tag, multiple)
        return super().basic_ack(delivery_tag, multiple, argsig)

    def basic_nack(
        self, delivery_tag: int, multiple: bool = False, requeue: bool = True
    ) -> None:
        """Refuse one delivery, or all up to it (RabbitMQ's basic.nack; py-amqp has none)."""
        self._settle(delivery_tag, multiple)
        self.send_method(spec.Basic.Nack, "Lbb", (delivery_tag, multiple, requeue))

    def basic_reject(self, delivery_tag: int, requeue: bool, argsig: str = "Lb") -> Any:
        """Refuse one delivery."""
        self._settle(delivery_tag, False)
        return super().basic_reject(delivery_tag, requeue, argsig)

    def basic_recover(self, requeue: bool = False) -> Any:
        """Ask for all unacked deliveries again."""
        self._spoiled = "it was told to recover deliveries"
        return super().basic_recover(requeue)

    def basic_recover_async(self, requeue: bool = False) -> Any:
        """Ask for all unacked deliveries again (deprecated in AMQP)."""
        self._spoiled = "it was told to recover deliveries"
        return super().basic_recover_async(requeue)

    def tx_select(self) -> Any:
        """Make the channel transactional; it is then not lent to another."""
        self._spoiled = "it is transactional"
        return super().tx_select()

    def flow(self, active: bool) -> Any:
        """Pause or resume the broker's deliveries; the channel is then not lent to another."""
        self._spoiled = "its flow was changed"
        return super().flow(active)

    def _settle(self, delivery_tag: int, multiple: bool) -> None:
        if not multiple:
            self._unacked.pop(delivery_tag, None)
            return
        for tag in list(self._unacked):
            if tag <= delivery_tag or not delivery_tag:
                self._unacked.pop(tag, None)

    # -- ending ------------------------------------------------------------------------------

    def close(self, timeout: float | None = None, *_: Any) -> None:
        """Close the channel and wait for the broker's CloseOk, `timeout` seconds at most.

        Never raises for a channel that is closed, or whose connection is gone.
        """
        allowed = self.connection.rpc_timeout if timeout is None else timeout
        deadline = time.monotonic() + allowed
        self.discard("it was closed by its owner")
        with self._inbox.cond:
            while not self._closed:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return
                self._inbox.wait(remaining)

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
        with self._inbox.cond:
            flush = self._begin_close(error)
        if flush:
            self.connection.flush_quietly()

    def _begin_close(self, error: Callable[[], Exception], text: str = "") -> bool:
        """End this channel and send Channel.Close. Needs the channel lock; True: flush."""
        if self._inbox.ended is not None:
            return False
        self._closing = True
        self._inbox.clear()
        self._inbox.end(error)
        return self._answer(spec.Channel.Close, dumps("BsBB", (200, text, 0, 0)))

    def _answer(self, sig: Sig, args: bytes = b"") -> bool:
        """Append a frame that needs no living connection. Needs the channel lock; True: flush."""
        try:
            return self._outbox.push(method_frame(self.channel_id, sig, args))
        except ConnectionLost:
            return False  # the I/O thread is about to end every channel of this connection

    def collect(self) -> None:
        """py-amqp's clean-up sets the id to None and the connection too; nothing to do here."""

    # -- in the hands of the pool ------------------------------------------------------------

    def park(self, on_settled: Callable[[SharedChannel], None]) -> str:
        """Take the channel out of its lease's hands: CLEAN, SETTLING, DIRTY or DEAD.

        SETTLING: confirms are outstanding; `on_settled` is called, by the I/O thread and without
        any lock, when the last one is in (or the channel ended). DIRTY: Channel.Close was sent.
        """
        with self._inbox.cond:
            if self._inbox.ended is not None:
                return DEAD
            why = self._dirt()
            if why is None:
                self._inbox.parked = True
                self._inbox.wake()
                self.events.clear()
                self.auto_decode = True
                if not len(self._book):
                    return CLEAN
                self._on_settled = on_settled
                return SETTLING
        self.discard(f"it was released while {why}")
        return DIRTY

    def unpark(self) -> bool:
        """Give the channel into a lease's hands; False when it has ended meanwhile."""
        with self._inbox.cond:
            self._inbox.parked = False
            return self._inbox.ended is None

    def _dirt(self) -> str | None:
        """What of its last owner a next one could meet. Needs the channel lock."""
        if self._spoiled is not None:
            return self._spoiled
        if self.callbacks:
            return f"it has {len(self.callbacks)} consumers"
        if self._unacked:
            return f"{len(self._unacked)} deliveries are not acknowledged"
        if self._calls:
            return "a call on it has no reply yet"
        if len(self._inbox):
            return f"{len(self._inbox)} events are in its inbox"
        if not self.active:
            return "the broker paused it"
        return None

    # -- the I/O thread ----------------------------------------------------------------------

    def receive(self, events: list[Event]) -> None:
        """Sort events of one read into inbox, confirms and state. Raises FrameError."""
        flush = gone = False
        settled: Callable[[SharedChannel], None] | None = None
        with self._inbox.cond:
            for event in events:
                sig = event.sig
                if sig in (spec.Basic.Ack, spec.Basic.Nack):
                    self._confirmed(event)
                elif sig == spec.Channel.Close:
                    flush |= self._closed_by_broker(event)
                    gone |= not self._closing
                elif self._closing or gone:
                    # Spec: after Close all but Close and CloseOk is discarded.
                    gone |= sig == spec.Channel.CloseOk
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
            if self._on_settled is not None and not len(self._book):
                settled, self._on_settled = self._on_settled, None
            self._inbox.wake()
        if gone:
            self.connection.forget(self)
        if flush:
            self.connection.flush_quietly()
        if settled is not None:
            settled(self)

    def connection_lost(self) -> None:
        """The connection is gone: everybody who waits here wakes with an error of their own."""
        with self._inbox.cond:
            self._inbox.end(self.connection.lost)
            self._closed = True
            self._book.end()
            self._on_settled = None
            self._inbox.wake()

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
            _return_key(exchange, routing_key, message.properties, message.body),
            lambda: ReturnedMessage(code, text, exchange, routing_key, message),
        )

    def _keep(self, event: Event) -> bool:
        """Into the inbox, or, when it is full, the end of this channel. True: flush."""
        if event.sig != TOO_LARGE and self._inbox.put(event):
            return False
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
        self._inbox.end(
            lambda: error_for_code(
                code, text, (class_id, method_id), amqp.exceptions.ChannelError
            )
        )
        return self._answer(spec.Channel.CloseOk)


def _methods(wait: Sig | list[Sig]) -> tuple[Sig, ...]:
    return tuple(wait) if isinstance(wait, list) else (wait,)


def _names(methods: tuple[Sig, ...]) -> str:
    return " or ".join(amqp.exceptions.METHOD_NAME_MAP.get(sig, str(sig)) for sig in methods)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else str(value)


def _return_key(
    exchange: str, routing_key: str, properties: dict[str, Any], body: bytes
) -> ReturnKey:
    return (
        exchange,
        routing_key,
        _text(properties.get("message_id")),
        _text(properties.get("correlation_id")),
        body,
    )


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
