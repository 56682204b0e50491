"""ChannelPool: many threads, one connection, a bounded number of channels.

It owns the threads' side of the pool: asking, waiting, opening, releasing, recovering, closing.
Who gets what is decided by the roster (roster.py) under the pool lock; what follows from a decision
(open a channel, close one, start a recovery) is done here, without the lock. So no thread ever
waits for the network because another one does.

A connection that is lost takes its channels along. Where a lease of it is out, or somebody waits
for one, it is recovered at once; else whoever next needs a channel starts the recovery, or joins
the one that runs (recovery.py): at most one runs, however many ask. The pool has one thread, which
connects, serves the connection as its I/O thread, and connects again.

Lock: the pool lock, never held together with another. It guards the roster (which says what of it
needs none), `_host`, `_round`, `_thread` and `_serving`; no I/O, no user code and no other lock
under it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from . import channel as standing
from . import roster
from .channel import SharedChannel
from .connection import CHANNEL_MAX, FRAME_MAX, SharedConnection
from .draining import Drainable, drain_any
from .errors import AcquireTimeout, ConnectionLost, DrainTimeout, OperationTimeout, PoolClosed
from .lease import Lease
from .recovery import Round
from .roster import Roster, Slots, Todo, Waiter
from .stats import Stats
from .url import parse_url

#: Seconds that a release waits for its bytes before others learn of it: a send takes microseconds.
SOON: Final = 0.05


class ChannelPool:
    """A thread-safe pool of channels on one shared connection.

    `url` is one broker URL or several, as of a cluster's nodes. A recovery asks them in turn, the
    one that answered last first. None may use more than its share of the time that is left, and
    when none could be reached the error says why for each (never with a password). All times are
    in seconds, and every wait has a deadline. Nothing connects before the first `open`, `acquire`
    or `drain_events`.

    - `size`: channels at most; `confirms`: put every channel into confirm mode.
    - `heartbeat`: asked of the broker, in whole seconds; 0 for none.
    - `connect_timeout`: one attempt to connect, handshake included; `recovery_deadline`: all of a
      recovery's attempts together, to all URLs.
    - `acquire_timeout`, `rpc_timeout`, `publish_timeout`: the bounds where a call names none.
    - `settle_timeout`: how long a released channel may wait for its last confirms.
    - `prefetch`: for consumers with acks on a channel whose user sets none; 0 for none.
    - `max_outbox_bytes`, `inbox_bytes`: bounds of what waits to be sent, and to be dispatched.
    - `ssl`: options of py-amqp's TLS transport, for `amqps://`.
    - `rng`: jitter of the pauses between failed attempts; seed it to replay.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        size: int = 10,
        confirms: bool = False,
        heartbeat: float = 10,
        connect_timeout: float = 10.0,
        recovery_deadline: float = 30.0,
        acquire_timeout: float = 30.0,
        rpc_timeout: float = 30.0,
        publish_timeout: float = 30.0,
        settle_timeout: float = 10.0,
        prefetch: int = 100,
        max_outbox_bytes: int = 1024 * 1024,
        inbox_bytes: int = 64 * 1024 * 1024,
        frame_max: int = FRAME_MAX,
        channel_max: int = CHANNEL_MAX,
        ssl: dict[str, Any] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        if not urls:
            raise ValueError("a pool needs at least one broker URL")
        if size < 1:
            raise ValueError(f"a pool has at least one channel, not {size}")
        self._endpoints = [parse_url(each) for each in urls]
        self._acquire_timeout = acquire_timeout
        self._connect_timeout = connect_timeout
        self._recovery_deadline = recovery_deadline
        self._ssl = ssl
        self._rng = rng or random.Random()
        self._options: dict[str, Any] = {
            "heartbeat": heartbeat,
            "rpc_timeout": rpc_timeout,
            "publish_timeout": publish_timeout,
            "prefetch": prefetch,
            "max_outbox_bytes": max_outbox_bytes,
            "inbox_bytes": inbox_bytes,
            "frame_max": frame_max,
            "channel_max": channel_max,
            "confirms": confirms,
        }
        self._lock = threading.Lock()
        self._roster = Roster(size, settle_timeout, self._settled)
        # The endpoint that answered last is asked first.
        self._host = 0
        self._round: Round | None = None
        self._thread: threading.Thread | None = None
        # The thread serves a connection, and will run the round that is wanted next.
        self._serving = False

    # -- what a caller sees ------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Channels at most."""
        return self._roster.size

    @property
    def connected(self) -> bool:
        """Whether the current connection is open; asks nobody and never starts a recovery."""
        return self._roster.slots.alive

    @property
    def generation(self) -> int:
        """How many connections there were so far, this one included."""
        return self._roster.slots.generation

    def __repr__(self) -> str:
        stats = self.stats()
        state = "connected" if self.connected else "not connected"
        if self._roster.closed:
            state = "closed"
        return (
            f"<ChannelPool {', '.join(map(str, self._endpoints))}: {state},"
            f" generation {stats[Stats.GENERATION]}, {stats[Stats.IN_USE]} in use,"
            f" {stats[Stats.IDLE]} idle, {stats[Stats.SETTLING]} settling,"
            f" {stats[Stats.WAITING]} waiting, size {stats[Stats.SIZE]}>"
        )

    def stats(self) -> dict[str, int]:
        """Counters and gauges by the names of `Stats`."""
        with self._lock:
            return self._roster.stats()

    def idle_channels(self) -> list[SharedChannel]:
        """The free list as it is now; for tests and for looking inside."""
        with self._lock:
            return list(self._roster.slots.idle)

    def __enter__(self) -> ChannelPool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- acquiring ---------------------------------------------------------------------------

    @contextmanager
    def lease(self, timeout: float | None = None) -> Iterator[Lease]:
        """`acquire` and, at the end, `release`."""
        lease = self.acquire(timeout)
        try:
            yield lease
        finally:
            self.release(lease)

    def acquire(self, timeout: float | None = None) -> Lease:
        """Lease a channel, connecting or recovering first if need be.

        `timeout` in seconds; None means the acquire_timeout. Threads that wait are served in the
        order in which they came; one that need not wait may overtake them, for half a second or
        half of their time at most. Raises AcquireTimeout, RecoveryFailed, LoginRefused, PoolClosed.
        """
        book = self._roster
        slots = book.slots
        channel = book.at_once(slots)
        if channel is not None:
            if channel.unpark():
                return book.lend(self, slots, channel)
            self._free(slots, Stats.CHANNELS_DIED)
        allowed = self._acquire_timeout if timeout is None else timeout
        deadline = time.monotonic() + allowed
        waiter = self._ask(deadline, front=False)
        while True:
            if waiter.given is None:
                self._wait(waiter, deadline, allowed)
            lease = self._take(waiter, deadline, allowed)
            if lease is not None:
                return lease
            # What it got was dead: it keeps its turn.
            waiter = self._ask(deadline, front=True)

    def _ask(self, deadline: float, *, front: bool) -> Waiter:
        """Join the queue, and be served at once if it is our turn."""
        waiter = Waiter(deadline)
        with self._lock:
            todo = self._decided(self._roster.join(waiter, front=front))
            if waiter.given is None:
                waiter.cond = threading.Condition(self._lock)
        self._do(todo)
        return waiter

    def _wait(self, waiter: Waiter, deadline: float, allowed: float) -> None:
        """Wait until something was given. Raises AcquireTimeout."""
        assert waiter.cond is not None
        try:
            while waiter.given is None:
                with self._lock:
                    now = time.monotonic()
                    if waiter.given is None and now >= deadline:
                        self._roster.waiters.remove(waiter)
                        raise self._timed_out(allowed)
                    if waiter.given is None and not waiter.called:
                        until = min(deadline, self._roster.next_expiry())
                        waiter.cond.wait(max(0.0, until - now))
                    # Who is called serves the queue; and a channel that settles for too long is
                    # given up by whoever waits.
                    waiter.called = False
                    todo = self._decided(self._roster.serve())
                self._do(todo)
        except BaseException:
            # Its time is up, or it is interrupted (KeyboardInterrupt): what was given meanwhile
            # goes to the next, and so does a call.
            with self._lock:
                todo = self._decided(self._roster.leave(waiter))
            self._do(todo)
            raise

    def _take(self, waiter: Waiter, deadline: float, allowed: float) -> Lease | None:
        """Turn what was given into a lease; None when it died on the way: ask again."""
        if waiter.given == roster.CLOSED:
            raise PoolClosed("the pool is closed")
        if waiter.given == roster.FAILED:
            assert waiter.round is not None
            raise waiter.round.error()
        slots, channel = waiter.slots, waiter.channel
        assert slots is not None
        if waiter.given == roster.OPEN:
            channel = self._open(slots, channel, deadline, allowed)
            if channel is None:
                return None
        else:
            assert channel is not None
            if not channel.unpark():
                self._free(slots, Stats.CHANNELS_DIED)
                return None
        return self._roster.lend(self, slots, channel)

    def _open(
        self, slots: Slots, channel: SharedChannel | None, deadline: float, allowed: float
    ) -> SharedChannel | None:
        """Open a channel in the place given, or wait for the one that is being opened.

        None when the connection died over it.
        """
        connection = slots.connection
        assert connection is not None
        try:
            if time.monotonic() >= deadline:
                raise OperationTimeout("no time is left to open a channel")
            if channel is None:
                channel = connection.Channel(connection)
            channel.open_within(deadline)
        except BaseException as error:
            if channel is not None:
                channel.discard("it could not be opened in time")
            self._free(slots, None)
            if isinstance(error, ConnectionLost) and time.monotonic() < deadline:
                return None
            if isinstance(error, (ConnectionLost, OperationTimeout)):
                with self._lock:
                    raise self._timed_out(allowed) from None
            raise
        with self._lock:
            self._roster.count[Stats.CHANNELS_OPENED] += 1
        return channel

    def _free(self, slots: Slots, why: str | None) -> None:
        with self._lock:
            todo = self._decided(self._roster.free(slots, why))
        self._do(todo)

    def _timed_out(self, allowed: float) -> AcquireTimeout:
        """The error of an acquire whose time is up, and its count. Needs the pool lock."""
        book = self._roster
        book.count[Stats.TIMEOUTS] += 1
        text = f"couldn't get a channel within {allowed:.2f} s: "
        if self._round is not None:
            return AcquireTimeout(
                f"{text}there is no connection, attempt {self._round.attempts} is under way"
                f" (the last one: {self._round.last_error})"
            )
        return AcquireTimeout(
            f"{text}of {book.size}, {len(book.leases)} are in use, {len(book.slots.settling)}"
            f" await their confirms; {len(book.waiters)} more threads wait"
        )

    # -- releasing ---------------------------------------------------------------------------

    def release(self, lease: Lease) -> bool:
        """End a lease; True the first time, from whichever thread.

        A second release returns False, is counted and has no effect. A channel that its owner
        left in order goes back to the free list, once its outstanding confirms are in. One that
        was left otherwise (consumers, unacked deliveries, changed qos, a transaction, mandatory
        messages without confirms, a call without reply) is closed instead, without waiting for
        the broker, which then requeues what was not acknowledged. What was published on it is
        flushed to the kernel first, for at most the publish_timeout.
        """
        book = self._roster
        if not book.end(lease):
            with self._lock:
                book.count[Stats.DOUBLE_RELEASES] += 1
            return False
        channel, slots = lease.held, lease.slots
        try:
            flushed = channel.flush(SOON)
            state = channel.park(slots.settling, slots.settled) if flushed else None
        except BaseException:
            # Interrupted, and the channel is in no book: who waits gives its place up in time.
            slots.settling.setdefault(channel, time.monotonic())
            if slots.buried:
                self._freed(slots)
            raise
        if state is None:
            if not self._flush(slots, channel):
                return True
            state = channel.park(slots.settling, slots.settled)
        if state == standing.CLEAN:
            if book.clean(slots, channel):
                self._freed(slots)
        elif state == standing.SETTLING:
            self._call()
        elif state == standing.DIRTY:
            self._free(slots, Stats.CHANNELS_CLOSED)
        elif state == standing.DEAD:
            self._free(slots, Stats.CHANNELS_DIED)
        return True

    def _flush(self, slots: Slots, channel: SharedChannel) -> bool:
        """Flush a released channel; False when a waiter gave it up meanwhile, or it was buried."""
        slots.settling[channel] = time.monotonic()
        self._call()
        channel.flush(channel.connection.publish_timeout)
        return slots.settling.pop(channel, None) is not None

    def _call(self) -> None:
        """A channel settles: whoever waits may give it up in time, so it has to know of it."""
        if self._roster.waiters:
            with self._lock:
                todo = self._decided(self._roster.call())
            self._do(todo)

    def _settled(self, slots: Slots, channel: SharedChannel) -> None:
        """A released channel has its last confirm, or has ended (called by the I/O thread).

        Nothing happens when it is not in the book any more: a waiter gave it up, or it was buried.
        """
        if slots.settling.pop(channel, None) is None:
            return
        if not channel.usable:
            self._free(slots, Stats.CHANNELS_DIED)
        elif self._roster.clean(slots, channel):
            self._freed(slots)

    def _freed(self, slots: Slots) -> None:
        with self._lock:
            todo = self._decided(self._roster.freed(slots))
        self._do(todo)

    # -- deciding and doing ------------------------------------------------------------------

    def _decided(self, todo: Todo) -> Todo:
        """A wanted connection becomes a recovery, if none runs. Needs the pool lock.

        The pool's thread runs it, once it has done with the connection before.
        """
        if todo.recover and self._round is None:
            self._round = Round(
                self._connector,
                hosts=[str(each) for each in self._endpoints],
                first=self._host,
                deadline=self._recovery_deadline,
                rng=self._rng,
                finished=self._recovered,
            )
            if not self._serving:
                todo.start = self._round
        return todo

    def _do(self, todo: Todo) -> None:
        for channel in todo.discard:
            channel.discard("its confirms did not come within the settle_timeout")
        if todo.start is not None:
            self._start(todo.start)

    def _start(self, recovery: Round) -> None:
        thread = threading.Thread(
            target=self._serve, args=(recovery,), name="amqpool-recovery", daemon=True
        )
        with self._lock:
            self._thread = thread
        try:
            thread.start()
        except RuntimeError as error:
            recovery.give_up(f"no thread for the recovery: {error}")

    def _serve(self, recovery: Round) -> None:
        """The pool's thread: connect, serve the connection, and again while one is wanted."""
        following: Round | None = recovery
        while following is not None:
            following = self._serve_one(following)

    def _serve_one(self, recovery: Round) -> Round | None:
        """One round and its connection until it is lost; returns the round that is wanted next."""
        thread = threading.current_thread()
        thread.name = "amqpool-recovery"
        recovery.run()
        connection = recovery.connection
        if connection is None:
            return None
        thread.name = f"amqpool-io-{connection.generation}"
        try:
            connection.serve()
        except BaseException:
            # A defect of ours ends this thread: another one recovers.
            following = self._served()
            if following is not None:
                self._start(following)
            raise
        return self._served()

    def _served(self) -> Round | None:
        """The connection is lost and the pool's thread free: the round that it runs next."""
        with self._lock:
            self._serving = False
            return self._round

    def _connector(self, host: int, seconds: float) -> SharedConnection:
        endpoint = self._endpoints[host]
        tls: bool | dict[str, Any] = False
        if endpoint.tls:
            tls = {"server_hostname": endpoint.host, **(self._ssl or {})}
        return SharedConnection(
            endpoint.address,
            endpoint.user,
            endpoint.password,
            endpoint.vhost,
            ssl=tls,
            connect_timeout=min(self._connect_timeout, seconds),
            generation=self._roster.slots.generation + 1,
            own_thread=False,
            on_lost=self._lost,
            **self._options,
        )

    def _recovered(self, recovery: Round) -> None:
        """A round has ended, well or not (called by the pool's thread)."""
        connection = recovery.connection
        book = self._roster
        opening = None
        if connection is not None and book.waiters:
            opening = self._begin_channel(connection)
        with self._lock:
            self._round = None
            book.count[Stats.CONNECT_ATTEMPTS] += recovery.attempts
            unwanted = book.closed
            if unwanted:
                todo = book.serve()
            elif connection is not None:
                self._host = recovery.host
                self._serving = True
                todo = self._decided(book.connected(connection, opening))
            else:
                todo = book.failed(recovery)
        self._do(todo)
        if connection is not None and unwanted:
            connection.abort()

    def _begin_channel(self, connection: SharedConnection) -> SharedChannel | None:
        """A channel on its way: who waits for it need not wake up first to ask for it."""
        channel: SharedChannel = connection.Channel(connection)
        try:
            if channel.begin_open():
                connection.flush_quietly()
        except ConnectionLost:
            return None  # lost again; who serves it will find out
        return channel

    def _lost(self, connection: SharedConnection) -> None:
        """A connection is gone (called by whoever found out, once)."""
        with self._lock:
            todo = self._decided(self._roster.lost(connection))
        self._do(todo)

    # -- the connection ----------------------------------------------------------------------

    def open(self, timeout: float | None = None) -> None:
        """Connect now, `timeout` seconds at most (None: the acquire_timeout).

        Raises AcquireTimeout, RecoveryFailed, LoginRefused, PoolClosed.
        """
        allowed = self._acquire_timeout if timeout is None else timeout
        if self._connection(time.monotonic() + allowed) is None:
            with self._lock:
                raise self._timed_out(allowed)

    def _connection(self, deadline: float) -> SharedConnection | None:
        """The living connection, recovered if need be; None at the deadline."""
        slots = self._roster.slots
        if slots.alive and not self._roster.closed:
            return slots.connection
        while True:
            with self._lock:
                if self._roster.closed:
                    raise PoolClosed("the pool is closed")
                if self._roster.slots.alive:
                    return self._roster.slots.connection
                todo = Todo()
                todo.recover = True
                self._decided(todo)
                recovery = self._round
            self._do(todo)
            assert recovery is not None
            if not recovery.wait(deadline) or time.monotonic() >= deadline:
                return None
            if recovery.connection is None and not self._roster.closed:
                raise recovery.error()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was published so far is with the kernel; False after `timeout`."""
        connection = self._roster.slots.connection
        return connection is None or connection.flush(timeout)

    def drain_events(self, timeout: float | None = None) -> None:
        """Dispatch one event of the calling thread's own leases, or of the connection.

        Recovers the connection first if it is down; but a lease that the thread still holds of a
        lost connection raises ConnectionLost until it is released, or its owner would wait for
        deliveries that cannot come. `timeout` in seconds (None: the rpc_timeout). Raises
        DrainTimeout when nothing came, ConnectionLost, a channel's own error, RecoveryFailed,
        LoginRefused, PoolClosed.
        """
        allowed: float = self._options["rpc_timeout"] if timeout is None else timeout
        deadline = time.monotonic() + allowed
        me = threading.current_thread()
        # A list of them is made in one step.
        leases = list(self._roster.leases.values())
        sources: list[Drainable] = [each.held for each in leases if each.thread is me]
        try:
            if all(source.usable for source in sources):
                connection = self._connection(deadline)
                if connection is not None:
                    sources.append(connection)
            if sources and drain_any(sources, deadline):
                return
        except ConnectionLost:
            if self._roster.closed:
                raise PoolClosed("the pool was closed while it was drained") from None
            raise
        raise DrainTimeout(f"nothing came in within {allowed:.2f} s")

    # -- the end -----------------------------------------------------------------------------

    def close(self, timeout: float = 10.0) -> bool:
        """Close the pool: True when it went in order, False when it had to be forced.

        Wakes all waiters with PoolClosed and ends a recovery; what was published is flushed, the
        connection closed. Returns within `timeout` seconds, at any time, from any thread, also
        more than once. Leases that are out end with their connection.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            todo = self._roster.close()
            recovery, connection = self._round, self._roster.slots.connection
        self._do(todo)
        clean = True
        if recovery is not None:
            recovery.cancel()
        if connection is not None:
            alive = connection.connected
            clean = connection.close(max(0.0, deadline - time.monotonic())) or not alive
        if recovery is not None:
            # Also one that another thread is just about to start: it ends as soon as it begins.
            clean = recovery.wait(deadline) and clean
        with self._lock:
            thread = self._thread
        if thread is not None and thread.ident is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
            clean = clean and not thread.is_alive()
        return clean
