"""Recovery: from the kill to the next operation that the broker confirmed.

``RecoveryCycle`` times one cycle on asv's own clock. ``RepeatedRecovery`` reports percentiles over
a thousand cycles of one supervised trial.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.arena import Arena
from benchmarks.harness.digest import instrument_digest
from benchmarks.harness.kinds import EMBEDDED
from benchmarks.harness.label import NotHere, node, skip_if_not_here
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.harness.suite import (
    CLIENT,
    ONE_A_ROUND,
    SEEDS,
    TIMED_SECONDS,
    Measured,
    lasting,
    longest,
    measure,
    percentiles,
    require,
)

_SCENARIO = "repeated_recovery_stress"
#: The short trial before anything is timed: a few cycles show whether it recovers at all.
_CHECK = "10"
#: Channels of the pool: one leased, one more, as small as a pool gets.
_CHANNELS = 2
#: The faults that end a connection at once; a cut is a rule that the cycle's own publish sets off.
_FAULTS = ["cut", "fin", "rst"]
#: Cycles before the one that is timed.
_WARM = 3


class RecoveryCycle:
    """One cycle, by kind of fault; the proxy that injects it stands in between."""

    version = instrument_digest()
    timeout = TIMED_SECONDS
    params = (_FAULTS,)
    param_names = ("fault",)
    number, repeat, rounds, warmup_time = ONE_A_ROUND

    def setup(self, fault: str) -> None:
        require(_SCENARIO, _CHECK, fault)
        self.arena = Arena(CLIENT, _CHANNELS, proxied=True, broker=node() or EMBEDDED)
        # The first cycles import and allocate what the others only use.
        for _ in range(_WARM):
            self.arena.recover(fault)

    def teardown(self, fault: str) -> None:
        # asv calls it also after a setup that was skipped.
        if hasattr(self, "arena"):
            self.arena.close()

    def time_recovery(self, fault: str) -> None:
        self.arena.recover(fault)


class RepeatedRecovery:
    """Percentiles of a thousand cycles; the samples are blocks of them."""

    version = instrument_digest()
    timeout = 60.0
    setup = staticmethod(skip_if_not_here)
    params = ([50, 99],)
    param_names = ("percentile",)
    unit = "ms"

    @lasting(longest(_SCENARIO, runs=1))
    def setup_cache(self) -> Measured | NotHere:
        return measure(_SCENARIO, SEEDS[:1])

    def track_percentile(self, measured: Measured, percentile: int) -> dict[str, Any] | None:
        [load] = SCENARIOS[_SCENARIO].loads
        [run] = measured.of(_SCENARIO, load)
        return percentiles(run, percentile)
