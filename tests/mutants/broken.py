"""The mutants: the real pool, broken on purpose, one realistic bug each.

A detector that was never seen to fire proves nothing, so each counter has at least one mutant
here. A mutant is an adapter like any other (``--client tests/mutants/broken.py:Name``) and patches
the real pool in its trial's own process. ``scenario`` is where it is tried, ``rises`` the set of
counters that rise there each time, ``may_rise`` what a race decides besides, and its docstring says
why for each of them. No other counter may rise.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from benchmarks.clients.amqpool import AmqpoolClient


class Every:
    """True on every n-th call, whichever thread makes it; or on the n-th alone."""

    def __init__(self, n: int, once: bool = False) -> None:
        self._n, self._once = n, once
        self._calls = itertools.count(1)  # next() is atomic in CPython

    def __call__(self) -> bool:
        number = next(self._calls)
        return number == self._n if self._once else number % self._n == 0


class Mutant(AmqpoolClient):
    """Base: breaks the pool just before it is made."""

    scenario: ClassVar[str] = "chaos_no_deadlock"
    load: ClassVar[str] = "10x100"
    rises: ClassVar[frozenset[str]]
    may_rise: ClassVar[frozenset[str]] = frozenset()

    def make_pool(self) -> Any:
        self.mutate()
        return super().make_pool()

    def mutate(self) -> None:
        raise NotImplementedError


def wrap(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a method by what ``make`` builds around it."""
    setattr(owner, name, make(getattr(owner, name)))


# -- deadlocks -------------------------------------------------------------------------------


class OnePublishBlocksForEver(Mutant):
    """The 60th publish waits for a lock that nobody will ever release: one thread hangs.

    Nothing else rises: its channel is missing, and the others share what is left.
    """

    rises = frozenset({"deadlocks"})

    def mutate(self) -> None:
        from amqpool import SharedChannel

        due, lock = Every(60, once=True), threading.Lock()
        lock.acquire()

        def make(publish: Any) -> Any:
            def basic_publish(channel: Any, *args: Any, **kwargs: Any) -> Any:
                if due():
                    lock.acquire()
                return publish(channel, *args, **kwargs)

            return basic_publish

        wrap(SharedChannel, "basic_publish", make)


class LockOrderInversion(Mutant):
    """Publish takes the pool's lock and then the channel's, release the channel's and the pool's.

    Widened: 2 ms between the two locks, or the threads would seldom meet. Those who hang keep
    their channels, so the others' acquires time out: unexpected_errors rises with it.
    """

    rises = frozenset({"deadlocks", "unexpected_errors"})

    def mutate(self) -> None:
        from amqpool import ChannelPool, SharedChannel

        pool_lock, channel_lock = threading.Lock(), threading.Lock()

        def make_publish(publish: Any) -> Any:
            def basic_publish(channel: Any, *args: Any, **kwargs: Any) -> Any:
                with pool_lock:
                    time.sleep(0.002)
                    with channel_lock:
                        return publish(channel, *args, **kwargs)

            return basic_publish

        def make_release(release: Any) -> Any:
            def release_lease(pool: Any, lease: Any) -> Any:
                with channel_lock:
                    time.sleep(0.002)
                    with pool_lock:
                        return release(pool, lease)

            return release_lease

        wrap(SharedChannel, "basic_publish", make_publish)
        wrap(ChannelPool, "release", make_release)


# -- lost frames -----------------------------------------------------------------------------


class DeliveryDropped(Mutant):
    """Every 31st delivery that came in is handed to nobody.

    The dropped ones stay unacked and are requeued at close: nothing else rises.
    """

    rises = frozenset({"lost_frames"})

    def mutate(self) -> None:
        from amqpool import SharedChannel

        due = Every(31)

        def make(deliver: Any) -> Any:
            def _on_basic_deliver(channel: Any, *args: Any) -> Any:
                return None if due() else deliver(channel, *args)

            return _on_basic_deliver

        wrap(SharedChannel, "_on_basic_deliver", make)


class ReturnDropped(Mutant):
    """Every 7th basic.return is not matched with its publish: the application never hears of it."""

    rises = frozenset({"lost_frames"})

    def mutate(self) -> None:
        from amqpool.confirms import ConfirmBook

        due = Every(7)

        def make(returned: Any) -> Any:
            def patched(book: Any, *args: Any) -> Any:
                return True if due() else returned(book, *args)

            return patched

        wrap(ConfirmBook, "returned", make)


class PublishDropped(Mutant):
    """Every 25th publish reports success and an ack, and sends nothing."""

    rises = frozenset({"lost_frames"})

    every: ClassVar[int] = 25

    def mutate(self) -> None:
        from amqpool import SharedChannel

        due = Every(self.every)

        def make(publish: Any) -> Any:
            def basic_publish(channel: Any, *args: Any, **kwargs: Any) -> Any:
                return _acked(channel) if due() else publish(channel, *args, **kwargs)

            return basic_publish

        wrap(SharedChannel, "basic_publish", make)


class PublishDoesNothing(PublishDropped):
    """Publish returns and does nothing, each time.

    Every publish is lost; the probe after heal believes the made-up ack, so nothing else rises.
    """

    every = 1


class AckDropped(Mutant):
    """Every 40th basic.ack is reported as sent and is not."""

    rises = frozenset({"lost_frames"})

    def mutate(self) -> None:
        from amqpool import SharedChannel

        due = Every(40)

        def make(ack: Any) -> Any:
            def basic_ack(channel: Any, *args: Any, **kwargs: Any) -> Any:
                return None if due() else ack(channel, *args, **kwargs)

            return basic_ack

        wrap(SharedChannel, "basic_ack", make)


def _acked(channel: Any) -> Any:
    from amqpool import Confirmation

    confirmation = Confirmation(0, channel.inbox, 1.0)
    confirmation.outcome = "ack"
    return confirmation


# -- double releases -------------------------------------------------------------------------


class TwiceInTheFreeList(Mutant):
    """Every release puts the channel into the free list twice, so two owners meet on it.

    When the one releases just while the other publishes, the pool refuses the publish with
    LeaseEnded: unexpected_errors may rise with it.
    """

    scenario = "high_contention_stress"
    load = "100x10"
    rises = frozenset({"double_releases"})
    may_rise = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        from amqpool.roster import Roster

        def make(settled: Any) -> Any:
            def patched(roster: Any, slots: Any, channel: Any, gone: Any) -> Any:
                if gone is None and channel in slots.settling:
                    slots.idle.append(channel)
                return settled(roster, slots, channel, gone)

            return patched

        wrap(Roster, "settled", make)


class FreeListNotEmptied(Mutant):
    """A channel that is lent stays in the free list, one time in 20.

    The pool hands it out again while its owner holds it. As above, unexpected_errors may rise.
    """

    scenario = "high_contention_stress"
    load = "100x10"
    rises = frozenset({"double_releases"})
    may_rise = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        from amqpool.roster import Roster

        due = Every(20)

        def make(lend: Any) -> Any:
            def patched(roster: Any, lease: Any) -> Any:
                lend(roster, lease)
                if due():
                    lease.slots.idle.append(lease.held)

            return patched

        wrap(Roster, "lend", make)


# -- KeyError: None --------------------------------------------------------------------------


class DrainRaisesKeyErrorNone(Mutant):
    """A channel's id was reset to None and is looked up: every 20th drain raises KeyError(None)."""

    rises = frozenset({"keyerror_none"})

    def mutate(self) -> None:
        from amqpool import ChannelPool

        due = Every(20)

        def make(drain: Any) -> Any:
            def drain_events(pool: Any, *args: Any, **kwargs: Any) -> Any:
                if due():
                    {1: "channel"}[None]  # type: ignore[index]
                return drain(pool, *args, **kwargs)

            return drain_events

        wrap(ChannelPool, "drain_events", make)


class KeyErrorNoneInTheLog(Mutant):
    """The same error, swallowed and logged by the client: it counts all the same."""

    rises = frozenset({"keyerror_none"})

    def mutate(self) -> None:
        from amqpool import ChannelPool

        due = Every(20)

        def make(drain: Any) -> Any:
            def drain_events(pool: Any, *args: Any, **kwargs: Any) -> Any:
                if due():
                    try:
                        {1: "channel"}[None]  # type: ignore[index]
                    except KeyError:
                        logging.getLogger("mutant").exception("could not dispatch")
                return drain(pool, *args, **kwargs)

            return drain_events

        wrap(ChannelPool, "drain_events", make)


# -- unexpected errors -----------------------------------------------------------------------


class StaleError(Mutant):
    """Every 20th drain raises a connection error of long ago, on a healthy connection."""

    rises = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        from amqpool import ChannelPool, ConnectionLost

        due = Every(20)

        def make(drain: Any) -> Any:
            def drain_events(pool: Any, *args: Any, **kwargs: Any) -> Any:
                if due():
                    raise ConnectionLost("an error of the round before")
                return drain(pool, *args, **kwargs)

            return drain_events

        wrap(ChannelPool, "drain_events", make)


class EveryPublishRaises(Mutant):
    """Every publish raises, with an error that the client does not declare.

    The probe after heal meets it as well: the client is unavailable.
    """

    rises = frozenset({"unexpected_errors", "unavailable"})

    def mutate(self) -> None:
        from amqpool import SharedChannel

        def basic_publish(channel: Any, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("publish is broken")

        SharedChannel.basic_publish = basic_publish


class ThreadDies(Mutant):
    """A helper thread of the client dies of an error that nobody catches."""

    rises = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        from amqpool import ChannelPool

        due = Every(50, once=True)

        def fail() -> None:
            raise RuntimeError("the helper thread is broken")

        def make(drain: Any) -> Any:
            def drain_events(pool: Any, *args: Any, **kwargs: Any) -> Any:
                if due():
                    threading.Thread(target=fail, name="mutant-helper", daemon=True).start()
                return drain(pool, *args, **kwargs)

            return drain_events

        wrap(ChannelPool, "drain_events", make)


# -- unavailable -----------------------------------------------------------------------------


class NeverReconnects(Mutant):
    """The first connection is the last: every recovery fails.

    The workers' retries end without a success (unexpected_errors), and so does the probe.
    """

    scenario = "chaos_with_connection_kills"
    load = "20x50x10"
    rises = frozenset({"unexpected_errors", "unavailable"})

    def mutate(self) -> None:
        from amqpool import ChannelPool

        def make(connector: Any) -> Any:
            def _connector(pool: Any, *args: Any) -> Any:
                if pool.generation:
                    raise OSError("no route to the broker")
                return connector(pool, *args)

            return _connector

        wrap(ChannelPool, "_connector", make)


class CloseNeverReturns(Mutant):
    """close() waits for itself."""

    rises = frozenset({"unavailable"})

    def mutate(self) -> None:
        from amqpool import ChannelPool

        def close(pool: Any, timeout: float = 10.0) -> bool:
            threading.Event().wait()
            return True

        ChannelPool.close = close  # type: ignore[method-assign]


# -- crashes ---------------------------------------------------------------------------------


class ExitsInTheMiddle(Mutant):
    """The 60th publish ends the process, with status 0 and without a word."""

    rises = frozenset({"crashes"})

    def end(self) -> None:
        os._exit(0)

    def mutate(self) -> None:
        from amqpool import SharedChannel

        due = Every(60, once=True)

        def make(publish: Any) -> Any:
            def basic_publish(channel: Any, *args: Any, **kwargs: Any) -> Any:
                if due():
                    self.end()
                return publish(channel, *args, **kwargs)

            return basic_publish

        wrap(SharedChannel, "basic_publish", make)


class Segfaults(ExitsInTheMiddle):
    """The 60th publish kills the process by a signal, as broken C code does."""

    def end(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


MUTANTS: tuple[type[Mutant], ...] = (
    OnePublishBlocksForEver,
    LockOrderInversion,
    DeliveryDropped,
    ReturnDropped,
    PublishDropped,
    PublishDoesNothing,
    AckDropped,
    TwiceInTheFreeList,
    FreeListNotEmptied,
    DrainRaisesKeyErrorNone,
    KeyErrorNoneInTheLog,
    StaleError,
    EveryPublishRaises,
    ThreadDies,
    NeverReconnects,
    CloseNeverReturns,
    ExitsInTheMiddle,
    Segfaults,
)
