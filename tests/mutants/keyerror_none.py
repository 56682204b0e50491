"""Mutants that let KeyError(None) out: an id that was reset to None, and looked up."""

from __future__ import annotations

import logging
from typing import Any

from mutating import DRAIN, GO_ON, HASTY, PUBLISH, Mutant, Nth, wrap


def _look_up_none() -> Any:
    return {1: "channel"}[None]  # type: ignore[index]


class DrainRaisesKeyErrorNone(Nth):
    """A channel's id was reset to None and is looked up: every 20th drain raises KeyError(None)."""

    rises = ("keyerror_none",)
    method, every = DRAIN, 20

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        return _look_up_none()


class KeyErrorNoneInTheLog(Nth):
    """The same error, swallowed and logged by the client: it counts all the same."""

    rises = ("keyerror_none",)
    method, every = DRAIN, 20

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            _look_up_none()
        except KeyError:
            logging.getLogger("mutant").exception("could not dispatch")
        return GO_ON


class EveryPublishRaisesKeyErrorNone(Nth):
    """Every publish raises KeyError(None); the probe's as well, so the client is unavailable."""

    rises = ("keyerror_none", "unavailable")
    bounds = HASTY
    method, every = PUBLISH, 1

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        return _look_up_none()


class NoneInThePendingDict(Mutant):
    """Calls are booked by channel id; a lost connection resets the ids of its channels to None.

    A caller who waits just then cannot strike its call out: KeyError(None) takes the place of the
    error that was on its way. One who sends just then cannot encode the number: unexpected_errors
    may rise.
    """

    scenario = "consumers_under_kills"
    load = "10x30x10"
    rises = ("keyerror_none",)
    may_rise = frozenset({"unexpected_errors"})

    def mutate(self) -> None:
        def replies(reply: Any) -> Any:
            def patched(channel: Any, call: Any, *args: Any) -> Any:
                pending = {channel.channel_id: call}
                try:
                    return reply(channel, call, *args)
                finally:
                    del pending[channel.channel_id]

            return patched

        def ends(connection_lost: Any) -> Any:
            def patched(channel: Any) -> Any:
                number, channel.channel_id = channel.channel_id, None
                del channel.connection.channels[number]
                return connection_lost(channel)

            return patched

        wrap("amqpool:SharedChannel._reply", replies)
        wrap("amqpool:SharedChannel.connection_lost", ends)


class KeyErrorNoneAsTheCause(Nth):
    """The same lookup fails within a drain, which raises a timeout with KeyError(None) as cause.

    What surfaces is what a drain may raise; what is behind it counts.
    """

    rises = ("keyerror_none",)
    method, every = DRAIN, 20

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        from amqpool import DrainTimeout

        try:
            return _look_up_none()
        except KeyError as error:
            raise DrainTimeout("nothing came in") from error


MUTANTS: tuple[type[Mutant], ...] = (
    DrainRaisesKeyErrorNone,
    KeyErrorNoneInTheLog,
    EveryPublishRaisesKeyErrorNone,
    NoneInThePendingDict,
    KeyErrorNoneAsTheCause,
)
UNWIDENED: tuple[type[Mutant], ...] = ()
