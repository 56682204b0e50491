"""Mutants that leave something behind: channels, connections, threads, descriptors."""

from __future__ import annotations

import itertools
import threading
from typing import Any

from mutating import HASTY, Mutant, wait_for_ever, wrap


class ChannelLeakedAtCollect(Mutant):
    """A channel that is not clean enough to be lent again is forgotten, and never closed."""

    scenario = "consumers_under_kills"
    load = "10x30x10"
    rises = ("leaks",)
    bounds = HASTY

    def mutate(self) -> None:
        def make(_: Any) -> Any:
            def patched(channel: Any, why: str) -> None:
                from amqp.exceptions import RecoverableChannelError

                with channel.inbox.lock:
                    channel.inbox.clear()
                    channel.inbox.end(lambda: RecoverableChannelError(why))

            return patched

        wrap("amqpool:SharedChannel.discard", make)


class TwoReconnect(Mutant):
    """A recovery counts as under way once its thread runs: of two who ask before, both start one.

    Both connect, and the pool is the one's that came last, younger or older. The channels of the
    other are lent until they die, nobody closes it, and it is there when the pool is closed. Both
    threads may come to serve the same connection, which poll() refuses (unexpected_errors).
    Widened: a pause between the decision to recover and the note that somebody does.
    """

    scenario = "chaos_with_connection_kills"
    load = "10x60x10"
    rises = ("leaks",)
    may_rise = frozenset({"unexpected_errors"})
    bounds = HASTY
    pause = 0.01

    def mutate(self) -> None:
        running: set[Any] = set()
        generations = itertools.count(1)

        def decides(decided: Any) -> Any:
            def patched(pool: Any, todo: Any) -> Any:
                if todo.recover and pool._round is not None and pool._round not in running:
                    pool._round = None
                return decided(pool, todo)

            return patched

        def runs(run: Any) -> Any:
            def patched(recovery: Any) -> Any:
                self.widen()
                running.add(recovery)
                return run(recovery)

            return patched

        def connects(connector: Any) -> Any:
            def patched(*args: Any) -> Any:
                connection = connector(*args)
                # Told apart, or the two would look like one from outside.
                connection.generation = next(generations)
                return connection

            return patched

        wrap("amqpool:ChannelPool._decided", decides)
        wrap("amqpool.recovery:Round.run", runs)
        wrap("amqpool:ChannelPool._connector", connects)


class ConnectionLeakedAtRecovery(Mutant):
    """A recovery's first attempt succeeds, is taken for failed, and is neither used nor closed."""

    scenario = "chaos_with_connection_kills"
    load = "10x30x10"
    rises = ("leaks",)
    bounds = HASTY

    def mutate(self) -> None:
        forgotten: list[Any] = []

        def make(connector: Any) -> Any:
            def patched(pool: Any, *args: Any) -> Any:
                from amqpool import ConnectionLost

                if pool.generation:
                    connection = connector(pool, *args)
                    forgotten.append(connection)
                    try:
                        connection.connect()
                    except ConnectionLost:
                        pass  # a kill was faster: the next attempt is the one that counts
                return connector(pool, *args)

            return patched

        wrap("amqpool:ChannelPool._connector", make)


class ThreadLeaked(Mutant):
    """Each recovery starts a thread that watches the new connection, and nobody ever ends it."""

    scenario = "chaos_with_connection_kills"
    load = "10x30x10"
    rises = ("leaks",)
    bounds = HASTY

    def mutate(self) -> None:
        def make(start: Any) -> Any:
            def patched(pool: Any, recovery: Any) -> Any:
                threading.Thread(target=wait_for_ever, name="mutant-monitor", daemon=True).start()
                return start(pool, recovery)

            return patched

        wrap("amqpool:ChannelPool._start", make)


class DescriptorLeaked(Mutant):
    """The end of a connection gives its socket back, and keeps the pair that wakes its poll."""

    rises = ("leaks",)
    bounds = HASTY

    def mutate(self) -> None:
        kept: list[Any] = []

        def make(_: Any) -> Any:
            def patched(loop: Any) -> None:
                kept.append(loop)
                loop._wire.shutdown()
                loop._wire.close()

            return patched

        wrap("amqpool.ioloop:IoLoop._close", make)


class TwoReconnectAtItsWidth(TwoReconnect):
    """The same two recoveries at their natural width, for the schedule search."""

    pause = 0.0


MUTANTS: tuple[type[Mutant], ...] = (
    ChannelLeakedAtCollect,
    TwoReconnect,
    ConnectionLeakedAtRecovery,
    ThreadLeaked,
    DescriptorLeaked,
)
UNWIDENED: tuple[type[Mutant], ...] = (TwoReconnectAtItsWidth,)
