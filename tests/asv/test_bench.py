"""The summary of `make bench`: nothing that was not measured passes for sound."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.gate import EMBEDDED, Cell, Planned, Sheet, Stored
from benchmarks.harness.kinds import RABBITMQ, VARIABLE
from benchmarks.harness.processes import EnvironmentProblem
from tools import bench, bench_summary
from tools.label import selection
from tools.no_change import changes

ROOT = Path(__file__).resolve().parents[2]


def violations(value: float | None, invariant: str = "deadlocks") -> Cell:
    parameters = (("load", "10x100"), ("invariant", invariant))
    name = "stability.ChaosNoDeadlock.track_violations"
    return Cell("m", "e", EMBEDDED, name, parameters, "violations", value, "skipped")


def measure(value: float | None) -> Cell:
    parameters = (("threads", "10"),)
    name = "throughput.Publish.time_publish"
    return Cell("m", "e", EMBEDDED, name, parameters, "seconds", value, "skipped")


def control(value: float | None) -> Cell:
    name = "races.Explore.track_control_missed"
    return Cell("m", "e", EMBEDDED, name, (), "searches", value, "skipped")


def stored(cells: list[Cell]) -> Stored:
    """What the gate would have read: one environment, or none when there are no cells."""
    sheets = (Sheet("m", "e", EMBEDDED, True, tuple(cells)),) if cells else ()
    return Stored("c" * 40, sheets, (Planned(EMBEDDED, "(amqp)", bool(cells)),))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        pytest.param([], ["embedded: the whole environment (amqp)"], id="empty"),
        pytest.param([violations(0), violations(0.0), measure(0.2)], [], id="sane"),
        pytest.param(
            [violations(0), violations(3, "leaks"), violations(None), violations(math.nan)],
            [
                "stability.ChaosNoDeadlock.track_violations(10x100, leaks): 3 violations",
                "stability.ChaosNoDeadlock.track_violations(10x100, deadlocks): failed",
                "stability.ChaosNoDeadlock.track_violations(10x100, deadlocks): not measured",
            ],
            id="violated, failed, not measured",
        ),
        pytest.param(
            [measure(None), measure(math.nan)],
            [
                "throughput.Publish.time_publish(10): failed",
                "throughput.Publish.time_publish(10): not measured",
            ],
            id="a measure that failed, and one that was skipped",
        ),
        pytest.param([violations(0), control(math.nan)], [], id="its library is not there"),
        pytest.param(
            [violations(0), control(None)],
            ["races.Explore.track_control_missed: failed"],
            id="the control failed",
        ),
    ],
)
def test_problems(cells: list[Cell], expected: list[str]) -> None:
    assert bench_summary.problems(stored(cells)) == expected


def test_a_benchmark_without_invariants_has_one_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, parameters = "races.Explore.track_violations", (("scenario", "publish+kill.1"),)
    races = Cell("m", "e", EMBEDDED, name, parameters, "violations", 3, "")
    bench_summary.show(stored([violations(0), races, measure(0.25)]))
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ChaosNoDeadlock", "10x100", "0", "in", "all", "1"] in shown
    assert ["Explore", "publish+kill.1", "3"] in shown


def test_the_tables_show_every_kind_of_value(capsys: pytest.CaptureFixture[str]) -> None:
    bench_summary.show(
        stored([violations(0), violations(7, "leaks"), violations(None, "crashes"), measure(0.25)])
    )
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    told = "ChaosNoDeadlock 10x100 leaks 7, crashes failed; 0 in 1 of 3"
    assert told.split() in shown
    assert ["throughput.Publish.time_publish", "threads", "10", "250ms"] in shown


@pytest.mark.parametrize(
    ("statuses", "cells", "expected"),
    [
        pytest.param({}, [violations(0), measure(0.2)], bench.HOLDS, id="all is well"),
        pytest.param({}, [violations(1)], bench.BROKEN, id="a violation, though asv exits 0"),
        pytest.param({}, [violations(None)], bench.BROKEN, id="a failure, though asv exits 0"),
        pytest.param({}, [violations(math.nan)], bench.USAGE, id="a violation not measured"),
        pytest.param(
            {}, [violations(0), measure(math.nan)], bench.USAGE, id="a measure was skipped"
        ),
        pytest.param({}, [violations(0), control(math.nan)], bench.HOLDS, id="no control"),
        pytest.param({}, [], bench.USAGE, id="nothing was measured"),
        pytest.param({"run": 2}, [violations(0)], bench.BROKEN, id="a benchmark raised"),
        pytest.param(
            {"run": 1}, [violations(0)], bench.USAGE, id="old results of a run that failed"
        ),
        pytest.param(
            {"machine": 1}, [violations(0)], bench.USAGE, id="asv does not know where it is"
        ),
        pytest.param({"publish": 1}, [violations(0)], bench.USAGE, id="no pages"),
    ],
)
def test_the_exit_status_of_make_bench(
    monkeypatch: pytest.MonkeyPatch, statuses: dict[str, int], cells: list[Cell], expected: int
) -> None:
    monkeypatch.setattr(bench, "_asv", lambda verb, *rest, quiet=False: statuses.get(verb, 0))
    monkeypatch.setattr(bench_summary, "read", lambda folder, commit, label: stored(cells))
    assert bench._measure("0123456789abcdef", EMBEDDED) == expected


def test_another_label_is_neither_shown_nor_judged() -> None:
    """Both may have been measured for one commit, and each by itself."""
    sound = Sheet("m", "e", EMBEDDED, True, (violations(0),))
    other = Sheet("m", "r", RABBITMQ, True, (replace(violations(2), label=RABBITMQ),))
    plans = (Planned(EMBEDDED, "(amqp)", True), Planned(RABBITMQ, "(amqp, r)", True))
    both = Stored("c" * 40, (sound, other), plans)
    embedded = bench_summary.under(EMBEDDED, both)
    assert (embedded.sheets, embedded.planned) == ((sound,), plans[:1])
    assert (bench_summary.problems(embedded), bench_summary.status(embedded)) == ([], 0)
    rabbit = bench_summary.under(RABBITMQ, both)
    assert bench_summary.status(rabbit, RABBITMQ) == 1
    assert len(bench_summary.problems(rabbit, RABBITMQ)) == 1
    nothing = replace(both, sheets=(sound,), planned=(plans[0], replace(plans[1], measured=False)))
    nothing = bench_summary.under(RABBITMQ, nothing)
    assert bench_summary.status(nothing, RABBITMQ) == 2
    assert bench_summary.problems(nothing, RABBITMQ) == [
        "rabbitmq: the whole environment (amqp, r)"
    ]


def test_a_label_selects_its_environment_and_no_other() -> None:
    chosen = {name: selection(name) for name in (EMBEDDED, RABBITMQ)}
    for name, (option, environment) in chosen.items():
        assert (option, environment.rpartition("-")[2]) == ("-E", f"BROKER{name}")


def test_a_label_that_is_not_in_the_matrix_is_told_and_not_repeated() -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        selection("amqp://me:s3cret@127.0.0.1/")
    assert str(caught.value) == "BROKER is embedded or rabbitmq in asv's matrix, and nothing else"


def test_the_labels_share_one_environment_and_one_build() -> None:
    from asv.config import Config
    from asv.environment import get_environments

    conf = Config.load(str(ROOT / "asv.conf.json"))
    made = list(get_environments(conf, None, verbose=False))
    assert [each.env_vars for each in made] == [{VARIABLE: EMBEDDED}, {VARIABLE: RABBITMQ}]
    assert len({each.dir_name for each in made}) == 1
    assert len({each.name for each in made}) == 2


@pytest.mark.parametrize(
    "words", [["tools.bench", "--broker", RABBITMQ], ["tools.label", RABBITMQ, "run"]]
)
def test_where_the_broker_is_not_installed_one_line_says_so(
    words: list[str], tmp_path: Path
) -> None:
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "git").symlink_to(git)
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: rabbitmq: there is no ")
    assert "install RabbitMQ" in line


def configuration() -> dict[str, Any]:
    lines = (ROOT / "asv.conf.json").read_text().splitlines()
    without = [line for line in lines if not line.lstrip().startswith("//")]
    loaded: dict[str, Any] = json.loads("\n".join(without))
    return loaded


def test_the_configuration_works_in_any_clone() -> None:
    from asv.config import Config

    conf = Config.load(str(ROOT / "asv.conf.json"))
    assert (conf.repo, conf.dvcs, conf.branches) == (".", "git", ["HEAD"])
    assert "pythons" not in configuration(), "the Python that runs asv is the one that measures"
    assert conf.matrix["env_nobuild"] == {VARIABLE: [EMBEDDED, RABBITMQ]}
    assert set(conf.matrix["req"]) == {"amqp", "build", "hatchling", "numpy", "pamqp"}
    # asv's own default would replace a pinned dependency without a word.
    assert not any("--force-reinstall" in command for command in conf.install_command)
    ignored = (ROOT / ".gitignore").read_text().split()
    assert ".asv/" in ignored
    folders = [conf.env_dir, conf.results_dir, conf.html_dir]
    assert all(folder.startswith(".asv/") for folder in folders)


def test_the_rows_of_a_table_of_changes() -> None:
    output = """
| Change   | Before [1]   | After [2]   | Ratio   | Benchmark (Parameter) |
|----------|--------------|-------------|---------|-----------------------|
| +        | 0            | 6           | n/a     | x.track_violations    |
| !        | 1            | failed      | n/a     | x.track_duration      |
|          | 1            | 1           | 1.00    | y                     |
SOME BENCHMARKS HAVE CHANGED SIGNIFICANTLY.
"""
    rows = [" ".join(row.replace("|", " ").split()) for row in changes(output)]
    assert rows == ["+ 0 6 n/a x.track_violations", "! 1 failed n/a x.track_duration"]
