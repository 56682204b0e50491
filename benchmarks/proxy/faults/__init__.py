"""The faults that the proxy can inject, by name: one file each, entered in the table below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.proxy.faults.base import Fault
from benchmarks.proxy.faults.blackhole import Blackhole
from benchmarks.proxy.faults.cut import Cut
from benchmarks.proxy.faults.fin import Fin
from benchmarks.proxy.faults.latency import Latency
from benchmarks.proxy.faults.refuse import Refuse
from benchmarks.proxy.faults.rst import Rst
from benchmarks.proxy.faults.slice import Slice
from benchmarks.proxy.faults.stall import Stall
from benchmarks.proxy.faults.throttle import Throttle

FAULTS: Final[Mapping[str, type[Fault]]] = {
    fault.kind: fault
    for fault in (Rst, Fin, Cut, Stall, Blackhole, Latency, Throttle, Slice, Refuse)
}
