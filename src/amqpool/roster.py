"""The roster: who has which channel, and who is next. Decisions only; no I/O, no waiting.

Owns the free list, the queue of waiters, the book of leases and the counters. Each method changes
the state and returns what is to be done because of it (`Todo`), which the pool does after it gave
its lock back: open, close, connect. All of it needs the pool lock, but for the way of a lease that
meets nobody (`at_once`, `lend`, `end`, `clean`); nothing here takes one.

That way takes no lock, since under a lock that all threads want some fifty of them spend their time
on handing it over (docs/speed.md). What makes it safe: a channel is in one book at a time, or in
one thread's hands. To take it out of a book is one step of a list or a dict, in which only one
thread can succeed, and who took it decides what becomes of it. And whoever puts a channel into the
free list does so first, and looks then whether somebody waits or the list was buried; whoever waits
or buries says so first, and looks then into the list. So one of the two sees the other.

Each connection has `Slots` of its own, so that nothing of a lost one is counted, or lent, in the
next. A waiter's result is written under the same lock under which it leaves the queue, so what is
given to one whose time ran out at that moment is found by it.

Waiters are served in order. A thread that is running may take a free channel before them, but only
while the first of them is patient: a channel that is handed to a sleeping thread
idles until that thread runs, which takes longer than most leases last, and with a hundred threads
that is all the pool would do (docs/speed.md).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from .channel import SharedChannel
from .connection import SharedConnection
from .lease import Lease
from .numbers import Serial
from .stats import COUNTERS, Stats

if TYPE_CHECKING:
    from .pool import ChannelPool
    from .recovery import Round

#: What a waiter was given: a channel to take, a place to open one in, or bad news.
LEND: Final = "lend"
OPEN: Final = "open"
FAILED: Final = "failed"
CLOSED: Final = "closed"


#: How long (seconds) a waiter may be overtaken, and no longer than half of its time. With a tenth
#: of it, 500 threads on ten channels only hand them on, at twice the CPU time (docs/speed.md).
PATIENCE: Final = 0.5


#: Called by the I/O thread: a released channel has its last confirm, or has ended.
Settled = Callable[["Slots", SharedChannel], None]


class Slots:
    """What the pool keeps of one connection; a new connection gets a new one."""

    __slots__ = (
        "buried", "connection", "generation", "idle", "opening", "settled", "settling", "taken",
    )  # fmt: skip

    def __init__(
        self, connection: SharedConnection | None, generation: int, settled: Settled
    ) -> None:
        self.connection = connection
        self.generation = generation
        #: What a channel of these is to call once it has settled.
        self.settled = partial(settled, self)
        #: Channels that are open or being opened; at most the pool's size.
        self.taken = 0
        #: Last in, first out: what was used last is warm, and surplus channels are left to rest.
        self.idle: list[SharedChannel] = []
        #: Released channels whose bytes are to be sent or whose confirms are awaited, oldest first,
        #: and since when.
        self.settling: dict[SharedChannel, float] = {}
        #: A channel for the next place that is given: the broker was asked to open it already.
        self.opening: SharedChannel | None = None
        #: The connection is lost, and both books were emptied: what comes into one now is dead.
        self.buried = False

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as is known without a round trip."""
        return self.connection is not None and self.connection.connected


class Waiter:
    """One thread in the queue; `cond` shares the pool's lock, and exists once it has to wait.

    Its thread looks at `given` without the lock, so whoever gives something writes `given` last.
    """

    __slots__ = ("called", "channel", "cond", "given", "patient_until", "round", "slots")

    def __init__(self, deadline: float) -> None:
        now = time.monotonic()
        self.patient_until = now + min(PATIENCE, (deadline - now) / 2)
        #: It was told that a channel is free, and has not looked yet.
        self.called = False
        self.cond: threading.Condition | None = None
        self.given: str | None = None
        self.slots: Slots | None = None
        self.channel: SharedChannel | None = None
        self.round: Round | None = None

    def wake(self) -> None:
        """Something was given, or it is called. Needs the pool lock."""
        if self.cond is not None:
            self.cond.notify()


class Todo:
    """What was decided and is to be done without the lock."""

    __slots__ = ("discard", "recover", "start")

    def __init__(self) -> None:
        self.discard: list[SharedChannel] = []
        #: A connection is wanted; the pool makes it `start` when no recovery runs yet.
        self.recover = False
        self.start: Round | None = None


#: Nothing; never changed.
NOTHING: Final = Todo()


class Roster:
    """See the module's text."""

    def __init__(self, size: int, settle_timeout: float, settled: Settled) -> None:
        self.size = size
        self.settle_timeout = settle_timeout
        self._settled = settled
        self.closed = False
        self.slots = Slots(None, 0, settled)
        self.waiters: deque[Waiter] = deque()
        self.leases: dict[int, Lease] = {}
        self._serial = Serial()
        self.count: dict[str, int] = dict.fromkeys(COUNTERS, 0)

    def stats(self) -> dict[str, int]:
        """Counters and gauges by the names of `Stats`."""
        slots = self.slots
        leases = self._serial.last
        in_use = len(self.leases)
        return {
            **self.count,
            Stats.LEASES: leases,
            Stats.RELEASES: leases - in_use,
            Stats.WAITING: len(self.waiters),
            Stats.IDLE: len(slots.idle),
            Stats.IN_USE: in_use,
            Stats.SETTLING: len(slots.settling),
            Stats.OPEN: slots.taken,
            Stats.GENERATION: slots.generation,
            Stats.OUTBOX_BYTES: 0 if slots.connection is None else slots.connection.outbox.pending,
            Stats.SIZE: self.size,
        }

    # -- the queue ---------------------------------------------------------------------------

    def at_once(self, slots: Slots) -> SharedChannel | None:
        """A free channel for a thread that is running; None when it has to join the queue.

        Without the lock: to take one out of the list is one step.
        """
        if self.closed or (self.waiters and self._overdue()):
            return None
        if not slots.alive:
            return None
        try:
            return slots.idle.pop()
        except IndexError:
            return None

    def _overdue(self) -> bool:
        """Whether the first in the queue has been overtaken for long enough."""
        try:
            first = self.waiters[0]
        except IndexError:
            return False
        return time.monotonic() >= first.patient_until

    def _pop_idle(self, slots: Slots) -> SharedChannel | None:
        """A channel from the free list; None when it has died there, or another was faster."""
        try:
            channel = slots.idle.pop()
        except IndexError:
            return None
        if channel.usable:
            return channel
        slots.taken -= 1
        self.count[Stats.CHANNELS_DIED] += 1
        return None

    def join(self, waiter: Waiter, *, front: bool) -> Todo:
        """Queue up; `front` for one that was served and found what it got dead."""
        if front:
            self.waiters.appendleft(waiter)
        else:
            self.waiters.append(waiter)
        todo = self.serve()
        if waiter.given is None and not front:
            self.count[Stats.WAITS] += 1
        return todo

    def leave(self, waiter: Waiter) -> Todo:
        """An interrupted waiter goes; what it was given goes to the next."""
        if waiter.given is None:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
        elif waiter.slots is not None:
            if waiter.given == OPEN:
                waiter.slots.taken -= 1
                waiter.slots.opening = waiter.channel or waiter.slots.opening
            else:
                assert waiter.channel is not None
                waiter.slots.idle.append(waiter.channel)
                if waiter.slots.buried:
                    self._bury(waiter.slots)
        return self.serve()

    def call(self) -> Todo:
        """A channel is free, or will be: call the first in the queue, or serve it if it is overdue.

        Who is called serves the queue itself, when it runs.
        """
        if not self.waiters:
            return NOTHING
        first = self.waiters[0]
        if self._overdue():
            return self.serve()
        if not first.called:
            first.called = True
            first.wake()
        return NOTHING

    def serve(self) -> Todo:
        """Give the first waiters what there is, in order.

        The three cases for the first in the queue: there is no connection (it stays, and a
        recovery must run); a channel is free; a place is free (it opens a channel itself).
        """
        todo = Todo()
        slots = self.slots
        while self.waiters:
            waiter = self.waiters[0]
            if self.closed:
                waiter.given = CLOSED
            elif not slots.alive:
                todo.recover = True
                break
            elif slots.idle:
                channel = self._pop_idle(slots)
                if channel is None:
                    continue
                waiter.slots, waiter.channel, waiter.given = slots, channel, LEND
            else:
                if slots.taken >= self.size:
                    self._give_up_settling(todo)
                if slots.taken >= self.size:
                    break
                slots.taken += 1
                waiter.channel, slots.opening = slots.opening, None
                waiter.slots, waiter.given = slots, OPEN
            self.waiters.popleft()
            waiter.wake()
        return todo

    def _give_up_settling(self, todo: Todo) -> None:
        now = time.monotonic()
        slots = self.slots
        for channel, since in list(slots.settling.items()):
            if now - since < self.settle_timeout:
                break
            if slots.settling.pop(channel, None) is None:
                continue
            slots.taken -= 1
            self.count[Stats.SETTLE_TIMEOUTS] += 1
            self.count[Stats.CHANNELS_CLOSED] += 1
            todo.discard.append(channel)

    def next_expiry(self) -> float:
        """When the oldest settling channel may be given up (monotonic seconds)."""
        # A list of it is made in one step.
        for since in list(self.slots.settling.values()):
            return since + self.settle_timeout
        return float("inf")

    # -- leases ------------------------------------------------------------------------------

    def lend(self, pool: ChannelPool, slots: Slots, channel: SharedChannel) -> Lease:
        """Book a lease of this channel and number it. Without the lock: the channel is ours."""
        number = self._serial.next()
        lease = self.leases[number] = Lease(pool, number, slots, channel)
        return lease

    def end(self, lease: Lease) -> bool:
        """End a lease; False when it had ended already. Its channel is in the caller's hands.

        Without the lock: of two at the same moment one finds it in the book.
        """
        if self.leases.pop(lease.number, None) is None:
            return False
        lease.ended = True
        return True

    def clean(self, slots: Slots, channel: SharedChannel) -> bool:
        """A channel in the caller's hands is free; True when `freed` must follow.

        Without the lock, and in this order.
        """
        slots.idle.append(channel)
        return bool(self.waiters) or slots.buried

    def freed(self, slots: Slots) -> Todo:
        """A channel came into a book: bury it, or call whoever waits for one."""
        if slots.buried:
            self._bury(slots)
            return self.serve()
        return self.call()

    def free(self, slots: Slots, why: str | None) -> Todo:
        """A place is free: its channel is gone, `why` is the counter for it, or was never there."""
        slots.taken -= 1
        if why is not None:
            self.count[why] += 1
        return self.serve()

    # -- connections -------------------------------------------------------------------------

    def connected(self, connection: SharedConnection, opening: SharedChannel | None = None) -> Todo:
        """A new connection: the next generation. `opening`: for the first place on it."""
        if self.slots.generation:
            self.count[Stats.RECOVERIES] += 1
        # The word that the old one is lost may still be on its way.
        self._bury(self.slots)
        self.slots = Slots(connection, connection.generation, self._settled)
        self.slots.opening = opening
        return self.serve()

    def failed(self, recovery: Round) -> Todo:
        """A recovery gave up: whoever waits now learns why."""
        self.count[Stats.RECOVERY_FAILURES] += 1
        for waiter in self.waiters:
            waiter.round, waiter.given = recovery, FAILED
            waiter.wake()
        self.waiters.clear()
        return NOTHING

    def lost(self, connection: SharedConnection) -> Todo:
        """The connection is gone, and the channels that nobody holds with it."""
        slots = self.slots
        if slots.connection is not connection:
            return NOTHING
        self._bury(slots)
        todo = self.serve()
        # Who holds a lease of it will want another.
        if not self.closed and any(each.slots is slots for each in list(self.leases.values())):
            todo.recover = True
        return todo

    def _bury(self, slots: Slots) -> None:
        # In this order: who puts a channel back does so first, and then looks here.
        slots.buried = True
        gone = 0
        for take in (slots.idle.pop, slots.settling.popitem):
            try:
                while True:
                    take()
                    gone += 1
            except (IndexError, KeyError):
                pass  # empty
        slots.taken -= gone
        self.count[Stats.CHANNELS_DIED] += gone

    def close(self) -> Todo:
        """No more leases; whoever waits learns it."""
        self.closed = True
        return self.serve()
