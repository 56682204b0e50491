"""Mutants that give one channel to two owners."""

from __future__ import annotations

import itertools
from typing import Any

from mutating import Mutant, wrap


class TwiceInTheFreeList(Mutant):
    """Every release puts the channel into the free list twice, so two owners meet on it.

    When the one releases just while the other publishes, the pool refuses the publish with
    LeaseEnded: unexpected_errors may rise with it.
    """

    scenario = "high_contention_stress"
    load = "100x10"
    rises = ("double_releases",)
    may_rise = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        def make(clean: Any) -> Any:
            def patched(roster: Any, slots: Any, channel: Any) -> Any:
                slots.idle.append(channel)
                return clean(roster, slots, channel)

            return patched

        wrap("amqpool.roster:Roster.clean", make)


class FreeListNotEmptied(Mutant):
    """A channel that is lent stays in the free list, one time in 20.

    The pool hands it out again while its owner holds it. As above, unexpected_errors may rise.
    """

    scenario = "high_contention_stress"
    load = "100x10"
    rises = ("double_releases",)
    may_rise = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        leases = itertools.count()
        first = self.chance.randrange(20)

        def make(lend: Any) -> Any:
            def patched(roster: Any, *args: Any) -> Any:
                lease = lend(roster, *args)
                if next(leases) % 20 == first:
                    lease.slots.idle.append(lease.held)
                return lease

            return patched

        wrap("amqpool.roster:Roster.lend", make)


class CloseAndCollect(Mutant):
    """A channel with confirms outstanding is put back by its release, and again by their collector.

    Its next owner holds it by the time the collector puts it back, and a third one gets it too.
    As above, unexpected_errors may rise.
    """

    scenario = "high_contention_stress"
    load = "100x10"
    rises = ("double_releases",)
    may_rise = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        from amqpool.channel import SETTLING

        def parks(park: Any) -> Any:
            def patched(channel: Any, settling: Any, on_settled: Any) -> Any:
                state = park(channel, settling, on_settled)
                if state == SETTLING:
                    on_settled(channel)
                return state

            return patched

        def settles(settled: Any) -> Any:
            def patched(pool: Any, slots: Any, channel: Any) -> Any:
                if channel not in slots.settling:
                    slots.idle.append(channel)
                return settled(pool, slots, channel)

            return patched

        wrap("amqpool:SharedChannel.park", parks)
        wrap("amqpool:ChannelPool._settled", settles)


class SecondReleaseCounts(Mutant):
    """Nobody looks whether a lease had ended: its second release puts the channel back once more.

    The second one may come when another owner has the channel. That one's call finds it released
    (unexpected_errors may rise), or it is closed in the midst of that one's work, and what was on
    its way is thrown away (lost_frames). A place that is free twice is filled twice: more channels
    are open at rest than the pool has places (leaks).
    """

    scenario = "poisoned_channel"
    load = "12x40"
    rises = ("double_releases",)
    may_rise = frozenset({"unexpected_errors", "lost_frames", "leaks"})

    def mutate(self) -> None:
        def make(end: Any) -> Any:
            def patched(roster: Any, lease: Any) -> Any:
                lease.ended = False
                roster.leases.setdefault(lease.number, lease)
                return end(roster, lease)

            return patched

        wrap("amqpool.roster:Roster.end", make)


MUTANTS: tuple[type[Mutant], ...] = (
    TwiceInTheFreeList,
    FreeListNotEmptied,
    CloseAndCollect,
    SecondReleaseCounts,
)
UNWIDENED: tuple[type[Mutant], ...] = ()
