"""The races that the search must find: where each is looked for, and as what it must be found.

Pure data and what judges it. The races are those among the mutants, at their natural width: clients
made from the very pool, each with one realistic bug (`tests/mutants`). Something else that is found
on one of them does not count, nor does what the default order shows at once: a mutant whose patch
does not fit the pool raises in every order, which says nothing about the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from .hunts import Hunt
from .models import FOUND_AS

#: Real seconds within which each of them must be found.
SECONDS: Final = 30.0
#: Schedules of a bounded search for one of them: some 60 to 120 a second fit into `SECONDS`.
SCHEDULES: Final = 2_000
SEEDS: Final = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Race:
    """One of them."""

    name: str
    program: str
    #: Any of these is its sign.
    invariants: tuple[str, ...]
    #: PCT's.
    depth: int

    def hunt(self, seed: int, seconds: float | None = None) -> Hunt:
        """The bounded search for it."""
        return Hunt(self.program, "pct", self.depth, seed, SCHEDULES, seconds)

    def found(self, result: Mapping[str, Any]) -> bool:
        """Whether this is what was found (`hunts.document`)."""
        finding = result.get("finding")
        if finding is None or not self.fits(result):
            return False
        return finding["invariant"] in self.invariants

    def fits(self, result: Mapping[str, Any]) -> bool:
        """Whether the default order shows nothing: else it is no race, or not of this pool."""
        return result.get("finding") is None or result["schedules"] > 0


def _mutant(name: str, family: str, scenario: str, *invariants: str, depth: int = 2) -> Race:
    return Race(name, f"tests/mutants/{family}.py:{name}:{scenario}", invariants, depth)


#: One interruption is enough for all of them, and then PCT 2 has the best odds. The scenario is the
#: smallest in which two threads meet at the racy lines, and the granularity the coarsest that shows
#: the race: the fewer points there are to choose from, the sooner it is found. Chosen with seeds 1
#: to 22; docs/schedules.md has what others make of it.
RACES: Final = (
    _mutant("LockOrderInversionAtItsWidth", "deadlocks", "publish+publish.2@sync", "deadlocks"),
    _mutant("NotifyBeforeWaitAtItsWidth", "deadlocks", "acquire+release.1@line", "deadlocks"),
    _mutant("BufferOfTwoWritersAtItsWidth", "phantoms", "publish+publish.2@line", "phantoms"),
    _mutant("OneReplyForAllAtItsWidth", "phantoms", "rpc+rpc.2@line", "phantoms"),
    _mutant("TwoReconnectAtItsWidth", "leaks", "publish+publish+kill.1@line", "leaks"),
    # Its docstring says what a caller who sends just then meets instead.
    _mutant(
        "NoneInThePendingDict", "keyerror_none", "rpc+kill.1", "keyerror_none", "unexpected_errors"
    ),
)
#: The same for the six small models, which need no client.
MODELS: Final = tuple(
    Race(name, f"model:{name}", (invariant,), 3) for name, invariant in FOUND_AS.items()
)


def applicable(race: Race, results: Sequence[Mapping[str, Any]]) -> str | None:
    """Why its searches say nothing about the search, or None: they do."""
    for each in results:
        if "refused" in each:
            return str(each["refused"])
        if not race.fits(each):
            return f"it does not fit this pool: {each['finding']['detail']}"
    return None


def median_schedules(race: Race, results: Sequence[Mapping[str, Any]]) -> float:
    """Schedules until it was found; a search that missed it counts with its whole bound."""
    return float(median(each["schedules"] if race.found(each) else SCHEDULES for each in results))


def missed(race: Race, results: Sequence[Mapping[str, Any]]) -> int:
    """How many of the searches did not find it."""
    return sum(not race.found(each) for each in results)
