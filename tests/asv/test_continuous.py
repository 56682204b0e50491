"""Broken commits against `asv continuous`, in a scratch repository with the whole suite.

asv exits 2 *without any table* when a benchmark raises or times out, so these tests are also the
proof that no benchmark raises because of the client under test.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools import bench_summary
from tools.no_change import changes
from tools.scratch import Scratch

pytestmark = pytest.mark.asv

#: Seconds for one `asv continuous`: an environment, and the whole suite twice.
SECONDS = 1200.0


@dataclass(frozen=True)
class Mutant:
    """What is appended to the pool's package, and the invariant that must be in the table."""

    name: str
    code: str
    invariant: str


NOTHING = Mutant(
    "publish does nothing",
    """
def _publish(channel, *args, **kwargs):
    confirmation = Confirmation(0, channel.inbox, 1.0)
    confirmation.outcome = "ack"
    return confirmation

SharedChannel.basic_publish = _publish
""",
    "phantoms",
)
RAISES = Mutant(
    "every publish raises",
    """
def _publish(channel, *args, **kwargs):
    raise KeyError(None)

SharedChannel.basic_publish = _publish
""",
    "keyerror_none",
)
HANGS = Mutant(
    "publish hangs",
    """
def _publish(channel, *args, **kwargs):
    import threading
    threading.Event().wait()

SharedChannel.basic_publish = _publish
""",
    "deadlocks",
)
NOT_IMPORTABLE = Mutant("cannot be imported", "\nimport no_such_module\n", "crashes")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    # A space in the path, as in some people's home folders.
    made = Scratch(tmp_path_factory.mktemp("asv of amqpool") / "scratch repository")
    done = made.asv("machine", "--yes", timeout=60)
    assert done.returncode == 0, done.stdout
    return made


def continuous(scratch: Scratch, commit: str, *selection: str) -> tuple[int, list[str], str]:
    """Exit status, rows of the table, whole output."""
    chosen = (*scratch.selection(), *selection)
    done = scratch.asv("continuous", *chosen, scratch.base, commit, timeout=SECONDS)
    return done.returncode, changes(done.stdout), done.stdout


def commit_of(scratch: Scratch, mutant: Mutant) -> str:
    return scratch.mutate(mutant.name, "src/amqpool/__init__.py", mutant.code)


def violated(rows: list[str], invariant: str) -> set[str]:
    """The classes of ``stability`` for which a rise of that invariant stands in the table."""
    return {
        row.partition("stability.")[2].partition(".")[0]
        for row in rows
        if row.lstrip("| ").startswith("+") and f"'{invariant}'" in row
    }


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize(
    "mutant", [NOTHING, HANGS, NOT_IMPORTABLE], ids=lambda mutant: mutant.name.replace(" ", "-")
)
def test_a_broken_commit_stands_in_the_table(scratch: Scratch, mutant: Mutant) -> None:
    """One scenario, and one benchmark that is timed: that has to be skipped, not to raise."""
    selection = ("--bench", "ChaosNoDeadlock", "--bench", "RecoveryCycle")
    status, rows, output = continuous(scratch, commit_of(scratch, mutant), *selection)
    assert (status, violated(rows, mutant.invariant)) == (1, {"ChaosNoDeadlock"}), output
    timed = [row for row in rows if ".time_" in row]
    assert timed == [], "a broken client has no times"


@pytest.mark.timeout(SECONDS + 120)
def test_a_broken_commit_in_the_whole_suite(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = commit_of(scratch, RAISES)
    status, rows, output = continuous(scratch, broken)
    everywhere = {
        "ChaosNoDeadlock",
        "ChaosWithConnectionKills",
        "HighContention",
        "RepeatedRecovery",
        "Variants",
    }
    assert (status, violated(rows, RAISES.invariant)) == (1, everywhere), output

    published = scratch.asv("publish", timeout=120)
    assert published.returncode == 0, published.stdout
    assert (scratch.folder / ".asv" / "html" / "index.html").is_file()

    # asv reads its configuration relative to the working directory.
    monkeypatch.chdir(scratch.folder)
    sound = bench_summary.read(Path(os.curdir), scratch.base)
    assert bench_summary.problems(sound) == []
    found = bench_summary.problems(bench_summary.read(Path(os.curdir), broken))
    name = "stability.HighContention.track_violations(100x10, keyerror_none)"
    assert any(line.startswith(f"{name}: ") for line in found), found
