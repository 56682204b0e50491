"""Running a suite: its sources and environment, fetched once and kept, and its outcomes.

Both are in the user's cache, beside the environments of the peers. Nothing of it is believed: an
archive is unpacked under a temporary name, and what pytest says is read from its report.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.environments import PIP, cache_folder, peer_python
from benchmarks.harness.processes import EnvironmentProblem, Service
from tools.suites.rows import Suite
from tools.suites.verdict import Outcome, read

#: Seconds. The longest suite, aiormq's, takes two minutes, four on a busy machine: it waits a lot.
SUITE_SECONDS = 900.0
#: Seconds for an sdist. pip asks the sdist's own build system what is in it, and fetches that too.
FETCH_SECONDS = 300.0


def outcomes(suite: Suite, host: str, port: int) -> dict[str, Outcome]:
    """Run the suite against the broker at that address; what became of each test.

    Raises EnvironmentProblem when it could not be fetched, did not end, or reported nothing.
    """
    sources = _sources(suite)
    python = peer_python([suite.source, *suite.requirements])
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        **{name: value.format(host=host, port=port) for name, value in suite.environment.items()},
    }
    with tempfile.TemporaryDirectory(prefix="amqpool-suite-") as folder:
        report, log = Path(folder, "report.xml"), Path(folder, "log.txt")
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        with log.open("wb") as output:
            try:
                done = subprocess.run(
                    [*command, f"--junitxml={report}", *suite.arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=sources,
                    env=environment,
                    timeout=SUITE_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise EnvironmentProblem(
                    f"the suite of {suite.source} did not end within {SUITE_SECONDS:g} s:\n"
                    f"{_end(log)}"
                ) from error
        if done.returncode not in (0, 1):  # 1: some failed; the others: it did not come to an end
            raise EnvironmentProblem(
                f"the suite of {suite.source} ended with status {done.returncode}:\n{_end(log)}"
            )
        return read(report.read_text(encoding="utf-8"))


@contextmanager
def embedded_broker() -> Iterator[tuple[str, int]]:
    """A broker of our own; its address. Raises EnvironmentProblem when it counted a bug."""
    with tempfile.TemporaryDirectory(prefix="amqpool-suite-") as folder:
        broker = Service("broker", Path(folder), ["--port", "0"])
        try:
            yield "127.0.0.1", int(broker.wait_ready()["port"])
        finally:
            broker.stop()
        if broker.process.returncode:
            raise EnvironmentProblem(f"the broker failed: {broker.last_words()}")


def _sources(suite: Suite) -> Path:
    """The unpacked sdist."""
    name = suite.source.partition("==")[0]
    place = cache_folder() / "sources" / suite.source.replace("==", "-")
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"{place.name}.tmp", dir=place.parent))
        try:
            pip = [sys.executable, "-m", "pip", "download", *PIP, "--no-deps", "--no-binary", name]
            _fetch([*pip, "--dest", str(scratch), suite.source])
            (archive,) = scratch.glob("*.tar.gz")
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            (unpacked,) = (entry for entry in scratch.iterdir() if entry.is_dir())
            if not place.is_dir():  # nobody else was faster
                unpacked.rename(place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    if suite.conftest:
        (place / "conftest.py").write_text(suite.conftest, encoding="utf-8")
    return place


def _fetch(command: list[str]) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            timeout=FETCH_SECONDS,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        reason = (lines or error.stderr.splitlines()[-1:] or ["pip said nothing"])[0]
        raise EnvironmentProblem(
            f"{command[-1]} cannot be fetched: {reason}; is a package index reachable?"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(
            f"{command[-1]} did not come within {FETCH_SECONDS:g} s; is a package index reachable?"
        ) from error


def _end(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
