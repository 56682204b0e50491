"""The peers' adapters keep the protocol, each under the Python of its own environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.clients.loader import CLIENTS, load_client
from benchmarks.clients.speed.table import FLOORS, SPEEDS, load_speed
from benchmarks.harness.environments import INSTALL_SECONDS, peer_python
from benchmarks.harness.processes import EnvironmentProblem

ROOT = Path(__file__).parents[2]
PEERS = [name for name in CLIENTS if load_client(name).requirements]
#: Seconds for one subprocess on a busy machine.
RUN = 150


def test_a_peer_is_pinned_alike_for_trials_and_for_speed() -> None:
    assert set(CLIENTS) <= set(SPEEDS)
    for name in CLIENTS:
        assert load_client(name).requirements == load_speed(name).requirements
    # The floor is no client; each of the others says what it is measured with.
    assert all(load_speed(name).requirements for name in SPEEDS if name not in ("amqpool", *FLOORS))


def environment(name: str) -> Path:
    try:
        return peer_python(load_client(name).requirements)
    except EnvironmentProblem as error:
        pytest.skip(str(error))


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
@pytest.mark.parametrize("name", PEERS)
def test_it_keeps_the_protocol(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [environment(name), ROOT / "tests/clients/keeps_protocol.py", name, tmp_path],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=RUN, check=False,
    )  # fmt: skip
    version = load_client(name).requirements[0].partition("==")[2]
    assert (done.returncode, done.stdout.split()) == (0, [version]), done.stderr


@pytest.mark.conformance
@pytest.mark.timeout(2 * INSTALL_SECONDS + RUN)
@pytest.mark.parametrize("name", PEERS)
def test_it_stands_trial(name: str, tmp_path: Path) -> None:
    """Whatever the verdict is: it did the operations, and was judged."""
    environment(name)
    file = tmp_path / "out.json"
    words = ["run", "chaos_no_deadlock", "--client", name, "--load", "4x20", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.harness", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=RUN, check=False,
    )  # fmt: skip
    document = json.loads(file.read_text())
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert document["client"] == load_client(name).name
    assert document["compared"]["confirm"] > 0
    assert document["violations"]["crashes"] == 0
