"""Stability under chaos: how often each invariant broke, and how long the load took.

``track_violations`` must be 0 everywhere: it is the sum over all seeded runs. ``track_duration``
has one sample for each of those runs. ``Variants`` looks at all further scenarios, for violations
alone. The numbers come from supervised trials; see ``suite``. They are taken on the broker that
asv's matrix names; where it cannot be had, the readers skip themselves; see ``label``.

Each class has a ``setup_cache`` of its own, written out: asv keys a cache by module and line, so an
inherited or generated one would silently hand one scenario's result to the readers of another.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.digest import instrument_digest
from benchmarks.harness.label import NotHere, skip_if_not_here
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.harness.suite import (
    Measured,
    lasting,
    longest,
    measure,
    measure_variants,
    per,
    report_durations,
    report_variant,
    report_violations,
    variants,
)

_CHAOS = "chaos_no_deadlock"
_KILLS = "chaos_with_connection_kills"
_CONTENTION = "high_contention_stress"
_RECOVERY = "repeated_recovery_stress"


class ChaosNoDeadlock:
    """Random operations on many threads, no faults."""

    version = instrument_digest()
    timeout = 60.0
    setup = staticmethod(skip_if_not_here)

    @lasting(longest(_CHAOS))
    def setup_cache(self) -> Measured | NotHere:
        return measure(_CHAOS)

    @per(SCENARIOS[_CHAOS].loads, INVARIANTS, names=("load", "invariant"), unit="violations")
    def track_violations(self, measured: Measured, load: str, invariant: str) -> int | None:
        return report_violations(measured, _CHAOS, load, invariant)

    @per(SCENARIOS[_CHAOS].loads, names=("load",), unit="seconds")
    def track_duration(self, measured: Measured, load: str) -> dict[str, Any] | None:
        return report_durations(measured, _CHAOS, load)


class ChaosWithConnectionKills:
    """The same operations while the connection is killed again and again."""

    version = instrument_digest()
    timeout = 60.0
    setup = staticmethod(skip_if_not_here)

    @lasting(longest(_KILLS))
    def setup_cache(self) -> Measured | NotHere:
        return measure(_KILLS)

    @per(SCENARIOS[_KILLS].loads, INVARIANTS, names=("load", "invariant"), unit="violations")
    def track_violations(self, measured: Measured, load: str, invariant: str) -> int | None:
        return report_violations(measured, _KILLS, load, invariant)

    @per(SCENARIOS[_KILLS].loads, names=("load",), unit="seconds")
    def track_duration(self, measured: Measured, load: str) -> dict[str, Any] | None:
        return report_durations(measured, _KILLS, load)


class HighContention:
    """All threads start at one barrier and fight for a much smaller pool."""

    version = instrument_digest()
    timeout = 60.0
    setup = staticmethod(skip_if_not_here)

    @lasting(longest(_CONTENTION))
    def setup_cache(self) -> Measured | NotHere:
        return measure(_CONTENTION)

    @per(SCENARIOS[_CONTENTION].loads, INVARIANTS, names=("load", "invariant"), unit="violations")
    def track_violations(self, measured: Measured, load: str, invariant: str) -> int | None:
        return report_violations(measured, _CONTENTION, load, invariant)

    @per(SCENARIOS[_CONTENTION].loads, names=("load",), unit="seconds")
    def track_duration(self, measured: Measured, load: str) -> dict[str, Any] | None:
        return report_durations(measured, _CONTENTION, load)


class RepeatedRecovery:
    """A thousand times: kill, then an operation that the broker confirmed."""

    version = instrument_digest()
    timeout = 60.0
    setup = staticmethod(skip_if_not_here)

    @lasting(longest(_RECOVERY))
    def setup_cache(self) -> Measured | NotHere:
        return measure(_RECOVERY)

    @per(SCENARIOS[_RECOVERY].loads, INVARIANTS, names=("load", "invariant"), unit="violations")
    def track_violations(self, measured: Measured, load: str, invariant: str) -> int | None:
        return report_violations(measured, _RECOVERY, load, invariant)

    @per(SCENARIOS[_RECOVERY].loads, names=("load",), unit="seconds")
    def track_duration(self, measured: Measured, load: str) -> dict[str, Any] | None:
        return report_durations(measured, _RECOVERY, load)


class Variants:
    """All further scenarios: other operations, other faults. Few seeds, so no durations."""

    version = instrument_digest()
    timeout = 60.0
    setup = staticmethod(skip_if_not_here)

    @lasting(sum(longest(name) for name, _ in variants().values()))
    def setup_cache(self) -> dict[str, Measured] | NotHere:
        return measure_variants()

    @per(variants(), INVARIANTS, names=("load", "invariant"), unit="violations")
    def track_violations(
        self, measured: dict[str, Measured], load: str, invariant: str
    ) -> int | None:
        return report_variant(measured, load, invariant)
