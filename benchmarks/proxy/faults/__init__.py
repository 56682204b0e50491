"""The faults that the proxy can inject, by name.

A fault is one file with one function, entered in the table below. The function gets the links it
is to hit (at least one, all of them up) and its options, does its work within a bounded time, and
returns when the first effect happened. It never chooses its victims and never writes to the
ledger's list of faults: the proxy does both, so that a fault that hit nothing cannot be booked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from benchmarks.proxy.faults import rst
from benchmarks.proxy.link import Link

#: Takes links and options; returns the CLOCK_MONOTONIC second of the first effect. Raises
#: ValueError on an option that it does not know or whose value it cannot use.
Fault = Callable[[Sequence[Link], Mapping[str, Any]], float]

FAULTS: Final[Mapping[str, Fault]] = {"rst": rst.fire}
