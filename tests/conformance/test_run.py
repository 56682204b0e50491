"""Running a suite, with a small one made here: nothing of it comes from an index."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.harness import environments
from benchmarks.harness.processes import EnvironmentProblem
from tools.suites import run
from tools.suites.rows import Suite
from tools.suites.verdict import FAILED, PASSED, Outcome

TESTS = """\
import os


def test_address(root):
    assert os.environ["URL"] == "amqp://127.0.0.1:7/" and root


def test_broken():
    raise RuntimeError("no")
"""
CONFTEST = """\
import pytest


@pytest.fixture
def root():
    return True
"""
SMALL = Suite(
    source="small==1",
    requirements=(),
    arguments=("tests",),
    environment={"URL": "amqp://{host}:{port}/"},
    passed=1,
    left_out="nothing",
    conftest=CONFTEST,
)


@pytest.fixture(name="sources")
def _sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    monkeypatch.setattr(run, "peer_python", lambda _: sys.executable)
    tests = tmp_path / "sources" / "small-1" / "tests"
    tests.mkdir(parents=True)
    (tests / "test_small.py").write_text(TESTS)
    return tests


@pytest.mark.usefixtures("sources")
def test_what_became_of_each_test() -> None:
    assert run.outcomes(SMALL, "127.0.0.1", 7) == {
        "tests.test_small::test_address": Outcome(PASSED),
        "tests.test_small::test_broken": Outcome(FAILED, "RuntimeError: no"),
    }


def test_a_suite_that_does_not_come_to_an_end_is_no_verdict(sources: Path) -> None:
    (sources / "test_small.py").write_text("import os\n\n\ndef test():\n    os._exit(5)\n")
    with pytest.raises(EnvironmentProblem, match="small==1 ended with status 5"):
        run.outcomes(SMALL, "127.0.0.1", 7)


def test_a_suite_that_hangs_is_given_up(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sources / "test_small.py").write_text("import time\n\n\ndef test():\n    time.sleep(600)\n")
    monkeypatch.setattr(run, "SUITE_SECONDS", 0.5)
    with pytest.raises(EnvironmentProblem, match=r"did not end within 0\.5 s"):
        run.outcomes(SMALL, "127.0.0.1", 7)


def test_without_an_index_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EnvironmentProblem, match=r"small==1 cannot be fetched: .*package index"):
        run.outcomes(SMALL, "127.0.0.1", 7)
    assert list((tmp_path / "sources").iterdir()) == []


def test_a_broker_of_our_own() -> None:
    with run.embedded_broker() as (host, port):
        assert host == "127.0.0.1"
        assert port
