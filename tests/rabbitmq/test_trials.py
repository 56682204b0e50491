"""Whole trials on a private node: what is judged, what is reported, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.brokers import Broker, BrokerChoice, kept_broker
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.kinds import RABBITMQ
from benchmarks.harness.request import Request
from benchmarks.harness.supervise import run_trial
from benchmarks.rabbitmq.children import marked
from benchmarks.rabbitmq.leftovers import PREFIX
from tests.rabbitmq.stage import eventually

ROOT = Path(__file__).parents[2]
PEACE, KILLS, NODES = "chaos_no_deadlock", "chaos_with_connection_kills", "node_failures"


@pytest.fixture(name="node", scope="module")
def _node(installed: None) -> Iterator[Broker]:
    """One node for all trials here, as a command keeps one."""
    with kept_broker(BrokerChoice(RABBITMQ)) as broker:
        assert broker is not None
        yield broker


def test_a_trial_with_kills_holds_on_rabbitmq_as_well(node: Broker) -> None:
    document = run_trial(Request(KILLS, "4x24x8", broker=RABBITMQ), broker=node).document
    assert document["verdict"] == "valid", document
    assert (document["broker"], document["violations"]) == (RABBITMQ, dict.fromkeys(INVARIANTS, 0))
    assert (document["metrics"]["kills"], document["metrics"]["reconnects"]) == (2, 2)
    nodes = document["nodes"]
    assert nodes["start_seconds"] > 0
    assert [size > 10_000_000 for size in nodes["memory"]] == [True]
    assert "--broker rabbitmq" in document["replay"]


def test_what_was_confirmed_survives_the_death_of_the_node(node: Broker) -> None:
    before = node.facts()
    assert before is not None
    request = Request(NODES, "8x60x30", fault="node_kill", broker=RABBITMQ)
    document = run_trial(request, broker=node).document
    assert document["verdict"] == "valid", document
    assert document["violations"] == dict.fromkeys(INVARIANTS, 0)
    assert (document["metrics"]["kills"], document["metrics"]["reconnects"]) == (1, 1)
    assert document["nodes"]["restarts"] == before["restarts"] + 1


class Command:
    """A trial on a node of its own, in a process; ``folder`` is its temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.result = folder / "result.json"
        command = [sys.executable, "-m", "benchmarks.harness", "run", PEACE, "--load", "4x90000"]
        command += ["--broker", RABBITMQ, "--json", str(self.result)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def processes(self) -> list[int]:
        """Those of its node."""
        return [pid for folder in self.folder.glob(f"{PREFIX}*") for pid in marked(folder)]

    def under_way(self) -> bool:
        """Is the load on?"""
        return any("load:" in path.read_text() for path in self.folder.glob("*/progress.txt"))


@pytest.fixture(name="command")
def _command(installed: None, tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    try:
        assert eventually(command.under_way, 120.0)
        yield command
    finally:
        command.process.kill()
        command.process.communicate()


def test_an_interrupted_trial_ends_its_node_and_says_that_it_is_partial(command: Command) -> None:
    assert len(command.processes()) > 1
    command.process.send_signal(signal.SIGINT)
    command.process.communicate(timeout=60.0)
    assert command.process.returncode == 3
    document = json.loads(command.result.read_text())
    assert (document["partial"], document["verdict"]) == (True, "unknown")
    assert command.processes() == []
    assert list(command.folder.glob("amqpool-*")) == []


def test_a_node_ends_with_the_command_that_was_killed(command: Command) -> None:
    pids = command.processes()
    assert len(pids) > 1
    command.process.kill()
    assert eventually(lambda: command.processes() == [])
    assert eventually(lambda: list(command.folder.glob(f"{PREFIX}*")) == [])
