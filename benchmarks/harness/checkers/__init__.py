"""The checkers: what a trial recorded in, violations and their witnesses out.

Pure functions of recorded data: no sockets, no threads, no clocks.
"""

from __future__ import annotations

from benchmarks.harness.checkers.doubts import doubts, hollow_recoveries
from benchmarks.harness.checkers.evidence import WITNESSES_AT_MOST, Evidence, Finding
from benchmarks.harness.checkers.invariants import INVARIANTS, fault_windows, judge

__all__ = [
    "INVARIANTS",
    "WITNESSES_AT_MOST",
    "Evidence",
    "Finding",
    "doubts",
    "fault_windows",
    "hollow_recoveries",
    "judge",
]
