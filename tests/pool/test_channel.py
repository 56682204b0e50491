"""SharedChannel against a scripted peer: whose reply, whose error, whose confirm."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import pamqp.commands as c
import pamqp.frame
import pytest

from amqpool import (
    ConnectionLost,
    DrainTimeout,
    InboxOverflow,
    LeaseEnded,
    OperationTimeout,
    PublishTimeout,
    SharedChannel,
    SharedConnection,
    confirms,
)
from amqpool import outbox as outbox_module
from amqpool.channel import CLEAN, DEAD, DIRTY, SETTLING
from amqpool.outbox import Outbox
from tests.pool.peer import Peer, Session

Until = Callable[[Callable[[], Any]], None]


@contextmanager
def channels(count: int, peer: Peer, **options: Any) -> Iterator[list[SharedChannel]]:
    connection = SharedConnection(peer.host, **options)
    connection.connect()
    try:
        yield [connection.channel() for _ in range(count)]
    finally:
        connection.close(2.0)


def message(body: bytes = b"x", **properties: Any) -> Any:
    return amqp.Message(body, **properties)


def silent(session: Session, channel: int, command: Any) -> None:
    """No answer."""


# -- replies and errors --------------------------------------------------------------------------


def test_each_thread_gets_its_own_reply(crowd: Any) -> None:
    with Peer() as peer, channels(20, peer) as own:

        def work(number: int) -> list[str]:
            return [own[number].queue_declare(f"{number}/{n}").queue for n in range(50)]

        assert crowd(20, work).run() == [[f"{i}/{n}" for n in range(50)] for i in range(20)]


def test_a_brokers_error_is_raised_in_its_owners_thread_alone_and_anew(crowd: Any) -> None:
    def refuse(session: Session, channel: int, command: Any) -> None:
        if command.queue == "bad":
            session.send(channel, c.Channel.Close(404, "NOT_FOUND - no queue 'bad'", 50, 10))
        else:
            session.send(channel, c.Queue.DeclareOk(command.queue, 0, 0))

    with Peer(answers={c.Queue.Declare: refuse}) as peer, channels(10, peer) as own:

        def work(number: int) -> int:
            good = 0
            for n in range(30):
                name = "bad" if number == 3 and n == 10 else "good"
                try:
                    own[number].queue_declare(name)
                    good += 1
                except amqp.NotFound as error:
                    assert number == 3
                    errors.append(error)
            return good

        errors: list[Exception] = []
        assert crowd(10, work).run() == [30, 30, 30, 10, *[30] * 6]
        assert len({id(error) for error in errors}) == 20
        assert {str(error) for error in errors} == {
            "Queue.declare: (404) NOT_FOUND - no queue 'bad'"
        }
        peer.session().wait_for(c.Channel.CloseOk)
        assert own[3].connection.channel().channel_id == 11


def test_what_came_before_a_close_is_dispatched_first() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        got: list[bytes] = []
        channel.basic_consume("q", "t", no_ack=True, callback=lambda m: got.append(m.body))
        session = peer.session()
        session.content(1, c.Basic.Deliver("t", 1, False, "", "q"), b"one")
        session.send(1, c.Channel.Close(406, "PRECONDITION_FAILED", 60, 80))
        channel.drain_events(5)
        assert got == [b"one"]
        for _ in range(2):
            with pytest.raises(amqp.PreconditionFailed):
                channel.drain_events(5)
            with pytest.raises(amqp.PreconditionFailed):
                channel.basic_publish(message())


def test_a_late_reply_can_never_be_taken_for_the_next_ones(until: Until) -> None:
    held: list[str] = []
    answers = {c.Queue.Declare: lambda s, n, m: held.append(m.queue)}
    with Peer(answers=answers) as peer, channels(2, peer, rpc_timeout=0.1) as (first, second):
        with pytest.raises(OperationTimeout, match=r"channel 1: no reply Queue\.declare_ok"):
            first.queue_declare("slow")
        peer.session().send(1, c.Queue.DeclareOk("slow", 0, 0))
        with pytest.raises(OperationTimeout, match="channel 1 is closed"):
            first.queue_declare("next")
        assert second.usable
        assert first.park({}, lambda _: None) == DEAD
        until(lambda: 1 not in first.connection.channels)
        assert held == ["slow"]


def test_a_nested_call_does_not_take_the_outer_calls_reply() -> None:
    """From within a callback, while an outer call waits; py-amqp mixes the two replies up."""

    def answer(session: Session, channel: int, command: Any) -> None:
        if command.queue == "outer":
            session.content(channel, c.Basic.Deliver("t", 1, False, "", "q"), b"x")
        session.send(channel, c.Queue.DeclareOk(command.queue, 0, 0))

    with Peer(answers={c.Queue.Declare: answer}) as peer, channels(1, peer) as (channel,):
        inner: list[str] = []
        channel.basic_consume(
            "q",
            "t",
            no_ack=True,
            callback=lambda m: inner.append(channel.queue_declare("in").queue),
        )
        assert channel.queue_declare("outer").queue == "outer"
        assert inner == ["in"]


def test_a_callback_that_raises_costs_no_reply() -> None:
    def answer(session: Session, channel: int, command: Any) -> None:
        if command.queue == "first":
            session.content(channel, c.Basic.Deliver("t", 1, False, "", "q"), b"x")
        session.send(channel, c.Queue.DeclareOk(command.queue, 0, 0))

    def explode(message: Any) -> None:
        raise ZeroDivisionError

    with Peer(answers={c.Queue.Declare: answer}) as peer, channels(1, peer) as (channel,):
        channel.basic_consume("q", "t", no_ack=True, callback=explode)
        with pytest.raises(ZeroDivisionError):
            channel.queue_declare("first")
        assert channel.queue_declare("second").queue == "second"


def test_calls_of_two_threads_on_one_channel_keep_their_replies(crowd: Any) -> None:
    with Peer() as peer, channels(1, peer) as (channel,):

        def work(number: int) -> list[str]:
            return [channel.queue_declare(f"{number}/{n}").queue for n in range(100)]

        assert crowd(4, work).run() == [[f"{i}/{n}" for n in range(100)] for i in range(4)]


def test_an_unexpected_reply_is_not_taken() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        peer.session().send(1, c.Basic.RecoverOk())
        assert channel.queue_declare("q").queue == "q"


def test_drain_says_that_nothing_came() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        with pytest.raises(DrainTimeout, match=r"channel 1 within 0\.01 s"):
            channel.drain_events(0.01)
        with pytest.raises(DrainTimeout):
            channel.drain_events(0)


# -- publishing and confirms ---------------------------------------------------------------------


def test_tags_follow_the_wire_from_many_threads_on_one_channel(crowd: Any) -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        channel.confirm_select()
        channel.confirm_select()
        session = peer.session()
        assert len(session.all(c.Confirm.Select)) == 1

        def work(number: int) -> list[tuple[int, bytes]]:
            sent = []
            for n in range(100):
                body = b"%d/%d" % (number, n)
                confirmation = channel.basic_publish(message(body), routing_key="q")
                assert confirmation is not None
                assert confirmation.wait(5) is True
                sent.append((confirmation.tag, body))
            return sent

        sent = [each for mine in crowd(8, work).run() for each in mine]
        assert sorted(sent) == [(each.tag, each.body) for each in session.published]


def test_acks_in_any_order_settle_their_own() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        session = peer.session()
        session.confirming = False
        channel.confirm_select()
        sent = [channel.basic_publish(message(), routing_key="q") for _ in range(6)]
        session.send(
            1,
            c.Basic.Ack(2, False),
            c.Basic.Nack(5, False),
            c.Basic.Ack(4, True),
            c.Basic.Ack(0, True),
        )
        assert [each is not None and each.wait(5) for each in sent] == [
            True, True, True, True, False, True,
        ]  # fmt: skip


def test_a_confirmed_publish_waits_for_its_own_ack(until: Until) -> None:
    """py-amqp's takes any: here an earlier message's late ack comes first."""
    with Peer() as peer, channels(1, peer) as (channel,):
        session = peer.session()
        session.confirming = False
        channel.confirm_select()
        channel.basic_publish(message(b"earlier"), routing_key="q")
        done = threading.Event()

        def publish() -> None:
            channel.basic_publish_confirm(message(b"mine"), routing_key="q")
            done.set()

        thread = threading.Thread(target=publish, daemon=True)
        thread.start()
        session.wait(lambda: len(session.published) == 2)
        session.send(1, c.Basic.Ack(1, False))
        assert not done.wait(0.1)
        session.send(1, c.Basic.Ack(2, False))
        assert done.wait(5)
        thread.join(5)
        assert not thread.is_alive()


def test_a_nack_is_an_error_of_a_confirmed_publish() -> None:
    answers = {c.Basic.Publish: lambda s, n, m: s.send(n, c.Basic.Nack(1, False))}
    with (
        Peer(answers=answers) as peer,
        channels(1, peer) as (channel,),
        pytest.raises(amqp.exceptions.MessageNacked, match="message 1"),
    ):
        channel.basic_publish_confirm(message(), routing_key="q")


def test_a_returned_message_finds_its_publish() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        session = peer.session()
        session.confirming = False
        channel.confirm_select()
        sent = [
            channel.basic_publish(message(b"b", message_id=name), routing_key="no", mandatory=True)
            for name in ("a", "b", "a")
        ]
        back = c.Basic.Return(312, "NO_ROUTE", "", "no")
        session.content(1, back, b"b", message_id="b")
        session.content(1, back, b"b", message_id="a")
        session.send(1, c.Basic.Ack(3, True))
        assert [each is not None and each.wait(5) for each in sent] == [True] * 3
        names = [
            each and each.returned and each.returned.message.properties["message_id"]
            for each in sent
        ]
        assert names == ["a", "b", None]
        first = sent[0]
        assert first is not None
        assert first.returned is not None
        assert first.returned[:4] == (312, "NO_ROUTE", "", "no")
        assert first.returned.message.body == b"b"
        assert repr(first) == "<Confirmation 1 ack returned>"


def test_listeners_of_py_amqp_are_called_at_the_drain_in_the_draining_thread() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        session = peer.session()
        session.confirming = False
        channel.confirm_select()
        told: list[Any] = []
        channel.events["basic_ack"].add(lambda *args: told.append(("ack", *args)))
        channel.events["basic_return"].add(
            lambda error, exchange, key, msg: told.append(
                ("return", type(error), key, msg.body, threading.current_thread())
            )
        )
        sent = channel.basic_publish(message(), routing_key="no", mandatory=True)
        session.content(1, c.Basic.Return(312, "NO_ROUTE", "", "no"), b"x")
        session.send(1, c.Basic.Ack(1, False))
        assert sent is not None
        assert sent.wait(5)
        assert told == []
        channel.drain_events(5)
        channel.drain_events(5)
        assert told == [
            ("return", amqp.exceptions.ChannelError, "no", b"x", threading.current_thread()),
            ("ack", 1, False),
        ]


def test_a_message_that_comes_back_while_the_channel_closes_is_still_told() -> None:
    """Its ack is credited then, too: an ack without its return would say that it was routed."""

    def close(session: Session, channel: int, command: Any) -> None:
        session.content(channel, c.Basic.Return(312, "NO_ROUTE", "", "no"), b"x")
        session.send(channel, c.Basic.Ack(1, False))
        session.send(channel, c.Channel.CloseOk())

    with Peer(answers={c.Channel.Close: close}) as peer, channels(1, peer) as (channel,):
        peer.session().confirming = False
        channel.confirm_select()
        sent = channel.basic_publish(message(), routing_key="no", mandatory=True)
        channel.discard("the test says so")
        assert sent is not None
        assert sent.wait(5)
        assert sent.returned is not None
        assert sent.returned[:4] == (312, "NO_ROUTE", "", "no")


def test_without_confirms_a_return_is_an_event_as_in_py_amqp() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        assert channel.basic_publish(message(), routing_key="no", mandatory=True) is None
        peer.session().content(1, c.Basic.Return(312, "NO_ROUTE", "", "no"), b"x")
        with pytest.raises(amqp.exceptions.ChannelError, match="NO_ROUTE"):
            channel.drain_events(5)


def test_unconfirmed_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amqpool.channel.MAX_OUTSTANDING", 3)
    assert confirms.MAX_OUTSTANDING == 16_384
    with Peer() as peer, channels(1, peer) as (channel,):
        session = peer.session()
        session.confirming = False
        channel.confirm_select()
        for _ in range(3):
            channel.basic_publish(message(), routing_key="q")
        with pytest.raises(PublishTimeout, match="3 messages are unconfirmed"):
            channel.basic_publish(message(), routing_key="q", timeout=0.05)
        threading.Timer(0.05, session.send, (1, c.Basic.Ack(1, False))).start()
        assert channel.basic_publish(message(), routing_key="q", timeout=5) is not None


def test_outstanding_confirms_are_unknown_when_the_channel_is_closed() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        session = peer.session()
        session.confirming = False
        channel.confirm_select()
        sent = channel.basic_publish(message(), routing_key="q")
        assert sent is not None
        session.send(1, c.Channel.Close(404, "NOT_FOUND - no exchange", 60, 40))
        with pytest.raises(amqp.NotFound, match="no exchange"):
            sent.wait(5)
        assert sent.outcome == "unknown"


def test_all_properties_and_headers_arrive() -> None:
    properties: dict[str, Any] = {
        "content_type": "text/plain",
        "application_headers": {"a": 1, "b": {"c": [True, None, "x"]}},
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "1000",
        "message_id": "m",
        "type": "t",
        "app_id": "a",
    }
    with Peer() as peer, channels(1, peer) as (channel,):
        channel.basic_publish(message(b"body", **properties), exchange="e", routing_key="k")
        session = peer.session()
        session.wait(lambda: bool(session.published))
        (got,) = session.published
        assert (got.method.exchange, got.method.routing_key, got.body) == ("e", "k", b"body")
        # pamqp has two names of its own.
        names = {"application_headers": "headers", "type": "message_type"}
        seen = {name: getattr(got.properties, names.get(name, name)) for name in properties}
        assert seen == properties


def test_flow_holds_publishes_on_its_channel_alone(until: Until) -> None:
    with Peer() as peer, channels(2, peer) as (channel, other):
        session = peer.session()
        session.send(1, c.Channel.Flow(False))
        session.wait_for(c.Channel.FlowOk)
        with pytest.raises(PublishTimeout, match=r"paused it \(channel\.flow\)"):
            channel.basic_publish(message(), routing_key="q", timeout=0.05)
        other.basic_publish(message(), routing_key="q")
        session.send(1, c.Channel.Flow(True))
        session.wait_for(c.Channel.FlowOk, 2)
        channel.basic_publish(message(), routing_key="q", timeout=5)


# -- consuming -----------------------------------------------------------------------------------


def test_the_first_consumer_with_acks_gets_the_prefetch_once() -> None:
    with Peer() as peer, channels(3, peer, prefetch=7) as (one, two, three):
        got: list[Any] = []
        one.basic_consume("q", callback=got.append)
        one.basic_consume("q", "second", callback=got.append)
        two.basic_qos(0, 3, False)
        two.basic_consume("q", callback=got.append)
        three.basic_consume("q", no_ack=True, callback=got.append)
        qos = [(n, m.prefetch_count) for n, m in peer.session().all(c.Basic.Qos)]
        assert qos == [(1, 7), (2, 3)]


def test_deliveries_come_in_order_and_acks_are_booked() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        got: list[Any] = []
        tag = channel.basic_consume("q", callback=got.append)
        session = peer.session()
        for number in range(1, 6):
            session.content(1, c.Basic.Deliver(tag, number, False, "", "q"), b"%d" % number)
        for _ in range(5):
            channel.drain_events(5)
        assert [each.body for each in got] == [b"1", b"2", b"3", b"4", b"5"]
        assert got[0].delivery_info == {
            "consumer_tag": "made-up",
            "delivery_tag": 1,
            "redelivered": False,
            "exchange": "",
            "routing_key": "q",
        }
        assert got[0].channel is channel
        assert "5 unacked" in repr(channel)
        channel.basic_ack(2)
        channel.basic_nack(1, requeue=False)
        channel.basic_reject(5, requeue=True)
        channel.basic_ack(3, multiple=True)
        assert "1 unacked" in repr(channel)
        channel.basic_ack(0, multiple=True)
        assert "0 unacked" in repr(channel)
        (nack,) = session.wait_for(c.Basic.Nack)
        assert (nack[1].delivery_tag, nack[1].requeue) == (1, False)


ACK, NACK, REJECT = "ack", "nack", "reject"


@pytest.mark.parametrize(
    ("done", "sent"),
    [
        ([(ACK, 1)], [(ACK, 1, False)]),
        ([(ACK, 1), (ACK, 2), (ACK, 3)], [(ACK, 3, True)]),
        # Number 1 is not acknowledged: none that includes it.
        ([(ACK, 2), (ACK, 3)], [(ACK, 2, False), (ACK, 3, False)]),
        ([(ACK, 2), (ACK, 1)], [(ACK, 2, False), (ACK, 1, False)]),
        ([(ACK, 3), (ACK, 2), (ACK, 1)], [(ACK, 3, False), (ACK, 2, False), (ACK, 1, False)]),
        (
            [(ACK, 2), (ACK, 3), (ACK, 1), (ACK, 4), (ACK, 5)],
            [(ACK, 2, False), (ACK, 3, False), (ACK, 5, True)],
        ),
        # One that the broker is to object to goes on its own, and so does what comes behind it.
        ([(ACK, 1), (ACK, 1), (ACK, 2)], [(ACK, 1, False), (ACK, 1, False), (ACK, 2, False)]),
        ([(ACK, 1), (ACK, 9), (ACK, 2)], [(ACK, 1, False), (ACK, 9, False), (ACK, 2, False)]),
        # What is between two keeps them apart.
        ([(ACK, 1), (NACK, 2), (ACK, 3)], [(ACK, 1, False), (NACK, 2, False), (ACK, 3, False)]),
        ([(REJECT, 1), (ACK, 2), (ACK, 3)], [(REJECT, 1, None), (ACK, 3, True)]),
        (
            [(ACK, 1), ("other", 0), (ACK, 2)],
            [(ACK, 1, False), ("other", 0, None), (ACK, 2, False)],
        ),
        # As the application says it.
        ([("up to", 2), (ACK, 3), (ACK, 4)], [(ACK, 2, True), (ACK, 4, True)]),
        ([(ACK, 1), ("up to", 0), (ACK, 9)], [(ACK, 1, False), (ACK, 0, True), (ACK, 9, False)]),
    ],
)
def test_acks_that_wait_to_be_sent_go_as_one_where_that_says_the_same(
    done: list[tuple[str, int]], sent: list[tuple[str, int, bool | None]]
) -> None:
    with Peer() as peer, channels(2, peer) as (channel, other):
        got: list[Any] = []
        tag = channel.basic_consume("q", callback=got.append)
        for number in range(1, 6):
            peer.session().content(1, c.Basic.Deliver(tag, number, False, "", "q"), b"")
        for _ in range(5):
            channel.drain_events(5)
        # Nothing is sent until all of it was done: the I/O thread has not had its turn.
        raw: list[bytes] = []
        outbox = Outbox(
            lambda data: raw.append(bytes(data)) or len(data),  # type: ignore[func-returns-value]
            lambda: None,
            lambda: ConnectionLost("gone"),
            1000,
        )
        outbox._owner = outbox_module._IO
        channel._outbox = other._outbox = outbox
        try:
            for what, number in done:
                if what == ACK:
                    channel.basic_ack(number)
                elif what == "up to":
                    channel.basic_ack(number, multiple=True)
                elif what == NACK:
                    channel.basic_nack(number)
                elif what == REJECT:
                    channel.basic_reject(number, requeue=True)
                else:
                    other.basic_nack(number)
            outbox.flush(io=True)
        finally:
            channel._outbox = other._outbox = channel.connection.outbox
    frames = []
    stream = b"".join(raw)
    while stream:
        used, number, method = pamqp.frame.unmarshal(stream)
        stream = stream[used:]
        what = "other" if number == 2 else type(method).__name__.lower()
        multiple = getattr(method, "multiple", None) if number == 1 else None
        frames.append((what, method.delivery_tag, multiple))
    assert frames == sent


@pytest.mark.parametrize(
    ("tags", "oldest"),
    [
        ([1, 2], True),
        # One was lost on the way here: nobody may acknowledge it.
        ([2], False),
        ([1, 3], False),
        # One came twice.
        ([1, 1, 2], False),
        ([1, 1], False),
    ],
)
def test_what_the_application_never_saw_is_not_acknowledged_with_others(
    tags: list[int], oldest: bool
) -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        got: list[Any] = []
        name = channel.basic_consume("q", callback=got.append)
        for number in tags:
            peer.session().content(1, c.Basic.Deliver(name, number, False, "", "q"), b"")
        for _ in tags:
            channel.drain_events(5)
        for number in set(tags):
            channel._unacked.pop(number)
        with channel.inbox.lock:
            assert channel._is_oldest(max(tags)) is oldest


@pytest.mark.parametrize(("no_ack", "unacked"), [(False, "1 unacked"), (True, "0 unacked")])
def test_what_was_fetched_is_booked_before_its_caller_is_back(
    no_ack: bool, unacked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an acknowledgement of another thread could include it meanwhile."""
    booked: list[str] = []
    back = amqp.Channel._on_get_ok

    def on_get_ok(channel: Any, *args: Any) -> Any:
        booked.append(repr(channel))
        return back(channel, *args)

    monkeypatch.setattr(amqp.Channel, "_on_get_ok", on_get_ok)
    answer = c.Basic.GetOk(1, False, "", "q", 0)
    answers = {c.Basic.Get: lambda s, n, m: s.content(n, answer, b"x")}
    with Peer(answers=answers) as peer, channels(1, peer) as (channel,):
        assert channel.basic_get("q", no_ack=no_ack).body == b"x"
        assert "1 unacked" in booked[0]
        assert unacked in repr(channel)


def test_a_delivery_for_nobody_is_requeued_unless_it_needs_no_ack() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        channel.basic_consume("q", "free", no_ack=True, callback=lambda m: None)
        channel.callbacks.pop("free")
        session = peer.session()
        session.content(1, c.Basic.Deliver("free", 1, False, "", "q"), b"x")
        session.content(1, c.Basic.Deliver("unknown", 2, False, "", "q"), b"y")
        channel.drain_events(5)
        channel.drain_events(5)
        rejects = session.wait_for(c.Basic.Reject)
        assert [(m.delivery_tag, m.requeue) for _, m in rejects] == [(2, True)]


def test_a_consumer_that_the_broker_cancels() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        told: list[str] = []
        channel.basic_consume("q", "a", callback=print, on_cancel=told.append)
        channel.basic_consume("q", "b", callback=print)
        session = peer.session()
        session.send(1, c.Basic.Cancel("a", True), c.Basic.Cancel("b", True))
        channel.drain_events(5)
        assert told == ["a"]
        with pytest.raises(amqp.exceptions.ConsumerCancelled):
            channel.drain_events(5)
        assert channel.callbacks == {}


def test_deliveries_on_their_way_are_dispatched_before_cancel_returns() -> None:
    def cancel(session: Session, channel: int, command: Any) -> None:
        session.content(channel, c.Basic.Deliver("t", 1, False, "", "q"), b"last")
        session.send(channel, c.Basic.CancelOk("t"))

    with Peer(answers={c.Basic.Cancel: cancel}) as peer, channels(1, peer) as (channel,):
        got: list[bytes] = []
        channel.basic_consume("q", "t", no_ack=True, callback=lambda m: got.append(m.body))
        channel.basic_cancel("t")
        assert got == [b"last"]
        assert channel.callbacks == {}


def test_an_overfull_inbox_ends_its_channel_alone() -> None:
    with Peer() as peer, channels(2, peer, inbox_bytes=10_000) as (channel, other):
        got: list[bytes] = []
        channel.basic_consume("q", "t", no_ack=True, callback=lambda m: got.append(m.body))
        session = peer.session()
        for number in range(1, 30):
            session.content(1, c.Basic.Deliver("t", number, False, "", "q"), b"x" * 1000)
        session.wait_for(c.Channel.Close)
        with pytest.raises(InboxOverflow, match="more than 10000 bytes"):
            channel.drain_events(5)
        with pytest.raises(InboxOverflow):
            channel.basic_publish(message())
        assert other.queue_declare("q").queue == "q"


# -- closing, parking ----------------------------------------------------------------------------


def test_close_waits_for_the_broker_and_ends_quietly() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        channel.close()
        channel.close()
        assert 1 not in channel.connection.channels
        assert len(peer.session().all(c.Channel.Close)) == 1
        with pytest.raises(amqp.exceptions.RecoverableChannelError, match="closed by its owner"):
            channel.queue_declare("q")


def test_two_closes_that_cross() -> None:
    def cross(session: Session, channel: int, command: Any) -> None:
        session.send(channel, c.Channel.Close(404, "NOT_FOUND", 50, 10))
        session.send(channel, c.Channel.CloseOk())

    with Peer(answers={c.Channel.Close: cross}) as peer, channels(1, peer) as (channel,):
        channel.close(5)
        assert 1 not in channel.connection.channels
        peer.session().wait_for(c.Channel.CloseOk)


def soil_consumer(channel: SharedChannel, session: Session) -> None:
    channel.basic_consume("q", callback=print)


def soil_unacked(channel: SharedChannel, session: Session) -> None:
    channel.basic_consume("q", "t", callback=lambda m: None)
    session.content(channel.channel_id, c.Basic.Deliver("t", 1, False, "", "q"), b"x")
    channel.drain_events(5)
    channel.basic_cancel("t")


def soil_inbox(channel: SharedChannel, session: Session) -> None:
    session.content(channel.channel_id, c.Basic.Return(312, "NO_ROUTE", "", "q"), b"x")
    session.send(0, c.Connection.Blocked("a sign that the return is in"))
    channel.connection.drain_events(5)


def soil_call(channel: SharedChannel, session: Session) -> None:
    session.answers[c.Queue.Declare] = silent
    threading.Thread(target=lambda: ignore(channel.queue_declare), daemon=True).start()
    session.wait_for(c.Queue.Declare)


def ignore(call: Callable[[], Any]) -> None:
    try:
        call()
    except (amqp.exceptions.AMQPError, LeaseEnded):
        pass  # the call's channel is closed under it, as the test wants


@pytest.mark.parametrize(
    ("soil", "why"),
    [
        (soil_consumer, "it has 1 consumers"),
        (soil_unacked, "1 deliveries are not acknowledged"),
        (soil_inbox, "1 events are in its inbox"),
        (soil_call, "no reply yet"),
        (lambda ch, s: ch.basic_qos(0, 5, False), "qos"),
        (lambda ch, s: ch.tx_select(), "transactional"),
        (lambda ch, s: ch.confirm_select(), "confirm mode"),
        (lambda ch, s: ch.basic_recover(), "recover"),
        (lambda ch, s: ch.basic_publish(message(), mandatory=True), "mandatory"),
        (lambda ch, s: ch.basic_cancel("t", nowait=True), "cancelled consumer"),
        (
            lambda ch, s: (s.send(1, c.Channel.Flow(False)), s.wait_for(c.Channel.FlowOk)),
            "paused",
        ),
    ],
)
def test_what_a_lease_leaves_behind_closes_its_channel(
    soil: Callable[[SharedChannel, Session], Any], why: str
) -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        session = peer.session()
        soil(channel, session)
        assert channel.park({}, lambda _: None) == DIRTY
        session.wait_for(c.Channel.Close)
        with pytest.raises(amqp.exceptions.RecoverableChannelError, match=why):
            channel.basic_publish(message())
        assert not channel.unpark()


def test_a_clean_channel_is_lent_again_and_is_nobodys_in_between() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        channel.basic_consume("q", "t", callback=print)
        channel.basic_cancel("t")
        channel.auto_decode = False
        channel.events["basic_ack"].add(print)
        assert channel.park({}, lambda _: None) == CLEAN
        assert (channel.auto_decode, channel.events) == (True, {})
        for use in (
            lambda: channel.basic_publish(message()),
            lambda: channel.queue_declare("q"),
            lambda: channel.drain_events(5),
        ):
            with pytest.raises(LeaseEnded):
                use()
        assert channel.unpark()
        assert channel.queue_declare("q").queue == "q"


def test_a_channel_settles_when_its_last_confirm_is_in() -> None:
    settled: list[SharedChannel] = []
    with Peer() as peer, channels(1, peer, confirms=True) as (channel,):
        session = peer.session()
        session.confirming = False
        channel.confirm_select()
        sent = [channel.basic_publish(message(), routing_key="q") for _ in range(2)]
        done = threading.Event()

        def on_settled(each: SharedChannel) -> None:
            settled.append(each)
            done.set()

        noted: dict[SharedChannel, float] = {}
        assert channel.park(noted, on_settled) == SETTLING
        assert list(noted) == [channel]
        session.send(1, c.Basic.Ack(1, False))
        assert sent[0] is not None
        assert sent[0].wait(5), "waiting is allowed after the release"
        assert settled == []
        session.send(1, c.Basic.Ack(2, False))
        assert done.wait(5)
        assert settled == [channel]


def test_a_thread_that_waits_on_a_released_channel_wakes(crowd: Any, until: Until) -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        threads = crowd(3, lambda n: channel.drain_events(30))
        threads.go()
        until(lambda: channel.inbox._waiting == 3)
        assert channel.park({}, lambda _: None) == CLEAN
        threads.join()
        assert {type(error) for error in threads.errors} == {LeaseEnded}


def test_a_lost_connection_is_not_an_error_of_close() -> None:
    with Peer() as peer, channels(1, peer) as (channel,):
        peer.session().reset()
        with pytest.raises(ConnectionLost):
            channel.drain_events(5)
        channel.close()
        assert channel.park({}, lambda _: None) == DEAD
