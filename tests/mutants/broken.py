"""The mutants: the real pool, broken on purpose, one realistic bug each.

A detector that was never seen to fire proves nothing, so each counter has at least one mutant
here. A mutant is an adapter like any other (``--client tests/mutants/broken.py:Name``) and patches
the real pool in its trial's own process. ``scenario`` is where it is tried, ``rises`` the set of
counters that rise there each time, ``may_rise`` what a race decides besides, and its docstring says
why for each of them. No other counter may rise.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from benchmarks.clients.amqpool import AmqpoolClient

#: What a mutant answers when the real method is to go on.
GO_ON: Any = object()


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


def wrap(path: str, make: Callable[[Any], Any]) -> None:
    """Replace ``module:Class.method`` of the pool by what ``make`` builds around it."""
    module, _, names = path.partition(":")
    owner, method = names.split(".")
    kind = getattr(importlib.import_module(module), owner)
    setattr(kind, method, make(getattr(kind, method)))


class Nth(Mutant):
    """Base: every n-th call of one method, whichever thread makes it, goes wrong; or one alone."""

    method: ClassVar[str]
    every: ClassVar[int]
    once: ClassVar[bool] = False

    def goes_wrong(self, target: Any) -> Any:
        """Happens instead of the method; GO_ON lets it follow."""
        raise NotImplementedError

    def mutate(self) -> None:
        calls = itertools.count(1)  # next() is atomic in CPython

        def make(method: Any) -> Any:
            def patched(target: Any, *args: Any, **kwargs: Any) -> Any:
                number = next(calls)
                if number == self.every if self.once else number % self.every == 0:
                    answer = self.goes_wrong(target)
                    if answer is not GO_ON:
                        return answer
                return method(target, *args, **kwargs)

            return patched

        wrap(self.method, make)


PUBLISH = "amqpool:SharedChannel.basic_publish"
DRAIN = "amqpool:ChannelPool.drain_events"


# -- deadlocks -------------------------------------------------------------------------------


class OnePublishBlocksForEver(Nth):
    """The 60th publish waits for a lock that nobody will ever release: one thread hangs.

    Nothing else rises: its channel is missing, and the others share what is left.
    """

    rises = frozenset({"deadlocks"})
    method, every, once = PUBLISH, 60, True

    def goes_wrong(self, target: Any) -> Any:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
        return GO_ON


class LockOrderInversion(Mutant):
    """Publish takes the pool's lock and then the channel's, release the channel's and the pool's.

    Widened: 2 ms between the two locks, or the threads would seldom meet. Those who hang keep
    their channels, so the others' acquires time out: unexpected_errors rises with it.
    """

    rises = frozenset({"deadlocks", "unexpected_errors"})

    def mutate(self) -> None:
        pool_lock, channel_lock = threading.Lock(), threading.Lock()

        def nested(first: Any, second: Any) -> Callable[[Any], Any]:
            def make(method: Any) -> Any:
                def patched(*args: Any, **kwargs: Any) -> Any:
                    with first:
                        time.sleep(0.002)
                        with second:
                            return method(*args, **kwargs)

                return patched

            return make

        wrap(PUBLISH, nested(pool_lock, channel_lock))
        wrap("amqpool:ChannelPool.release", nested(channel_lock, pool_lock))


# -- lost frames -----------------------------------------------------------------------------


class DeliveryDropped(Nth):
    """Every 31st delivery that came in is handed to nobody.

    The dropped ones stay unacked and are requeued at close: nothing else rises.
    """

    rises = frozenset({"lost_frames"})
    method, every = "amqpool:SharedChannel._on_basic_deliver", 31

    def goes_wrong(self, target: Any) -> Any:
        return None


class ReturnDropped(Nth):
    """Every 7th basic.return is not matched with its publish: the application never hears of it."""

    rises = frozenset({"lost_frames"})
    method, every = "amqpool.confirms:ConfirmBook.returned", 7

    def goes_wrong(self, target: Any) -> Any:
        return True


class PublishDropped(Nth):
    """Every 25th publish reports success and an ack, and sends nothing."""

    rises = frozenset({"lost_frames"})
    method, every = PUBLISH, 25

    def goes_wrong(self, target: Any) -> Any:
        from amqpool import Confirmation

        confirmation = Confirmation(0, target.inbox, 1.0)
        confirmation.outcome = "ack"
        return confirmation


class PublishDoesNothing(PublishDropped):
    """Publish returns and does nothing, each time.

    Every publish is lost; the probe after heal believes the made-up ack, so nothing else rises.
    """

    every = 1


class AckDropped(Nth):
    """Every 40th basic.ack is reported as sent and is not."""

    rises = frozenset({"lost_frames"})
    method, every = "amqpool:SharedChannel.basic_ack", 40

    def goes_wrong(self, target: Any) -> Any:
        return None


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
        def make(settled: Any) -> Any:
            def patched(roster: Any, slots: Any, channel: Any, gone: Any) -> Any:
                if gone is None and channel in slots.settling:
                    slots.idle.append(channel)
                return settled(roster, slots, channel, gone)

            return patched

        wrap("amqpool.roster:Roster.settled", make)


class FreeListNotEmptied(Mutant):
    """A channel that is lent stays in the free list, one time in 20.

    The pool hands it out again while its owner holds it. As above, unexpected_errors may rise.
    """

    scenario = "high_contention_stress"
    load = "100x10"
    rises = frozenset({"double_releases"})
    may_rise = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        leases = itertools.count(1)

        def make(lend: Any) -> Any:
            def patched(roster: Any, lease: Any) -> Any:
                lend(roster, lease)
                if next(leases) % 20 == 0:
                    lease.slots.idle.append(lease.held)

            return patched

        wrap("amqpool.roster:Roster.lend", make)


# -- KeyError: None --------------------------------------------------------------------------


class DrainRaisesKeyErrorNone(Nth):
    """A channel's id was reset to None and is looked up: every 20th drain raises KeyError(None)."""

    rises = frozenset({"keyerror_none"})
    method, every = DRAIN, 20

    def goes_wrong(self, target: Any) -> Any:
        return {1: "channel"}[None]  # type: ignore[index]


class KeyErrorNoneInTheLog(DrainRaisesKeyErrorNone):
    """The same error, swallowed and logged by the client: it counts all the same."""

    def goes_wrong(self, target: Any) -> Any:
        try:
            super().goes_wrong(target)
        except KeyError:
            logging.getLogger("mutant").exception("could not dispatch")
        return GO_ON


# -- unexpected errors -----------------------------------------------------------------------


class StaleError(Nth):
    """Every 20th drain raises a connection error of long ago, on a healthy connection."""

    rises = frozenset({"unexpected_errors"})
    method, every = DRAIN, 20

    def goes_wrong(self, target: Any) -> Any:
        from amqpool import ConnectionLost

        raise ConnectionLost("an error of the round before")


class EveryPublishRaises(Nth):
    """Every publish raises, with an error that the client does not declare.

    The probe after heal meets it as well: the client is unavailable.
    """

    rises = frozenset({"unexpected_errors", "unavailable"})
    method, every = PUBLISH, 1

    def goes_wrong(self, target: Any) -> Any:
        raise RuntimeError("publish is broken")


class ThreadDies(Nth):
    """A helper thread of the client dies of an error that nobody catches."""

    rises = frozenset({"unexpected_errors"})
    method, every, once = DRAIN, 50, True

    def goes_wrong(self, target: Any) -> Any:
        def fail() -> None:
            raise RuntimeError("the helper thread is broken")

        threading.Thread(target=fail, name="mutant-helper", daemon=True).start()
        return GO_ON


# -- unavailable -----------------------------------------------------------------------------


class NeverReconnects(Mutant):
    """The first connection is the last: every recovery fails.

    The workers' retries end without a success (unexpected_errors), and so does the probe.
    """

    scenario = "chaos_with_connection_kills"
    load = "20x50x10"
    rises = frozenset({"unexpected_errors", "unavailable"})

    def mutate(self) -> None:
        def make(connector: Any) -> Any:
            def patched(pool: Any, *args: Any) -> Any:
                if pool.generation:
                    raise OSError("no route to the broker")
                return connector(pool, *args)

            return patched

        wrap("amqpool:ChannelPool._connector", make)


class CloseNeverReturns(Nth):
    """close() waits for itself."""

    rises = frozenset({"unavailable"})
    method, every = "amqpool:ChannelPool.close", 1

    def goes_wrong(self, target: Any) -> Any:
        threading.Event().wait()
        return GO_ON


# -- crashes ---------------------------------------------------------------------------------


class ExitsInTheMiddle(Nth):
    """The 60th publish ends the process, with status 0 and without a word."""

    rises = frozenset({"crashes"})
    method, every, once = PUBLISH, 60, True

    def goes_wrong(self, target: Any) -> Any:
        os._exit(0)


class Segfaults(ExitsInTheMiddle):
    """The 60th publish kills the process by a signal, as broken C code does."""

    def goes_wrong(self, target: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)
        return GO_ON


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
