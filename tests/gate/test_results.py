"""Reading asv's stored results: what is missing is never taken for measured, or for 0."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.cli import main
from benchmarks.harness.gate import NOT_MEASURED
from benchmarks.harness.gate_results import Store
from tests.gate.planted import LOADS, ZEROS, Planted, benchmark, found, new_repository

NAME = "stability.ChaosNoDeadlock.track_violations"
EMBEDDED = {"BROKER": "embedded"}
RABBITMQ = {"BROKER": "rabbitmq"}
MATRIX = {"req": {"amqp": [""]}, "env_nobuild": {"BROKER": ["embedded", "rabbitmq"]}}


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    """One commit and nothing measured; each test plants what it needs."""
    made = new_repository(tmp_path / "scratch", commits=2)
    made.configure()
    return made


def gate(
    planted: Planted, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, Any]]:
    configuration = str(planted.folder / "asv.conf.json")
    status = main(["gate", *arguments, "--config", configuration, "--format", "json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, document


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))


def test_all_that_is_required_is_measured_and_zero(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.plant(1, found(1, []))
    status, document = gate(planted, capsys)
    assert (status, document["zeros"]) == (0, ZEROS)
    assert document["labels"] == {"embedded": f"{ZEROS} measured and 0"}


def test_a_commit_without_results(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    planted.plant(1, found(1, []))
    status, document = gate(planted, capsys, planted.commits[0])
    assert status == 2
    assert document["not_measured"] == ["embedded: the whole environment (amqp)"]


# -- labels and environments ---------------------------------------------------------------------


def test_a_required_label_is_missing(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    planted.matrix = MATRIX
    planted.configure()
    planted.plant(1, found(1, []), variables=EMBEDDED)
    assert gate(planted, capsys)[0] == 0
    status, document = gate(planted, capsys, "--require", "embedded,rabbitmq")
    assert status == 2
    assert document["not_measured"] == ["rabbitmq: the whole environment (amqp, BROKER=rabbitmq)"]
    assert document["labels"] == {"embedded": f"{ZEROS} measured and 0", "rabbitmq": "not measured"}
    planted.plant(1, found(1, []), variables=RABBITMQ)
    assert gate(planted, capsys, "--require", "embedded,rabbitmq")[0] == 0


def test_a_violation_under_a_label_that_is_not_required(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.matrix = MATRIX
    planted.configure()
    planted.plant(1, found(1, []), variables=EMBEDDED)
    planted.plant(1, lambda name, _: 1 if name == NAME else 0, variables=RABBITMQ)
    status, document = gate(planted, capsys)
    assert status == 1
    assert {v["label"] for v in document["violations"]} == {"rabbitmq"}
    assert {v["environment"] for v in document["violations"]} == {
        "virtualenv-py3.11-amqp-BROKERrabbitmq"
    }


def test_a_label_that_was_skipped_in_whole_is_one_line(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine without RabbitMQ every benchmark under that label skips itself."""
    planted.matrix = MATRIX
    planted.configure()
    planted.plant(1, found(1, []), variables=EMBEDDED)
    planted.plant(1, lambda name, _: math.nan, variables=RABBITMQ)
    line = "rabbitmq, bench1, virtualenv-py3.11-amqp-BROKERrabbitmq: everything: skipped"
    status, document = gate(planted, capsys)
    assert (status, document["not_required"]) == (0, [line])
    assert document["labels"]["rabbitmq"] == f"{ZEROS} not measured"
    status, document = gate(planted, capsys, "--require", "embedded,rabbitmq")
    assert (status, document["not_measured"]) == (2, [line])
    status, document = gate(planted, capsys, "--require", "rabbitmq")
    assert (status, document["not_measured"]) == (2, [line])


def test_what_needs_no_broker_is_missing_under_the_embedded_label_alone(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    races = "races.Explore.track_violations"
    row = benchmark(races, "violations", {"scenario": ["a", "b"]}, without_broker=True)
    planted.suite.append(row)
    planted.matrix = MATRIX
    planted.configure()

    def value(name: str, _: tuple[str, ...]) -> float:
        return math.nan if name == races else 0

    planted.plant(1, found(1, []), variables=EMBEDDED)
    planted.plant(1, value, variables=RABBITMQ)
    status, document = gate(planted, capsys, "--require", "embedded,rabbitmq")
    assert (status, document["not_measured"], document["not_required"]) == (0, [], [])
    assert document["labels"] == {
        "embedded": f"{ZEROS + 2} measured and 0",
        "rabbitmq": f"{ZEROS} measured and 0",
    }
    planted.plant(1, value, variables=EMBEDDED)
    where = "embedded, bench1, virtualenv-py3.11-amqp-BROKERembedded"
    status, document = gate(planted, capsys, "--require", "embedded,rabbitmq")
    assert (status, document["not_measured"]) == (
        2,
        [f"{where}: {races}, all 2 parameters: skipped"],
    )


def test_a_label_that_nobody_knows(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    planted.plant(1, found(1, []))
    status, document = gate(planted, capsys, "--require", "embeded")
    assert (status, document["not_measured"]) == (2, ["embeded: no such environment was measured"])


def test_several_machines_are_judged_each(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.plant(1, found(1, []), machine="one")
    planted.plant(1, found(1, []), machine="two")
    assert gate(planted, capsys)[0] == 0
    planted.plant(1, lambda name, _: 2 if name == NAME else 0, machine="two")
    status, document = gate(planted, capsys)
    assert (status, {v["machine"] for v in document["violations"]}) == (1, {"two"})
    planted.plant(1, found(1, []), machine="two", skip=[NAME])
    status, document = gate(planted, capsys)
    assert status == 2
    assert all(
        line.startswith("embedded, two, virtualenv-py3.11-amqp: ")
        for line in document["not_measured"]
    )


def test_another_python_is_the_same_environment(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which Python runs asv is each machine's choice."""
    planted.plant(1, found(1, []), python="3.13")
    assert gate(planted, capsys)[0] == 0


def test_pythons_that_are_named_are_environments_each(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    path = planted.folder / "asv.conf.json"
    path.write_text(
        path.read_text().replace('"version": 1,', '"version": 1, "pythons": ["3.11", "3.12"],')
    )
    planted.plant(1, found(1, []), python="3.12")
    status, document = gate(planted, capsys)
    assert status == 2
    assert document["not_measured"] == ["embedded: the whole environment (python 3.11, amqp)"]
    planted.plant(1, found(1, []), python="3.11")
    assert gate(planted, capsys)[0] == 0


def test_an_environment_that_has_left_the_matrix_is_not_enough(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.plant(1, found(1, []), variables={"OLD": "1"})
    assert gate(planted, capsys)[0] == 2


# -- one parameter, one version ------------------------------------------------------------------


def test_one_parameter_that_was_skipped(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.plant(
        1, lambda name, p: math.nan if (name, p[:2]) == (NAME, ("50x100", "crashes")) else 0
    )
    status, document = gate(planted, capsys)
    where = "embedded, bench1, virtualenv-py3.11-amqp"
    assert (status, document["failed"]) == (2, [])
    assert document["not_measured"] == [f"{where}: {NAME}(50x100, crashes): skipped"]


def test_a_parameter_that_came_later_has_not_failed(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    """asv fills it up with None, which is what it stores of a failure too."""
    planted.plant(1, found(1, []))
    row = next(row for row in planted.suite if row["name"] == NAME)
    row["params"][1].append("'wishes'")
    planted.configure()
    status, document = gate(planted, capsys)
    assert (status, document["failed"]) == (2, [])
    assert [line.partition(": ")[2] for line in document["not_measured"]] == [
        f"{NAME}({load}, wishes): this parameter was not run" for load in ("10x100", "50x100")
    ]


@pytest.mark.parametrize("stored", ["older", None])
def test_an_outdated_version_is_not_measured(
    planted: Planted, capsys: pytest.CaptureFixture[str], stored: str | None
) -> None:
    path = planted.plant(1, found(1, []), version="older")
    if stored is None:
        rewrite(path, lambda document: [row.__setitem__(2, None) for row in _rows(document)])
    status, document = gate(planted, capsys)
    assert (status, document["zeros"]) == (2, 0)
    assert all("outdated version" in line for line in document["not_measured"])


@pytest.mark.parametrize("field", ["unit", "version"])
def test_a_list_of_benchmarks_without_a_field(
    planted: Planted, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    planted.plant(1, found(1, []))
    for row in planted.suite:
        row.pop(field)
    planted.configure()
    assert gate(planted, capsys)[0] == 2


def _rows(document: Any) -> list[Any]:
    assert document["result_columns"][2] == "version"
    return list(document["results"].values())


def test_an_outdated_violation_is_no_current_one(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.plant(1, lambda name, _: 1, version="older")
    status, document = gate(planted, capsys)
    assert (status, document["violations"]) == (2, [])


def test_a_benchmark_that_has_gone_is_not_judged(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.suite.append(benchmark("old.X.track_violations", "violations", {"load": ["1"]}))
    planted.plant(1, lambda name, _: 1 if name.startswith("old.") else 0)
    planted.suite.pop()
    planted.configure()
    assert gate(planted, capsys)[0] == 0


def test_a_benchmark_of_another_unit_is_judged_by_its_failure_alone(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    time = "throughput.Publish.time_publish"
    planted.plant(1, lambda name, _: math.nan if name == time else 0)
    status, document = gate(planted, capsys)
    assert status == 0
    where = "embedded, bench1, virtualenv-py3.11-amqp"
    assert document["not_required"] == [f"{where}: {time}, all 3 parameters: skipped"]
    planted.plant(1, lambda name, p: None if (name, p) == (time, ("10",)) else 0)
    status, document = gate(planted, capsys)
    assert (status, [f["parameters"] for f in document["failed"]]) == (1, [{"threads": "10"}])


def test_a_benchmark_that_failed_altogether(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    """asv stores one null for all its parameters."""
    planted.plant(1, lambda name, _: None if name == NAME else 0)
    status, document = gate(planted, capsys)
    assert (status, len(document["failed"])) == (1, 2 * len(INVARIANTS))


# -- malformed files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_text(path.read_text()[:500]), id="cut off"),
        pytest.param(lambda path: path.write_text(""), id="empty"),
        pytest.param(lambda path: path.write_text("[]"), id="a list"),
        pytest.param(lambda path: path.write_text("{}"), id="nothing in it"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe\x00"), id="no text"),
        pytest.param(
            lambda path: rewrite(path, lambda d: d.update(version=1)), id="an older format"
        ),
        pytest.param(
            lambda path: rewrite(path, lambda d: d.update(version=9)), id="a newer format"
        ),
        pytest.param(lambda path: rewrite(path, lambda d: d.pop("params")), id="a field missing"),
        pytest.param(lambda path: rewrite(path, lambda d: d.update(results=None)), id="no results"),
        pytest.param(
            lambda path: rewrite(path, lambda d: d["results"].update({NAME: 3})), id="a number"
        ),
        pytest.param(
            lambda path: rewrite(path, lambda d: d["results"].update({NAME: [["x"], [["'1'"]]]})),
            id="a word for a value",
        ),
        pytest.param(
            lambda path: (path.parent / "machine.json").write_text("{"), id="no machine.json"
        ),
    ],
)
def test_a_malformed_file_is_named_and_never_passes(
    planted: Planted, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object]
) -> None:
    path = planted.plant(1, found(1, []))
    spoil(path)
    status, document = gate(planted, capsys)
    assert status == 2
    assert any(str(path) in line for line in document["not_measured"])


def test_a_malformed_file_of_another_commit_is_not_in_the_way(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.plant(0, found(0, [])).write_text("{")
    planted.plant(1, found(1, []))
    assert gate(planted, capsys)[0] == 0


def test_two_commits_with_the_same_first_digits(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    path = planted.plant(1, found(1, []))
    other = planted.commits[1][:8] + "0" * 32
    rewrite(path, lambda document: document.update(commit_hash=other))
    assert gate(planted, capsys)[0] == 2


# -- the base --------------------------------------------------------------------------------------


def test_what_is_slower_or_faster_than_the_base(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    def speed(factor: float) -> Callable[[str, tuple[str, ...]], Any]:
        def value(name: str, parameters: tuple[str, ...]) -> Any:
            if name == "throughput.Publish.time_publish":
                scale = {"1": factor, "10": 1 / factor, "50": 1.0}[parameters[0]]
                return [scale * (1 + n / 1000) for n in range(12)]
            return 0

        return value

    planted.plant(0, speed(1.0))
    planted.plant(1, speed(2.0))
    status, document = gate(planted, capsys, "--base", planted.commits[0])
    assert status == 0
    rows = [(c["parameters"]["threads"], c["ratio"]) for c in document["changes"]]
    assert rows == [("1", 2.0), ("10", 0.5)]
    low, high = document["changes"][0]["interval"]
    assert 1.9 < low < 2.0 < high < 2.1


# -- the command line ------------------------------------------------------------------------------


def test_an_unknown_commit_is_one_line(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nonsense", "-x", "", "HEAD~9"):
        status = main(["gate", "--config", str(planted.folder / "asv.conf.json"), "--", name])
        printed = capsys.readouterr()
        assert (status, printed.out) == (2, "")
        assert printed.err == f"error: unknown commit {name!r}\n"


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"version": 1}'])
def test_no_configuration_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "asv.conf.json"
    if content is not None:
        path.write_text(content)
    assert main(["gate", "--config", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: asv's configuration: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"version": 2, "x": 3}'])
def test_nothing_stored_is_one_line(
    planted: Planted, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = planted.results / "benchmarks.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert main(["gate", "--config", str(planted.folder / "asv.conf.json")]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_json_beside_the_text(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    planted.plant(1, found(1, []))
    target = planted.folder / "gate.json"
    configuration = str(planted.folder / "asv.conf.json")
    assert main(["gate", "--config", configuration, "--json", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("gate holds: ")
    assert json.loads(target.read_text())["status"] == 0
    assert main(["gate", "--config", configuration, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "holds"


def test_every_cell_of_the_suite_is_read(planted: Planted) -> None:
    planted.plant(1, found(1, []))
    store = Store(planted.folder / "asv.conf.json")
    [sheet] = store.stored(planted.commits[1]).sheets
    assert len(sheet.cells) == ZEROS + LOADS + 1 + 2 + 2 + 3
    assert not [cell for cell in sheet.cells if cell.state == NOT_MEASURED]
