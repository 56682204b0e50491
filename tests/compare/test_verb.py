"""``compare`` as a command: its files, its errors, and what an interrupt leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.harness.cli import main
from benchmarks.harness.compare_verb import LACKING

ROOT = Path(__file__).parents[2]
PAGE = "<!-- compare:embedded -->\n<!-- /compare:embedded -->\n"


def test_one_command_writes_tables_and_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    words = ["--clients", "amqpool,floor", "--work", "publish_1,recovery,lease_50"]
    words += ["--repeats", "2", "--quick", "--out", str(tmp_path)]
    assert main(["compare", *words, "--write", str(page)]) == 0
    found = json.loads((tmp_path / "embedded.json").read_text())
    states = {(cell["work"], cell["client"]): cell["state"] for cell in found["speed"]}
    assert states == {
        ("publish_1", "amqpool"): "measured",
        ("publish_1", "floor"): "measured",
        ("recovery", "amqpool"): "measured",
        ("recovery", "floor"): "measured",
        ("lease_50", "amqpool"): "measured",
        ("lease_50", "floor"): "cannot",
    }
    assert all(cell["rounds"] == 2 for cell in found["speed"] if cell["state"] == "measured")
    assert [trial["verdict"] for trial in found["trials"]] == ["valid"] * 4
    assert (tmp_path / "embedded.md").read_text() in page.read_text()


def test_a_second_run_is_held_against_the_first(tmp_path: Path) -> None:
    words = ["compare", "--clients", "amqpool,floor", "--work", "publish_1", "--repeats", "2"]
    words += ["--quick", "--no-trials", "--out", str(tmp_path)]
    assert main(words) == 0
    first = json.loads((tmp_path / "embedded.json").read_text())
    assert "agreement" not in first
    # It may overwrite what it is held against.
    assert main([*words, "--against", str(tmp_path / "embedded.json")]) == 0
    second = json.loads((tmp_path / "embedded.json").read_text())
    assert sum(second["agreement"]["works"]["publish_1"].values()) == 1
    assert second["agreement"]["reversed"] == []
    assert "of 1 pairs" in (tmp_path / "embedded.md").read_text()


def test_the_trials_of_a_client(tmp_path: Path) -> None:
    words = ["--clients", "amqpool", "--quick", "--no-speed", "--out", str(tmp_path)]
    assert main(["compare", *words]) == 0
    found = json.loads((tmp_path / "embedded.json").read_text())
    assert [trial["verdict"] for trial in found["trials"]] == ["valid"] * 4


@pytest.mark.parametrize("half", ["--no-trials", "--no-speed"])
def test_a_page_is_never_left_with_half_of_its_tables(
    half: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert main(["compare", half, "--out", str(tmp_path), "--write", str(page)]) == 2
    assert f"leave out {half}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file"),
        ("{", "no JSON"),
        ("[]", "not written by compare"),
        ('{"speed": []}', "not written by compare"),
        ('{"when": "", "commit": "", "partial": null, "speed": [{}]}', "not written by compare"),
        ('{"when": "", "commit": "", "partial": null, "speed": []}', "it has no speeds"),
    ],
)
def test_a_wrong_earlier_run_is_told_before_anything_runs(
    text: str | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "before.json"
    if text is not None:
        file.write_text(text)
    assert main(["compare", "--out", str(tmp_path), "--against", str(file)]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--work", "nothing"], "nothing is none of"),
        (["--repeats", "0"], "not between 1 and 100"),
    ],
)
def test_a_wrong_word_is_told_in_one_line(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["compare", *words])
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--clients", "nobody"], "unknown client 'nobody'"),
        (["--broker", "nowhere"], "no amqp:// URL"),
        (["--broker", "amqp://guest:secret@127.0.0.1:1/"], "cannot connect"),
        (["--write", "no/such/page.md"], "No such file"),
    ],
)
def test_a_wrong_place_is_told_in_one_line(
    words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--clients", "amqpool", "--work", "publish_1", "--out", str(tmp_path)]
    assert main(["compare", *common, *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert text in error
    assert "secret" not in error


def test_a_page_without_markers_is_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    assert main(["compare", "--out", str(tmp_path), "--write", str(page)]) == 2
    assert "it needs the lines <!-- compare:embedded -->" in capsys.readouterr().err


def test_an_interrupt_leaves_a_partial_report(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    words = ["--clients", "amqpool", "--work", "publish_1,publish_50", "--quick"]
    words += ["--repeats", "100", "--out", str(tmp_path), "--write", str(page)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.harness", "compare", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("publish, 1 thread") for line in lines)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == LACKING, errors
    assert "**Partial: interrupted.**" in output
    assert json.loads((tmp_path / "embedded.json").read_text())["partial"] == "interrupted"
    assert page.read_text() == PAGE
