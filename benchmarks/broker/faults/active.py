"""The faults that are at work: it begins them, runs what is due, and ends them.

It owns the list and the counts, and knows no single fault. It prevents a fault from outliving its
time, and two that contradict each other from being at work together: the later one ends the
earlier, whose held-back frames go out first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import AT_ONCE, FAULTS, LASTING
from .options import NothingToHit, Options

if TYPE_CHECKING:
    from ..core import Broker
    from .lasting import Lasting


@dataclass(frozen=True, slots=True)
class _Running:
    fault: Lasting
    #: When it ends by itself, None for never.
    until: float | None


class Faults:
    """The faults of one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.active: dict[str, _Running] = {}
        #: How many connections, channels, consumers or frames were struck, by faults that are over.
        self.effects: Counter[str] = Counter()

    def fire(self, kind: str, values: Mapping[str, object]) -> dict[str, Any]:
        """Commit a fault; ``fired`` is false when there was nothing to hit.

        Raises ValueError for a fault or an option that does not exist, and for a bad value.
        """
        options = Options(kind, values)
        if kind in AT_ONCE:
            try:
                self.effects[kind] += AT_ONCE[kind](self._broker, options)
            except NothingToHit as error:
                return {"fired": False, "why": str(error)}
        elif kind in LASTING:
            seconds = options.seconds()
            fault = LASTING[kind](self._broker, options)
            options.done()
            for name, running in list(self.active.items()):
                if running.fault.slot == fault.slot:
                    self._end(name)
            until = None if seconds is None else self._broker.now + seconds
            self.active[kind] = _Running(fault, until)
            fault.begin()
        else:
            raise ValueError(f"no such fault; there are {', '.join(sorted(FAULTS))}")
        return {"fired": True, "t": self._broker.now}

    def heal(self, kind: str | None = None) -> list[str]:
        """End the lasting fault of that kind, or all; returns those that were at work.

        Raises ValueError for a fault that does not exist.
        """
        if kind is not None and kind not in FAULTS:
            raise ValueError(f"no such fault; there are {', '.join(sorted(FAULTS))}")
        healed = [name for name in self.active if kind is None or name == kind]
        for name in healed:
            self._end(name)
        return healed

    def counted(self) -> dict[str, int]:
        """How often each fault has struck so far, by kind."""
        counts = Counter(self.effects)
        for kind, running in self.active.items():
            counts[kind] += running.fault.effects
        return dict(counts)

    def due(self) -> float | None:
        """When ``run`` has something to do next, None for never."""
        times = [running.until for running in self.active.values()]
        times += [running.fault.due() for running in self.active.values()]
        return min((t for t in times if t is not None), default=None)

    def run(self) -> None:
        """Do what is due."""
        now = self._broker.now
        for kind, running in list(self.active.items()):
            if running.until is not None and running.until <= now:
                self._end(kind)
            else:
                running.fault.run()

    def _end(self, kind: str) -> None:
        fault = self.active.pop(kind).fault
        fault.end()
        self.effects[kind] += fault.effects
