"""Who is hit by which fault, and for how long: faults asked for, armed, lasting and healed.

It owns the rules, the lasting faults (an *episode* each) and what the ledger says of them. It
does not know what a fault does, nor sockets. A fault hits connections that are up; at a frame, the
connection of that frame; with ``future``, also those that are made while it lasts; refuse, all
there are. It prevents a fault from being reported that hit nothing, and one from lasting on
without anybody knowing.
"""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.proxy.doors import Doors
from benchmarks.proxy.faults import FAULTS
from benchmarks.proxy.faults.base import Fault, Lasting
from benchmarks.proxy.ledger import Ledger
from benchmarks.proxy.link import Link
from benchmarks.proxy.rules import Armed, Rules, parse
from benchmarks.proxy.timers import Timers
from benchmarks.wire.commands import CommandError

#: Seconds between two looks for a connection that a rule with a time can hit.
RETRY: Final = 0.01


class Episode:
    """One lasting fault from its beginning to its end, and the links that it still holds.

    ``entry`` is what the ledger says of it, ``links`` what it says of it with each connection.
    """

    def __init__(
        self, fault: Lasting, entry: dict[str, Any], links: dict[Link, dict[str, Any]]
    ) -> None:
        self.fault = fault
        self.entry = entry
        self.links = links

    @property
    def stays(self) -> bool:
        """Whether it goes on without links."""
        return bool(self.links) or self.fault.everyone or self.fault.lasts_for_new


class Injector:
    """Injects faults on ``links`` (which others fill and empty) and at the ``doors``."""

    def __init__(self, links: set[Link], doors: Doors, ledger: Ledger, timers: Timers) -> None:
        self.rules = Rules()
        self._links = links
        self._doors = doors
        self._ledger = ledger
        self._timers = timers
        self._episodes: list[Episode] = []

    @property
    def lasting(self) -> list[str]:
        """The kinds of fault that last now."""
        return sorted({episode.fault.kind for episode in self._episodes})

    # -- requests -------------------------------------------------------------------------------

    def fault(self, request: dict[str, Any]) -> dict[str, Any]:
        """Fire at once."""
        fault, only = _parse(request)
        if fault.needs_rule:
            raise CommandError(f"{fault.kind} needs a rule that says where: arm it")
        return self._fire(fault, self._victims(fault, only))

    def arm(self, request: dict[str, Any]) -> dict[str, Any]:
        """Arm a rule; answers its number."""
        options = dict(request)
        document = options.pop("rule", None)
        fault, only = _parse(options)
        try:
            rule = parse(document)
            if fault.needs_rule and rule.at is not None:
                raise ValueError(f"{fault.kind} needs a rule that names a frame")
            armed = self.rules.arm(fault, rule, only)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if rule.at is not None:
            self._timers.at(time.monotonic() + rule.at, lambda: self._due(armed))
        return {"number": armed.number}

    def fired(self, request: dict[str, Any]) -> dict[str, Any]:
        """What came of a rule so far."""
        try:
            return self.rules.outcome(_number(request))
        except ValueError as error:
            raise CommandError(str(error)) from error

    def disarm(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take a rule back."""
        try:
            return {"disarmed": self.rules.disarm(_number(request))}
        except ValueError as error:
            raise CommandError(str(error)) from error

    def heal(self, request: dict[str, Any]) -> dict[str, Any]:
        """End the lasting faults of a kind, or all of them and every rule."""
        kind = request.get("kind")
        if kind is None:
            self.rules.disarm_all()
        elif not isinstance(kind, str) or kind not in FAULTS:
            raise CommandError(f"no such fault; there are {', '.join(sorted(FAULTS))}")
        t = time.monotonic()
        healed = [one for one in self._episodes if kind is None or one.fault.kind == kind]
        for episode in healed:
            self._end(episode)
        return {"t": t, "healed": sorted({episode.fault.kind for episode in healed})}

    # -- what happens meanwhile -----------------------------------------------------------------

    def made(self, link: Link) -> None:
        """A connection was made: lasting faults may wait for it."""
        for episode in list(self._episodes):
            if episode.fault.lasts_for_new and not link.end:
                t = episode.fault.fire([link])
                episode.links[link] = link.generation.fault(episode.fault.kind, t, None)
                episode.entry["generations"].append(link.generation.number)

    def ended(self, link: Link) -> None:
        """A connection is over. What lasted for it alone is over too."""
        for episode in list(self._episodes):
            if episode.links.pop(link, None) and not episode.stays:
                self._end(episode)

    def reached(self, link: Link, armed: Armed) -> None:
        """The point of a rule is reached, on this link."""
        links = self._victims(armed.fault, None) if armed.fault.everyone else [link]
        # Fired before the fault acts: a link that ends would give its rules back.
        self.rules.fired(armed, outcome := {"fired": True})
        outcome.update(self._fire(armed.fault, links))

    def _due(self, armed: Armed) -> None:
        """The time of a rule has come. With nothing to hit it waits for the next connection."""
        if not armed.live:
            return
        outcome = self._fire(armed.fault, self._victims(armed.fault, armed.generations))
        if outcome["fired"]:
            self.rules.fired(armed, outcome)
        else:
            self._timers.at(time.monotonic() + RETRY, lambda: self._due(armed))

    # -- doing it -------------------------------------------------------------------------------

    def _victims(self, fault: Fault, only: frozenset[int] | None) -> list[Link]:
        """The links that the fault hits, oldest first."""
        all_ = fault.everyone or (isinstance(fault, Lasting) and fault.lasts_for_new)
        links = [link for link in self._links if not link.end and (all_ or link.up)]
        if only is not None:
            links = [link for link in links if link.generation.number in only]
        return sorted(links, key=lambda link: link.generation.number)

    def _fire(self, fault: Fault, links: list[Link]) -> dict[str, Any]:
        lasting = fault if isinstance(fault, Lasting) else None
        if not links and not fault.everyone and not (lasting and lasting.lasts_for_new):
            return {"fired": False, "why": "no connection that is ready"}
        if lasting:
            lasting.start(self._doors)
        t = fault.fire(links)
        generations = [link.generation for link in links]
        entry, theirs = self._ledger.fault(fault.kind, generations, t, None if lasting else t)
        if lasting:
            held = {link: one for link, one in zip(links, theirs, strict=True) if not link.end}
            self._begin(Episode(lasting, entry, held))
        return {"fired": True, "t": t, "generations": [one.number for one in generations]}

    def _begin(self, episode: Episode) -> None:
        self._episodes.append(episode)
        if not episode.stays:
            self._end(episode)
        elif episode.fault.seconds is not None:
            due = episode.entry["t"] + episode.fault.seconds
            self._timers.at(due, lambda: self._end(episode))

    def _end(self, episode: Episode) -> None:
        if episode not in self._episodes:  # healed already
            return
        self._episodes.remove(episode)
        episode.entry["until"] = until = time.monotonic()
        links, episode.links = episode.links, {}
        for entry in links.values():
            entry["until"] = until
        episode.fault.stop(self._doors)
        episode.fault.heal(list(links))


def _parse(request: dict[str, Any]) -> tuple[Fault, frozenset[int] | None]:
    options = dict(request)
    kind = options.pop("kind", None)
    fault = FAULTS.get(kind) if isinstance(kind, str) else None
    if fault is None:
        raise CommandError(f"no such fault; there are {', '.join(sorted(FAULTS))}")
    only = options.pop("generations", None)
    if only is not None and not (
        isinstance(only, list) and all(isinstance(one, int) for one in only)
    ):
        raise CommandError("generations is a list of numbers")
    try:
        parsed = fault.parse(options)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if only is None:
        return parsed, None
    if parsed.everyone or (isinstance(parsed, Lasting) and parsed.lasts_for_new):
        raise CommandError(f"{parsed.kind} hits all connections here: leave generations out")
    return parsed, frozenset(only)


def _number(request: dict[str, Any]) -> int:
    number = request.get("number")
    if isinstance(number, bool) or not isinstance(number, int):
        raise CommandError("number is the number of a rule")
    return number
