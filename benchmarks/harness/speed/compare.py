"""The comparison itself: every client at every work, by turns, each round as long as the others'.

One work after the other; within it A B A B, so that what disturbs the machine disturbs everybody.
The first round of each client is a warm-up: it is not counted, and from it the operations of a
round are worked out. A client that fails or hangs is a cell that says so, and never a missing one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.clients.speed.table import load_speed
from benchmarks.harness.speed.bench import Sample
from benchmarks.harness.speed.runner import Failure, Hung, Place, Runner
from benchmarks.harness.speed.works import WORKS, Work

#: Failures of one client at one work, after which it is left alone.
FAILURES = 2

CANNOT, MISSING, MEASURED, FAILED, PARTIAL = "cannot", "missing", "measured", "failed", "partial"


@dataclass(frozen=True)
class Effort:
    """``repeats`` rounds of about ``target`` seconds each, none longer than ``bound``.

    ``whole``: no round has fewer operations than its work says, however long that takes.
    """

    repeats: int
    target: float
    bound: float
    whole: bool


FULL = Effort(repeats=7, target=0.3, bound=12.0, whole=True)
QUICK = Effort(repeats=3, target=0.1, bound=8.0, whole=False)


@dataclass
class Cell:
    """What came of one client at one work. ``why``: of all states but MEASURED."""

    work: str
    client: str
    state: str = PARTIAL
    why: str = "not run"
    version: str | None = None
    operations: int = 0
    samples: list[Sample] = field(default_factory=list)
    failures: int = 0


class Comparison:
    """``pythons``: the interpreter of each client, or why there is none."""

    def __init__(
        self,
        pythons: Mapping[str, Path | str],
        works: Sequence[str],
        place: Place,
        folder: Path,
        prefix: str,
        effort: Effort,
        show: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._pythons = pythons
        self._place = place
        self._folder = folder
        self._prefix = prefix
        self._effort = effort
        self._show = show
        self.cells = [_cell(work, client, python) for work in works
                      for client, python in pythons.items()]  # fmt: skip
        self._rounds = sum(cell.state == PARTIAL for cell in self.cells) * (effort.repeats + 1)
        self._done = 0
        self._started = time.monotonic()

    def run(self) -> None:
        """Run all of it. A KeyboardInterrupt leaves what was measured so far in ``cells``."""
        for work in dict.fromkeys(cell.work for cell in self.cells):
            cells = [c for c in self.cells if c.work == work and c.state == PARTIAL]
            self._work(WORKS[work], cells)

    def _work(self, work: Work, cells: Sequence[Cell]) -> None:
        runners = {}
        for cell in cells:
            python = self._pythons[cell.client]
            assert isinstance(python, Path)
            runners[cell.client] = Runner(
                cell.client, work.name, python, self._place, self._prefix, self._folder
            )
        try:
            for number in range(self._effort.repeats + 1):
                for cell in cells:
                    self._tell(f"{work.title}: {cell.client}, round {number}")
                    if cell.state == PARTIAL:
                        self._round(work, cell, runners[cell.client], warm=number == 0)
                    self._done += 1
            for cell in cells:
                if cell.state == PARTIAL:
                    cell.state, cell.why = MEASURED, ""
        finally:
            for runner in runners.values():
                runner.stop()

    def _round(self, work: Work, cell: Cell, runner: Runner, *, warm: bool) -> None:
        """One round; a first failure is forgiven, since any process may be unlucky once. A hang is
        not: it was given many times what a round takes."""
        while True:
            try:
                sample = runner.round(cell.operations or work.first, self._effort.bound)
                break
            except Failure as failure:
                cell.failures += 1
                cell.why = str(failure)
                if cell.failures == FAILURES or isinstance(failure, Hung):
                    cell.state = FAILED
                    return
            finally:
                cell.version = runner.version or cell.version
        if warm:
            cell.operations = planned(work, sample, self._effort)
        else:
            cell.samples.append(sample)

    def _tell(self, what: str) -> None:
        """What is done now, and how long the rest takes if it goes on like this."""
        line = f"{what}; {self._done} of {self._rounds} rounds"
        if self._done:
            spent = time.monotonic() - self._started
            left = spent / self._done * (self._rounds - self._done)
            line += f", about {left / 60:.0f} min left" if left > 90 else f", {left:.0f} s left"
        self._show(line)


def planned(work: Work, sample: Sample, effort: Effort) -> int:
    """Operations of a round, by what the warm-up took. Pure."""
    if not sample.seconds:
        return work.first
    least = max(work.threads, work.least if effort.whole else 1)
    return max(least, min(work.most, round(sample.operations / sample.seconds * effort.target)))


def _cell(work: str, client: str, python: Path | str) -> Cell:
    if not WORKS[work].possible(load_speed(client)):
        return Cell(work, client, CANNOT, "has no way to do it")
    if isinstance(python, str):
        return Cell(work, client, MISSING, python)
    return Cell(work, client)
