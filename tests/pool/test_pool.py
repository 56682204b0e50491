"""ChannelPool against a scripted peer: stories told by repr() and stats(), then many threads."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import amqp
import pamqp.commands as c
import pytest

from amqpool import (
    AcquireTimeout,
    ChannelPool,
    ConnectionLost,
    DrainTimeout,
    Lease,
    LeaseEnded,
    LoginRefused,
    OperationTimeout,
    PoolClosed,
    RecoveryFailed,
    SharedChannel,
    Stats,
    connection,
)
from tests.pool.peer import DEADLINE, Peer, Session, start

Until = Callable[[Callable[[], Any]], None]


def message(body: bytes = b"x", **properties: Any) -> Any:
    return amqp.Message(body, **properties)


def counts(pool: ChannelPool, *names: str) -> dict[str, int]:
    stats = pool.stats()
    return {name: stats[name] for name in names}


def gauges(pool: ChannelPool) -> tuple[int, int, int, int]:
    """In use, idle, settling, waiting."""
    stats = pool.stats()
    return (
        stats[Stats.IN_USE],
        stats[Stats.IDLE],
        stats[Stats.SETTLING],
        stats[Stats.WAITING],
    )


def test_a_story() -> None:
    with Peer() as peer:
        pool = ChannelPool(peer.url, size=2)
        at = f"amqp://guest@127.0.0.1:{peer.port}/"
        assert repr(pool) == (
            f"<ChannelPool {at}: not connected, generation 0, 0 in use, 0 idle, 0 settling,"
            " 0 waiting, size 2>"
        )
        assert not pool.connected
        with pool.lease() as lease:
            assert repr(lease) == "<Lease 1: channel 1 of generation 1, held by MainThread>"
            assert (lease.number, lease.generation, lease.owner) == (1, 1, "MainThread")
            lease.channel.basic_publish(message(), routing_key="q")
            assert gauges(pool) == (1, 0, 0, 0)
            second = pool.acquire()
            assert second.channel.channel_id == 2
            with pytest.raises(
                AcquireTimeout,
                match=r"couldn't get a channel within 0\.05 s: of 2, 2 are in use, 0 await their"
                r" confirms; 0 more threads wait",
            ):
                pool.acquire(0.05)
            assert second.release() is True
            assert gauges(pool) == (1, 1, 0, 0)
            again = pool.acquire(0)
            assert again.channel is second.held, "a channel is lent again, without a round trip"
            assert pool.release(again) is True
        assert repr(lease) == "<Lease 1: channel 1 of generation 1, ended>"
        with pytest.raises(LeaseEnded, match="lease 1 was released"):
            _ = lease.channel
        assert gauges(pool) == (0, 2, 0, 0)
        assert pool.close(5) is True
        assert repr(pool) == (
            f"<ChannelPool {at}: closed, generation 1, 0 in use, 0 idle, 0 settling,"
            " 0 waiting, size 2>"
        )
        assert pool.stats() == {
            "leases": 3,
            "releases": 3,
            "double_releases": 0,
            "channels_opened": 2,
            "channels_closed": 0,
            "channels_died": 2,
            "recoveries": 0,
            "recovery_failures": 0,
            "connect_attempts": 1,
            "timeouts": 1,
            "waits": 2,
            "settle_timeouts": 0,
            "waiting": 0,
            "idle": 0,
            "in_use": 0,
            "settling": 0,
            "open": 0,
            "generation": 1,
            "outbox_bytes": 0,
            "size": 2,
        }
        assert {type(m) for _, m in peer.session().seen} >= {c.Channel.Open, c.Basic.Publish}


def test_a_second_release_has_no_effect_and_is_counted(crowd: Any) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        lease = pool.acquire()
        assert sorted(crowd(8, lambda n: pool.release(lease)).run()) == [False] * 7 + [True]
        other = pool.acquire()
        assert pool.release(lease) is False
        assert gauges(pool) == (1, 0, 0, 0)
        assert other.channel.queue_declare("q").queue == "q"
        assert counts(pool, Stats.DOUBLE_RELEASES, Stats.RELEASES) == {
            "double_releases": 8,
            "releases": 1,
        }
        assert other.release()


def test_a_release_waits_until_the_kernel_has_what_was_published(until: Until) -> None:
    reading = threading.Event()

    def stall(session: Session) -> None:
        session.handshake()
        session.answers[c.Channel.Open](session, session.read()[1], None)
        reading.wait(30)
        session.obey()

    with (
        Peer(stall) as peer,
        ChannelPool(peer.url, size=1, max_outbox_bytes=32 * 1024 * 1024) as pool,
    ):
        lease = pool.acquire()
        for _ in range(160):
            lease.channel.basic_publish(message(b"x" * 100_000), routing_key="q")
        assert pool.stats()[Stats.OUTBOX_BYTES] > 1_000_000
        releasing = threading.Thread(target=lease.release, daemon=True)
        releasing.start()
        until(lambda: lease.ended)
        releasing.join(0.1)
        assert releasing.is_alive()
        reading.set()
        releasing.join(20)
        assert not releasing.is_alive()
        assert pool.stats()[Stats.OUTBOX_BYTES] == 0
        peer.session().wait(lambda: len(peer.session().published) == 160)


def test_a_lease_may_be_released_by_another_thread(crowd: Any) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        for _ in range(5):
            lease = pool.acquire()
            assert crowd(1, lambda n, lease=lease: lease.release()).run() == [True]
        assert counts(pool, Stats.LEASES, Stats.CHANNELS_OPENED) == {
            "leases": 5,
            "channels_opened": 1,
        }


def test_no_channel_is_ever_in_two_hands(crowd: Any) -> None:
    """Many threads fight for few channels; each notes what it holds, outside the pool."""
    with Peer() as peer, ChannelPool(peer.url, size=3, confirms=True) as pool:
        held: set[int] = set()

        def work(number: int) -> int:
            for turn in range(40):
                with pool.lease(30) as lease:
                    channel = lease.channel.channel_id
                    assert channel not in held
                    held.add(channel)
                    if turn % 3 == 0:
                        lease.channel.basic_publish(message(), routing_key="q")
                    held.discard(channel)
            return number

        assert crowd(30, work).run() == list(range(30))
        assert counts(pool, Stats.LEASES, Stats.RELEASES, Stats.DOUBLE_RELEASES) == {
            "leases": 1200,
            "releases": 1200,
            "double_releases": 0,
        }
        assert pool.stats()[Stats.CHANNELS_OPENED] == 3
        assert len(set(pool.idle_channels())) == len(pool.idle_channels())


def test_waiters_are_served_in_order(until: Until) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        first = pool.acquire()
        order: list[int] = []

        def wait(number: int) -> None:
            with pool.lease(DEADLINE):
                order.append(number)

        threads = []
        for number in range(10):
            thread = threading.Thread(target=wait, args=(number,), daemon=True)
            thread.start()
            threads.append(thread)
            until(lambda number=number: pool.stats()[Stats.WAITING] == number + 1)  # type: ignore[misc]
        first.release()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        assert order == list(range(10))


def test_nothing_is_lost_when_waiters_time_out_at_the_moment_of_release(crowd: Any) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        pool.acquire().release()

        def work(number: int) -> int:
            got = 0
            for turn in range(60):
                try:
                    lease = pool.acquire(0.0005 * (turn % 5))
                except AcquireTimeout:
                    continue
                got += 1
                lease.release()
            return got

        assert sum(crowd(8, work).run()) > 0
        with pool.lease(1):
            assert gauges(pool) == (1, 0, 0, 0)
        assert pool.stats()[Stats.OPEN] == 1


def test_a_dead_channel_is_never_lent(until: Until) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=2) as pool:
        lease = pool.acquire()
        lease.release()
        peer.session().send(1, c.Channel.Close(406, "PRECONDITION_FAILED", 0, 0))
        until(lambda: not lease.held.usable)
        with pool.lease() as again:
            assert again.channel.channel_id == 2
            assert again.channel.queue_declare("q").queue == "q"
        assert counts(pool, Stats.CHANNELS_OPENED, Stats.CHANNELS_DIED, Stats.OPEN) == {
            "channels_opened": 2,
            "channels_died": 1,
            "open": 1,
        }


def test_a_poisoned_channel_is_replaced_and_a_dirty_one_closed() -> None:
    answers = {c.Queue.Declare: lambda s, n, m: None}
    with Peer(answers=answers) as peer, ChannelPool(peer.url, size=1, rpc_timeout=0.05) as pool:
        with pool.lease() as lease, pytest.raises(OperationTimeout):
            lease.channel.queue_declare("q")
        with pool.lease() as lease:
            assert lease.channel.channel_id == 2
            lease.channel.basic_consume("q", callback=print)
        with pool.lease() as lease:
            assert lease.channel.channel_id == 3
        assert counts(pool, Stats.CHANNELS_DIED, Stats.CHANNELS_CLOSED, Stats.OPEN) == {
            "channels_died": 1,
            "channels_closed": 1,
            "open": 1,
        }


def test_a_confirm_never_reaches_the_next_owner(until: Until) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1, confirms=True) as pool:
        with pool.lease() as lease:
            session = peer.session()
            session.confirming = False
            confirmation = lease.channel.basic_publish(message(), routing_key="q")
        assert gauges(pool) == (0, 0, 1, 0)
        with pytest.raises(AcquireTimeout, match="1 await their confirms"):
            pool.acquire(0.05)
        assert confirmation is not None
        assert confirmation.outcome is None
        session.send(1, c.Basic.Ack(1, False))
        with pool.lease() as again:
            assert again.channel is lease.held
            assert confirmation.outcome == "ack"


def test_a_channel_that_never_settles_is_replaced() -> None:
    with (
        Peer() as peer,
        ChannelPool(peer.url, size=1, confirms=True, settle_timeout=0.1) as pool,
    ):
        with pool.lease() as lease:
            peer.session().confirming = False
            confirmation = lease.channel.basic_publish(message(), routing_key="q")
        with pool.lease(5) as again:
            assert again.channel.channel_id == 2
        assert confirmation is not None
        with pytest.raises(amqp.exceptions.RecoverableChannelError, match="settle_timeout"):
            confirmation.wait(5)
        assert counts(pool, Stats.SETTLE_TIMEOUTS, Stats.CHANNELS_CLOSED) == {
            "settle_timeouts": 1,
            "channels_closed": 1,
        }


def test_a_lease_stays_that_of_its_thread_also_when_that_has_ended() -> None:
    """The system gives a thread's number to another, which must not drain the lease's channel."""
    leases: list[Lease] = []
    names: list[str] = []
    drained: list[Any] = []
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:

        def first() -> None:
            lease = pool.acquire()
            lease.channel.basic_consume("q", "t", callback=drained.append)
            leases.append(lease)

        def other() -> None:
            names.append(leases[0].owner)
            with pytest.raises(DrainTimeout):
                pool.drain_events(0.05)

        for number, work in enumerate((first, other, other)):
            thread = threading.Thread(target=work, name=f"owner-{number}")
            thread.start()
            thread.join(DEADLINE)
            peer.session().content(
                1, c.Basic.Deliver("t", number + 1, False, "", "q"), b"for the first one"
            )
        assert names == ["owner-0", "owner-0"]
        assert drained == []


def test_who_waits_before_a_channel_begins_to_settle_gives_it_up_in_time(
    crowd: Any, until: Any
) -> None:
    with (
        Peer() as peer,
        ChannelPool(peer.url, size=1, confirms=True, settle_timeout=0.1) as pool,
    ):
        lease = pool.acquire()
        peer.session().confirming = False
        lease.channel.basic_publish(message(), routing_key="q")
        threads = crowd(1, lambda _number: pool.acquire(DEADLINE).release())
        threads.go()
        until(lambda: pool.stats()[Stats.WAITING])
        lease.release()
        threads.join(DEADLINE / 2)
        assert threads.errors == [None]
        assert pool.stats()[Stats.SETTLE_TIMEOUTS] == 1


def test_a_channel_that_is_never_flushed_is_replaced_and_not_put_back(
    monkeypatch: pytest.MonkeyPatch, crowd: Any
) -> None:
    """Its bytes are not with the kernel, so its release waits; others do not wait for that."""
    with Peer() as peer, ChannelPool(peer.url, size=1, settle_timeout=0.1) as pool:
        lease = pool.acquire()
        stuck, go_on = lease.channel, threading.Event()
        monkeypatch.setattr(stuck, "flush", lambda seconds: go_on.wait(seconds))
        threads = crowd(1, lambda _number: lease.release())
        threads.go()
        with pool.lease(5) as again:
            assert again.channel is not stuck
            assert gauges(pool) == (1, 0, 0, 0)
        go_on.set()
        threads.join()
        assert threads.errors == [None]
        assert pool.idle_channels() == [again.held]
        assert counts(pool, Stats.SETTLE_TIMEOUTS, Stats.CHANNELS_CLOSED, Stats.OPEN) == {
            "settle_timeouts": 1,
            "channels_closed": 1,
            "open": 1,
        }


@pytest.mark.parametrize("at", ["flush", "park"])
def test_an_interrupted_release_costs_no_place(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, or a worker's time limit: the channel is closed, and another has its place."""
    with Peer() as peer, ChannelPool(peer.url, size=1, settle_timeout=0.1) as pool:
        lease = pool.acquire()

        def interrupt(*_args: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(lease.channel, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            lease.release()
        assert gauges(pool) == (0, 0, 1, 0)
        with pool.lease(5) as again:
            assert again.channel is not lease.held
        assert counts(pool, Stats.CHANNELS_CLOSED, Stats.OPEN) == {
            "channels_closed": 1,
            "open": 1,
        }
        assert not lease.release()


def test_an_interrupted_release_of_a_lost_connection_is_counted(
    monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        lease = pool.acquire()
        peer.session().reset()
        # The last word on it is said: nobody will look into that connection's books again.
        until(lambda: lease.slots.buried)

        def interrupt(*_args: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(lease.channel, "flush", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lease.release()
        assert not lease.slots.settling
        assert lease.slots.taken == 0
        with pool.lease(5):
            assert counts(pool, Stats.CHANNELS_DIED, Stats.OPEN) == {"channels_died": 1, "open": 1}


# -- recovery ------------------------------------------------------------------------------------


def test_a_lost_connection_is_recovered_once_however_many_ask(crowd: Any, until: Until) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=50, confirms=True) as pool:
        pool.open()
        leases = [pool.acquire() for _ in range(50)]
        peer.session().reset()
        until(lambda: leases[0].slots.buried)
        errors: list[BaseException] = []

        def work(number: int) -> int:
            try:
                leases[number].channel.basic_publish(message())
            except ConnectionLost as error:
                errors.append(error)
            assert leases[number].release() is True
            with pool.lease(DEADLINE) as lease:
                confirmation = lease.channel.basic_publish(message(), routing_key="q")
                assert confirmation is not None
                assert confirmation.wait(5)
                return lease.generation

        assert crowd(50, work).run() == [2] * 50
        assert len({id(error) for error in errors}) == 50
        assert len(peer.sessions) == 2
        assert counts(pool, Stats.RECOVERIES, Stats.GENERATION, Stats.CONNECT_ATTEMPTS) == {
            "recoveries": 1,
            "generation": 2,
            "connect_attempts": 2,
        }
        assert pool.release(leases[0]) is False


def ours() -> list[str]:
    """The names of the pool's threads."""
    return [each.name for each in threading.enumerate() if each.name.startswith("amqpool")]


def test_who_holds_a_lease_of_a_lost_connection_need_not_ask_for_another(until: Until) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        with pool.lease():
            assert ours() == ["amqpool-io-1"]
            [thread] = [each for each in threading.enumerate() if each.name in ours()]
            peer.session().reset()
            until(lambda: pool.connected and pool.generation == 2)
            until(lambda: ours() == ["amqpool-io-2"])
            assert thread.name == "amqpool-io-2", "one thread connects, serves, connects again"
        assert counts(pool, Stats.RECOVERIES, Stats.CONNECT_ATTEMPTS) == {
            "recoveries": 1,
            "connect_attempts": 2,
        }


def test_a_lease_of_an_older_connection_asks_for_none(until: Until) -> None:
    """A lease that somebody forgot does not keep a pool dialling a broker that drops everybody."""
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        forgotten = pool.acquire()
        peer.session().reset()
        until(lambda: pool.connected and pool.generation == 2)
        peer.session(1).reset()
        until(lambda: not ours())
        assert (len(peer.sessions), pool.connected) == (2, False)
        assert forgotten.release()
        with pool.lease(DEADLINE) as lease:
            assert lease.generation == 3
            assert ours() == ["amqpool-io-3"]


def test_where_nobody_holds_a_lease_nobody_connects_before_it_is_asked(until: Until) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        with pool.lease():
            pass
        peer.session().reset()
        until(lambda: not ours())
        assert (len(peer.sessions), pool.connected, pool.generation) == (1, False, 1)
        with pool.lease(DEADLINE) as lease:
            assert lease.generation == 2


def test_close_ends_a_recovery_that_nobody_asked_for(until: Until) -> None:
    with Peer() as peer:
        pool = ChannelPool(peer.url, size=1, recovery_deadline=DEADLINE)
        pool.acquire()
        peer.refuse()
        peer.session().reset()
        until(lambda: ours() == ["amqpool-recovery"])
        assert pool.close(5) is True
        assert ours() == []


def test_the_first_channel_is_asked_for_before_who_waits_for_it_runs(
    monkeypatch: pytest.MonkeyPatch, crowd: Any, until: Until
) -> None:
    asking: list[str] = []
    begin = SharedChannel.begin_open

    def noted(self: SharedChannel) -> bool:
        asking.append(threading.current_thread().name)
        return begin(self)

    monkeypatch.setattr(SharedChannel, "begin_open", noted)
    with Peer() as peer, ChannelPool(peer.url, size=2) as pool:
        assert pool.open(DEADLINE) is None
        assert asking == [], "nobody waits for one"
        peer.session().reset()
        until(lambda: not ours())
        both = threading.Barrier(2)

        def work(number: int) -> None:
            with pool.lease(DEADLINE) as lease:
                both.wait(DEADLINE)
                lease.channel.queue_declare("q")

        crowd(2, work).run()
        assert asking[0] == "amqpool-recovery"
        assert len(asking) == 2
        assert asking[1].startswith("crowd-")
        assert counts(pool, Stats.CHANNELS_OPENED, Stats.OPEN) == {
            "channels_opened": 2,
            "open": 2,
        }
        assert len(peer.session(1).all(c.Channel.Open)) == 2


def test_a_connection_that_is_lost_before_its_first_channel_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = SharedChannel.begin_open
    left = [1, 2]

    def lost(self: SharedChannel) -> bool:
        if left:
            left.pop()
            peer.session(len(peer.sessions) - 1).reset()
            self.connection.abort()
        return begin(self)

    monkeypatch.setattr(SharedChannel, "begin_open", lost)
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        with pool.lease(DEADLINE) as lease:
            assert lease.generation == 3
        assert len(peer.sessions) == 3


def test_a_broker_that_opens_no_channel_takes_no_longer_than_was_allowed() -> None:
    with (
        Peer(answers={c.Channel.Open: lambda s, n, m: None}) as peer,
        ChannelPool(peer.url, size=1) as pool,
    ):
        with pytest.raises(AcquireTimeout, match="of 1, 0 are in use"):
            # Long enough to connect, whatever else the machine does.
            pool.acquire(2.0)
        assert counts(pool, Stats.CHANNELS_OPENED, Stats.OPEN) == {
            "channels_opened": 0,
            "open": 0,
        }


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_that_ends_the_pools_thread_does_not_end_the_pool(
    monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        with pool.lease() as lease:
            [thread] = [each for each in threading.enumerate() if each.name in ours()]

            def receive(_events: object) -> None:
                raise ZeroDivisionError("a defect")

            monkeypatch.setattr(lease.channel, "receive", receive)
            peer.session().send(1, c.Channel.Flow(True))
            until(lambda: pool.connected and pool.generation == 2)
            with pytest.raises(ConnectionLost, match=r"the I/O thread failed: ZeroDiv.*a defect"):
                lease.channel.basic_publish(message())
        thread.join(DEADLINE)
        assert not thread.is_alive()
        with pool.lease(DEADLINE) as lease:
            lease.channel.queue_declare("q")


def test_a_pool_that_is_closed_while_it_dials_closes_the_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At each step of it; the fixture counts the descriptors."""
    with Peer() as peer:
        for step in ("open_wire", "flush_at_exit"):
            pool = ChannelPool(peer.url, size=1, recovery_deadline=DEADLINE)
            whole = getattr(connection, step)

            def closing(argument: Any, pool: ChannelPool = pool, whole: Any = whole) -> Any:
                result = whole(argument)
                closer = threading.Thread(target=pool.close, args=(0,), name="closer")
                closer.start()
                closer.join(DEADLINE)
                return result

            monkeypatch.setattr(connection, step, closing)
            with pytest.raises(PoolClosed):
                pool.acquire(DEADLINE)
            monkeypatch.undo()
            assert pool.close(DEADLINE) is True


def test_recovery_starts_at_once_and_is_not_slowed_by_earlier_ones(until: Until) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        took = []
        for number in range(30):
            with pool.lease() as lease:
                lease.channel.queue_declare("q")
            peer.session(number).reset()
            until(lambda: not pool.connected)
            began = time.monotonic()
            with pool.lease() as lease:
                lease.channel.queue_declare("q")
            took.append(time.monotonic() - began)
        assert pool.generation == 31
        assert sorted(took)[15] < 0.05, "no pause before a first attempt"


def test_urls_are_tried_in_turn() -> None:
    with Peer() as peer, ChannelPool(["amqp://127.0.0.1:1/", peer.url], size=1) as pool:
        with pool.lease() as lease:
            assert lease.generation == 1
        assert pool.stats()[Stats.CONNECT_ATTEMPTS] == 2


def test_a_channel_that_dies_while_it_is_lent_makes_room_for_another() -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        with pool.lease():
            pass
        [dying] = pool.idle_channels()

        def unpark() -> bool:
            dying.discard("the test wants it to die just now")
            return False

        dying.unpark = unpark  # type: ignore[method-assign]
        lease = pool.acquire(DEADLINE)
        assert lease.channel is not dying
        assert lease.channel.usable
        assert lease.release()
        stats = pool.stats()
        assert (stats[Stats.IDLE], stats[Stats.OPEN], stats[Stats.CHANNELS_DIED]) == (1, 1, 1)


def test_a_broker_that_is_not_there_fails_each_waiter_with_its_own_error(crowd: Any) -> None:
    pool = ChannelPool("amqp://127.0.0.1:1/", size=2, recovery_deadline=0.2)

    def work(number: int) -> None:
        if number % 3 == 0:
            pool.acquire(10)
        elif number % 3 == 1:
            pool.drain_events(10)
        else:
            pool.open(10)

    threads = crowd(12, work)
    threads.go()
    threads.join()
    assert {type(error) for error in threads.errors} == {RecoveryFailed}
    assert len({id(error) for error in threads.errors}) == 12
    assert "Connection refused" in str(threads.errors[0])
    with pytest.raises(AcquireTimeout, match="there is no connection, attempt"):
        pool.acquire(0.05)
    with pytest.raises(DrainTimeout):
        pool.drain_events(0.01)
    assert pool.close(2) is True


def test_a_refused_login_fails_at_once_with_the_brokers_words() -> None:
    def refuse(session: Session) -> None:
        session.exactly(8)
        session.send(0, start())
        session.expect(c.Connection.StartOk)
        session.send(0, c.Connection.Close(403, "ACCESS_REFUSED - wrong password", 0, 0))
        session.expect(c.Connection.CloseOk)

    with Peer(refuse) as peer:
        pool = ChannelPool(f"amqp://u:secret@127.0.0.1:{peer.port}/", recovery_deadline=30)
        began = time.monotonic()
        with pytest.raises(LoginRefused, match="ACCESS_REFUSED - wrong password") as caught:
            pool.acquire(30)
        assert time.monotonic() - began < 5
        assert caught.value.reply_code == 403
        assert "secret" not in str(caught.value) + repr(pool)
        assert len(peer.sessions) == 1
        assert pool.close(2) is True


def test_kills_in_the_midst_of_work_leave_nothing_behind(crowd: Any, until: Until) -> None:
    """Twenty threads work while the peer resets the connection five times."""
    with Peer() as peer, ChannelPool(peer.url, size=5, confirms=True) as pool:
        done = [0] * 20

        def work(number: int) -> int:
            retries = 0
            for turn in range(60):
                while True:
                    try:
                        if turn % 4 == 3:
                            try:
                                pool.drain_events(0.001)
                            except DrainTimeout:
                                pass
                        else:
                            with pool.lease(DEADLINE) as lease:
                                confirmation = lease.channel.basic_publish(
                                    message(b"%d/%d" % (number, turn)), routing_key="q"
                                )
                                assert confirmation is not None
                                assert confirmation.wait(DEADLINE)
                        break
                    except ConnectionLost:
                        retries += 1
                        assert retries < 100
                done[number] += 1
            return done[number]

        threads = crowd(20, work)
        threads.go()
        for kill in range(5):
            until(lambda kill=kill: sum(done) >= 200 * (kill + 1))  # type: ignore[misc]
            until(lambda: pool.connected)
            peer.sessions[-1].reset()
        threads.join()
        assert threads.errors == [None] * 20
        assert threads.results == [60] * 20
        pool.open()
        until(lambda: pool.stats()[Stats.SETTLING] == 0)
        stats = pool.stats()
        assert stats[Stats.LEASES] == stats[Stats.RELEASES]
        assert stats[Stats.RECOVERIES] >= 5
        assert stats[Stats.OPEN] == stats[Stats.IDLE]
        gone = stats[Stats.CHANNELS_DIED] + stats[Stats.CHANNELS_CLOSED]
        assert stats[Stats.CHANNELS_OPENED] == gone + stats[Stats.OPEN]


# -- draining ------------------------------------------------------------------------------------


def test_drain_dispatches_the_threads_own_leases_and_the_connections_events(crowd: Any) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=3) as pool:
        mine, second = pool.acquire(), pool.acquire()
        foreign: list[Lease] = crowd(1, lambda n: pool.acquire()).run()
        got: list[tuple[int, threading.Thread]] = []
        for lease in (mine, second, foreign[0]):
            number = lease.channel.channel_id
            lease.channel.basic_consume(
                "q",
                f"t{number}",
                no_ack=True,
                callback=lambda m, n=number: got.append((n, threading.current_thread())),  # type: ignore[misc]
            )
        session = peer.session()
        for number in (3, 2, 1):
            session.content(number, c.Basic.Deliver(f"t{number}", 1, False, "", "q"), b"x")
        for _ in range(2):
            pool.drain_events(5)
        here = threading.current_thread()
        assert sorted(got, key=lambda each: each[0]) == [(1, here), (2, here)]
        with pytest.raises(DrainTimeout, match=r"nothing came in within 0\.01 s"):
            pool.drain_events(0.01)
        session.send(0, c.Connection.Blocked("memory"))
        pool.drain_events(5)
        foreign[0].channel.drain_events(5)
        assert [number for number, _ in got].count(3) == 1
        session.reset()
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                pool.drain_events(5)
        assert mine.release()
        assert second.release()
        with pytest.raises(DrainTimeout):
            pool.drain_events(0.2)
        assert pool.generation == 2


def test_many_drain_while_events_come_and_none_is_lost(crowd: Any) -> None:
    total = 600
    with Peer() as peer, ChannelPool(peer.url, size=6) as pool:
        pool.open()
        got: list[int] = []
        lock = threading.Lock()

        def work(number: int) -> int:
            lease = pool.acquire()
            other = pool.acquire() if number == 0 else None
            seen = 0

            def note(each: Any) -> None:
                with lock:
                    got.append(int(each.body))

            for each in (lease, other):
                if each is not None:
                    each.channel.basic_consume("q", "t", no_ack=True, callback=note)
            while seen < total // 5 * (2 if other else 1):
                pool.drain_events(DEADLINE)
                seen += 1
            return seen

        threads = crowd(4, work)
        threads.go()
        session = peer.session()
        session.wait_for(c.Basic.Consume, 5)
        for at in range(total):
            number = at % 5 + 1
            session.content(number, c.Basic.Deliver("t", at + 1, False, "", "q"), b"%d" % at)
        threads.join()
        assert threads.errors == [None] * 4
        assert sorted(got) == list(range(total))


def test_a_drain_recovers_the_connection_first(until: Until) -> None:
    with Peer() as peer, ChannelPool(peer.url, size=1) as pool:
        pool.open()
        peer.session().reset()
        until(lambda: not pool.connected)
        with pytest.raises(DrainTimeout):
            pool.drain_events(0.3)
        assert (pool.connected, pool.generation) == (True, 2)


# -- the end -------------------------------------------------------------------------------------


def test_close_while_everything_is_under_way(crowd: Any, until: Until) -> None:
    with Peer() as peer:
        pool = ChannelPool(peer.url, size=3, confirms=True)
        pool.open()
        busy = threading.Event()

        def work(number: int) -> None:
            while True:
                if number % 3 == 0:
                    pool.drain_events(30)
                else:
                    with pool.lease(30) as lease:
                        if number % 3 == 1:
                            lease.channel.basic_publish_confirm(message(), routing_key="q")
                            busy.set()
                        else:
                            lease.channel.drain_events(0.001)

        threads = crowd(12, lambda n: _swallow(work, n, DrainTimeout))
        threads.go()
        assert busy.wait(5)
        began = time.monotonic()
        assert pool.close(5) is True
        assert time.monotonic() - began < 5
        threads.join()
        assert {type(error) for error in threads.errors} <= {PoolClosed, ConnectionLost}
        with pytest.raises(PoolClosed):
            pool.acquire()
        with pytest.raises(PoolClosed):
            pool.drain_events(1)
        with pytest.raises(PoolClosed):
            pool.open()
        assert pool.close(5) is True
        assert gauges(pool) == (0, 0, 0, 0)


def test_a_publish_that_returned_was_not_behind_the_close(crowd: Any) -> None:
    """Threads publish for all they are worth while the connection is closed in order."""
    with Peer() as peer:
        pool = ChannelPool(peer.url, size=4)
        leases = [pool.acquire() for _ in range(4)]
        sent = [0] * 4
        # Large, so that what the kernel holds is few messages, which the peer soon has read.
        body = b"x" * 50_000

        def work(number: int) -> None:
            while True:
                leases[number].channel.basic_publish(message(body), routing_key="q")
                sent[number] += 1

        threads = crowd(4, work)
        threads.go()
        session = peer.session()
        session.wait(lambda: len(session.published) >= 50)
        assert pool.close(30) is True
        threads.join()
        assert {type(error) for error in threads.errors} == {ConnectionLost}
        got = [0] * 4
        for each in session.published:
            got[each.channel - 1] += 1
        assert got == sent


def _swallow(work: Callable[[int], None], number: int, kind: type[Exception]) -> None:
    while True:
        try:
            work(number)
        except kind:
            continue


@pytest.mark.parametrize("script", [lambda s: s.exactly(10**6), None])
def test_close_ends_a_recovery_promptly(
    script: Callable[[Session], object] | None, crowd: Any, until: Until
) -> None:
    with Peer(script) as peer:
        url = peer.url if script else "amqp://127.0.0.1:1/"
        pool = ChannelPool(url, size=1, recovery_deadline=60, connect_timeout=60)
        threads = crowd(4, lambda n: pool.acquire(60) if n % 2 else pool.drain_events(60))
        threads.go()
        until(lambda: pool.stats()[Stats.WAITING] == 2)
        if script:
            peer.session()
        began = time.monotonic()
        assert pool.close(5) is True
        threads.join()
        assert time.monotonic() - began < 3
        assert {type(error) for error in threads.errors} == {PoolClosed}


def test_close_ends_a_connect_that_nobody_answers(until: Until) -> None:
    """A listener whose backlog is full: the connect itself hangs."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = []
    try:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        pool = ChannelPool(f"amqp://127.0.0.1:{port}/", connect_timeout=60, recovery_deadline=60)
        with pytest.raises(AcquireTimeout):
            pool.acquire(0.1)
        began = time.monotonic()
        assert pool.close(5) is True
        assert time.monotonic() - began < 3
    finally:
        for each in (*fillers, listener):
            each.close()


def test_close_is_bounded_when_the_broker_is_silent() -> None:
    answers = {c.Connection.Close: lambda s, n, m: None}
    with Peer(answers=answers) as peer:
        pool = ChannelPool(peer.url)
        pool.open()
        began = time.monotonic()
        assert pool.close(0.3) is False
        assert time.monotonic() - began < 1


def test_the_interpreters_exit_flushes_what_was_published() -> None:
    """Much is published by daemon threads to a peer that reads late; then the program ends."""
    code = """
import sys, threading, amqp
from amqpool import ChannelPool
pool = ChannelPool(sys.argv[1], size=4, max_outbox_bytes=64 * 1024 * 1024)
def publish(lease):
    for number in range(40):
        lease.channel.basic_publish(amqp.Message(b"x" * 100_000), routing_key="q")
leases = [pool.acquire() for _ in range(4)]
threads = [threading.Thread(target=publish, args=(each,), daemon=True) for each in leases]
for thread in threads: thread.start()
for thread in threads: thread.join(10)
print(pool.stats()["outbox_bytes"], flush=True)
"""
    reading = threading.Event()

    def late(session: Session) -> None:
        def hold(session: Session, channel: int, command: Any) -> None:
            session.send(channel, c.Channel.OpenOk())
            if channel == 4:
                reading.wait(30)

        session.handshake()
        session.answers[c.Channel.Open] = hold
        session.obey()

    with Peer(late) as peer:
        child = subprocess.Popen(
            [sys.executable, "-c", code, peer.url], stdout=subprocess.PIPE, text=True
        )
        try:
            assert child.stdout is not None
            held = int(child.stdout.readline())
            assert held > 1_000_000, "the test wants bytes that are still to be sent at the exit"
            reading.set()
            assert child.wait(20) == 0
        finally:
            reading.set()
            child.kill()
            child.wait(10)
            if child.stdout is not None:
                child.stdout.close()
        session = peer.session()
        session.wait(lambda: len(session.published) == 160)
