"""Whatever ends a keeper, its nodes end with it, and nothing of them stays for long."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.rabbitmq.children import MARK
from benchmarks.rabbitmq.leftovers import PREFIX, Folder, sweep
from benchmarks.wire.control import ControlError
from tests.rabbitmq.stage import KeeperProcess, alive, eventually

# A node starts in 7 s; beside other work on all cores that may be a minute.
pytestmark = pytest.mark.timeout(240)


def started(keeper: KeeperProcess) -> list[int]:
    """Its processes, once the node is among them: the port mapper is started first."""
    assert eventually(lambda: len(keeper.processes()) > 1)
    return keeper.processes()


def taken(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_a_node_is_private_may_die_and_leaves_nothing(keeper: KeeperProcess) -> None:
    ready = keeper.wait_ready()
    assert set(ready) == {
        "ports", "addresses", "control", "version", "start_seconds", "memory", "pid",
    }  # fmt: skip
    assert ready["addresses"] == ["127.0.0.1"]
    assert ready["pid"] == keeper.process.pid
    assert ready["start_seconds"] > 0
    assert [size > 10_000_000 for size in ready["memory"]] == [True]
    (folder,) = keeper.folders
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    cookie = (folder / ".erlang.cookie").read_text()
    pids = keeper.processes()
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
    assert not any(cookie in line for line in lines)
    # A node that nobody has asked to end is reported, and not taken for healed.
    os.kill(int((folder / "rabbit1.pid").read_text()), signal.SIGKILL)
    with keeper.control() as control:
        assert eventually(lambda: control.status()["died"] == ["rabbit1"])
        assert control.fault("node_pause")["why"] == "rabbit1 died without being asked to"
        with pytest.raises(ControlError, match="rabbit1 died without being asked to"):
            control.heal()
    assert keeper.ended() == (0, "")  # closes its standard input
    assert not any(alive(pid) for pid in pids)
    assert not taken(ready["ports"][0])
    assert keeper.folders == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_also_while_its_node_starts(
    keeper: KeeperProcess, number: signal.Signals
) -> None:
    pids = started(keeper)
    os.kill(keeper.process.pid, number)
    assert keeper.ended() == (0, "")
    assert not any(alive(pid) for pid in pids)
    assert keeper.folders == []


def test_its_lifeline_ends_it_also_while_its_node_starts(keeper: KeeperProcess) -> None:
    pids = started(keeper)
    assert keeper.ended() == (0, "")  # closes its standard input
    assert not any(alive(pid) for pid in pids)
    assert keeper.folders == []


def test_killed_it_takes_its_nodes_along_and_the_next_sweep_its_folder(
    keeper: KeeperProcess,
) -> None:
    pids = started(keeper)
    folders = keeper.folders
    assert sweep(keeper.folder) == []  # its keeper is there
    keeper.process.kill()
    keeper.process.wait(5.0)
    assert eventually(lambda: not any(alive(pid) for pid in pids))
    assert keeper.folders == folders
    assert sweep(keeper.folder) == folders
    assert keeper.folders == []


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Folder()
    yield folder
    folder.remove()


@pytest.fixture(name="sleeper")
def _sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that no keeper has started."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_sweep_ends_what_is_marked_with_a_dead_keepers_folder_and_nothing_else(
    folder: Folder, sleeper: subprocess.Popen[bytes]
) -> None:
    dead = folder.path.parent / f"{PREFIX}dead"
    dead.mkdir()
    (dead / "data").write_text("left")
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(dead)}) as orphan:
        assert sweep(folder.path.parent) == [dead]
        assert orphan.wait(5.0) == -signal.SIGKILL
    assert sleeper.poll() is None
    assert folder.path.exists()
    assert not dead.exists()


def test_a_sweep_touches_no_link_and_no_other_folder(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    assert sweep(tmp_path) == []
    assert other.exists()


def test_a_folder_is_removed_with_what_is_marked_with_it(
    folder: Folder, sleeper: subprocess.Popen[bytes]
) -> None:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(folder.path)}) as child:
        folder.remove()
        assert child.wait(5.0) == -signal.SIGKILL
    folder.remove()  # twice is once
    assert not folder.path.exists()
    assert sleeper.poll() is None
