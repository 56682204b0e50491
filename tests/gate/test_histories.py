"""The gate's exit status for each of twelve commits, for each of six histories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.cli import main
from tests.gate.planted import COMMITS, HISTORIES, Planted, six_histories


def gate(planted: Planted, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    configuration = str(planted.folder / "asv.conf.json")
    status = main(["gate", *arguments, "--config", configuration, "--format", "json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", HISTORIES)
def test_each_commit_of_each_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    history = HISTORIES[name]
    planted = six_histories(tmp_path / "scratch", [name])
    found = [gate(planted, capsys, commit) for commit in planted.commits]
    assert [status for status, _ in found] == [int(value != 0) for value in history.values]
    for (_, document), value in zip(found, history.values, strict=True):
        listed = [
            (v["benchmark"].split(".")[1], *v["parameters"].values(), v["value"])
            for v in document["violations"]
        ]
        assert listed == ([(*history.key, value)] if value else [])
        crashed = value == history.when and history.beside is None
        others = len(INVARIANTS) - 1 if crashed else 0
        assert len(document["failed"]) == others
        assert document["not_measured"] == []


def test_all_six_in_one_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = six_histories(tmp_path / "scratch")
    expected = [
        sum(history.values[number] or 0 for history in HISTORIES.values())
        for number in range(COMMITS)
    ]
    for commit, total in zip(planted.commits, expected, strict=True):
        status, document = gate(planted, capsys, commit)
        assert (status, sum(v["value"] for v in document["violations"])) == (1, total)


def test_without_a_commit_it_is_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = six_histories(tmp_path / "scratch", ["new"])
    status, document = gate(planted, capsys)
    assert (status, document["commit"]) == (1, planted.commits[-1])
