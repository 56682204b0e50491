"""Mutants whose threads hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mutating import GO_ON, HASTY, PUBLISH, Mutant, Nth, wrap


class OnePublishBlocksForEver(Nth):
    """One publish waits for a lock that nobody will ever release: one thread hangs.

    Nothing else rises: its channel is missing, and the others share what is left.
    """

    rises = ("deadlocks",)
    bounds = HASTY
    method, every, once = PUBLISH, 60, True

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
        return GO_ON


class LockOrderInversion(Mutant):
    """Publish takes the connection's lock and then the pool's, release the pool's and the other.

    Widened: a pause between the two locks, or the threads would seldom meet. Those who hang keep
    their channels, so an acquire of the others may time out: unexpected_errors may rise.
    """

    rises = ("deadlocks",)
    may_rise = frozenset({"unexpected_errors"})
    bounds = HASTY
    pause = 0.002

    def mutate(self) -> None:
        pool_lock, connection_lock = threading.Lock(), threading.Lock()

        def nested(first: Any, second: Any) -> Callable[[Any], Any]:
            def make(method: Any) -> Any:
                def patched(*args: Any, **kwargs: Any) -> Any:
                    with first:
                        self.widen()
                        with second:
                            return method(*args, **kwargs)

                return patched

            return make

        wrap(PUBLISH, nested(connection_lock, pool_lock))
        wrap("amqpool:ChannelPool.release", nested(pool_lock, connection_lock))


class NotifyBeforeWait(Mutant):
    """A waiter looks whether it was served or called, and goes to sleep in a second step.

    Who is served between the two is notified before it waits: it sleeps for ever, and its channel
    with it, until nobody is left who could wake another. The last to be woken may come too late to
    open a channel: unexpected_errors may rise. Widened: a pause between the two steps.
    """

    scenario = "high_contention_stress"
    load = "100x10"
    rises = ("deadlocks",)
    may_rise = frozenset({"unexpected_errors"})
    bounds = HASTY
    pause = 0.01  # of the order of one turn in the queue of a hundred threads

    def mutate(self) -> None:
        def make(_: Any) -> Any:
            def patched(pool: Any, waiter: Any, deadline: float, allowed: float) -> None:
                while waiter.given is None:
                    if not waiter.called:
                        self.widen()
                        with pool._lock:
                            waiter.cond.wait()
                    with pool._lock:
                        waiter.called = False
                        todo = pool._decided(pool._roster.serve())
                    pool._do(todo)

            return patched

        wrap("amqpool:ChannelPool._wait", make)


class LostConnectionWakesNobody(Mutant):
    """Who waits for a confirm when the connection is lost is not told, and has no deadline."""

    scenario = "confirms_under_kills"
    load = "10x30x10"
    rises = ("deadlocks",)
    bounds = HASTY

    def mutate(self) -> None:
        def waits(_: Any) -> Any:
            def patched(confirmation: Any, timeout: float) -> None:
                inbox = confirmation._inbox
                with inbox.lock:
                    while confirmation.outcome is None:
                        inbox._waiting += 1
                        inbox._cond.wait()
                        inbox._waiting -= 1

            return patched

        wrap("amqpool:Confirmation._wait", waits)
        # What is outstanding then stays outstanding.
        wrap("amqpool.confirms:ConfirmBook.end", lambda _: lambda book: None)


class LockOrderInversionAtItsWidth(LockOrderInversion):
    """The same inversion at its natural width, for the schedule search."""

    pause = 0.0


class NotifyBeforeWaitAtItsWidth(NotifyBeforeWait):
    """The same lost wake-up at its natural width, for the schedule search."""

    pause = 0.0


MUTANTS: tuple[type[Mutant], ...] = (
    OnePublishBlocksForEver,
    LockOrderInversion,
    NotifyBeforeWait,
    LostConnectionWakesNobody,
)
UNWIDENED: tuple[type[Mutant], ...] = (LockOrderInversionAtItsWidth, NotifyBeforeWaitAtItsWidth)
