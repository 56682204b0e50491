"""SharedConnection against a scripted peer: handshake, hostile peers, death, heartbeats, close."""

from __future__ import annotations

import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import pamqp.commands as c
import pamqp.frame
import pytest

from amqpool import (
    ChannelPool,
    ConnectionLost,
    DrainTimeout,
    FrameError,
    LoginRefused,
    OperationTimeout,
    PublishTimeout,
    SharedConnection,
)
from amqpool.wire import Wire
from tests.pool.peer import Peer, Session, start

Until = Callable[[Callable[[], Any]], None]


@contextmanager
def connected(peer: Peer, **options: Any) -> Iterator[SharedConnection]:
    connection = SharedConnection(peer.host, **options)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close(2.0)


def frames(data: bytes) -> list[Any]:
    """What the bytes of one send hold."""
    found = []
    while data:
        used, _, frame = pamqp.frame.unmarshal(data)
        found.append(frame)
        data = data[used:]
    return found


def test_it_opens_works_and_closes_in_order() -> None:
    with Peer() as peer:
        connection = SharedConnection(peer.host)
        assert not connection.connected
        connection.connect()
        assert connection.connected
        assert (connection.frame_max, connection.channel_max) == (131_072, 2047)
        channel = connection.channel()
        assert repr(channel) == (
            "<SharedChannel 1 of generation 1: open, 0 in the inbox, 0 unconfirmed, 0 unacked>"
        )
        assert channel.queue_declare("q").queue == "q"
        assert connection.close(5.0) is True
        assert connection.close(5.0) is True
        assert not connection.connected
        assert "lost" in repr(connection)
        with pytest.raises(ConnectionLost, match="closed by this program"):
            connection.channel()
        assert [type(each) for _, each in peer.session().seen][-1] is c.Connection.Close


def test_the_smaller_limit_of_the_two_holds() -> None:
    with (
        Peer(frame_max=8192, channel_max=0, heartbeat=3) as peer,
        connected(peer, channel_max=5, heartbeat=7) as connection,
    ):
        tune = peer.session().wait_for(c.Connection.TuneOk)[0][1]
        assert (tune.frame_max, tune.channel_max, tune.heartbeat) == (8192, 5, 3)
        for _ in range(5):
            connection.channel()
        with pytest.raises(amqp.exceptions.ResourceError, match="all 5 channel numbers"):
            connection.channel()


def test_what_need_not_wait_for_an_answer_leaves_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each send wakes the broker: tune-ok with open, channel.open with confirm.select."""
    sent: list[bytes] = []
    send = Wire.send

    def noted(self: Wire, data: bytes) -> int:
        sent.append(bytes(data))
        return send(self, data)

    monkeypatch.setattr(Wire, "send", noted)
    monkeypatch.setattr(Wire, "send_short", noted)
    with Peer() as peer, ChannelPool(peer.url, size=1, confirms=True) as pool:
        with pool.lease():
            pass
        names = [[type(frame).__name__ for frame in frames(each)] for each in sent]
    assert names == [["StartOk"], ["TuneOk", "Open"], ["Open", "Select"]]


def test_a_failing_open_has_no_keyerror_none_in_its_context() -> None:
    with Peer() as peer, connected(peer, channel_max=1) as connection:
        connection.channel()
        with pytest.raises(amqp.exceptions.ResourceError) as caught:
            connection.channel()
        assert caught.value.__context__ is None


def test_a_number_rests_and_is_reused_only_after_close_ok(until: Until) -> None:
    held: list[tuple[Session, int]] = []
    answers = {c.Channel.Close: lambda s, n, m: held.append((s, n))}
    with Peer(answers=answers) as peer, connected(peer, channel_max=3) as connection:
        first, second = connection.channel(), connection.channel()
        first.discard("test")
        until(lambda: held)
        assert connection.channel().channel_id == 3
        with pytest.raises(amqp.exceptions.ResourceError):
            connection.channel()
        held[0][0].send(1, c.Channel.CloseOk())
        until(lambda: 1 not in connection.channels)
        assert connection.channel().channel_id == 1
        assert second.channel_id == 2
        assert first.channel_id == 1, "an id is never set to None"


def test_a_certain_number() -> None:
    with Peer() as peer, connected(peer, channel_max=9) as connection:
        channel = connection.channel(7)
        assert channel.channel_id == 7
        assert connection.channel(7) is channel
        with pytest.raises(ValueError, match="between 1 and 9"):
            connection.channel(10)


# -- peers that are no good ---------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["own-thread", "served-here"])
def dial(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Connect, in either of the two ways; who serves the connection itself has to close it."""

    def connect(host: str, **options: Any) -> None:
        connection = SharedConnection(host, own_thread=request.param, **options)
        try:
            connection.connect()
        finally:
            if not request.param:
                assert connection.close(2.0)

    return connect


def say(*data: bytes) -> Callable[[Session], object]:
    def script(session: Session) -> None:
        for each in data:
            session.send_raw(each)
        session.exactly(1_000_000)

    return script


def hang_up(session: Session) -> None:
    session.exactly(8)


def nested_tables(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        entry = b"\x01aF" + struct.pack(">I", len(table)) + table
        table = entry
    args = b"\x00\x09" + struct.pack(">I", len(table)) + table + struct.pack(">I", 5) + b"PLAIN"
    payload = b"\x00\x0a\x00\x0a" + args + struct.pack(">I", 5) + b"en_US"
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (say(b"HTTP/1.1 200 OK\r\n\r\n"), FrameError, "does not speak AMQP"),
        (say(b"AMQP\x00\x00\x09\x01"), FrameError, "wants another AMQP"),
        (say(struct.pack(">BHI", 1, 0, 0xFFFFFFFF)), FrameError, "4294967295 bytes"),
        (say(struct.pack(">BHI", 1, 0, 4) + b"\x00\x0a\x00\x0a\xce"), FrameError, "decoded"),
        (say(nested_tables(15_000)), FrameError, "decoded"),
        (hang_up, ConnectionLost, "ended the connection|broke"),
        (
            lambda s: (s.send(0, c.Connection.Tune(1, 4096, 0)), s.exactly(10**6)),
            FrameError,
            "out of turn",
        ),
        (
            lambda s: (s.send(0, start()), s.send(0, start()), s.exactly(10**6)),
            FrameError,
            "out of turn",
        ),
        (
            lambda s: (
                s.send(0, start(), c.Connection.Tune(0, 100, 0)),
                s.exactly(10**6),
            ),
            FrameError,
            "frame_max of 100",
        ),
        (
            lambda s: (s.send(0, start("KERBEROS")), s.exactly(10**6)),
            LoginRefused,
            "auth mechanism",
        ),
        (
            lambda s: (
                s.send(0, start(), c.Connection.Secure("again")),
                s.exactly(10**6),
            ),
            FrameError,
            "another round of authentication",
        ),
    ],
)
def test_a_peer_that_is_no_broker_is_told_apart(
    dial: Callable[..., None],
    script: Callable[[Session], object],
    error: type[Exception],
    says: str,
) -> None:
    with Peer(script) as peer:
        with pytest.raises(error, match=says) as caught:
            dial(peer.host, connect_timeout=5.0)
        assert type(caught.value) is error


@pytest.mark.parametrize(
    "script",
    [
        lambda s: s.exactly(10**6),
        lambda s: (s.send(0, start()), s.exactly(10**6)),
        lambda s: (s.send_raw(struct.pack(">BHI", 1, 0, 100)), s.exactly(10**6)),
    ],
)
def test_silence_ends_at_the_connect_timeout(
    dial: Callable[..., None], script: Callable[[Session], object]
) -> None:
    with Peer(script) as peer:
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"did not open the connection within 0\.20 s"):
            dial(peer.host, connect_timeout=0.2)
        assert 0.2 <= time.monotonic() - began < 2.0


def test_a_drip_does_not_stretch_the_connect_timeout(dial: Callable[..., None]) -> None:
    stop = threading.Event()

    def drip(session: Session) -> None:
        while not stop.wait(0.02):
            session.send_raw(b"\x08\x00\x00\x00\x00\x00\x00\xce")

    with Peer(drip) as peer:
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="did not open"):
            dial(peer.host, connect_timeout=0.3)
        assert time.monotonic() - began < 2.0
        stop.set()


def test_nobody_there(dial: Callable[..., None], vacant: int) -> None:
    with pytest.raises(ConnectionLost, match="refused"):
        dial(f"127.0.0.1:{vacant}")


@pytest.mark.parametrize("code", [403, 530])
def test_a_refused_login_says_what_the_broker_said(dial: Callable[..., None], code: int) -> None:
    def refuse(session: Session) -> None:
        session.exactly(8)
        session.send(0, start())
        session.expect(c.Connection.StartOk)
        session.send(0, c.Connection.Close(code, "REFUSED - because", 0, 0))
        session.expect(c.Connection.CloseOk)

    with Peer(refuse) as peer:
        with pytest.raises(LoginRefused, match="REFUSED - because") as caught:
            dial(peer.host, password="secret")
        assert caught.value.reply_code == code
        assert "secret" not in repr(caught.value)


@pytest.mark.parametrize("own_thread", [True, False])
def test_abort_ends_a_handshake_at_once(own_thread: bool) -> None:
    with Peer(lambda s: s.exactly(10**6)) as peer:
        connection = SharedConnection(peer.host, own_thread=own_thread, connect_timeout=60.0)
        errors: list[BaseException] = []

        def connect() -> None:
            try:
                connection.connect()
            except ConnectionLost as error:
                errors.append(error)
            assert connection.close(2.0)

        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        peer.session()
        connection.abort()
        thread.join(5)
        assert not thread.is_alive()
        assert "given up" in str(errors[0])


def test_garbage_on_an_open_connection_ends_it_alone() -> None:
    with Peer() as peer, connected(peer) as connection:
        channel = connection.channel()
        peer.session().send_raw(b"\x01\x00\x01\xff\xff\xff\xff")
        with pytest.raises(FrameError, match="was announced"):
            channel.drain_events(5)
        with pytest.raises(FrameError):
            connection.channel()


def test_an_undecodable_argument_is_a_frame_error_of_the_connection() -> None:
    with Peer() as peer, connected(peer) as connection:
        channel, other = connection.channel(), connection.channel()
        bad = b"\x00\x3c\x00\x1e\xff\xfe"
        peer.session().send_raw(struct.pack(">BHI", 1, 1, len(bad)) + bad + b"\xce")
        with pytest.raises(FrameError, match="decoded"):
            channel.drain_events(5)
        with pytest.raises(FrameError, match="decoded"):
            other.drain_events(5)


def test_announced_lengths_cost_no_memory() -> None:
    # The contents never end, so there is no place for a CloseOk.
    answers = {c.Channel.Close: lambda s, n, m: None}
    with Peer(answers=answers) as peer, connected(peer, inbox_bytes=100_000) as connection:
        channels = [connection.channel() for _ in range(3)]
        tracemalloc.start()
        try:
            session = peer.session()
            for channel in channels:
                number = channel.channel_id
                deliver = c.Basic.Deliver("t", 1, False, "", "")
                session.send(number, deliver)
                head = struct.pack(">HHQH", 60, 0, 2**62, 0)
                session.send_raw(struct.pack(">BHI", 2, number, len(head)) + head + b"\xce")
                body = struct.pack(">BHI", 3, number, 100_000) + bytes(100_000) + b"\xce"
                for _ in range(50):
                    session.send_raw(body)
                with pytest.raises(amqp.exceptions.RecoverableChannelError, match="inbox"):
                    channel.drain_events(5)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3_000_000
        assert connection.connected


def test_a_flood_of_connection_events_is_bounded() -> None:
    with Peer() as peer, connected(peer) as connection:
        session = peer.session()
        for _ in range(3000):
            session.send(0, c.Connection.Blocked("memory"), c.Connection.Unblocked())
        connection.channel()
        assert len(connection.inbox) < 1000


# -- dying ---------------------------------------------------------------------------------------


def test_fifty_waiting_threads_wake_at_once_each_with_its_own_error(
    crowd: Any, until: Until
) -> None:
    """Threads in every kind of wait; the connection is reset under them."""
    answers = {c.Queue.Declare: lambda s, n, m: None}
    with Peer(answers=answers) as peer, connected(peer) as connection:
        session = peer.session()
        session.confirming = False
        channels = [connection.channel() for _ in range(50)]
        woken = [0.0] * 50

        def wait(number: int) -> None:
            channel = channels[number]
            try:
                if number % 4 == 0:
                    channel.drain_events(30)
                elif number % 4 == 1:
                    channel.queue_declare("q")
                elif number % 4 == 2:
                    channel.basic_publish_confirm(amqp.Message(b"x"), routing_key="q")
                else:
                    connection.drain_events(30)
            finally:
                woken[number] = time.monotonic()

        threads = crowd(50, wait)
        threads.go()
        session.wait_for(c.Queue.Declare, 13)
        session.wait(lambda: len(session.published) == 12)
        session.reset()
        threads.join()
        assert {type(error) for error in threads.errors} == {ConnectionLost}
        assert len({id(error) for error in threads.errors}) == 50
        assert len({id(error.__traceback__) for error in threads.errors}) == 50
        assert max(woken) - min(woken) < 0.5


def test_the_brokers_reason_reaches_everybody() -> None:
    with Peer() as peer, connected(peer) as connection:
        channel = connection.channel()
        session = peer.session()
        session.send(0, c.Connection.Close(320, "CONNECTION_FORCED - maintenance", 0, 0))
        with pytest.raises(ConnectionLost, match="CONNECTION_FORCED - maintenance") as caught:
            channel.drain_events(5)
        assert caught.value.reply_code == 320
        assert isinstance(caught.value.__cause__, amqp.exceptions.ConnectionForced)
        session.wait_for(c.Connection.CloseOk)


def test_publishers_tell_the_brokers_reason_too_whose_writes_fail(crowd: Any) -> None:
    """It says Close and hangs up: the next write is a broken pipe, and that is no reason."""
    with Peer() as peer, connected(peer) as connection:
        channels = [connection.channel() for _ in range(20)]
        session = peer.session()

        def publish(number: int) -> None:
            while True:
                channels[number].basic_publish(amqp.Message("x"), routing_key="q")

        threads = crowd(20, publish)
        threads.go()
        session.wait(lambda: len(session.published) > 100)
        session.send(0, c.Connection.Close(320, "CONNECTION_FORCED - maintenance", 0, 0))
        session.close()
        threads.join()
        told = [(type(error), error.reply_code) for error in threads.errors]
        assert told == [(ConnectionLost, 320)] * 20


def test_what_was_sent_before_a_reset_is_still_dispatched() -> None:
    with Peer() as peer, connected(peer) as connection:
        channel = connection.channel()
        got: list[bytes] = []
        channel.basic_consume("q", "tag", no_ack=True, callback=lambda m: got.append(m.body))
        session = peer.session()
        for number in range(20):
            session.content(1, c.Basic.Deliver("tag", number + 1, False, "", "q"), b"%d" % number)
        session.close()
        for _ in range(20):
            channel.drain_events(5)
        with pytest.raises(ConnectionLost):
            channel.drain_events(5)
        assert got == [b"%d" % number for number in range(20)]


def test_a_silent_broker_is_noticed_after_two_heartbeats() -> None:
    with Peer(heartbeat=1) as peer, connected(peer, heartbeat=1) as connection:
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="no sign of life"):
            connection.drain_events(10)
        assert 1.9 <= time.monotonic() - began < 3.5
        assert peer.session().heartbeats >= 3


def test_heartbeats_keep_an_idle_connection() -> None:
    with Peer(heartbeat=1) as peer, connected(peer, heartbeat=1) as connection:
        session = peer.session()
        ends = time.monotonic() + 2.5
        while time.monotonic() < ends:
            session.send_raw(b"\x08\x00\x00\x00\x00\x00\x00\xce")
            with pytest.raises(DrainTimeout):
                connection.drain_events(0.2)
        assert connection.connected


# -- back-pressure -------------------------------------------------------------------------------


def test_a_peer_that_does_not_read_holds_publishers_and_bounds_memory(crowd: Any) -> None:
    release = threading.Event()

    def stall(session: Session) -> None:
        session.handshake()
        session.answers[c.Channel.Open](session, session.read()[1], None)
        release.wait(30)
        session.obey()

    body = b"x" * 60_000
    with (
        Peer(stall) as peer,
        connected(peer, max_outbox_bytes=200_000, publish_timeout=0.3) as connection,
    ):
        channel = connection.channel()
        peak = 0
        texts: set[str] = set()

        def publish(number: int) -> int:
            nonlocal peak
            for count in range(10_000):
                try:
                    channel.basic_publish(amqp.Message(body), routing_key="q")
                except PublishTimeout as error:
                    texts.add(str(error).partition(":")[0])
                    return count
                peak = max(peak, connection.outbox.pending)
            return -1

        counts = crowd(4, publish).run()
        assert -1 not in counts
        assert texts == {"the broker took no message for 0.30 s"}
        assert 100_000 < peak <= 200_000
        assert connection.connected, "a slow broker is not a lost one"
        release.set()
        session = peer.session()
        session.wait(lambda: len(session.published) == sum(counts))
        assert connection.flush(5.0) is True


def test_blocked_publishers_wait_until_unblocked(crowd: Any, until: Until) -> None:
    told: list[str] = []
    with (
        Peer() as peer,
        connected(
            peer, on_blocked=told.append, on_unblocked=lambda: told.append("free")
        ) as connection,
    ):
        session = peer.session()
        channel = connection.channel()
        session.send(0, c.Connection.Blocked("low on memory"))
        until(lambda: connection.blocked)
        assert connection.blocked == "low on memory"
        with pytest.raises(PublishTimeout, match=r"blocked publishers for 0\.05 s: low on mem"):
            channel.basic_publish(amqp.Message(b"x"), routing_key="q", timeout=0.05)
        assert channel.queue_declare("q").queue == "q", "only publishes wait"
        threads = crowd(5, lambda n: channel.basic_publish(amqp.Message(b"y"), routing_key="q"))
        threads.go()
        connection.drain_events(5)
        session.send(0, c.Connection.Unblocked())
        threads.join()
        assert threads.errors == [None] * 5
        connection.drain_events(5)
        assert told == ["low on memory", "free"]
        session.wait(lambda: len(session.published) == 5)


def test_large_messages_of_many_threads_do_not_interleave(crowd: Any) -> None:
    """Bodies over 128 KiB take several frames; the peer asserts that each message is whole."""
    with Peer(frame_max=4096) as peer, connected(peer) as connection:
        channels = [connection.channel() for _ in range(6)]

        def publish(number: int) -> None:
            for count in range(15):
                body = b"%d/%d/" % (number, count) * 30_000
                channels[number].basic_publish(amqp.Message(body), routing_key=str(number))

        crowd(6, publish).run()
        session = peer.session()
        session.wait(lambda: len(session.published) == 90)
        for number in range(6):
            mine = [each for each in session.published if each.method.routing_key == str(number)]
            assert [each.body for each in mine] == [
                b"%d/%d/" % (number, count) * 30_000 for count in range(15)
            ]


# -- closing -------------------------------------------------------------------------------------


def test_close_flushes_what_was_published() -> None:
    with Peer() as peer:
        connection = SharedConnection(peer.host)
        connection.connect()
        channel = connection.channel()
        for number in range(500):
            channel.basic_publish(amqp.Message(b"x" * 1000), routing_key=str(number))
        assert connection.close(10.0) is True
        session = peer.session()
        assert len(session.published) == 500


def test_close_never_takes_longer_than_it_was_given() -> None:
    answers = {c.Connection.Close: lambda s, n, m: None}
    with Peer(answers=answers) as peer:
        connection = SharedConnection(peer.host)
        connection.connect()
        began = time.monotonic()
        assert connection.close(0.3) is False
        assert time.monotonic() - began < 1.0


def test_a_broker_that_takes_its_time_to_close_is_not_hung_up_on() -> None:
    """Beats go on in both directions behind the Close, or each side gives the other up.

    Met on a cluster of RabbitMQ whose channels waited for a leader.
    """

    def later(session: Session, number: int, method: Any) -> None:
        for _ in range(6):
            assert session.read() == (8, 0, b"")
            session.send_raw(b"\x08\x00\x00\x00\x00\x00\x00\xce")
        session.send(0, c.Connection.CloseOk())

    with Peer(heartbeat=1, answers={c.Connection.Close: later}) as peer:
        connection = SharedConnection(peer.host, heartbeat=1)
        connection.connect()
        assert connection.close(10.0) is True


def test_close_while_everything_is_in_use(crowd: Any, until: Until) -> None:
    with Peer() as peer:
        connection = SharedConnection(peer.host, rpc_timeout=20.0)
        connection.connect()
        channels = [connection.channel() for _ in range(9)]
        busy = threading.Event()

        def work(number: int) -> None:
            while True:
                if number % 3 == 0:
                    channels[number].basic_publish(amqp.Message(b"x"), routing_key="q")
                elif number % 3 == 1:
                    channels[number].queue_declare("q")
                else:
                    channels[number].drain_events(20)
                busy.set()

        threads = crowd(9, work)
        threads.go()
        assert busy.wait(5)
        assert connection.close(10.0) is True
        threads.join()
        assert {str(error) for error in threads.errors} == {
            "the connection was closed by this program"
        }


def test_many_may_close_at_once(crowd: Any) -> None:
    with Peer() as peer:
        connection = SharedConnection(peer.host)
        connection.connect()
        assert crowd(8, lambda n: connection.close(5.0)).run() == [True] * 8
        assert len(peer.session().all(c.Connection.Close)) == 1


def test_what_cannot_be_shared_says_so() -> None:
    with Peer() as peer, connected(peer) as connection:
        for attribute in ("frame_writer", "on_inbound_frame"):
            with pytest.raises(NotImplementedError):
                getattr(connection, attribute)
        with pytest.raises(NotImplementedError):
            connection.blocking_read()
        connection.heartbeat_tick()
        connection.collect()
        assert connection.channel().channel_id == 1


def test_no_reply_within_the_time_closes_the_channel_and_spares_the_connection() -> None:
    answers = {c.Channel.Open: lambda s, n, m: None if n == 1 else s.send(n, c.Channel.OpenOk())}
    with Peer(answers=answers) as peer, connected(peer, rpc_timeout=0.1) as connection:
        with pytest.raises(OperationTimeout, match=r"channel 1: no reply .*open_ok within 0\.10 s"):
            connection.channel()
        assert connection.channel().channel_id == 2
