"""The two labels under a real `asv run`: measured where RabbitMQ is, skipped where it is not.

What is seen here is what no stand-in could show: that asv builds once for both, what it stores of
a skipped benchmark, and where the records of either label end up.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asv_invariants import records
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.gate import NOT_MEASURED, VALUE, Sheet, judge
from benchmarks.harness.gate_results import Store
from benchmarks.harness.kinds import EMBEDDED, RABBITMQ
from benchmarks.harness.label import missing
from tools.scratch import Scratch

pytestmark = pytest.mark.asv

#: Seconds for one `asv run`: an environment, and a few benchmarks on one or two brokers.
SECONDS = 900.0
#: One round: every process that times starts a node of its own.
ONE_ROUND = ("--attribute", "rounds=1")
#: What the programs are called that are hidden.
HIDDEN = ("erl", "epmd", "rabbitmq", "python")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    made = Scratch(tmp_path_factory.mktemp("labels") / "repository")
    done = made.asv("machine", "--yes", timeout=60)
    assert done.returncode == 0, done.stdout
    return made


def run(scratch: Scratch, commit: str, classes: tuple[str, ...], *more: str) -> str:
    """What `asv run` printed; every class that measures in a cache, times, or needs no broker."""
    selection = [word for name in classes for word in ("--bench", name)]
    words = ("run", "--show-stderr", *ONE_ROUND, *more, *selection, f"{commit}^!")
    done = scratch.asv(*words, timeout=SECONDS)
    assert done.returncode == 0, done.stdout
    return done.stdout


def cells(sheet: Sheet, classes: tuple[str, ...]) -> set[tuple[str, str]]:
    """State and reason of each cell of those classes."""
    found = [c for c in sheet.cells if any(f".{name}." in c.benchmark for name in classes)]
    return {(cell.state, cell.reason) for cell in found}


def hide_rabbitmq(folder: Path) -> None:
    """Fill a folder with links to every program but RabbitMQ's: git is a dozen of them. asv is to
    take the Python that runs it."""
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            link = folder / program.name
            if not program.name.startswith(HIDDEN) and not link.is_symlink():
                link.symlink_to(program)


@pytest.mark.timeout(SECONDS + 120)
def test_without_rabbitmq_its_label_is_skipped_with_the_reason(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_rabbitmq(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing(RABBITMQ) is not None
    classes = ("HighContention", "RepeatedRecovery", "RecoveryCycle", "Explore")
    shown = run(scratch, scratch.base, classes, *scratch.selection(RABBITMQ))
    assert "asv: skipped: NotImplementedError('rabbitmq: there is no " in shown
    assert "install RabbitMQ (on Debian and Ubuntu: apt-get install rabbitmq-server)" in shown

    stored = Store(scratch.folder / "asv.conf.json").stored(scratch.base)
    [sheet] = stored.sheets
    assert sheet.label == RABBITMQ
    assert cells(sheet, classes[:3]) == {(NOT_MEASURED, "skipped")}
    assert cells(sheet, classes[3:]) == set(), "no broker takes part in it"
    name = "stability.HighContention.track_violations"
    loads = 2 * len(INVARIANTS)
    where = f"{RABBITMQ}, {sheet.machine}, {sheet.environment}"
    line = f"{where}: {name}, all {loads} parameters: skipped"
    assert line in judge(stored, [EMBEDDED]).others
    verdict = judge(stored, [RABBITMQ])
    assert verdict.status == 2
    assert line in verdict.gaps
    assert verdict.violated == verdict.failed == ()


@pytest.mark.timeout(SECONDS + 120)
def test_one_run_measures_both_labels_of_a_commit(scratch: Scratch) -> None:
    lacking = missing(RABBITMQ)
    if lacking is not None:
        pytest.skip(lacking.reason)
    # Another commit than the one that is installed: asv tells it to the first environment alone.
    commit = scratch.commit("measured on both")
    classes = ("RepeatedRecovery.track_percentile", "Publish")
    shown = run(scratch, commit, classes)
    builds = [line for line in shown.splitlines() if f"Building {commit[:8]}" in line]
    assert len(builds) == 1, shown

    stored = Store(scratch.folder / "asv.conf.json").stored(commit)
    found = {sheet.label: sheet for sheet in stored.sheets}
    assert set(found) == {EMBEDDED, RABBITMQ}
    for sheet in found.values():
        measured = {c.benchmark: c.state for c in sheet.cells if c.state != NOT_MEASURED}
        assert measured == {
            "recovery.RepeatedRecovery.track_percentile": VALUE,
            "throughput.Publish.time_publish": VALUE,
        }, shown
        kept = records.read(scratch.folder, sheet.machine, commit, sheet.environment, [])
        [record] = kept
        assert len(records.cycles(kept)) == 1000
        [trial] = record.runs
        assert ("--broker rabbitmq" in trial.replay) == (sheet.label == RABBITMQ)
        assert trial.violations == dict.fromkeys(INVARIANTS, 0)
