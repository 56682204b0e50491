"""Works for asv: each is done, and one that fails costs time instead of raising."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from benchmarks.harness.kinds import EMBEDDED
from benchmarks.harness.speed import workbench
from benchmarks.harness.speed.bench import Bench, CrewError, Sample
from benchmarks.harness.speed.workbench import COUNTS, Workbench


@pytest.mark.parametrize("work", COUNTS)
def test_a_work_is_done(work: str, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Workbench(work, EMBEDDED)
    try:
        bench.run()
    finally:
        bench.close()
    assert capsys.readouterr().err == ""


def test_a_work_that_fails_costs_the_bound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(bench: Bench, threads: int, count: int) -> Sample:
        raise CrewError("broken")

    bench = Workbench("lease_50", EMBEDDED)
    monkeypatch.setattr(workbench, "BOUND", 0.3)
    bench._work = replace(bench._work, run=fails)
    try:
        start = time.monotonic()
        bench.run()
        assert time.monotonic() - start >= 0.3
    finally:
        bench.close()
    assert capsys.readouterr().err == "lease_50: CrewError('broken')\n"
