"""The command line: exit statuses, one-line errors, and what `list` and `--json` write."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients.loader import CLIENTS
from benchmarks.harness import cli
from benchmarks.harness.checkers import INVARIANTS, Evidence, Finding
from benchmarks.harness.faults import FAULTS
from benchmarks.harness.plan import Plan, make_plan
from benchmarks.harness.planfile import SavedPlan, load_plan, save_plan
from benchmarks.harness.request import Request
from benchmarks.harness.result import TrialResult, make_result
from benchmarks.harness.scenarios import SCENARIOS, find_scenario
from tests.harness.reports import evidence

LOCKED = f"{Path(__file__).parents[2]}/examples/locked_pyamqp.py:Locked"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are saved below the current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def call(*arguments: str) -> int:
    """The exit status, whether it was returned or raised by argparse."""
    try:
        return cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


# -- list ------------------------------------------------------------------------------------


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list") == 0
    text = capsys.readouterr().out
    for name in (*SCENARIOS, "20x50x10", "amqpool", *FAULTS, *INVARIANTS):
        assert name in text


def test_list_as_json_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", "--json", "-") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "scenarios": [
            {"name": s.name, "loads": list(s.loads), "summary": s.summary}
            for s in SCENARIOS.values()
        ],
        "clients": sorted(CLIENTS),
        "faults": list(FAULTS),
        "invariants": list(INVARIANTS),
    }


def test_list_as_json_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "list.json"
    file.write_text("older")
    assert call("list", "--json", str(file)) == 0
    written = json.loads(file.read_text())
    assert written["invariants"] == list(INVARIANTS)
    assert sorted(os.listdir(tmp_path)) == ["here", "list.json"]
    assert capsys.readouterr() == ("", "")


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert call("list", "--json", str(pipe)) == 0
        assert json.loads(os.read(reader, 1 << 16))["clients"] == sorted(CLIENTS)
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert call("list", "--json", str(tmp_path / "link.json")) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["faults"] == list(FAULTS)


# -- usage -----------------------------------------------------------------------------------

KILLS = "chaos_with_connection_kills"
PEACE = "chaos_no_deadlock"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required: VERB"),
        (["walk"], "invalid choice: 'walk'"),
        (["run"], "the following arguments are required: SCENARIO"),
        (["run", "chaos"], "unknown scenario 'chaos': one of blocked_connection"),
        (["run", PEACE, "--load", "10"], "write threadsxiterations, for example 10x100"),
        (["run", PEACE, "--threads", "0"], "threads of chaos_no_deadlock must be between 1"),
        (["run", PEACE, "--threads", "many"], "invalid int value: 'many'"),
        (["run", PEACE, "--kill-interval", "5"], "has no kill interval"),
        (["run", KILLS, "--kill-interval", "50"], "would kill nothing"),
        (["run", PEACE, "--fault", "rst"], "injects no faults: leave --fault out"),
        (["run", KILLS, "--fault", "fire"], "unknown fault 'fire': one of rst, fin, cut"),
        (["run", KILLS, "--fault", "close"], "unknown fault 'close'"),
        (["run", "repeated_recovery_stress", "--fault", "stall"], "that end the connection at"),
        (["run", PEACE, "--client", "nobody"], "unknown client 'nobody': give one of amqpool"),
        (["run", PEACE, "--client", "no.py:X"], "there is no file no.py"),
        (["run", PEACE, "--broker", "elsewhere"], "'elsewhere' is none of embedded, rabbitmq,"),
        (["run", PEACE, "--seconds", "0"], "'0' is not between 1 and 86400 seconds"),
        (["run", PEACE, "--seconds", "nan"], "'nan' is not between"),
        (["run", PEACE, "--seconds", "soon"], "'soon' is not between"),
        (["run", PEACE, "--seed", "x"], "invalid int value: 'x'"),
        (["run", PEACE, "--colour"], "unrecognized arguments: --colour"),
        (["run", PEACE, "--cl", "amqpool"], "unrecognized arguments: --cl"),
        (["run", PEACE, "--json", "/no/such/folder/x"], "there is no folder /no/such/folder"),
        (["run", PEACE, "--json", "/"], "--json /: cannot be written"),
        (["replay"], "the following arguments are required: FILE"),
        (["replay", "none.json"], "none.json cannot be read: No such file"),
        (["replay", "/"], "/ cannot be read: Is a directory"),
        (["replay", __file__], "is no plan: it is not JSON"),
        (["list", "--json", "/no/such/folder/x"], "there is no folder /no/such/folder"),
        (["list", "--js", "-"], "unrecognized arguments: --js"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--help") == 0
    assert "--kill-interval" in capsys.readouterr().out


# -- run, with a trial that is not run -------------------------------------------------------


def result_of(request: Request, found: Evidence, findings: dict[str, Finding]) -> TrialResult:
    load = find_scenario(request.scenario).load(request.load)
    plan = make_plan(request.scenario, load, request.seed, request.fault)
    return make_result(request, plan, found, findings, [], 0)


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that were made; each is answered by a sane trial."""
    asked: list[Request] = []

    def run_trial(request: Request, show: Any, plan: Plan | None, broker: object) -> TrialResult:
        assert show is None  # no progress line in a pipe
        assert plan is None
        asked.append(request)
        return result_of(request, evidence(), dict.fromkeys(INVARIANTS, Finding(0)))

    monkeypatch.setattr(cli, "run_trial", run_trial)
    return asked


def test_run_takes_the_first_load_and_seed_1(asked: list[Request]) -> None:
    assert call("run", KILLS) == 0
    assert asked == [Request(KILLS, "20x50x10", 1, "amqpool", None, None)]


def test_run_passes_every_option_on(asked: list[Request], tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    options = ["--threads", "50", "--iterations", "30", "--kill-interval", "5", "--seed", "9"]
    options += ["--client", LOCKED, "--fault", "rst", "--seconds", "12", "--json", str(file)]
    assert call("run", KILLS, *options) == 0
    assert asked == [Request(KILLS, "50x30x5", 9, LOCKED, "rst", 12.0)]
    assert json.loads(file.read_text())["verdict"] == "valid"


def test_json_on_standard_output_stands_alone(
    asked: list[Request], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", PEACE, "--load", "50x100", "--json", "-") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["load"], document["seed"]) == ("50x100", asked[0].seed)


@pytest.mark.parametrize(
    ("count", "status", "verdict"), [(0, 0, "valid"), (2, 1, "invalid"), (None, 3, "unknown")]
)
def test_exit_statuses(
    count: int | None,
    status: int,
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    witnesses = [{"operation": "get", "detail": "gone"}] if count else []
    findings = dict.fromkeys(INVARIANTS, Finding(0))
    findings["crashes"] = Finding(count, witnesses, None if count is not None else "not [looked]")
    monkeypatch.setattr(cli, "run_trial", lambda r, *_: result_of(r, evidence(), findings))
    assert call("run", PEACE) == status
    out = capsys.readouterr().out
    assert f"verdict: {verdict}" in out
    assert ("crashes: get: gone" in out) == bool(count)
    assert ("not [looked]" in out) == (count is None)
    assert ("run it again: python -m benchmarks.harness run" in out) == (status != 0)
    assert ("python -m benchmarks.harness replay reports/plan-" in out) == (status != 0)
    assert os.path.isdir("reports") == (status != 0)


@pytest.mark.parametrize(("count", "status"), [(1, 1), (0, 2)])
def test_a_violation_outranks_a_result_that_could_not_be_written(
    count: int,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "soon gone"
    folder.mkdir()

    def run_trial(request: Request, show: Any, plan: Plan | None, broker: object) -> TrialResult:
        folder.rmdir()
        return result_of(request, evidence(), {"crashes": Finding(count)})

    monkeypatch.setattr(cli, "run_trial", run_trial)
    assert call("run", PEACE, "--json", str(folder / "out.json")) == status
    assert capsys.readouterr().err.startswith("error: --json ")


# -- plans that are kept ---------------------------------------------------------------------


def violated(request: Request, show: Any, plan: Plan | None, broker: object) -> TrialResult:
    findings = dict.fromkeys(INVARIANTS, Finding(0))
    stack = '  File "pool.py", line 7, in publish\n    self._lock.acquire()'
    findings["lost_frames"] = Finding(
        1,
        [
            {
                "event": "confirm",
                "direction": "inbound",
                "identity": "t1/worker-3/17",
                "generation": 2,
                "thread": "worker-3",
                "lease": 41,
                "why": "a later confirm was seen",
                "stack": stack,
                "innermost": "<ChannelPool size=3 in_use=1>",
            }
        ],
    )
    result = result_of(request, evidence(), findings)
    return dataclasses.replace(result, plan=plan or result.plan)


def test_a_violation_shows_who_what_and_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "run_trial", violated)
    file = tmp_path / "out.json"
    assert call("run", KILLS, "--seed", "5", "--fault", "cut", "--json", str(file)) == 1
    out = capsys.readouterr().out
    plan = make_plan(KILLS, find_scenario(KILLS).load(), 5, "cut")
    saved = f"reports/plan-{KILLS}-{plan.digest}.json"
    command = f"run {KILLS} --load 20x50x10 --seed 5 --client amqpool --fault cut"
    for words in (
        *("lost_frames", "t1/worker-3/17", "thread worker-3", "lease 41", "generation 2"),
        *("a later confirm was seen", "self._lock.acquire()", "<ChannelPool size=3 in_use=1>"),
        *("seed 5", f"plan {plan.digest}", command, f"replay {saved}"),
    ):
        assert words in out, words
    assert json.loads(file.read_text())["plan_file"] == saved
    assert load_plan(saved) == SavedPlan(plan, "amqpool", None)


def test_a_plan_that_cannot_be_saved_is_told_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "run_trial", violated)
    Path("reports").touch()
    assert call("run", KILLS) == 1
    out, err = capsys.readouterr()
    assert err == f"the plan could not be saved below {os.getcwd()}: File exists\n"
    assert "run it again: " in out
    assert "replay" not in out


def test_an_interrupted_trial_leaves_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(request: Request, show: Any, plan: Plan | None, broker: object) -> TrialResult:
        return dataclasses.replace(violated(request, show, plan, broker), interrupted=True)

    monkeypatch.setattr(cli, "run_trial", interrupted)
    assert call("run", KILLS) == 1
    assert not Path("reports").exists()


def test_replay_runs_the_very_plan_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    document = make_plan(KILLS, find_scenario(KILLS).load("4x6x2"), 7, "fin").as_json()
    document["steps"][0][0] = ["publish", True, 77, 1]
    plan = Plan.from_json(document)
    path = save_plan(SavedPlan(plan, LOCKED, 12.0))
    asked: list[tuple[Request, Plan | None]] = []

    def run_trial(request: Request, show: Any, given: Plan | None, broker: object) -> TrialResult:
        asked.append((request, given))
        return result_of(request, evidence(), dict.fromkeys(INVARIANTS, Finding(0)))

    monkeypatch.setattr(cli, "run_trial", run_trial)
    assert call("replay", str(path)) == 0
    assert call("replay", str(path), "--client", "amqpool") == 0
    assert asked == [
        (Request(KILLS, "4x6x2", 7, client, "fin", 12.0), plan) for client in (LOCKED, "amqpool")
    ]


def test_a_replay_that_is_violated_again_has_the_same_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(KILLS, find_scenario(KILLS).load("4x6x2"), 7)
    path = save_plan(SavedPlan(plan, "amqpool", None))
    monkeypatch.setattr(cli, "run_trial", violated)
    assert call("replay", str(path), "--json", "-") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["plan_file"]) == ("invalid", str(path))


def test_the_plan_of_a_client_that_is_gone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(KILLS, find_scenario(KILLS).load("4x6x2"), 7)
    path = save_plan(SavedPlan(plan, "gone.py:Client", None))
    assert call("replay", str(path)) == 2
    assert "there is no file gone.py" in capsys.readouterr().err
