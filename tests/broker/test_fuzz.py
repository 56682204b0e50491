"""Any sequence of calls, and any damage to a frame, leaves the broker's books in order.

The books: every message is ready, unacknowledged or settled; a consumer is in its queue's
rotation or parked, never both; what is counted agrees with what is there. Nothing a client does
may raise in the core.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pamqp import base, commands
from pamqp import frame as pamqp_frame

from benchmarks.broker.channel import KEPT_WEIGHT
from benchmarks.broker.core import ENTRY_WEIGHT, Broker, Settings
from benchmarks.broker.session import DELIVERY_HIGH_WATER
from benchmarks.wire.frames import BODY, HEADER, HEARTBEAT, METHOD, PROTOCOL_HEADER, frame

#: The fixtures in use are a class and functions: there is nothing in them to be reset.
STATELESS = [HealthCheck.function_scoped_fixture]

Q, B, E, C = commands.Queue, commands.Basic, commands.Exchange, commands.Channel


class Settle(NamedTuple):
    """An ack or nack of one of the deliveries that are outstanding, by its place among them."""

    which: int
    multiple: bool
    requeue: bool


class Commit(NamedTuple):
    """A fault of the broker; None heals them all."""

    kind: str | None
    options: dict[str, object]


flags = st.booleans()
queues = st.sampled_from(["q", "r"])
exchanges = st.sampled_from(["x", "amq.topic"])
keys = st.sampled_from(["q", "#", "none"])
tags = st.integers(0, 4)
consumer_tags = st.sampled_from(["a", ""])

#: What moves messages. Drawn far more often than the rest, or hardly a message would live long
#: enough for anything to go wrong with it.
TRAFFIC = st.one_of(
    st.tuples(st.just(""), queues, flags),
    st.tuples(exchanges, keys, flags),
    st.builds(B.Consume, queue=queues, consumer_tag=consumer_tags, no_ack=flags),
    st.builds(B.Get, queue=queues, no_ack=flags),
    st.builds(Settle, which=st.integers(0, 4), multiple=flags, requeue=flags),
    st.builds(Settle, which=st.integers(0, 4), multiple=flags, requeue=flags),
)
CONTROL = st.one_of(
    st.sampled_from(["lose", "choke", "part"]),
    st.builds(B.Qos, prefetch_count=st.integers(0, 3), global_=flags),
    st.builds(B.Cancel, consumer_tag=consumer_tags),
    st.builds(B.Recover, requeue=st.just(True)),
    st.builds(Q.Bind, queue=queues, exchange=exchanges, routing_key=keys),
    st.builds(Q.Unbind, queue=queues, exchange=exchanges, routing_key=keys),
    st.builds(E.Bind, destination=exchanges, source=exchanges, routing_key=keys),
    st.builds(commands.Confirm.Select),
    st.just(C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)),
)
FAULTS = st.sampled_from(
    [
        Commit(None, {}),
        Commit("slow_declare", {"ms": 20}),
        Commit("slow_declare", {"ms": 20}),
        Commit("consumer_cancel", {}),
        Commit("channel_close", {}),
        Commit("connection_close", {}),
        Commit("blocked", {}),
        Commit("confirm_nack", {"every": 2}),
        Commit("confirm_delay", {"ms": 20}),
    ]
)
TOPOLOGY = st.one_of(
    st.builds(Q.Declare, queue=queues, exclusive=flags, auto_delete=flags, passive=flags),
    st.builds(Q.Purge, queue=queues),
    st.builds(B.Ack, delivery_tag=tags, multiple=flags),
    st.builds(Q.Delete, queue=queues, if_unused=flags, if_empty=flags),
    st.builds(B.Consume, queue=queues, exclusive=st.just(True)),
    st.builds(
        E.Declare,
        exchange=exchanges,
        exchange_type=st.sampled_from(["direct", "fanout", "topic"]),
        auto_delete=flags,
    ),
    st.builds(E.Delete, exchange=exchanges, if_unused=flags),
)
#: (client, channel, what): a call, a publish, or an event on the connection.
STEPS = st.tuples(
    st.integers(0, 1),
    st.integers(1, 2),
    st.one_of(TRAFFIC, TRAFFIC, TRAFFIC, TRAFFIC, CONTROL, CONTROL, TOPOLOGY, FAULTS),
)


#: One frame that fills an output above the mark at which deliveries stop.
FLOOD = frame(HEARTBEAT, 0, bytes(DELIVERY_HIGH_WATER))


def check(broker):
    """The books agree with what is there."""
    stored = 0
    unacked = Counter()
    waiting = broker.slow_declare._waiting if broker.slow_declare else {}
    assert all(channel.session in broker.sessions for channel in waiting)
    for session in broker.sessions:
        assembling = kept = 0
        for channel in session.channels.values():
            assembling += sum(map(len, channel._parts))
            kept += sum(len(raw) + KEPT_WEIGHT for _, _, raw in channel.kept)
            # A channel waits when, and only when, somebody will let it go on.
            assert bool(channel.kept) == (channel in waiting)
            assert list(channel.unacked) == sorted(channel.unacked)
            by_consumers = [item for item in channel.unacked.values() if item.consumer]
            assert channel.consumers_unacked == len(by_consumers)
            for item in channel.unacked.values():
                stored += weight(item.entry)
                unacked[item.consumer] += 1
            for tag, consumer in channel.consumers.items():
                assert (consumer.tag, consumer.channel) == (tag, channel)
                assert consumer in consumer.queue.consumers
        assert (session.assembling, session._kept) == (assembling, kept)
    for name, queue in broker.queues.items():
        assert (queue.name, queue.deleted) == (name, False)
        assert queue.owner is None or queue.owner in broker.sessions
        rotation = list(queue.rotation)
        assert sorted(map(id, rotation)) == sorted(
            id(consumer) for consumer in queue.consumers if not consumer.parked
        )
        for consumer in queue.consumers:
            assert consumer.channel.consumers[consumer.tag] is consumer
            assert consumer.unacked == unacked[consumer]
            assert not consumer.prefetch or consumer.unacked <= consumer.prefetch
        entries = [*queue._ready, *(entry for _, entry in queue._returned)]
        stored += sum(map(weight, entries))
        assert len({entry.position for entry in entries}) == len(entries)
        # What could be delivered was: a pump has come before this check.
        assert not (entries and any(c.ready() for c in queue.consumers))
    assert broker.stored == stored
    for exchange in broker.exchanges.values():
        for binding in exchange.bindings:
            kept = broker.exchanges if hasattr(binding.destination, "kind") else broker.queues
            assert kept[binding.destination.name] is binding.destination


def weight(entry):
    return len(entry.message.body) + len(entry.message.header) + ENTRY_WEIGHT


@settings(derandomize=True, max_examples=200, deadline=None, suppress_health_check=STATELESS)
@given(steps=st.lists(STEPS, min_size=30, max_size=60), coalesce=flags)
def test_any_sequence_of_calls_leaves_the_books_in_order(connect_to, publishing, steps, coalesce):
    broker = Broker(Settings(coalesce_confirms=coalesce))
    peers = [connect_to(broker), connect_to(broker)]
    prefetch = B.Qos(prefetch_count=1)
    peers[0](1, Q.Declare(queue="q"), Q.Declare(queue="r"), prefetch)
    for number, channel, what in steps:
        peer = peers[number]
        if what == "lose" or peer.session.wants_close or not peer.session.channels:
            peer.lose()
            peers[number] = peer = connect_to(broker)
        if channel not in peer.session.channels:
            peer(channel, C.Open(), prefetch)
        if what == "choke":
            # The client does not keep up, while a message comes in. Afterwards it reads all.
            peer.session.send(FLOOD)
            peer.session.receive(publishing(channel, "", "q"))
        elif what == "part":
            # Half a message: whatever follows on this channel but its rest is an error.
            peer(channel, publishing(channel, "", "q", b"half", size=8))
        elif isinstance(what, Commit):
            if what.kind is None:
                broker.faults.heal()
            else:
                broker.faults.fire(what.kind, what.options)
            broker.now += 0.011
        elif isinstance(what, Settle):
            outstanding = list(peer.session.channels[channel].unacked)
            if outstanding:
                tag = outstanding[what.which % len(outstanding)]
                nack = B.Nack(delivery_tag=tag, multiple=what.multiple, requeue=what.requeue)
                peer(channel, nack if what.requeue else B.Ack(tag, what.multiple))
        elif isinstance(what, tuple):
            exchange, key, mandatory = what
            peer(channel, publishing(channel, exchange, key, mandatory=mandatory))
        elif what != "lose":
            assert isinstance(what, base.Frame)
            peer.session.receive(pamqp_frame.marshal(what, channel))
        broker.pump()
        check(broker)
        for other in peers:
            for event in other.read():
                if event[1] == "Channel.Close":
                    other(event[0], C.CloseOk())
                elif event[1] == "Connection.Close":
                    other(0, commands.Connection.CloseOk())
    for peer in peers:
        peer.lose()
    check(broker)
    assert not broker.sessions
    broker.faults.heal()
    assert broker.due() is None
    assert not any(queue.consumers or queue.owner for queue in broker.queues.values())


SOUND = [
    pamqp_frame.marshal(Q.Declare(queue="q", arguments={"a": {"b": [1, "c"]}}), 1),
    pamqp_frame.marshal(Q.Bind(queue="q", exchange="amq.topic", routing_key="k"), 1),
    pamqp_frame.marshal(B.Consume(queue="q", consumer_tag="t"), 1),
    pamqp_frame.marshal(B.Publish(exchange="", routing_key="q"), 1),
    frame(HEADER, 1, b"\0\x3c\0\0\0\0\0\0\0\0\0\x03\x90\0\x04text\x02"),
    frame(BODY, 1, b"abc"),
    frame(METHOD, 1, b"\0\x3c\0\x50\0\0\0\0\0\0\0\x01\0"),
]


@settings(derandomize=True, max_examples=300, deadline=None, suppress_health_check=STATELESS)
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
    st.permutations(range(len(SOUND))),
)
def test_no_damage_to_a_stream_can_break_the_core(connect_to, damage, order):
    broker = Broker()
    witness, victim = connect_to(broker), connect_to(broker)
    stream = bytearray(b"".join(SOUND) + b"".join(SOUND[index] for index in order))
    for position, value in damage:
        stream[position % len(stream)] = value
    victim.feed(bytes(stream))
    victim.lose()
    check(broker)
    assert witness(1, Q.Declare(queue="mine"))[0][1] == "Queue.DeclareOk"


@settings(derandomize=True, max_examples=300, deadline=None, suppress_health_check=STATELESS)
@given(st.binary(max_size=200), st.integers(0, 7))
def test_no_bytes_can_break_a_handshake(connect_to, login, data, cut):
    peer = connect_to(Broker(), handshake=False)
    sound = PROTOCOL_HEADER + pamqp_frame.marshal(login(), 0)
    peer.feed(sound[: cut * len(sound) // 7] + data)
    peer.lose()
    check(peer.broker)


def test_the_check_itself_can_fail(peer, publishing, broker):
    """Each of the books, once broken by hand, is noticed."""
    peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=1), B.Consume(queue="q", consumer_tag="t"))
    peer(1, publishing(1, "", "q"), publishing(1, "", "q"))
    check(broker)
    queue, channel = broker.queues["q"], peer.session.channels[1]
    (consumer,) = queue.consumers

    def breaks(target, name, value):
        kept = getattr(target, name)
        setattr(target, name, value)
        with pytest.raises(AssertionError):
            check(broker)
        setattr(target, name, kept)
        check(broker)

    breaks(broker, "stored", 0)
    breaks(consumer, "unacked", 0)
    breaks(consumer, "parked", False)
    breaks(channel, "consumers_unacked", 7)
    breaks(peer.session, "assembling", 1)
    breaks(queue, "owner", object())
    breaks(consumer, "prefetch", 2)  # it has room, and a message waits
