"""SharedChannel: an `amqp.Channel` for one lease of a shared connection.

It owns what py-amqp's users call: publishing with confirmations, consuming, acknowledging; and the
account of what a lease left behind, which decides whether the channel may be lent again. How a
channel sends, waits and ends is in core.py. All of py-amqp's methods are there; those that would
be wrong on a shared connection, or on a channel that is lent again, are replaced here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from amqp import spec
from amqp.exceptions import MessageNacked
from amqp.protocol import queue_declare_ok_t
from amqp.serialization import dumps

from .confirms import MAX_OUTSTANDING, Confirmation, return_key
from .core import ChannelCore
from .errors import PublishTimeout
from .frames import (
    Sig,
    ack_frame,
    body_bytes,
    encode_properties,
    method_frame,
    publish_frames,
    publish_method,
)
from .inbox import Call

#: How a returned channel stands: lend it again, lend it once its confirms are in, close it, it is
#: closed already.
CLEAN: Final = "clean"
SETTLING: Final = "settling"
DIRTY: Final = "dirty"
DEAD: Final = "dead"


class SharedChannel(ChannelCore):
    """One channel of a `SharedConnection`; made by its `channel()`.

    It belongs to one lease. Several threads may publish on it; one at a time should wait on it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # What keeps a channel from being lent again; `_spoiled` says why for good.
        self._spoiled: str | None = None
        # In the order in which they were dispatched, which is that of their tags.
        self._unacked: dict[int, None] = {}
        # Deliveries and gets so far, and the tag of the latest: as many, if none was overlooked.
        self._booked = 0
        self._latest = 0
        # Tag and frame of the acknowledgement sent last, while it may be sent with the next one.
        self._last_ack: tuple[int, bytes] | None = None
        self._prefetch_set = False
        # The calls that open it, until they are answered.
        self._opening: list[Call] = []
        # How far the outbox must have sent for this channel's messages to be with the kernel.
        self._mark = 0
        super().__init__(*args, **kwargs)
        # When it is dispatched, as a delivery: the caller of `basic_get` may be late.
        self._callbacks[spec.Basic.GetOk] = self._fetched

    def __repr__(self) -> str:
        state = "open"
        if self.inbox.ended is not None:
            state = "ended"
        elif self.inbox.parked:
            state = "idle"
        return (
            f"<SharedChannel {self.channel_id} of generation {self.connection.generation}: {state},"
            f" {len(self.inbox)} in the inbox, {len(self._book)} unconfirmed,"
            f" {len(self._unacked)} unacked>"
        )

    def begin_open(self) -> bool:
        """Append what opens the channel, and selects confirms if its connection has them.

        One round trip for both. True: the caller must flush. Raises ConnectionLost.
        """
        frames = method_frame(self.channel_id, spec.Channel.Open, b"\0")
        calls = [Call((spec.Channel.OpenOk,))]
        if self.connection.confirms:
            frames += method_frame(self.channel_id, spec.Confirm.Select, b"\0")
            calls.append(Call((spec.Confirm.SelectOk,)))
        with self.inbox.lock:
            self._check()
            flush = self._outbox.push(frames)
            self._calls.extend(calls)
            self._opening = calls
            self._confirming = self.connection.confirms
        return flush

    def open_within(self, deadline: float) -> None:
        """Open the channel, unless that was begun, and wait for the broker's answers.

        `deadline` in monotonic seconds. Raises OperationTimeout, ConnectionLost, and the broker's
        own error.
        """
        if not self._opening and self.begin_open():
            self._outbox.flush(patient=True)
        for call in self._opening:
            self._reply(call, max(0.0, deadline - time.monotonic()), False)
        self._opening = []

    def flush(self, timeout: float) -> bool:
        """Wait until what was published here is with the kernel; False after `timeout` seconds."""
        outbox, mark = self._outbox, self._mark
        return outbox.is_sent(mark) or outbox.wait_sent(mark, time.monotonic() + timeout)

    # -- publishing --------------------------------------------------------------------------

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
        this moment (in a burst: with the I/O thread, which was woken and sends at its next turn).
        At most `max_outbox_bytes` are on that way (or half of it and one message larger than
        that), and the end of a lease, `flush()`, `close()` and the interpreter's exit
        wait for them. It does not say that the broker holds the message; only a confirm does.

        `timeout` in seconds (None: the publish_timeout) bounds the wait for room when the broker
        reads too slowly or blocks publishers. Raises PublishTimeout, ConnectionLost, the channel's
        own error, LeaseEnded, and ValueError for a message that cannot be encoded; then nothing
        was appended (after ConnectionLost the message may have been sent).
        """
        body = body_bytes(msg)
        connection, inbox, outbox, book = self.connection, self.inbox, self._outbox, self._book
        method = publish_method(exchange, routing_key, bool(mandatory), bool(immediate))
        properties = encode_properties(msg.properties)
        data = publish_frames(self.channel_id, method, properties, body, connection.frame_max)
        allowed = connection.publish_timeout if timeout is None else timeout
        deadline = 0.0
        while True:
            confirmation = None
            with inbox.lock:
                self._check()
                held = not self.active or len(book.open) >= MAX_OUTSTANDING
                flush = None if held else outbox.admit(data)
                if flush is not None:
                    # Under the same lock as the append: the order of tags is that of the wire.
                    if self._confirming:
                        confirmation = Confirmation(
                            book.last_tag + 1, inbox, connection.rpc_timeout
                        )
                        book.add(
                            confirmation,
                            return_key(exchange, routing_key, msg.properties, body)
                            if mandatory
                            else None,
                        )
                    elif mandatory:
                        self._spoiled = "a mandatory message may still come back"
                    self._mark = outbox.mark
                    break
                deadline = deadline or time.monotonic() + allowed
                if held:
                    self._wait_held(deadline, allowed)
                    continue
            outbox.wait_room(len(data), deadline, allowed)
        if flush:
            outbox.flush(short=confirmation is None, patient=True)
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
        self.inbox.wait(remaining)

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
        with self.inbox.lock:
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
            self._outbox.flush(patient=True)
        if call is not None:
            self._reply(call, None, False)

    # -- consuming and the rest of py-amqp -----------------------------------------------------

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
        if message is not None and no_ack:
            self._unacked.pop(message.delivery_tag, None)
        return message

    def _fetched(self, delivery_tag: int, *_: Any) -> None:
        self._book_delivery(delivery_tag, no_ack=False)

    def _book_delivery(self, delivery_tag: int, *, no_ack: bool) -> None:
        self._booked += 1
        self._latest = delivery_tag
        if not no_ack:
            self._unacked[delivery_tag] = None

    def basic_ack(self, delivery_tag: int, multiple: bool = False, argsig: str = "Lb") -> None:
        """Acknowledge one delivery, or all up to it.

        Where the one before still waits to be sent, and no older delivery is unacknowledged, both
        go as one (`multiple`), which costs the broker half.
        """
        with self.inbox.lock:
            self._check()
            last, self._last_ack = self._last_ack, None
            if multiple or delivery_tag not in self._unacked:
                # Of a tag that is not known the broker is to hear, and to say so.
                self._settle(delivery_tag, multiple)
                flush = self._outbox.push(ack_frame(self.channel_id, delivery_tag, multiple))
            else:
                del self._unacked[delivery_tag]
                before = None
                if last is not None and last[0] < delivery_tag and self._is_oldest(delivery_tag):
                    before = last[1] if self._outbox.ends_with(last[1]) else None
                frame = ack_frame(self.channel_id, delivery_tag, before is not None)
                self._last_ack = (delivery_tag, frame)
                flush = self._outbox.push_ack(frame, before, bool(self.inbox.events))
        if flush:
            self._outbox.flush(short=True, patient=True)

    def basic_nack(self, delivery_tag: int, multiple: bool = False, requeue: bool = True) -> None:
        """Refuse one delivery, or all up to it (RabbitMQ's basic.nack; py-amqp has none)."""
        self._refuse(delivery_tag, multiple, spec.Basic.Nack, "Lbb", (multiple, requeue))

    def basic_reject(self, delivery_tag: int, requeue: bool, argsig: str = "Lb") -> None:
        """Refuse one delivery."""
        self._refuse(delivery_tag, False, spec.Basic.Reject, argsig, (requeue,))

    def _refuse(
        self, delivery_tag: int, multiple: bool, sig: Sig, kinds: str, more: tuple[bool, ...]
    ) -> None:
        frame = method_frame(self.channel_id, sig, dumps(kinds, (delivery_tag, *more)))
        with self.inbox.lock:
            self._check()
            self._settle(delivery_tag, multiple)
            flush = self._outbox.push(frame)
        if flush:
            self._outbox.flush(short=True, patient=True)

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

    def _is_oldest(self, delivery_tag: int) -> bool:
        """Whether nothing older is unacknowledged. Needs the channel lock.

        What is settled is booked and sent in one step, so that no acknowledgement of another
        thread is on its way that a `multiple` one would be ahead of. The broker counts its
        deliveries (specification, section 1.8.3.13): when fewer were booked here, one was lost on
        the way to the application, and is to come again when the channel ends.
        """
        if self._booked != self._latest:
            return False
        try:
            return next(iter(self._unacked), delivery_tag) >= delivery_tag
        except RuntimeError:
            return False  # a delivery is just being dispatched

    def _settle(self, delivery_tag: int, multiple: bool) -> None:
        """Book it. Needs the channel lock."""
        if not multiple:
            self._unacked.pop(delivery_tag, None)
            return
        for tag in list(self._unacked):
            if tag <= delivery_tag or not delivery_tag:
                self._unacked.pop(tag, None)

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
        self._book_delivery(delivery_tag, no_ack=no_ack)
        callback = self.callbacks.get(consumer_tag)
        if callback is not None:
            # As py-amqp does it.
            msg.channel = self
            msg.delivery_info = {
                "consumer_tag": consumer_tag,
                "delivery_tag": delivery_tag,
                "redelivered": redelivered,
                "exchange": exchange,
                "routing_key": routing_key,
            }
            callback(msg)
        elif not no_ack:
            super()._on_basic_deliver(
                consumer_tag, delivery_tag, redelivered, exchange, routing_key, msg
            )
        # Else py-amqp rejects it; on a consumer without acks that costs the channel (406).

    # -- in the hands of the pool ------------------------------------------------------------

    def park(self, settling: dict[SharedChannel, float], on_settled: Callable[[Any], None]) -> str:
        """Take the channel out of its lease's hands: CLEAN, SETTLING, DIRTY or DEAD.

        SETTLING: confirms are outstanding. It is noted in `settling`, with the monotonic time in
        seconds; `on_settled` is called, by the I/O thread and without any lock, when the last one
        is in (or the channel ended). DIRTY: Channel.Close was sent.
        """
        with self.inbox.lock:
            if self.inbox.ended is not None:
                return DEAD
            why = self._dirt()
            if why is None:
                self.inbox.parked = True
                self.inbox.wake()
                self.events.clear()
                self.auto_decode = True
                if not self._book.open:
                    return CLEAN
                # First the note: its last confirm may come as soon as the lock is free.
                settling[self] = time.monotonic()
                self._on_settled = on_settled
                return SETTLING
        self.discard(f"it was released while {why}")
        return DIRTY

    def unpark(self) -> bool:
        """Give the channel into a lease's hands; False when it has ended meanwhile."""
        # Nobody else has a parked channel in hand, and its end may come at any time: no lock.
        self.inbox.parked = False
        return self.inbox.ended is None

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
        if self.inbox.events:
            return f"{len(self.inbox)} events are in its inbox"
        if not self.active:
            return "the broker paused it"
        return None
