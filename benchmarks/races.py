"""What the schedule search finds: races in the pool, and whether it still finds those it must.

``track_violations`` must be 0 everywhere. The others judge the instrument at the commit's pool: a
search that no longer finds the races of the mutants, or that of the control, would make those zeros
worthless. Everything is lower-is-better; see ``schedules.measured``.

No broker takes part, so all of it is measured once, under the embedded label.
"""

from __future__ import annotations

from benchmarks.harness.digest import instrument_digest
from benchmarks.harness.label import NotHere, once, skip_if_not_here, without_broker
from benchmarks.harness.suite import lasting, per
from benchmarks.schedules.measured import (
    LONGEST,
    SCENARIOS,
    Searched,
    after,
    control_missed,
    require_clean,
    require_control,
    require_mutant,
    require_mutants,
    run_schedules,
    schedules_to_find,
    search,
    survived,
    violations,
)
from benchmarks.schedules.races import RACES


class Explore:
    """Bounded searches with fixed seeds, each in a child process with a deadline."""

    version = instrument_digest()
    timeout = 60.0
    setup = staticmethod(skip_if_not_here)
    # One round: asv would run the cache again for each further one. Six samples, so that commits
    # which differ in the machine's drift alone compare as equal.
    number, repeat, rounds, warmup_time = 1, 6, 1, 0

    @lasting(LONGEST)
    def setup_cache(self) -> Searched | NotHere:
        return once(search)

    @without_broker
    @per(SCENARIOS, names=("scenario",), unit="violations")
    def track_violations(self, searched: Searched, scenario: str) -> int | None:
        return violations(searched, scenario)

    @without_broker
    @after(require_mutants)
    @per(names=(), unit="searches")
    def track_mutants_survived(self, searched: Searched) -> int | None:
        return survived(searched)

    @without_broker
    @after(require_mutant)
    @per([race.name for race in RACES], names=("mutant",), unit="schedules")
    def track_schedules_to_find(self, searched: Searched, mutant: str) -> float | None:
        return schedules_to_find(searched, mutant)

    @without_broker
    @after(require_control)
    @per(names=(), unit="searches")
    def track_control_missed(self, searched: Searched) -> int | None:
        return control_missed(searched)

    @without_broker
    @after(require_clean)
    def time_schedule(self, searched: Searched) -> None:
        run_schedules()
