"""Run py-amqp's own integration suite against the embedded broker.

A suite that somebody else wrote for RabbitMQ says whether the broker can stand in for it. The
sources are those of the ``amqp`` that is installed here; they and a virtual environment of their
own live in ``.conformance/``. The exit status is pytest's, 1 when fewer tests passed than there
must be (a suite that ran nothing is not green), and 2 when the suite could not be set up.

``--broker HOST:PORT`` runs the same tests against another broker, to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".conformance"
BROKER = ROOT / "benchmarks" / "broker" / "__main__.py"

#: Tests that must pass, those that need TLS left out: what the suite of amqp 5.4.2 holds. Twelve of
#: them talk to a broker, the others to a mock. A later release may hold more, never fewer.
EXPECTED = 48
#: Seconds. The suite takes less than one; downloading may take its time.
SUITE_TIMEOUT = 300
SETUP_TIMEOUT = 600

#: The git tree of py-amqp has this at its root, its sdist does not: ``-E NAME`` selects the tests
#: marked ``env(NAME)``. The reruns that the suite's ``flaky`` marks ask for are not granted: a
#: broker that answers well every other time shall not pass.
CONFTEST = """\
import pytest


def pytest_addoption(parser):
    parser.addoption("-E", action="append", default=[], metavar="NAME")


def pytest_configure(config):
    config.addinivalue_line("markers", "env(name): needs this environment")
    config.addinivalue_line("markers", "flaky(reruns, reruns_delay): not granted here")


def pytest_runtest_setup(item):
    names = {mark.args[0] for mark in item.iter_markers(name="env")}
    if names and not names & set(item.config.getoption("-E")):
        pytest.skip(f"needs {names}")
"""


class SetupError(Exception):
    """The suite could not be fetched or installed; the text says what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Set up, run, judge."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__.splitlines()[0])
    parser.add_argument("--broker", metavar="HOST:PORT", help="another broker than the embedded")
    options = parser.parse_args(arguments)
    try:
        suite, python = prepare()
    except SetupError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    if options.broker is not None:
        host, _, port = options.broker.rpartition(":")
        return run_suite(suite, python, host, port)
    with embedded_broker() as port:
        return run_suite(suite, python, "127.0.0.1", str(port))


def prepare() -> tuple[Path, Path]:
    """The suite's sources and the Python that runs them; both are made once and kept."""
    release = version("amqp")
    suite = PLACE / f"amqp-{release}"
    python = PLACE / f"venv-{release}" / "bin" / "python"
    done = PLACE / f"ready-{release}"
    if not done.exists():
        PLACE.mkdir(exist_ok=True)
        source = f"amqp=={release}"
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        call([*pip, "download", "--no-binary", "amqp", "--no-deps", "--dest", str(PLACE), source])
        with tarfile.open(PLACE / f"amqp-{release}.tar.gz") as archive:
            archive.extractall(PLACE, filter="data")
        venv.create(python.parents[1], clear=True, with_pip=True)
        pip[0] = str(python)
        call([*pip, "install", source, "pytest"])
        done.touch()
    (suite / "conftest.py").write_text(CONFTEST)
    return suite, python


def call(command: list[str]) -> None:
    """Run one step of the set-up. Raises SetupError."""
    try:
        subprocess.run(command, check=True, timeout=SETUP_TIMEOUT)
    except (OSError, subprocess.SubprocessError) as error:
        raise SetupError(
            f"cannot prepare the suite ({error}); is a package index reachable?"
        ) from error


@contextmanager
def embedded_broker() -> Iterator[int]:
    """A broker of our own; its port. It must end well, with no bug counted."""
    process = subprocess.Popen(
        [sys.executable, str(BROKER), "--port", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"]
    finally:
        process.communicate(timeout=10)
    if process.returncode:
        raise SystemExit(f"conformance: the broker ended with status {process.returncode}")


def run_suite(suite: Path, python: Path, host: str, port: str) -> int:
    """Run the tests against a broker; the exit status of the whole."""
    command = [str(python), "-m", "pytest", "t/integration", "-E", "rabbitmq", "-k", "not tls"]
    command += ["-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "RABBITMQ_HOST": host, "RABBITMQ_5672_TCP": port}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        command,
        cwd=suite,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=SUITE_TIMEOUT,
    )
    print(done.stdout, end="")
    found = re.search(r"(\d+) passed", done.stdout)
    passed = int(found[1]) if found else 0
    print(f"conformance: {passed} tests passed on {host}:{port}, at least {EXPECTED} must")
    if done.returncode == 0 and passed < EXPECTED:
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
