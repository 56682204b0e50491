"""kombu-pyamqp-threadsafe: its adapter keeps the protocol, its old race is found as the control.

The library is installed into environments of its own, with pip, so what needs it runs only when
asked for; what is true without it is tested always.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients.kombu_threadsafe import DISTRIBUTION, KombuThreadsafe
from benchmarks.clients.loader import CLIENTS, ClientError, make_client
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.environments import INSTALL_SECONDS, VARIABLE, peer_python
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.schedules import control
from benchmarks.schedules.explore import Report, replay
from benchmarks.schedules.outcome import Violation
from benchmarks.schedules.program import Program
from benchmarks.schedules.strategies import Exhaustive
from benchmarks.schedules.world import together

ROOT = Path(__file__).parents[2]
NAMES = ("kombu_threadsafe", "kombu_threadsafe_drainer")
NEWEST = "0.7.1"
PROTOCOL = ROOT / "tests/clients/keeps_protocol.py"
#: Seconds for one subprocess on a busy machine; its environment may have to be made before.
RUN = 150

not_installed = pytest.mark.skipif(
    importlib.util.find_spec("kombu_pyamqp_threadsafe") is not None,
    reason="the library is installed here",
)

# -- without the library -----------------------------------------------------------------------


@not_installed
@pytest.mark.parametrize("name", NAMES)
def test_who_has_not_installed_it_is_told_how(name: str) -> None:
    assert name in CLIENTS
    with pytest.raises(ClientError, match=f"not installed.*pip install {DISTRIBUTION}$"):
        make_client(name, ["amqp://guest:guest@127.0.0.1:1/"], 1)


@not_installed
def test_a_run_that_cannot_have_it_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    done = harness(sys.executable, "run", "chaos_no_deadlock", "--client", NAMES[0])
    assert done.returncode == 2
    assert f"{DISTRIBUTION}=={NEWEST}" in done.stderr
    assert "is a package index reachable?" in done.stderr
    assert "Traceback" not in done.stderr


@not_installed
def test_who_looks_for_the_control_without_it_is_told_which_version_it_needs() -> None:
    assert control.unavailable() == (
        f"{DISTRIBUTION} is not installed; try: pip install {DISTRIBUTION}=={control.PINNED}"
    )


class Wire:
    """A py-amqp connection, as far as a lease looks at it."""

    recoverable_connection_errors = (OSError,)


class Channel:
    """Number 1 of its connection, in confirm mode or not."""

    channel_id = 1

    def __init__(self, connection: Wire) -> None:
        self.connection = connection
        self.events: dict[str, set[Any]] = defaultdict(set)
        self.selected = 0

    def confirm_select(self) -> None:
        self.selected += 1


def test_the_channels_of_two_connections_are_never_taken_for_each_other() -> None:
    """Nor when the first one is long gone, and all that is left of it is a lease."""
    client = KombuThreadsafe(["amqp://guest:guest@127.0.0.1:1/"], 1)
    client.connection = Wire()
    keys = set()
    for _ in range(5):
        channel = Channel(Wire())
        keys.add(client.channel_key(client._leased(channel)))
        keys.add(client.channel_key(client._leased(channel)))
        assert channel.selected == 1, "once is enough, as long as its confirms live"
        del channel
        gc.collect()
        assert not client._confirms, "what is gone is forgotten"
    assert len(keys) == 5


# Two threads whose order decides what breaks: nothing, a leak, or the invariant that is wanted.
_order: list[int] = []


def _breaks() -> None:
    _order.clear()
    together(lambda: _order.append(1), lambda: _order.append(2), lambda: _order.append(3))
    if _order == [1, 3, 2]:
        raise Violation("leaks", "not what is wanted")
    if _order == [2, 1, 3]:
        raise Violation("keyerror_none", "what is wanted")


PROGRAM = Program("orders", _breaks, (__file__,))


def hunted(invariant: str) -> Report:
    return control.hunt(PROGRAM, Exhaustive(2), invariant, schedules=500, seconds=60.0)


@pytest.mark.parametrize(
    ("invariant", "order"), [("leaks", [1, 3, 2]), ("keyerror_none", [2, 1, 3])]
)
def test_a_hunt_passes_over_what_is_not_wanted(invariant: str, order: list[int]) -> None:
    report = hunted(invariant)
    assert report.found is not None
    assert report.found.finding is not None
    assert report.found.finding.invariant == invariant
    assert [each.finding for each in replay(report.token, lambda _name: PROGRAM)] == [
        report.found.finding
    ]
    assert _order == order
    assert control.missed(report, lambda _name: PROGRAM) == control.FOUND


def test_a_hunt_in_vain_is_a_miss() -> None:
    report = hunted("phantoms")
    assert (report.found, report.exhausted, report.token) == (None, True, "")
    assert report.schedules > 6
    assert control.missed(report) == control.MISSED


def test_a_hunt_ends_with_its_budget() -> None:
    report = control.hunt(PROGRAM, Exhaustive(2), "phantoms", schedules=2, seconds=60.0)
    assert (report.schedules, report.exhausted) == (2, False)
    report = control.hunt(PROGRAM, Exhaustive(2), "phantoms", schedules=500, seconds=0.0)
    assert (report.schedules, report.exhausted) == (0, False)


def test_what_its_token_does_not_bring_again_is_a_miss() -> None:
    report, other = hunted("keyerror_none"), hunted("leaks")
    report.token = other.token
    assert control.missed(report, lambda _name: PROGRAM) == control.MISSED


def tokens() -> dict[str, str]:
    """Of the table of what was found in the newest release: each token, with its invariant."""
    text = (ROOT / "docs" / "kombu_threadsafe.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    found = {}
    for row in rows:
        token = re.search(r"`(\S+~\S+~\S+)`", row[5])
        if token is not None:
            found[token[1]] = re.split("[:,]", row[4])[0].strip()
    return found


def test_the_table_of_findings_holds_tokens_of_both_readers() -> None:
    assert {token.partition(":")[0] for token in tokens()} == set(NAMES)
    assert set(tokens().values()) <= set(INVARIANTS)


# -- with it -----------------------------------------------------------------------------------

HUNT = """
from benchmarks.harness.environments import INSTALL_SECONDS, peer_python
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.schedules import control
print(control.control(1, schedules=150).found)
print(control.unavailable().partition(";")[0])
"""


def environment() -> dict[str, str]:
    # The checkout itself, and nothing that this environment has.
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}


def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=RUN,
        check=False,
    )


def harness(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(python, "-m", "benchmarks.harness", *arguments)


def python_with(*requirements: str) -> str:
    """The Python of an environment with these; skips where pip cannot bring them."""
    # What the command line needs beside the trial's own process.
    rich = f"rich=={importlib.metadata.version('rich')}"
    try:
        return str(peer_python([*requirements, rich]))
    except EnvironmentProblem as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def pinned() -> str:
    return python_with(*control.REQUIREMENTS)


@pytest.fixture(scope="module")
def newest() -> str:
    return python_with(f"{DISTRIBUTION}=={NEWEST}", *control.REQUIREMENTS[1:])


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
@pytest.mark.parametrize("name", NAMES)
def test_the_newest_keeps_the_protocol(newest: str, name: str, tmp_path: Path) -> None:
    done = run(newest, str(PROTOCOL), name, str(tmp_path))
    assert (done.returncode, done.stdout.split()) == (0, [NEWEST]), done.stderr


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
def test_the_pinned_one_keeps_the_protocol(pinned: str, tmp_path: Path) -> None:
    done = run(pinned, str(PROTOCOL), NAMES[0], str(tmp_path))
    assert (done.returncode, done.stdout.split()) == (0, [control.PINNED]), done.stderr


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
def test_a_version_without_the_drainer_is_not_taken_for_one_with_it(pinned: str) -> None:
    done = harness(pinned, "run", "chaos_no_deadlock", "--client", NAMES[1])
    assert done.returncode == 2
    assert f"pip install '{DISTRIBUTION}>=0.7'" in done.stderr


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
def test_it_stands_trial(newest: str, tmp_path: Path) -> None:
    """Whatever the verdict is: it did the operations, and was judged."""
    file = tmp_path / "out.json"
    options = ("--client", NAMES[0], "--load", "4x20", "--json", str(file))
    done = harness(newest, "run", "chaos_no_deadlock", *options)
    document = json.loads(file.read_text())
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert document["client"] == KombuThreadsafe.name
    assert document["cannot"] == ["release_twice"]
    assert document["compared"]["confirm"] > 0
    assert document["violations"]["crashes"] == 0


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
@pytest.mark.parametrize(("token", "invariant"), tokens().items())
def test_what_was_found_in_the_newest_is_found_again(
    newest: str, token: str, invariant: str
) -> None:
    """The tokens are for Python 3.11: another one is told so."""
    done = harness(newest, "replay", token)
    if sys.version_info[:2] == (3, 11):
        assert done.returncode == 1, done.stderr
        assert f"10 of 10 runs alike: {invariant}" in done.stdout
    else:
        assert done.returncode == 2
        assert "another Python" in done.stderr


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
@pytest.mark.parametrize("seed", [1, 2, 5])
def test_the_control_is_found(pinned: str, seed: int) -> None:
    """And told again from its token, each time, also by the command line."""
    done = run(sys.executable, "-m", "benchmarks.schedules.control", "--seed", str(seed))
    document = json.loads(done.stdout)
    assert (done.returncode, document["missed"]) == (control.FOUND, 0), done.stderr
    assert document["replays"] == control.REPLAYS == 10
    assert document["token"].startswith(control.SCENARIO)
    assert "keyerror_none: KeyError in publish-1: None" in document["story"]
    assert "in DrainGuard.wait_drain_finished" in document["story"]
    again = harness(pinned, "replay", document["token"])
    assert again.returncode == 1, again.stderr
    assert "10 of 10 runs alike: keyerror_none" in again.stdout


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
def test_where_it_was_mended_it_is_not_found(newest: str) -> None:
    """What the hunt looks for is that race, and not something that every client shows."""
    done = run(newest, "-c", HUNT)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["None", f"{DISTRIBUTION} is {NEWEST}"],
    ), done.stderr
