"""Whole trials, each in its own processes: what a run leaves behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients.loader import ClientError
from benchmarks.harness import supervise
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.plan import Plan, make_plan
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.harness.request import Request
from benchmarks.harness.scenarios import find_scenario
from benchmarks.harness.supervise import declared_first, queues_of, run_trial, unmeasured

ROOT = Path(__file__).parents[2]
LOCKED = f"{ROOT}/examples/locked_pyamqp.py:Locked"
ADAPTERS = f"{ROOT}/tests/harness/adapters.py"
PEACE, KILLS = "chaos_no_deadlock", "chaos_with_connection_kills"
COMMAND = [sys.executable, "-m", "benchmarks.harness", "run", PEACE, "--client", LOCKED]
#: What every trial logs in with; it may stand in no output.
PASSWORD = "guest"
DEADLINE = 30.0


def until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def adapter(name: str) -> Request:
    return Request(PEACE, "3x4", client=f"{ADAPTERS}:{name}")


# -- a run that ends by itself ---------------------------------------------------------------


def test_a_whole_run_of_a_sound_client(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    done = subprocess.run(
        [*COMMAND, "--load", "10x20", "--seed", "3", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    document = json.loads(file.read_text())
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert PASSWORD not in done.stdout + file.read_text()
    steps = [
        step for w in make_plan(PEACE, find_scenario(PEACE).load("10x20"), 3).steps for step in w
    ]
    planned = {
        name: sum(step.operation == name for step in steps) for name in {s.operation for s in steps}
    }
    unroutable = sum(step.unroutable for step in steps)
    assert {
        name: document[name]
        for name in ("scenario", "load", "params", "seed", "client", "broker", "verdict")
    } == {
        "scenario": PEACE,
        "load": "10x20",
        "params": {"threads": 10, "iterations": 20, "channels": 3},
        "seed": 3,
        "client": "locked-pyamqp",
        "broker": "embedded",
        "verdict": "valid",
    }
    assert document["violations"] == dict.fromkeys(INVARIANTS, 0)
    assert (document["not_judged"], document["witnesses"]) == ({}, [])
    assert (document["partial"], document["unknown_because"]) == (False, [])
    assert (document["in_doubt"], document["discarded"]) == (0, 0)
    # The probe publishes one message more; a consumer acks whatever comes in.
    published, routed = planned["publish"] + 1, planned["publish"] + 1 - unroutable
    assert document["compared"] == {
        "publish": published,
        "confirm": published,
        "return": unroutable,
        "deliver": routed,
        "ack": routed,
        "consume": 1,
    }
    metrics = document["metrics"]
    assert metrics["operations"] == 200
    assert metrics["succeeded"].items() >= planned.items()
    assert metrics["operations_per_s"] == pytest.approx(200 / metrics["duration_s"])
    assert (metrics["kills"], metrics["reconnects"], metrics["recovery_p50_ms"]) == (0, 0, None)
    assert f"verdict: {document['verdict']}" in done.stdout


def test_a_run_with_kills_kills_as_often_as_planned() -> None:
    # Six returns are planned: with one, a kill that cut it would leave a doubt for good reason.
    document = run_trial(Request(KILLS, "4x24x8", client="amqpool")).document
    assert document["verdict"] == "valid", document
    assert (document["metrics"]["kills"], document["metrics"]["kills_planned"]) == (2, 2)
    assert document["metrics"]["reconnects"] == 2
    assert document["metrics"]["operations"] == 96


@pytest.mark.parametrize("fault", [None, "cut"])
def test_a_recovery_is_timed_for_every_cycle(fault: str | None) -> None:
    request = Request("repeated_recovery_stress", "5", client="amqpool", fault=fault)
    result = run_trial(request)
    assert result.verdict == "valid", result.document
    assert len(result.recoveries_ms) == 5
    assert all(0 < value < 5000 for value in result.recoveries_ms)


@pytest.mark.parametrize("fault", ["stall", "blackhole"])
def test_a_silent_fault_is_noticed_by_heartbeats(fault: str) -> None:
    document = run_trial(Request(KILLS, "4x6x3", 2, client="amqpool", fault=fault)).document
    assert document["verdict"] == "valid", document
    assert (document["metrics"]["kills"], document["metrics"]["operations"]) == (1, 24)


@pytest.mark.parametrize(
    ("scenario", "load", "fault", "client"),
    [
        ("consumers_under_kills", "8x16x8", "channel_close", "amqpool"),
        ("confirms_under_kills", "8x12x6", "channel_close", "amqpool"),
        ("consumers_under_kills", "8x16x8", "consumer_cancel", "amqpool"),
        # One fault: each costs the client a timeout.
        ("confirms_under_kills", "8x12x6", "confirm_omit", "amqpool"),
        ("consumers_under_kills", "8x16x8", "channel_close", LOCKED),
        ("consumers_under_kills", "8x16x8", "consumer_cancel", LOCKED),
    ],
)
def test_a_sound_client_survives_what_the_broker_does_to_a_part_of_it(
    scenario: str, load: str, fault: str, client: str
) -> None:
    document = run_trial(Request(scenario, load, 1, client=client, fault=fault)).document
    assert (document["verdict"], document["violations"]) == (
        "valid",
        dict.fromkeys(INVARIANTS, 0),
    ), document
    told = document["metrics"]
    assert (told["kills"], told["reconnects"]) == (told["kills_planned"], 0)


def test_a_plan_that_is_given_is_run_and_no_other() -> None:
    plan = make_plan(KILLS, find_scenario(KILLS).load("4x9x3"), 1)
    document = plan.as_json()
    document["steps"] = [[["publish", False, 100, 1]] * 9] * 4
    edited = Plan.from_json(document)
    assert edited.digest != plan.digest
    told = run_trial(Request(KILLS, "4x9x3", 1, client="amqpool"), plan=edited).document
    assert told["verdict"] == "valid", told
    assert told["plan"] == edited.digest
    done = told["metrics"]["succeeded"]
    assert (done["publish"], set(done) - {"publish", "settle"}) == (36, set())


def closed_by(name: str) -> dict[str, Any]:
    """What came of two rounds with a client whose close is wrong."""
    client = f"{ROOT}/tests/harness/closers.py:{name}"
    return run_trial(Request("close_while_busy", "4x2", client=client)).document


@pytest.mark.parametrize("name", ["CloseRaises", "CloseHangs"])
def test_the_first_close_that_does_not_return_ends_the_trial(name: str) -> None:
    document = closed_by(name)
    risen = {invariant: count for invariant, count in document["violations"].items() if count}
    assert risen == {"unavailable": 1}, document
    (witness,) = document["witnesses"]
    assert witness["operation"] == "close"
    assert "in close" in witness["stack"]
    assert document["metrics"]["kills"] == 1


def test_every_close_is_looked_at_for_what_it_leaves_behind() -> None:
    document = closed_by("LeavesAThreadAndASocket")
    # Two rounds and the last client: a thread and both ends of a pair of sockets from each.
    assert document["violations"] == {**dict.fromkeys(INVARIANTS, 0), "leaks": 9}, document
    told = str([witness["detail"] for witness in document["witnesses"]])
    assert "left-behind" in told
    assert "socket:[" in told


@pytest.mark.parametrize(
    ("history", "queues"),
    [
        ({}, set()),
        (
            {
                "worker-0": [
                    ["publish", 1.0, 2.0, "i", 1, "q.worker-0", "ok", 5, 7],
                    ["publish", 1.0, 2.0, "j", 1, None, "ok", 5, 7],
                    ["get", 1.0, None, "q.empty", 1, "invoked", False, *[None] * 6],
                    ["declare", 1.0, 2.0, "q.never", "q.never", "ok"],
                    ["ack", 1.0, 2.0, None, 1, "i", "ok", 1],
                ],
                "consumer-0": [["consume", 1.0, 2.0, "c", 2, "ok", "q", False, "c"]],
            },
            {"q", "q.worker-0", "q.empty"},
        ),
    ],
)
def test_the_queues_that_may_hold_messages(history: dict[str, Any], queues: set[str]) -> None:
    assert queues_of(history) == queues


def test_a_node_that_is_killed_knew_every_queue_of_the_workers() -> None:
    load = find_scenario("node_failures").load("2x60x30")
    plan = make_plan("node_failures", load, 1, "node_kill", "rabbitmq")
    declared = ["q.worker-0", "q.worker-1", "q.worker-0.kept", "q.worker-1.kept"]
    assert declared_first(plan, "q") == ["q", *declared]
    plan = make_plan("node_failures", load, 1, "cut", "rabbitmq")
    assert declared_first(plan, "q") == ["q"]


@pytest.mark.parametrize(
    ("latency", "reasons"),
    [
        (None, []),
        ({"free_ms": [1.0], "parked_ms": [1.0]}, []),
        ({"free_ms": [1.0], "parked_ms": []}, ["no publish was measured while all threads were"]),
        ({"free_ms": [], "parked_ms": [1.0]}, ["no publish was measured while no thread was"]),
    ],
)
def test_a_latency_that_was_not_measured_is_a_doubt(latency: Any, reasons: list[str]) -> None:
    report = {"latency": latency, "partial": None}
    assert unmeasured(report) == [f"{reason} parked" for reason in reasons]


# -- a client that is wrong ------------------------------------------------------------------


def test_a_client_that_ends_its_process_is_a_crash_whatever_the_status() -> None:
    document = run_trial(adapter("EndsItsProcess")).document
    assert document["verdict"] == "invalid"
    assert document["violations"] == {**dict.fromkeys(INVARIANTS), "crashes": 1}
    assert document["unknown_because"] == ["the trial's process ended with status 2 and no report"]


def test_a_client_that_cannot_be_made_is_a_crash_with_its_traceback() -> None:
    document = run_trial(adapter("MakerFails")).document
    assert document["violations"]["crashes"] == 1
    assert "ValueError: no such option" in document["witnesses"][0]["stderr"]


def test_a_client_that_does_not_open() -> None:
    document = run_trial(adapter("DoesNotOpen")).document
    assert (document["verdict"], document["unknown_because"]) == (
        "invalid",
        ["the client did not open"],
    )
    assert document["violations"]["unexpected_errors"] == 1
    assert set(document["not_judged"]) == {
        *("lost_frames", "double_releases", "unavailable", "lost_messages", "phantoms", "leaks"),
    }


@pytest.mark.parametrize("name", ["DeclaresKeyError", "NotInstalled", "NotInstalledForItsMaker"])
def test_a_client_that_is_refused_gets_no_verdict(name: str) -> None:
    with pytest.raises(ClientError, match=r"declares KeyError|is not installed"):
        run_trial(adapter(name))


def test_the_harness_hides_no_module_from_a_client() -> None:
    assert run_trial(adapter("ShadowedByTheHarness")).verdict == "valid"


# -- an environment that is wrong ------------------------------------------------------------


@pytest.mark.parametrize(("number", "name"), [(0, "broker"), (1, "proxy")])
@pytest.mark.parametrize("scenario", [PEACE, KILLS])
def test_when_broker_or_proxy_dies_the_run_says_nothing_of_the_client(
    number: int, name: str, scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = supervise._Run._wait

    def sabotage(run: supervise._Run, deadline: float, show: Any) -> bool:
        until(lambda: "load: " in words(run.progress), "load")
        run.services[number].process.kill()
        return wait(run, deadline, show)

    monkeypatch.setattr(supervise._Run, "_wait", sabotage)
    load = "4x20000" if scenario == PEACE else "4x20000x10000"
    document = run_trial(Request(scenario, load, client="amqpool")).document
    assert document["verdict"] == "unknown"
    assert document["violations"] == dict.fromkeys(INVARIANTS)
    assert f"died during the trial ({name}:" in document["unknown_because"][-1]


def words(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def test_a_broker_that_does_not_start_is_an_environment_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.harness.processes.BENCHMARKS", tmp_path)
    with pytest.raises(EnvironmentProblem, match="the broker did not start"):
        run_trial(Request(PEACE, "3x4"))


def test_without_a_temporary_folder_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(EnvironmentProblem, match="no temporary folder"):
        run_trial(Request(PEACE, "3x4"))


# -- a run that is ended ---------------------------------------------------------------------


@dataclass
class Running:
    """A command in the middle of its load."""

    process: subprocess.Popen[str]
    children: list[int]
    ports: list[int]
    json: Path


@contextmanager
def in_the_middle(folder: Path) -> Iterator[Running]:
    file = folder / "out.json"
    process = subprocess.Popen(
        [*COMMAND, "--load", "4x20000", "--json", str(file)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that put pytest into the background had SIGINT ignored, also for us.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        until(lambda: any("load: " in words(f) for f in folder.glob("*/progress.txt")), "load")
        (spec,) = folder.glob("*/spec.json")
        told = json.loads(spec.read_text())
        ports = [told["endpoints"][0]["port"], *told["proxy_ports"], told["control_port"]]
        running = Running(process, children(process.pid), ports, file)
        assert len(running.children) == 3
        assert all(map(answers, ports))
        yield running
    finally:
        process.kill()
        process.communicate()


def children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    with in_the_middle(tmp_path) as running:
        running.process.send_signal(number)
        out, err = running.process.communicate(timeout=DEADLINE)
        assert (running.process.returncode, err) == (3, "")
        assert not any(map(runs, running.children))
        assert not any(map(answers, running.ports))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]
    document = json.loads(running.json.read_text())
    assert (document["verdict"], document["partial"]) == ("unknown", True)
    assert document["violations"] == dict.fromkeys(INVARIANTS)
    assert document["unknown_because"][0] == "interrupted: this report is partial"
    assert 0 < document["metrics"]["operations"] < 80_000
    assert "interrupted" in out
    assert PASSWORD not in out + running.json.read_text()


def test_when_the_parent_is_killed_its_processes_end_by_themselves(tmp_path: Path) -> None:
    with in_the_middle(tmp_path) as running:
        running.process.kill()
        until(lambda: not any(map(runs, running.children)), "all children ended")
        assert not any(map(answers, running.ports))
