"""One channel: assembling publishes, confirms, delivery tags and what is unacknowledged.

The frequent methods (publish, ack, nack, reject) are handled here from raw frames; the others
are decoded and handed to the table in ``methods``. A soft error closes this channel alone: its
unacknowledged messages go back, and everything that still comes in on it is ignored until the
client's close-ok. A channel can also be made to wait: then its frames are kept, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from pamqp import commands

from benchmarks.wire.frames import HEADER, METHOD, Frame

from . import codec, methods
from .codec import Message, PublishHead
from .errors import HardError, SoftError, not_found

if TYPE_CHECKING:
    from .queues import Consumer, Entry, Queue
    from .session import Session

PARKED = attrgetter("parked")
#: What a frame that is kept weighs beside its bytes: the objects around it, on CPython 3.11.
KEPT_WEIGHT = 200


class Unacked(NamedTuple):
    """A delivery that waits for its ack. ``consumer`` is None for an answer to basic.get."""

    entry: Entry
    queue: Queue
    consumer: Consumer | None


class Channel:
    """The broker's side of one channel."""

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.broker = session.broker
        self.number = number
        #: Most unacknowledged messages of each consumer made from now on; 0 is no limit.
        self.prefetch = 0
        #: The same for all consumers together.
        self.prefetch_all = 0
        #: What was fetched and not settled when that limit was set. As in RabbitMQ it stays counted
        #: against the limit for as long as there is one.
        self.fetched_before = 0
        self.consumers: dict[str, Consumer] = {}
        self.consumers_unacked = 0
        #: By delivery tag, ascending.
        self.unacked: dict[int, Unacked] = {}
        self.last_tag = 0
        #: What an empty queue name stands for.
        self.last_queue = ""
        self.confirms = False
        self.has_published = False
        #: The first publish whose confirm will never come, 0 for none: a ``multiple`` ack beyond
        #: it would be a lie.
        self.omitted = 0
        self._published = 0
        #: Where frames go instead: set while the channel is closing, and while it waits.
        self._aside: Callable[[int, bytes], None] | None = None
        #: What came in since the channel was made to wait. While there is any, nothing is
        #: delivered on it either.
        self.kept: list[Frame] = []
        self._has_waited = False
        self._head: PublishHead | None = None
        self._header = b""
        self._missing = 0
        self._parts: list[bytes] = []

    def __repr__(self) -> str:
        return f"<Channel {self.number} consumers={len(self.consumers)} un={len(self.unacked)}>"

    # -- input -----------------------------------------------------------------------------

    def on_frame(self, kind: int, raw: bytes) -> None:
        """Handle one frame. Raises HardError for what ends the connection."""
        session = self.session
        session.method = 0
        if self._aside is not None:
            self._aside(kind, raw)
            return
        try:
            if kind == METHOD:
                self._on_method(raw)
            elif self._head is None:
                raise HardError(505, "expected method frame, got non method frame instead")
            else:
                session.method = codec.PUBLISH
                if kind == HEADER:
                    self._on_header(raw[7:-1])
                else:
                    self._on_body(raw[7:-1])
        except SoftError as error:
            self.fail(error)

    def _on_method(self, raw: bytes) -> None:
        index = self.session.method = codec.method_index(raw)
        if self._head is not None:
            # What is wrong is the publish that stays without its content.
            self.session.method = codec.PUBLISH
            expected = "content body" if self._header else "content header for class 60"
            got = "content body" if self._header else "content header"
            raise HardError(505, f"expected {expected}, got non {got} frame instead")
        if index == codec.PUBLISH:
            self._head = codec.parse_publish(raw[11:])
            self._header = b""
        elif index == codec.ACK:
            tag, bits = codec.parse_tag(raw)
            self._settle(tag, multiple=bits & 1 == 1, requeue=False)
        elif index == codec.REJECT:
            tag, bits = codec.parse_tag(raw)
            self._settle(tag, multiple=False, requeue=bits & 1 == 1)
        elif index == codec.NACK:
            tag, bits = codec.parse_tag(raw)
            self._settle(tag, multiple=bits & 1 == 1, requeue=bits & 2 == 2)
        elif index != codec.DECLARE or not self._must_wait(raw):
            methods.handle(self, index, codec.decode(raw))

    def _on_header(self, payload: bytes) -> None:
        if self._header:
            raise HardError(505, "expected content body, got non content body frame instead")
        try:
            size = codec.parse_header(payload)
        except HardError as error:
            if error.code == 501:
                self.session.method = 0  # The frame says nothing, so it belongs to no method.
            raise
        limit = self.broker.settings.max_message_size
        if size > limit:
            raise SoftError(406, f"message size {size} is larger than configured max size {limit}")
        self._header = payload
        self._missing = size
        if not size:
            self._publish(b"")

    def _on_body(self, payload: bytes) -> None:
        if not self._header:
            raise HardError(
                505,
                "expected content header for class 60, got non content header frame instead",
            )
        self._missing -= len(payload)
        if self._missing < 0:
            raise HardError(505, "expected content body, got non content body frame instead")
        if self._missing:
            self._parts.append(payload)
            self.session.assembling += len(payload)
            # One message of the greatest size, not one on each of two thousand channels.
            if self.session.assembling > self.broker.settings.max_message_size:
                raise HardError(506, "too many bytes of unfinished messages")
        elif self._parts:
            self._parts.append(payload)
            body = b"".join(self._parts)
            self._parts.pop()
            self._drop_parts()
            self._publish(body)
        else:
            self._publish(payload)

    def _drop_parts(self) -> None:
        self.session.assembling -= sum(map(len, self._parts))
        self._parts = []

    def _on_frame_while_closing(self, kind: int, raw: bytes) -> None:
        if kind != METHOD:
            return
        index = codec.method_index(raw)
        if index == commands.Channel.CloseOk.index:
            self._requeue_all()
            del self.session.channels[self.number]
        elif index == commands.Channel.Open.index:
            # The number is taken until close-ok: a client that reuses it earlier is broken.
            self.session.method = index
            raise HardError(504, "second 'channel.open' seen")
        elif index == commands.Channel.Close.index:
            # Both sides closed at the same time: each answers the other.
            self.session.send(codec.bare(self.number, commands.Channel.CloseOk.index))

    # -- publishing ------------------------------------------------------------------------

    def _publish(self, body: bytes) -> None:
        head, session, broker = self._head, self.session, self.broker
        assert head is not None
        self._head = None
        if not self.has_published:
            self.has_published = True
            session.publishes()
        if head.immediate:
            raise HardError(540, "immediate=true")
        exchange = broker.exchanges.get(head.exchange)
        if exchange is None:
            raise not_found("exchange", head.exchange)
        if exchange.internal:
            raise SoftError(
                403, f"cannot publish to internal exchange '{exchange.name}' in vhost '/'"
            )
        self._check_properties()
        message = Message(head.exchange, head.routing_key, head.route, self._header, body)
        queues = broker.route(exchange, head.routing_key)
        confirming = session.confirming if self.confirms else None
        refused = False
        if queues:
            refused = confirming is not None and confirming.refuses()
            if not refused:
                broker.enqueue(message, queues)
        else:
            broker.counts["published"] += 1
            if head.mandatory:
                broker.counts["returned"] += 1
                session.send(codec.no_route(self.number, session.frame_max, message))
        if self.confirms:
            self._published += 1
            if confirming is None:
                self.confirm(self._published)
            else:
                confirming.settle(self, self._published, refused)

    def _check_properties(self) -> None:
        """RabbitMQ looks at two properties of a message, where they are set."""
        header = self._header
        if header[13] & 0x10:
            user = self.broker.settings.user
            given = codec.property_text(header, codec.USER_ID)
            if given != user:
                raise SoftError(
                    406, f"user_id property set to '{given}' but authenticated user was '{user}'"
                )
        if header[12] & 0x01:
            given = codec.property_text(header, codec.EXPIRATION)
            if not given.isdecimal():
                raise SoftError(406, f"invalid expiration '{given}': no_integer")

    def confirm(self, tag: int, count: int = 1) -> None:
        """Ack one publish, or with ``count`` all that are outstanding up to this one."""
        self.broker.counts["confirmed"] += count
        self.session.send(codec.confirm(self.number, tag, count > 1))

    def refuse(self, tag: int) -> None:
        """Nack one publish."""
        self.session.send(codec.refuse(self.number, tag))

    # -- delivering ------------------------------------------------------------------------

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Send one message to one consumer of this channel."""
        tag = self.last_tag = self.last_tag + 1
        if consumer.no_ack:
            self.broker.settle(entry)
        else:
            consumer.unacked += 1
            self.consumers_unacked += 1
            self.unacked[tag] = Unacked(entry, consumer.queue, consumer)
        session = self.session
        self.broker.counts["delivered"] += 1
        session.send(
            codec.deliver(
                self.number,
                session.frame_max,
                consumer.prefix,
                tag,
                entry.redelivered,
                entry.message,
            )
        )

    def hand_out(self, queue: Queue, entry: Entry, no_ack: bool) -> int:
        """Book one message as fetched by basic.get; returns its delivery tag."""
        tag = self.last_tag = self.last_tag + 1
        if no_ack:
            self.broker.settle(entry)
        else:
            self.unacked[tag] = Unacked(entry, queue, None)
        return tag

    def limit(self, count: int) -> None:
        """Set the limit for all consumers together, or take it away."""
        if not count:
            self.fetched_before = 0
        elif not self.prefetch_all:
            self.fetched_before = sum(item.consumer is None for item in self.unacked.values())
        self.prefetch_all = count
        self.unpark_consumers()

    @property
    def full(self) -> bool:
        """Whether no consumer may have one message more."""
        held = self.consumers_unacked + self.fetched_before
        return 0 < self.prefetch_all <= held

    def unpark_consumers(self) -> None:
        """Something changed that may make consumers of this channel ready."""
        # Who left a rotation first comes back into it first.
        for consumer in sorted(self.consumers.values(), key=PARKED):
            self.broker.unpark(consumer)

    # -- waiting ---------------------------------------------------------------------------

    def _must_wait(self, raw: bytes) -> bool:
        """Whether this declaration, and all that follows it on this channel, is put off."""
        slow = self.broker.slow_declare
        if slow is None or self.session.exempt or self._has_waited:
            self._has_waited = False
            return False
        self._aside = self._keep
        self._keep(METHOD, raw)
        slow.put(self)
        return True

    def _keep(self, kind: int, raw: bytes) -> None:
        self.kept.append(Frame(kind, self.number, raw))
        self.session.keep(len(raw) + KEPT_WEIGHT)

    def resume(self) -> None:
        """The wait is over: handle what came in meanwhile. Another declaration waits anew."""
        kept = self._stop_waiting()
        self._has_waited = True
        self.unpark_consumers()
        self.session.handle(kept)

    def _stop_waiting(self) -> list[Frame]:
        if self.broker.slow_declare is not None:
            self.broker.slow_declare.forget(self)
        kept, self.kept = self.kept, []
        self._aside = None
        self.session.keep(-sum(len(frame.raw) + KEPT_WEIGHT for frame in kept))
        return kept

    # -- acknowledgements ------------------------------------------------------------------

    def _settle(self, tag: int, *, multiple: bool, requeue: bool) -> None:
        """Take acknowledgements. Tag 0 with ``multiple`` stands for all there are."""
        unacked = self.unacked
        if tag in unacked:
            if multiple:
                tags = []
                for number in unacked:
                    if number > tag:
                        break
                    tags.append(number)
            else:
                tags = [tag]
        elif multiple and tag == 0:
            tags = list(unacked)
        else:
            raise SoftError(406, f"unknown delivery tag {tag}")
        if requeue:
            self.requeue(tags)
            return
        for number in tags:
            item = unacked.pop(number)
            self._settle_one(item, requeue=False)
            if item.consumer is not None:
                self.consumers_unacked -= 1
        if self.prefetch_all:
            self.unpark_consumers()

    def requeue(self, tags: list[int]) -> None:
        """Give back these deliveries.

        RabbitMQ does it by queue and consumer tag, in their order (what was fetched comes first),
        and delivers again what one consumer had before it takes back what the next one had. The
        channel's own limit is looked at last.
        """
        groups: dict[tuple[str, str], list[Unacked]] = {}
        for tag in tags:
            item = self.unacked.pop(tag)
            consumer = "" if item.consumer is None else item.consumer.tag
            groups.setdefault((item.queue.name, consumer), []).append(item)
        for group in sorted(groups):
            for item in groups[group]:
                self._settle_one(item, requeue=True)
            self.broker.serve(item.queue)
        self.consumers_unacked -= sum(
            len(items) for items in groups.values() if items[0].consumer is not None
        )
        if self.prefetch_all:
            self.unpark_consumers()

    def _settle_one(self, item: Unacked, requeue: bool) -> None:
        """Take one off the books, but for the channel's own count of what its consumers hold."""
        consumer = item.consumer
        if consumer is not None:
            consumer.unacked -= 1
            # With a limit of the channel all come back together, in the order in which they left.
            if consumer.parked and not self.prefetch_all:
                self.broker.unpark(consumer)
        if requeue:
            self.broker.requeue(item.queue, item.entry)
        else:
            self.broker.settle(item.entry)

    def _requeue_all(self, queues: Container[Queue] | None = None) -> None:
        """The channel ends: give back all that it holds, or what came out of these queues."""
        tags = [tag for tag, item in self.unacked.items() if queues is None or item.queue in queues]
        for item in [self.unacked.pop(tag) for tag in tags]:
            self._settle_one(item, requeue=True)
            if item.consumer is not None:
                self.consumers_unacked -= 1

    # -- consumers and the end -------------------------------------------------------------

    def remove_consumer(self, tag: str) -> None:
        """Cancel a consumer, if there is one; an auto-delete queue may go with it."""
        consumer = self.consumers.pop(tag, None)
        if consumer is not None:
            # It must not come back into the rotation when its messages are acknowledged.
            consumer.queue.remove_consumer(consumer)
            consumer.parked = 0
            self.broker.consumer_removed(consumer.queue)

    def withdraw(self, consumer: Consumer) -> None:
        """The broker itself ends a consumer: tell the client if it can be told.

        What the consumer holds unacknowledged stays so, as with a client's own cancel.
        """
        del self.consumers[consumer.tag]
        consumer.queue.remove_consumer(consumer)
        consumer.parked = 0
        if "consumer_cancel_notify" in self.session.capabilities:
            self.session.reply(
                self.number, commands.Basic.Cancel(consumer_tag=consumer.tag, nowait=True)
            )

    def release(self, queues: Container[Queue] | None = None) -> None:
        """The channel ends: consumers go first, so that none gets a message that comes back.

        Messages go back to all queues, or to these.
        """
        for tag in list(self.consumers):
            self.remove_consumer(tag)
        self._requeue_all(queues)
        self._drop_parts()
        if self.kept:
            self._stop_waiting()

    def close(self) -> None:
        """The client closed the channel."""
        self.broker.release_confirms(self)
        self.release()
        del self.session.channels[self.number]
        self.session.send(codec.bare(self.number, commands.Channel.CloseOk.index))

    @property
    def closing(self) -> bool:
        """Whether the broker has closed the channel and waits for close-ok."""
        return self._aside == self._on_frame_while_closing

    def fail(self, error: SoftError) -> None:
        """Close the channel, which does not wait, naming the method in ``session.method``."""
        self.broker.release_confirms(self)
        self._aside = self._on_frame_while_closing
        self._head = None
        # What was fetched out of a queue that it does not consume from stays with the channel until
        # close-ok, as in RabbitMQ.
        self.release({consumer.queue for consumer in self.consumers.values()})
        class_id, method_id = divmod(self.session.method, 1 << 16)
        self.session.reply(
            self.number,
            commands.Channel.Close(
                reply_code=error.code,
                reply_text=error.text,
                class_id=class_id,
                method_id=method_id,
            ),
        )
