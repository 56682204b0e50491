"""The methods of a channel that are not hot: one small function each, in a table by index.

The order of the checks is RabbitMQ's, since it decides which error a client sees (405 before 406,
403 for a reserved name before anything about the queue).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pamqp import base, commands

from . import codec
from .errors import HardError, SoftError, locked
from .exchanges import KINDS, Binding, Destination, Exchange
from .queues import Consumer, Queue

if TYPE_CHECKING:
    from .channel import Channel

Handler = Callable[["Channel", Any], None]

#: Arguments whose wish this broker cannot fulfil: refused rather than ignored.
_UNSUPPORTED = frozenset(
    (
        "x-message-ttl",
        "x-expires",
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-max-length",
        "x-max-length-bytes",
        "x-overflow",
        "x-max-priority",
        "x-single-active-consumer",
        "alternate-exchange",
    )
)


def handle(channel: Channel, index: int, method: base.Frame) -> None:
    """Carry out one decoded method. Raises SoftError and HardError for what the peer did wrong."""
    handler = _HANDLERS.get(index)
    if handler is None:
        if index >> 16 == commands.Tx.frame_id:
            raise HardError(540, "transactions are not implemented")
        raise HardError(503, "unimplemented method")
    handler(channel, method)


# -- channel -------------------------------------------------------------------------------


def _channel_open(_channel: Channel, _method: commands.Channel.Open) -> None:
    raise HardError(504, "second 'channel.open' seen")


def _channel_close(channel: Channel, _method: commands.Channel.Close) -> None:
    channel.close()


def _channel_flow(channel: Channel, method: commands.Channel.Flow) -> None:
    if not method.active:
        raise HardError(540, "active=false")
    _reply(channel, commands.Channel.FlowOk(active=True))


def _confirm_select(channel: Channel, method: commands.Confirm.Select) -> None:
    channel.confirms = True
    if not method.nowait:
        _done(channel, commands.Confirm.SelectOk.index)


# -- exchanges -----------------------------------------------------------------------------


def _exchange_declare(channel: Channel, method: commands.Exchange.Declare) -> None:
    broker, name = channel.broker, method.exchange or ""
    if method.passive:
        _not_default(name)
        broker.exchange(name)
    else:
        kind = method.exchange_type or ""
        if kind not in KINDS:
            raise HardError(503, f"{'unknown' if kind else 'invalid'} exchange type '{kind}'")
        _not_default(name)
        _refuse_arguments(method.arguments)
        durable, auto_delete = bool(method.durable), bool(method.auto_delete)
        exchange = broker.exchanges.get(name)
        if exchange is None:
            _not_reserved("exchange", name)
            broker.exchanges[name] = Exchange(
                name,
                kind,
                durable=durable,
                auto_delete=auto_delete,
                internal=bool(method.internal),
            )
        else:
            for argument, got, current in (
                ("type", kind, exchange.kind),
                ("durable", durable, exchange.durable),
                ("auto_delete", auto_delete, exchange.auto_delete),
                ("internal", bool(method.internal), exchange.internal),
            ):
                _equivalent("exchange", name, argument, got, current)
    if not method.nowait:
        _done(channel, commands.Exchange.DeclareOk.index)


def _exchange_delete(channel: Channel, method: commands.Exchange.Delete) -> None:
    broker, name = channel.broker, method.exchange or ""
    _not_default(name)
    if name.startswith("amq."):
        raise SoftError(403, f"deletion of system exchange '{name}' in vhost '/' not allowed")
    exchange = broker.exchanges.get(name)
    if exchange is not None:
        if method.if_unused and exchange.bindings:
            raise SoftError(406, f"exchange '{name}' in vhost '/' in use")
        broker.delete_exchange(exchange)
    if not method.nowait:
        _done(channel, commands.Exchange.DeleteOk.index)


def _exchange_bind(channel: Channel, method: commands.Exchange.Bind) -> None:
    for name in (method.source, method.destination):
        _not_default(name or "")
    source = channel.broker.exchange(method.source or "")
    destination = channel.broker.exchange(method.destination or "")
    _bind(channel, source, destination, method.routing_key, method.arguments)
    if not method.nowait:
        _done(channel, commands.Exchange.BindOk.index)


def _exchange_unbind(channel: Channel, method: commands.Exchange.Unbind) -> None:
    _not_default(method.source or "")
    _not_default(method.destination or "")
    destination = channel.broker.exchanges.get(method.destination or "")
    _unbind(channel, method.source, destination, method.routing_key, method.arguments)
    if not method.nowait:
        _done(channel, commands.Exchange.UnbindOk.index)


# -- queues --------------------------------------------------------------------------------


def _queue_declare(channel: Channel, method: commands.Queue.Declare) -> None:
    broker, session, name = channel.broker, channel.session, method.queue or ""
    if method.passive:
        queue = broker.queue(name, session)
    else:
        _refuse_arguments(method.arguments)
        if name:
            _not_reserved("queue", name)
        else:
            name = broker.new_name("amq.gen-")
        # RabbitMQ keeps no exclusive queue on disk, whatever was asked for.
        durable = bool(method.durable) and not method.exclusive
        auto_delete = bool(method.auto_delete)
        existing = broker.queues.get(name)
        if existing is None:
            queue = broker.queues[name] = Queue(
                name,
                durable=durable,
                auto_delete=auto_delete,
                owner=session if method.exclusive else None,
            )
        else:
            queue = existing
            broker.check_owner(queue, session)
            if bool(method.exclusive) != (queue.owner is not None):
                # RabbitMQ answers 405 for this one, in the words of the lock, before any 406.
                raise locked(name)
            _equivalent("queue", name, "durable", durable, queue.durable)
            _equivalent("queue", name, "auto_delete", auto_delete, queue.auto_delete)
    channel.last_queue = name
    if not method.nowait:
        channel.session.send(
            codec.declare_ok(channel.number, name, len(queue), len(queue.consumers))
        )


def _queue_bind(channel: Channel, method: commands.Queue.Bind) -> None:
    name = _queue_name(channel, method.queue)
    exchange = _bindable(channel, method.exchange)
    queue = channel.broker.queue(name, channel.session)
    key = method.routing_key
    if not key and not method.queue:
        key = queue.name
    _bind(channel, exchange, queue, key, method.arguments)
    if not method.nowait:
        _done(channel, commands.Queue.BindOk.index)


def _queue_unbind(channel: Channel, method: commands.Queue.Unbind) -> None:
    name = _queue_name(channel, method.queue)
    _not_default(method.exchange or "")
    queue = channel.broker.queues.get(name)
    _unbind(channel, method.exchange, queue, method.routing_key, method.arguments)
    _done(channel, commands.Queue.UnbindOk.index)


def _queue_purge(channel: Channel, method: commands.Queue.Purge) -> None:
    entries = _find_queue(channel, method.queue).clear()
    for entry in entries:
        channel.broker.settle(entry)
    if not method.nowait:
        _reply(channel, commands.Queue.PurgeOk(message_count=len(entries)))


def _queue_delete(channel: Channel, method: commands.Queue.Delete) -> None:
    broker, name = channel.broker, _queue_name(channel, method.queue)
    queue = broker.queues.get(name)
    if queue is not None:
        broker.check_owner(queue, channel.session)
        if method.if_unused and queue.consumers:
            raise SoftError(406, f"queue '{name}' in vhost '/' in use")
        if method.if_empty and len(queue):
            raise SoftError(406, f"queue '{name}' in vhost '/' not empty")
    # The answer comes before what consumers are told, as in RabbitMQ.
    if not method.nowait:
        count = 0 if queue is None else len(queue)
        _reply(channel, commands.Queue.DeleteOk(message_count=count))
    if queue is not None:
        broker.delete_queue(queue)


# -- basic ---------------------------------------------------------------------------------


def _basic_qos(channel: Channel, method: commands.Basic.Qos) -> None:
    if method.prefetch_size:
        raise HardError(540, f"prefetch_size!=0 ({method.prefetch_size})")
    if method.global_:
        channel.limit(method.prefetch_count or 0)
    else:
        # In RabbitMQ this takes the channel's own limit away.
        channel.limit(0)
        channel.prefetch = method.prefetch_count or 0
    _done(channel, commands.Basic.QosOk.index)


def _basic_consume(channel: Channel, method: commands.Basic.Consume) -> None:
    broker = channel.broker
    tag = method.consumer_tag or ""
    if tag in channel.consumers:
        raise HardError(530, f"attempt to reuse consumer tag '{tag}'")
    queue = _find_queue(channel, method.queue)
    if any(consumer.exclusive for consumer in queue.consumers) or (
        method.exclusive and queue.consumers
    ):
        raise SoftError(403, f"queue '{queue.name}' in vhost '/' in exclusive use")
    if not tag:
        tag = broker.new_name("amq.ctag-")
    consumer = Consumer(
        channel,
        queue,
        tag,
        codec.deliver_prefix(tag),
        no_ack=bool(method.no_ack),
        exclusive=bool(method.exclusive),
        prefetch=channel.prefetch,
    )
    channel.consumers[tag] = consumer
    queue.add_consumer(consumer)
    if not method.nowait:
        _reply(channel, commands.Basic.ConsumeOk(consumer_tag=tag))
    broker.wake(queue)


def _basic_cancel(channel: Channel, method: commands.Basic.Cancel) -> None:
    tag = method.consumer_tag or ""
    channel.remove_consumer(tag)
    if not method.nowait:
        _reply(channel, commands.Basic.CancelOk(consumer_tag=tag))


def _basic_get(channel: Channel, method: commands.Basic.Get) -> None:
    queue = _find_queue(channel, method.queue)
    entry = queue.take()
    if entry is None:
        _reply(channel, commands.Basic.GetEmpty())
        return
    tag = channel.hand_out(queue, entry, bool(method.no_ack))
    channel.session.send(
        codec.get_ok(
            channel.number,
            channel.session.frame_max,
            tag,
            entry.redelivered,
            entry.message,
            len(queue),
        )
    )


def _basic_recover(channel: Channel, method: commands.Basic.Recover) -> None:
    _only_requeue(method.requeue)
    _done(channel, commands.Basic.RecoverOk.index)
    channel.requeue(list(channel.unacked))


def _basic_recover_async(channel: Channel, method: commands.Basic.RecoverAsync) -> None:
    _only_requeue(method.requeue)
    channel.requeue(list(channel.unacked))


# -- what several of them need -------------------------------------------------------------


def _reply(channel: Channel, method: base.Frame) -> None:
    channel.session.reply(channel.number, method)


def _done(channel: Channel, index: int) -> None:
    """Answer with a method that has no arguments."""
    channel.session.send(codec.bare(channel.number, index))


def _only_requeue(requeue: bool | None) -> None:
    if not requeue:
        raise HardError(540, "requeue=false")


def _queue_name(channel: Channel, name: str | None) -> str:
    """The queue that is meant: an empty name stands for the last one declared here."""
    if name:
        return name
    if not channel.last_queue:
        raise SoftError(404, "no previously declared queue")
    return channel.last_queue


def _find_queue(channel: Channel, name: str | None) -> Queue:
    return channel.broker.queue(_queue_name(channel, name), channel.session)


def _bindable(channel: Channel, name: str | None) -> Exchange:
    _not_default(name or "")
    return channel.broker.exchange(name or "")


def _bind(
    channel: Channel, source: Exchange, destination: Destination, key: str | None, arguments: object
) -> None:
    source.bindings[Binding(destination, key or "", _canonical(arguments))] = None
    channel.broker.binding_added()


def _unbind(
    channel: Channel,
    exchange: str | None,
    destination: Destination | None,
    key: str | None,
    arguments: object,
) -> None:
    """Remove a binding. One that is not there is no error, as in RabbitMQ, whatever is missing."""
    source = channel.broker.exchanges.get(exchange or "")
    if source is None or destination is None:
        return
    binding = Binding(destination, key or "", _canonical(arguments))
    if binding in source.bindings:
        del source.bindings[binding]
        channel.broker.binding_removed(source)


def _canonical(arguments: object) -> str:
    return repr(sorted(arguments.items())) if isinstance(arguments, dict) and arguments else ""


def _refuse_arguments(arguments: object) -> None:
    if not isinstance(arguments, dict):
        return
    for name in arguments:
        if name in _UNSUPPORTED:
            raise HardError(540, f"argument '{name}' is not implemented")
    if arguments.get("x-queue-type", "classic") != "classic":
        raise HardError(540, "only classic queues are implemented")


def _not_default(exchange: str) -> None:
    if not exchange:
        raise SoftError(403, "operation not permitted on the default exchange")


def _not_reserved(kind: str, name: str) -> None:
    if name.startswith("amq."):
        raise SoftError(403, f"{kind} name '{name}' contains reserved prefix 'amq.*'")


def _equivalent(kind: str, name: str, argument: str, got: object, current: object) -> None:
    if got != current:
        raise SoftError(
            406,
            f"inequivalent arg '{argument}' for {kind} '{name}' in vhost '/':"
            f" received '{_text(got)}' but current is '{_text(current)}'",
        )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_HANDLERS: dict[int, Handler] = {
    commands.Channel.Open.index: _channel_open,
    commands.Channel.Close.index: _channel_close,
    commands.Channel.Flow.index: _channel_flow,
    commands.Confirm.Select.index: _confirm_select,
    commands.Exchange.Declare.index: _exchange_declare,
    commands.Exchange.Delete.index: _exchange_delete,
    commands.Exchange.Bind.index: _exchange_bind,
    commands.Exchange.Unbind.index: _exchange_unbind,
    commands.Queue.Declare.index: _queue_declare,
    commands.Queue.Bind.index: _queue_bind,
    commands.Queue.Unbind.index: _queue_unbind,
    commands.Queue.Purge.index: _queue_purge,
    commands.Queue.Delete.index: _queue_delete,
    commands.Basic.Qos.index: _basic_qos,
    commands.Basic.Consume.index: _basic_consume,
    commands.Basic.Cancel.index: _basic_cancel,
    commands.Basic.Get.index: _basic_get,
    commands.Basic.Recover.index: _basic_recover,
    commands.Basic.RecoverAsync.index: _basic_recover_async,
}
