"""Environments for peers: they hold what was asked for, are made once, and never half.

No index takes part: the packages are wheels of one module each, made here.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from benchmarks.harness import environments
from benchmarks.harness.environments import (
    VARIABLE,
    cache_folder,
    installed,
    peer_python,
    python_for,
)
from benchmarks.harness.processes import EnvironmentProblem


def wheel(folder: Path, name: str, version: str) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, and an index that holds two versions of one package."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("1.0", "2.0"):
        wheel(wheels, "some_peer", version)
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "pip.py").write_text("raise SystemExit('not the pip of the environment')\n")
    for name, value in {
        VARIABLE: str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": "/dev/null",
        # What this process sees is nothing to the environment.
        "PYTHONPATH": str(shadow),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(environments, "INSTRUMENT", ())
    assert cache_folder() == tmp_path / "cache"
    return tmp_path / "cache"


def left_in(cache: Path) -> list[str]:
    return sorted(path.name.rpartition(".")[2] for path in cache.iterdir() if path.suffix)


def test_an_environment_holds_what_was_asked_for_and_is_made_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = peer_python(["some-peer==1.0"])
    assert installed(python)["some-peer"] == "1.0"
    command = [str(python), "-c", "import some_peer, sys; print(some_peer.version, sys.prefix)"]
    monkeypatch.delenv("PYTHONPATH")
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["1.0", str(python.parents[1])]
    assert python.parents[2] == cache
    # What is there needs no index, nor anything else.
    monkeypatch.setattr(environments, "_make", None)
    assert peer_python(["some-peer==1.0"]) == python


def test_another_version_of_anything_is_another_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def name(peer: str, pamqp: str) -> str:
        return environments._name("some-peer==1.0", {"some-peer": peer, "pamqp": pamqp})

    assert name("1.0", "4") == name("1.0", "4")
    names = {name("1.0", "4"), name("2.0", "4"), name("1.0", "5")}
    monkeypatch.setattr(environments.sys, "version", "another")
    names.add(name("1.0", "4"))
    assert len(names) == 4


def test_what_no_index_has_is_told_in_one_line_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        peer_python(["some-peer==3.0"])
    text = str(caught.value)
    assert "some-peer==3.0 cannot be made: Could not find a version that satisfies" in text
    assert "package index" in text
    assert "\n" not in text
    # The lock, and the log that the text names.
    assert left_in(cache) == ["lock", "log"]
    assert str(next(cache.glob("*.log"))) in text


def test_a_step_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "INSTALL_SECONDS", 0.01)
    with pytest.raises(EnvironmentProblem, match=r"nothing came within 0.01 s"):
        peer_python(["some-peer==1.0"])


def test_what_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(EnvironmentProblem, match=f"no environment .* set {VARIABLE}"):
        peer_python(["some-peer==1.0"])


def test_a_requirement_without_a_version_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="pins no version"):
        peer_python(["some-peer"])


class Maker:
    """Stands in for venv and pip: fills a folder as they would, and counts."""

    def __init__(self, version: str = "1.0") -> None:
        self.version = version
        self.made: list[Path] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, scratch: Path, wanted: dict[str, str], log: Path) -> None:
        self.made.append(scratch)
        assert self.gate.wait(10)
        info = scratch / "lib" / "python3" / "site-packages" / "some_peer-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: some.peer\nVersion: {self.version}\n")
        (scratch / "bin").mkdir()
        (scratch / "bin" / "python").touch()


def test_two_that_want_the_same_make_it_once(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    maker = Maker()
    maker.gate.clear()
    monkeypatch.setattr(environments, "_fill", maker)
    got: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: got.append(peer_python(["some-peer==1.0"])), name=f"maker-{n}"
        )
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    maker.gate.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert (len(got), len(set(got)), len(maker.made)) == (3, 1, 1)
    assert left_in(cache)[-1] == "lock"


def test_a_lock_that_is_never_given_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker()
    maker.gate.clear()
    monkeypatch.setattr(environments, "_fill", maker)
    monkeypatch.setattr(environments, "LOCK_SECONDS", 0.3)
    first = threading.Thread(target=lambda: peer_python(["some-peer==1.0"]), name="maker")
    first.start()
    while not maker.made:
        first.join(0.01)
    try:
        with pytest.raises(EnvironmentProblem, match=r"another command has held .* for 0.3 s"):
            peer_python(["some-peer==1.0"])
    finally:
        maker.gate.set()
        first.join(20)
    assert not first.is_alive()


def test_what_a_killed_maker_left_is_no_environment(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    maker = Maker()
    monkeypatch.setattr(environments, "_fill", maker)
    name = environments._name("some-peer==1.0", {"some-peer": "1.0"})
    stale = cache / f"{name}.tmpstale"
    (stale / "bin").mkdir(parents=True)
    assert peer_python(["some-peer==1.0"]) == cache / name / "bin" / "python"
    assert len(maker.made) == 1
    assert not stale.exists()


def test_an_environment_that_holds_something_else_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environments, "_fill", Maker("1.1"))
    with pytest.raises(EnvironmentProblem, match=r"holds some-peer 1.1 instead of 1.0; remove"):
        peer_python(["some-peer==1.0"])
    with pytest.raises(EnvironmentProblem, match=r"holds some-peer 1.1 instead of 1.0; remove"):
        peer_python(["some-peer==1.0"])


def test_an_environment_whose_python_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "_fill", Maker())
    peer_python(["some-peer==1.0"]).unlink()
    with pytest.raises(EnvironmentProblem, match=r"Python of .* is gone; remove that folder"):
        peer_python(["some-peer==1.0"])


def test_what_is_installed_here_is_taken_from_here(cache: Path) -> None:
    assert python_for([]) == Path(sys.executable)
    # In whatever version: who installed another one has chosen it.
    assert python_for(["pytest==0.1"]) == Path(sys.executable)
    assert not cache.exists()
    assert installed(python_for(["some_peer==1.0"]))["some-peer"] == "1.0"
