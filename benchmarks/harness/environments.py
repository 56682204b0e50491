"""Virtual environments for clients that are not installed here, made once and kept.

A peer is put on trial under a Python of its own, so that its requirements neither meet ours nor
each other's. An environment holds what was asked for and what the trial's process itself imports
(numpy and pamqp, in the very versions of this process), and nothing else; it lives in the user's
cache, never in the repository, and is named by a digest of all that decides what is in it. So
another version is another environment, and nobody ever measures what an earlier command left.

It owns the making alone: under a lock, since two commands may want the same one at once, and under
a temporary name that is taken away by one rename, so that what a killed maker leaves behind is
never taken for an environment. pip is not believed: the versions are read back, each time.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.processes import EnvironmentProblem

#: What the process of a trial imports beside the client and the standard library.
INSTRUMENT = ("numpy", "pamqp")
#: Seconds for pip to bring everything: some seconds are usual, a slow index takes its time.
INSTALL_SECONDS = 300.0
#: Seconds for another command that makes the same environment: its pip's, and its venv's.
LOCK_SECONDS = INSTALL_SECONDS + 60.0
#: Seconds between two tries to get the lock.
LOCK_LOOK = 0.1
#: An index that cannot be reached is told within seconds: pip's own patience is a minute and more.
PIP = ("--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1")
#: Where the environments are, instead of in the user's cache.
VARIABLE = "AMQPOOL_PEERS"


def peer_python(requirements: Sequence[str]) -> Path:
    """The Python of an environment that holds these, each pinned as ``name==version``.

    The first gives the environment its name. Made at the first call, which takes some seconds and
    needs a package index; then found. Raises EnvironmentProblem: no index, no room, no such
    version, or an environment that does not hold what it should.
    """
    wanted = _wanted(requirements)
    folder = cache_folder() / _name(requirements[0], wanted)
    if not folder.is_dir():
        _make(folder, wanted)
    _check(folder, wanted)
    return _python(folder)


def python_for(requirements: Sequence[str]) -> Path:
    """This interpreter, where the first of them is installed in whatever version, or where nothing
    is required; else ``peer_python``. Who has installed a client has chosen which one to try."""
    if not requirements:
        return Path(sys.executable)
    try:
        importlib.metadata.version(requirements[0].partition("==")[0])
    except importlib.metadata.PackageNotFoundError:
        return peer_python(requirements)
    return Path(sys.executable)


def cache_folder() -> Path:
    """The folder of all environments; it may not be there yet. May be deleted at any time."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).absolute() / "amqpool" / "peers"


def installed(python: Path) -> dict[str, str]:
    """Version by name of each distribution in the environment of that Python."""
    places = [str(place) for place in python.parents[1].glob("lib/python*/site-packages")]
    found = importlib.metadata.distributions(path=places)
    return {_normal(each.metadata["Name"]): each.version for each in found}


def _wanted(requirements: Sequence[str]) -> dict[str, str]:
    """Version by name, the instrument's included."""
    wanted = {_normal(name): importlib.metadata.version(name) for name in INSTRUMENT}
    for requirement in requirements:
        name, equals, version = requirement.partition("==")
        if not equals or not version:
            raise ValueError(f"{requirement!r} pins no version")
        wanted[_normal(name)] = version
    return wanted


def _name(first: str, wanted: dict[str, str]) -> str:
    # The interpreter is part of it: an environment is bound to the one that made it.
    text = "\n".join([sys.version, sys.base_prefix, *sorted(map("==".join, wanted.items()))])
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{first.replace('==', '-')}-{digest}"


def _normal(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _make(folder: Path, wanted: dict[str, str]) -> None:
    """Make the environment, unless another command has meanwhile."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            if folder.is_dir():
                return
            # What a killed maker left: it is ours to remove, for we hold the lock.
            for stale in folder.parent.glob(f"{folder.name}.tmp*"):
                shutil.rmtree(stale, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp", dir=folder.parent))
            try:
                _fill(scratch, wanted, folder.with_name(f"{folder.name}.log"))
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"no environment can be made in {folder.parent}: {error.strerror or error}; "
            f"set {VARIABLE} to another folder"
        ) from error


def _fill(scratch: Path, wanted: dict[str, str], log: Path) -> None:
    pins = sorted(map("==".join, wanted.items()))
    # Paths that are written into scripts die with the rename; `python -m` needs none of them.
    _run([sys.executable, "-m", "venv", str(scratch)], pins, log)
    _run([str(_python(scratch)), "-m", "pip", "install", *PIP, *pins], pins, log)
    _check(scratch, wanted)
    log.unlink()


def _run(command: Sequence[str], pins: Sequence[str], log: Path) -> None:
    """One step. All that it says is in the log, which stays when it fails."""
    what = f"an environment with {', '.join(pins)} cannot be made"
    # What this process sees beside its own packages is nothing to the environment.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EnvironmentProblem(
                f"{what}: nothing came within {INSTALL_SECONDS:g} s; see {log}"
            ) from error
    if done.returncode:
        reason = _reason(log.read_text(errors="replace"))
        raise EnvironmentProblem(f"{what}: {reason}; is a package index reachable? See {log}")


def _reason(output: str) -> str:
    """The line that says why, of all that pip wrote: its first error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines[-1:] or ["it said nothing"])[0].removeprefix("ERROR:").strip()


def _check(folder: Path, wanted: dict[str, str]) -> None:
    """Raises EnvironmentProblem when it holds something else than it should."""
    python = _python(folder)
    if not python.exists():
        raise EnvironmentProblem(f"the Python of {folder} is gone; remove that folder")
    held = installed(python)
    wrong = [
        f"{name} {held.get(name, 'not at all')} instead of {version}"
        for name, version in wanted.items()
        if held.get(name) != version
    ]
    if wrong:
        raise EnvironmentProblem(f"{folder} holds {', '.join(wrong)}; remove that folder")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of that file; it ends with this process, however that ends."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EnvironmentProblem(
                        f"another command has held {path} for {LOCK_SECONDS:g} s; end it"
                    ) from None
                time.sleep(LOCK_LOOK)
        yield
