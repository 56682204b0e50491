"""Mutants that do not come back, or do not end."""

from __future__ import annotations

import threading
from typing import Any

from mutating import CLOSE, GO_ON, HASTY, STARVING, Mutant, Nth, wrap


class NeverReconnects(Mutant):
    """The first connection is the last: every recovery fails.

    The workers' retries end without a success (unexpected_errors), and so does the probe.
    """

    scenario = "chaos_with_connection_kills"
    load = "10x30x10"
    rises = ("unavailable", "unexpected_errors")
    bounds = HASTY

    def mutate(self) -> None:
        def make(connector: Any) -> Any:
            def patched(pool: Any, *args: Any) -> Any:
                if pool.generation:
                    raise OSError("no route to the broker")
                return connector(pool, *args)

            return patched

        wrap("amqpool:ChannelPool._connector", make)


class DeadChannelHandedBack(Mutant):
    """A "recovery" hands the channels of the lost connection out again, as if they were alive.

    Every use of one fails for ever: the workers' retries end without a success
    (unexpected_errors), and so does the probe.
    """

    scenario = "chaos_with_connection_kills"
    load = "10x30x10"
    rises = ("unavailable", "unexpected_errors")
    bounds = HASTY

    def mutate(self) -> None:
        from amqpool import SharedChannel
        from amqpool.channel import CLEAN, DEAD
        from amqpool.roster import Slots, Todo

        def parks(park: Any) -> Any:
            def patched(channel: Any, *args: Any) -> Any:
                state = park(channel, *args)
                return CLEAN if state == DEAD else state

            return patched

        def unparks(unpark: Any) -> Any:
            def patched(channel: Any) -> bool:
                unpark(channel)
                return True

            return patched

        wrap("amqpool.roster:Roster.lost", lambda _: lambda roster, connection: Todo())
        wrap("amqpool:SharedChannel.park", parks)
        wrap("amqpool:SharedChannel.unpark", unparks)
        SharedChannel.usable = property(lambda channel: True)  # type: ignore[misc,assignment]
        alive = property(lambda slots: slots.connection is not None)
        Slots.alive = alive  # type: ignore[misc,assignment]


class TimedOutWaiterIsServed(Mutant):
    """Who gives up waiting stays in the queue, and is given a channel that it never takes.

    Soon there is none left: the acquires of the others time out (unexpected_errors), and so does
    the probe's.
    """

    scenario = "poisoned_channel"
    load = "12x40"
    rises = ("unavailable", "unexpected_errors")
    bounds = STARVING

    def mutate(self) -> None:
        def make(wait: Any) -> Any:
            def patched(pool: Any, waiter: Any, *args: Any) -> Any:
                from amqpool import AcquireTimeout

                try:
                    return wait(pool, waiter, *args)
                except AcquireTimeout:
                    with pool._lock:
                        pool._roster.waiters.appendleft(waiter)
                    raise

            return patched

        wrap("amqpool:ChannelPool._wait", make)


class CloseNeverReturns(Nth):
    """close() waits until nobody is inside the pool any more, and is inside itself."""

    rises = ("unavailable",)
    bounds = HASTY
    method, every = CLOSE, 1

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        nobody = threading.Condition()
        inside = {threading.get_ident()}
        with nobody:
            nobody.wait_for(lambda: not inside)
        return GO_ON


MUTANTS: tuple[type[Mutant], ...] = (
    NeverReconnects,
    DeadChannelHandedBack,
    TimedOutWaiterIsServed,
    CloseNeverReturns,
)
UNWIDENED: tuple[type[Mutant], ...] = ()
