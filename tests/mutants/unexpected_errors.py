"""Mutants that raise what no fault and no contract explains."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from mutating import DRAIN, GO_ON, HASTY, PUBLISH, Mutant, Nth, wrap


class StaleError(Nth):
    """Every 20th drain raises the error of a drain of long ago, on a healthy connection."""

    rises = ("unexpected_errors",)
    method, every = DRAIN, 20

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        from amqpool import ConnectionLost

        raise ConnectionLost("an error of the round before")


class EveryPublishRaises(Nth):
    """Every publish raises, with an error that the client does not declare.

    The probe after heal meets it as well: the client is unavailable.
    """

    rises = ("unexpected_errors", "unavailable")
    bounds = HASTY
    method, every = PUBLISH, 1

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("publish is broken")


class AcquireAlwaysRaises(Nth):
    """No channel is ever given out.

    The probe after heal gets none either: the client is unavailable.
    """

    rises = ("unexpected_errors", "unavailable")
    bounds = HASTY
    method, every = "amqpool:ChannelPool.acquire", 1

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("acquire is broken")


class AckIncludesTheOlder(Mutant):
    """Acknowledgements that wait to be sent go as one, whatever lies between them.

    A delivery that the application has not acknowledged yet is acknowledged with the later one. Its
    own acknowledgement is then one of a tag that the broker does not know.
    """

    scenario = "consumers_under_kills"
    load = "10x30x10"
    rises = ("unexpected_errors",)

    def mutate(self) -> None:
        wrap("amqpool:SharedChannel._is_oldest", lambda is_oldest: lambda channel, tag: True)


class HeartbeatThreadDies(Mutant):
    """Heartbeats have a thread of their own, and it dies with the first connection that is lost.

    Nobody beats for the connections after it. What it died of surfaced in no caller, and counts.
    """

    scenario = "chaos_with_connection_kills"
    load = "10x30x10"
    rises = ("unexpected_errors",)

    def mutate(self) -> None:
        threads: list[threading.Thread] = []

        def make(connected: Any) -> Any:
            def patched(roster: Any, *args: Any) -> Any:
                todo = connected(roster, *args)
                if not threads:
                    beats = partial(_beat, roster)
                    threads.append(
                        threading.Thread(target=beats, name="mutant-heartbeat", daemon=True)
                    )
                    threads[0].start()
                return todo

            return patched

        wrap("amqpool.roster:Roster.connected", make)


def _beat(roster: Any) -> None:
    from amqpool.frames import HEARTBEAT

    pause = threading.Event()
    connection = roster.slots.connection
    while not roster.closed:
        if connection.outbox.push(HEARTBEAT):
            connection.outbox.flush()
        pause.wait(0.01)


class ThreadDies(Nth):
    """A helper thread of the client dies of an error that nobody catches."""

    rises = ("unexpected_errors",)
    method, every, once = DRAIN, 50, True

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        def fail() -> None:
            raise RuntimeError("the helper thread is broken")

        threading.Thread(target=fail, name="mutant-helper", daemon=True).start()
        return GO_ON


class ForeignChannelError(Mutant):
    """A channel's own error is kept with the connection and raised by whoever drains next.

    The thread that drains did nothing wrong, and its channel is healthy.
    """

    scenario = "poisoned_channel"
    load = "12x40"
    rises = ("unexpected_errors",)

    def mutate(self) -> None:
        errors: list[Exception] = []

        def closes(closed_by_broker: Any) -> Any:
            def patched(channel: Any, event: Any) -> Any:
                flush = closed_by_broker(channel, event)
                errors.append(channel.inbox.ended())
                return flush

            return patched

        def drains(drain: Any) -> Any:
            def patched(pool: Any, *args: Any, **kwargs: Any) -> Any:
                if errors:
                    raise errors.pop()
                return drain(pool, *args, **kwargs)

            return patched

        wrap("amqpool:SharedChannel._closed_by_broker", closes)
        wrap(DRAIN, drains)


MUTANTS: tuple[type[Mutant], ...] = (
    StaleError,
    EveryPublishRaises,
    AcquireAlwaysRaises,
    AckIncludesTheOlder,
    HeartbeatThreadDies,
    ThreadDies,
    ForeignChannelError,
)
UNWIDENED: tuple[type[Mutant], ...] = ()
