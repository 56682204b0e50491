"""What the asv benchmark of races reports: bounded searches in child processes.

It plans the searches and reads their results; it judges no order itself. Nothing here raises
because of the client under test: who cannot be searched has no number (None, which asv shows as
failed), and what does not apply to a commit is skipped with its reason. Seeds and counts are fixed,
so a number changes only with the code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from benchmarks.harness.environments import INSTALL_SECONDS, LOCK_SECONDS

from .explore import explore, strategy
from .hunts import Hunt, find_program
from .races import RACES, SEEDS, Race, applicable, median_schedules, missed
from .supervised import control_of, pursue_all

#: Searched on the pool of the commit: each operation at least once, beside what it must share with.
SCENARIOS: Final = (
    "acquire+release.1",
    "acquire+acquire.2",
    "publish+publish.2",
    "rpc+close.1",
    "drain+timeout.1",
    "confirmed+kill.1",
    "consume+confirmed+kill.2",
    "reconnect+reconnect+publish.1",
)
#: Schedules of each: a second or less.
SCHEDULES: Final = 40
DEPTH: Final = 3
SEED: Final = 1
#: Seconds after which the searches of one child are ended: ten times what they take.
DEADLINE: Final = 180.0
#: Seconds of everything at the very most: the children one after the other, and the environment of
#: the control, which is made at the first call.
LONGEST: Final = DEADLINE * (2 + len(RACES)) + LOCK_SECONDS + 2 * INSTALL_SECONDS
#: Children at a time: asv measures on two processors at least.
JOBS: Final = 2
#: What `time_schedule` runs.
TIMED: Final = Hunt("publish+kill.1", "pct", DEPTH, SEED, 20)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Searched:
    """All results: what the `setup_cache` hands to its readers."""

    scenarios: dict[str, dict[str, Any]]
    races: dict[str, list[dict[str, Any]]]
    control: dict[str, Any]


def search() -> Searched:
    """Search for everything; the slowest first, so that nothing waits for it in the end."""
    with ThreadPoolExecutor(JOBS, thread_name_prefix="search") as pool:
        control = pool.submit(control_of, SEED, DEADLINE)
        races = {
            race.name: pool.submit(pursue_all, [race.hunt(seed) for seed in SEEDS], DEADLINE)
            for race in RACES
        }
        hunts = [Hunt(name, "pct", DEPTH, SEED, SCHEDULES) for name in SCENARIOS]
        sound = pool.submit(pursue_all, hunts, DEADLINE)
        return Searched(
            dict(zip(SCENARIOS, sound.result(), strict=True)),
            {name: job.result() for name, job in races.items()},
            control.result(),
        )


# -- what the readers do -----------------------------------------------------------------------


def violations(searched: Searched, scenario: str) -> int | None:
    """1 when something was found, with its story on standard error; None when nobody looked."""
    result = searched.scenarios[scenario]
    if "races" not in result:
        _say(f"{scenario} was not searched: {result.get('refused') or result['failure']}")
        return None
    finding = result["finding"]
    if finding is not None:
        _say(f"{scenario}: {finding['story']}\ntoken: {finding['token']}")
    return int(result["races"])


def survived(searched: Searched) -> int | None:
    """Searches, of all races and seeds that apply, that missed their race."""
    total = 0
    for race in RACES:
        results = searched.races[race.name]
        if applicable(race, results) is not None:
            continue
        if not _complete(race, results):
            return None
        total += missed(race, results)
    return total


def schedules_to_find(searched: Searched, name: str) -> float | None:
    """The median over the seeds; who missed it counts with the whole bound."""
    race = _named(name)
    results = searched.races[name]
    return median_schedules(race, results) if _complete(race, results) else None


def control_missed(searched: Searched) -> int | None:
    """Whether the control's race was missed."""
    if "missed" not in searched.control:
        _say(f"the control was not searched: {searched.control['failure']}")
        return None
    return int(searched.control["missed"])


def run_schedules() -> None:
    """What `time_schedule` measures: `TIMED`, in this process."""
    program = find_program(TIMED.program)
    search = strategy(TIMED.strategy, seed=TIMED.seed, depth=TIMED.depth, early=program.early)
    explore(program, search, schedules=TIMED.schedules)


# -- setups: they skip, with the reason ----------------------------------------------------------


def require_mutants(searched: Searched) -> None:
    """Raises NotImplementedError when no mutant applies to the commit."""
    reasons = [applicable(race, searched.races[race.name]) for race in RACES]
    if all(reason is not None for reason in reasons):
        raise NotImplementedError(f"no mutant applies here: {reasons[0]}")


def require_mutant(searched: Searched, name: str) -> None:
    """Raises NotImplementedError when it does not apply to the commit."""
    reason = applicable(_named(name), searched.races[name])
    if reason is not None:
        raise NotImplementedError(f"{name} does not apply here: {reason}")


def require_control(searched: Searched) -> None:
    """Raises NotImplementedError where its library cannot be had."""
    if "refused" in searched.control:
        raise NotImplementedError(searched.control["refused"])


def require_clean(searched: Searched) -> None:
    """Raises NotImplementedError when a child found something, or died: no ground to measure on."""
    for scenario, result in searched.scenarios.items():
        if result.get("races") != 0:
            raise NotImplementedError(f"the search of {scenario} was not clean")


def after(setup: Callable[..., None]) -> Callable[[F], F]:
    """Give one benchmark a setup of its own, which asv reads from the function."""

    def mark(function: F) -> F:
        vars(function).update(setup=setup)
        return function

    return mark


def _named(name: str) -> Race:
    return next(race for race in RACES if race.name == name)


def _complete(race: Race, results: Sequence[Mapping[str, Any]]) -> bool:
    for each in results:
        if "schedules" not in each:
            _say(f"{race.name} was not searched for: {each['failure']}")
            return False
    return True


def _say(text: str) -> None:
    print(text, file=sys.stderr)
