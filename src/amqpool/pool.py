"""ChannelPool: many threads, one connection, a bounded number of channels.

It owns who may use which channel: the free list, the queue of waiters, and the book of leases. It
never does I/O under its lock. A method decides under the lock, and does outside it what was
decided: open a channel, close one, start a recovery. Waiters are served in the order in which they
came; what is handed to a waiter whose time ran out in that moment is taken by it or given on,
never lost.

A connection that is lost takes its channels along. Whoever next needs one starts a recovery, or
joins the one that runs (recovery.py). Each connection has its own `Slots`, so that nothing of an
old one can be counted, or lent, in the new.

Lock: the pool lock, first in the order and never held together with another. It guards every
private attribute of `ChannelPool` and all of `Slots`, and `Lease.ended`.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from . import channel as standing
from .channel import SharedChannel
from .connection import CHANNEL_MAX, FRAME_MAX, SharedConnection
from .errors import (
    AcquireTimeout,
    ConnectionLost,
    DrainTimeout,
    OperationTimeout,
    PoolClosed,
)
from .draining import drain_any
from .lease import Lease
from .recovery import Round
from .stats import COUNTERS, Stats
from .url import parse_url

#: What a waiter was given: a channel to take, a place to open one, or bad news.
_LEND, _OPEN, _FAILED, _CLOSED = "lend", "open", "failed", "closed"


class Slots:
    """What the pool keeps of one connection; a new connection gets a new one."""

    __slots__ = ("connection", "generation", "idle", "settling", "taken")

    def __init__(self, connection: SharedConnection | None, generation: int) -> None:
        self.connection = connection
        self.generation = generation
        #: Channels that are open or being opened; at most the pool's size.
        self.taken = 0
        #: Last in, first out: the channels used last are warm, and the others may rest.
        self.idle: list[SharedChannel] = []
        #: Released channels whose confirms are awaited, oldest first, and since when.
        self.settling: dict[SharedChannel, float] = {}

    @property
    def alive(self) -> bool:
        return self.connection is not None and self.connection.connected


class _Waiter:
    """One thread in the queue; its condition shares the pool's lock."""

    __slots__ = ("channel", "cond", "given", "round", "slots")

    def __init__(self, lock: threading.Lock) -> None:
        self.cond = threading.Condition(lock)
        self.given: str | None = None
        self.slots: Slots | None = None
        self.channel: SharedChannel | None = None
        self.round: Round | None = None


class _Todo:
    """What was decided under the lock and is done outside it."""

    __slots__ = ("discard", "start")

    def __init__(self) -> None:
        self.discard: list[SharedChannel] = []
        self.start: Round | None = None


class ChannelPool:
    """A thread-safe pool of channels on one shared connection.

    `url` is one broker URL or several, tried in turn. All times are in seconds, and every wait has
    a deadline. Nothing connects before the first `open`, `acquire` or `drain_events`.

    - `size`: channels at most; `confirms`: put every channel into confirm mode.
    - `heartbeat`: asked of the broker, in whole seconds; 0 for none.
    - `connect_timeout`: one attempt to connect, handshake included; `recovery_deadline`: all of a
      recovery's attempts together.
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
        self._size = size
        self._acquire_timeout = acquire_timeout
        self._connect_timeout = connect_timeout
        self._recovery_deadline = recovery_deadline
        self._settle_timeout = settle_timeout
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
        self._slots = Slots(None, 0)
        self._waiters: deque[_Waiter] = deque()
        self._leases: dict[int, Lease] = {}
        self._round: Round | None = None
        self._round_thread: threading.Thread | None = None
        self._closed = False
        self._count: dict[str, int] = dict.fromkeys(COUNTERS, 0)

    # -- what a caller sees ------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Channels at most."""
        return self._size

    @property
    def connected(self) -> bool:
        """Whether the current connection is open; asks nobody and never starts a recovery."""
        return self._slots.alive

    @property
    def generation(self) -> int:
        """How many connections there were so far, this one included."""
        return self._slots.generation

    def __repr__(self) -> str:
        stats = self.stats()
        state = "connected" if self.connected else "not connected"
        if self._closed:
            state = "closed"
        return (
            f"<ChannelPool {', '.join(map(str, self._endpoints))}: {state},"
            f" generation {stats[Stats.GENERATION]}, {stats[Stats.IN_USE]} in use,"
            f" {stats[Stats.IDLE]} idle, {stats[Stats.SETTLING]} settling,"
            f" {stats[Stats.WAITING]} waiting, size {self._size}>"
        )

    def stats(self) -> dict[str, int]:
        """Counters and gauges by the names of `Stats`."""
        with self._lock:
            slots = self._slots
            connection = slots.connection
            return {
                **self._count,
                Stats.WAITING: len(self._waiters),
                Stats.IDLE: len(slots.idle),
                Stats.IN_USE: len(self._leases),
                Stats.SETTLING: len(slots.settling),
                Stats.OPEN: slots.taken,
                Stats.GENERATION: slots.generation,
                Stats.OUTBOX_BYTES: 0 if connection is None else connection.outbox.pending,
                Stats.SIZE: self._size,
            }

    def idle_channels(self) -> list[SharedChannel]:
        """The free list as it is now; for tests and for looking inside."""
        with self._lock:
            return list(self._slots.idle)

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

        `timeout` in seconds; None means the acquire_timeout. Threads are served in the order in
        which they came. Raises AcquireTimeout, RecoveryFailed, LoginRefused, PoolClosed.
        """
        allowed = self._acquire_timeout if timeout is None else timeout
        deadline = time.monotonic() + allowed
        first = True
        while True:
            waiter = self._ask(front=not first)
            first = False
            if waiter.given is None:
                self._wait(waiter, deadline, allowed)
            lease = self._take(waiter, deadline, allowed)
            if lease is not None:
                return lease

    def _ask(self, *, front: bool) -> _Waiter:
        """Join the queue, and be served at once if it is our turn."""
        waiter = _Waiter(self._lock)
        with self._lock:
            if front:
                # It was served before and what it got was dead: it keeps its turn.
                self._waiters.appendleft(waiter)
            else:
                self._waiters.append(waiter)
            todo = self._serve()
            if waiter.given is None:
                self._count[Stats.WAITS] += 1
        self._do(todo)
        return waiter

    def _wait(self, waiter: _Waiter, deadline: float, allowed: float) -> None:
        """Wait until something was given. Raises AcquireTimeout."""
        try:
            while waiter.given is None:
                with self._lock:
                    now = time.monotonic()
                    if waiter.given is None and now >= deadline:
                        self._waiters.remove(waiter)
                        self._count[Stats.TIMEOUTS] += 1
                        raise AcquireTimeout(self._why_not(allowed))
                    if waiter.given is None:
                        waiter.cond.wait(max(0.0, min(deadline, self._next_expiry()) - now))
                    # A channel that settles for too long is given up by whoever waits.
                    todo = self._serve()
                self._do(todo)
        except AcquireTimeout:
            raise
        except BaseException:
            # Interrupted (KeyboardInterrupt): what was given meanwhile goes to the next.
            self._withdraw(waiter)
            raise

    def _take(self, waiter: _Waiter, deadline: float, allowed: float) -> Lease | None:
        """Turn what was given into a lease; None when it died on the way: ask again."""
        if waiter.given == _CLOSED:
            raise PoolClosed("the pool is closed")
        if waiter.given == _FAILED:
            assert waiter.round is not None
            raise waiter.round.error()
        slots, channel = waiter.slots, waiter.channel
        assert slots is not None
        assert slots.connection is not None
        if waiter.given == _LEND:
            assert channel is not None
            if not channel.unpark():
                self._free(slots, died=True)
                return None
        else:
            try:
                channel = self._open(slots.connection, deadline)
            except ConnectionLost:
                self._free(slots)
                if time.monotonic() >= deadline:
                    with self._lock:
                        self._count[Stats.TIMEOUTS] += 1
                        raise AcquireTimeout(self._why_not(allowed)) from None
                return None
            except OperationTimeout:
                self._free(slots)
                with self._lock:
                    self._count[Stats.TIMEOUTS] += 1
                raise AcquireTimeout(
                    f"couldn't get a channel within {allowed:.2f} s: the broker did not open one"
                ) from None
            except BaseException:
                self._free(slots)
                raise
        return self._lend(slots, channel)

    def _open(self, connection: SharedConnection, deadline: float) -> SharedChannel:
        """Open a channel, in confirm mode if the pool has it so, before the deadline."""
        channel: SharedChannel = connection.Channel(connection)
        try:
            channel.open_within(deadline)
        except BaseException:
            channel.discard("it could not be opened in time")
            raise
        return channel

    def _lend(self, slots: Slots, channel: SharedChannel) -> Lease:
        with self._lock:
            self._count[Stats.LEASES] += 1
            lease = Lease(self, slots, channel, self._count[Stats.LEASES])
            self._leases[lease.number] = lease
        return lease

    def _free(self, slots: Slots, *, died: bool = False) -> None:
        """Give a place back: its channel is gone, or was never opened."""
        with self._lock:
            slots.taken -= 1
            if died:
                self._count[Stats.CHANNELS_DIED] += 1
            todo = self._serve()
        self._do(todo)

    def _withdraw(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.given is None:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            elif waiter.given == _LEND:
                assert waiter.slots is not None
                assert waiter.channel is not None
                waiter.slots.idle.append(waiter.channel)
            elif waiter.given == _OPEN:
                assert waiter.slots is not None
                waiter.slots.taken -= 1
            todo = self._serve()
        self._do(todo)

    # -- releasing ---------------------------------------------------------------------------

    def release(self, lease: Lease) -> bool:
        """End a lease; True the first time, from whichever thread.

        A second release returns False, is counted and has no effect. A channel that its owner
        left in order goes back to the free list, once its outstanding confirms are in. One that
        was left otherwise (consumers, unacked deliveries, changed qos, a transaction, mandatory
        messages without confirms, a call without reply) is closed instead, without waiting for
        the broker, which then requeues what was not acknowledged. What was published is flushed to
        the kernel first, for at most the publish_timeout.
        """
        with self._lock:
            if lease.ended:
                self._count[Stats.DOUBLE_RELEASES] += 1
                return False
            lease.ended = True
            del self._leases[lease.number]
            self._count[Stats.RELEASES] += 1
            slots, channel = lease.slots, lease.held
            # Entered before the channel is asked: its last confirm may come in between.
            slots.settling[channel] = time.monotonic()
        channel.flush(channel.connection.publish_timeout)
        state = channel.park(self._settled)
        if state == standing.SETTLING:
            return True
        with self._lock:
            # Gone when it settled for too long in between: then its place was freed already.
            todo = _Todo()
            if slots.settling.pop(channel, None) is not None:
                if state == standing.CLEAN:
                    slots.idle.append(channel)
                else:
                    slots.taken -= 1
                    key = Stats.CHANNELS_DIED if state == standing.DEAD else Stats.CHANNELS_CLOSED
                    self._count[key] += 1
                todo = self._serve()
        self._do(todo)
        return True

    def _settled(self, channel: SharedChannel) -> None:
        """The last confirm of a released channel is in (called by the I/O thread)."""
        with self._lock:
            slots = self._slots
            todo = _Todo()
            if slots.settling.pop(channel, None) is not None:
                if channel.usable:
                    slots.idle.append(channel)
                else:
                    slots.taken -= 1
                    self._count[Stats.CHANNELS_DIED] += 1
                todo = self._serve()
        self._do(todo)

    # -- deciding, under the pool lock -------------------------------------------------------

    def _serve(self) -> _Todo:
        """Give the first waiters what there is, in order; return what is to be done for it.

        The three cases for the first in the queue: there is no connection (it stays, and a
        recovery must run); a channel is free; a place is free (it opens a channel itself).
        """
        todo = _Todo()
        slots = self._slots
        while self._waiters:
            waiter = self._waiters[0]
            if self._closed:
                waiter.given = _CLOSED
            elif not slots.alive:
                todo.start = self._new_round()
                break
            elif slots.idle:
                channel = slots.idle.pop()
                if not channel.usable:
                    slots.taken -= 1
                    self._count[Stats.CHANNELS_DIED] += 1
                    continue
                waiter.given, waiter.slots, waiter.channel = _LEND, slots, channel
            else:
                if slots.taken >= self._size:
                    self._give_up_settling(slots, todo)
                if slots.taken >= self._size:
                    break
                slots.taken += 1
                waiter.given, waiter.slots = _OPEN, slots
            self._waiters.popleft()
            waiter.cond.notify()
        return todo

    def _new_round(self) -> Round | None:
        """The recovery to start; None when one runs."""
        if self._round is not None:
            return None
        self._round = Round(
            self._connector,
            deadline=self._recovery_deadline,
            rng=self._rng,
            finished=self._recovered,
        )
        return self._round

    def _give_up_settling(self, slots: Slots, todo: _Todo) -> None:
        now = time.monotonic()
        for channel, since in list(slots.settling.items()):
            if now - since < self._settle_timeout:
                break
            del slots.settling[channel]
            slots.taken -= 1
            self._count[Stats.SETTLE_TIMEOUTS] += 1
            self._count[Stats.CHANNELS_CLOSED] += 1
            todo.discard.append(channel)

    def _next_expiry(self) -> float:
        """When the oldest settling channel may be given up (monotonic seconds)."""
        for since in self._slots.settling.values():
            return since + self._settle_timeout
        return float("inf")

    def _why_not(self, allowed: float) -> str:
        text = f"couldn't get a channel within {allowed:.2f} s: "
        if self._round is not None:
            return text + (
                f"there is no connection, attempt {self._round.attempts} is under way"
                f" (the last one: {self._round.last_error})"
            )
        return text + (
            f"{len(self._leases)} of {self._size} are in use,"
            f" {len(self._slots.settling)} await their confirms,"
            f" {len(self._waiters)} threads wait"
        )

    # -- doing, outside it -------------------------------------------------------------------

    def _do(self, todo: _Todo) -> None:
        for channel in todo.discard:
            channel.discard(f"its confirms did not come within {self._settle_timeout:.2f} s")
        if todo.start is not None:
            self._start(todo.start)

    def _start(self, recovery: Round) -> None:
        thread = threading.Thread(target=recovery.run, name="amqpool-recovery", daemon=True)
        with self._lock:
            self._round_thread = thread
        try:
            thread.start()
        except RuntimeError as error:
            recovery.give_up(f"no thread for the recovery: {error}")

    def _connector(self, attempt: int, remaining: float) -> SharedConnection:
        endpoint = self._endpoints[attempt % len(self._endpoints)]
        tls: bool | dict[str, Any] = False
        if endpoint.tls:
            tls = {"server_hostname": endpoint.host, **(self._ssl or {})}
        return SharedConnection(
            endpoint.address,
            endpoint.user,
            endpoint.password,
            endpoint.vhost,
            ssl=tls,
            connect_timeout=min(self._connect_timeout, remaining),
            generation=self._slots.generation + 1,
            on_lost=self._lost,
            **self._options,
        )

    def _recovered(self, recovery: Round) -> None:
        """A round has ended, well or not (called by its thread)."""
        connection = recovery.connection
        with self._lock:
            self._round = None
            self._count[Stats.CONNECT_ATTEMPTS] += recovery.attempts
            unwanted = self._closed
            if connection is not None and not unwanted:
                if self._slots.generation:
                    self._count[Stats.RECOVERIES] += 1
                self._slots = Slots(connection, connection.generation)
            elif connection is None and not unwanted:
                self._count[Stats.RECOVERY_FAILURES] += 1
                for waiter in self._waiters:
                    waiter.given, waiter.round = _FAILED, recovery
                    waiter.cond.notify()
                self._waiters.clear()
            todo = self._serve()
        self._do(todo)
        if connection is not None and unwanted:
            connection.abort()

    def _lost(self, connection: SharedConnection) -> None:
        """A connection is gone, and its channels with it (called by its I/O thread)."""
        with self._lock:
            slots = self._slots
            todo = _Todo()
            if slots.connection is connection:
                gone = len(slots.idle) + len(slots.settling)
                slots.taken -= gone
                self._count[Stats.CHANNELS_DIED] += gone
                slots.idle.clear()
                slots.settling.clear()
                todo = self._serve()
        self._do(todo)

    # -- the connection ----------------------------------------------------------------------

    def open(self, timeout: float | None = None) -> None:
        """Connect now, `timeout` seconds at most (None: the acquire_timeout).

        Raises AcquireTimeout, RecoveryFailed, LoginRefused, PoolClosed.
        """
        allowed = self._acquire_timeout if timeout is None else timeout
        if self._connection(time.monotonic() + allowed) is None:
            with self._lock:
                raise AcquireTimeout(self._why_not(allowed))

    def _connection(self, deadline: float) -> SharedConnection | None:
        """The living connection, recovered if need be; None at the deadline."""
        while True:
            with self._lock:
                if self._closed:
                    raise PoolClosed("the pool is closed")
                if self._slots.alive:
                    return self._slots.connection
                todo = _Todo()
                todo.start = self._new_round()
                recovery = self._round
            self._do(todo)
            assert recovery is not None
            if not recovery.wait(deadline):
                return None
            if recovery.connection is None and not self._closed:
                raise recovery.error()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was published so far is with the kernel; False after `timeout`."""
        connection = self._slots.connection
        return connection is None or connection.flush(timeout)

    def drain_events(self, timeout: float | None = None) -> None:
        """Dispatch one event of the calling thread's own leases, or of the connection.

        Recovers the connection first if it is down. `timeout` in seconds (None: the rpc_timeout).
        Raises DrainTimeout when nothing came, ConnectionLost when the connection is lost
        meanwhile, a channel's own error, RecoveryFailed, LoginRefused, PoolClosed.
        """
        allowed: float = self._options["rpc_timeout"] if timeout is None else timeout
        deadline = time.monotonic() + allowed
        connection = self._connection(deadline)
        me = threading.get_ident()
        with self._lock:
            channels = [
                lease.held
                for lease in self._leases.values()
                if lease.thread == me and lease.held.connection is connection
            ]
        try:
            if connection is not None and drain_any([*channels, connection], deadline):
                return
        except ConnectionLost:
            if self._closed:
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
            self._closed = True
            recovery, thread = self._round, self._round_thread
            connection = self._slots.connection
            todo = self._serve()
        self._do(todo)
        if recovery is not None:
            recovery.cancel()
        clean = True
        if connection is not None:
            alive = connection.connected
            clean = connection.close(max(0.0, deadline - time.monotonic())) or not alive
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
            clean = clean and not thread.is_alive()
        return clean
