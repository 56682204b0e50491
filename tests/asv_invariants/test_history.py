"""Columns and stories, from cells alone."""

from __future__ import annotations

import pytest

from asv_invariants.document import Measured, Sheet, bins, sheet_document
from asv_invariants.history import Column, Story, Value, columns_of, stories
from asv_invariants.regressions import jumps
from benchmarks.harness.gate import Cell

NAME = "stability.X.track_violations"


def cell(value: float | None, *parameters: tuple[str, str], unit: str = "violations") -> Cell:
    return Cell("m", "e", "embedded", NAME, parameters, unit, value)


def column(number: int, load: str = "10x100") -> Column:
    return Column(NAME, number, "X", load, f"invariant {number}")


def test_columns() -> None:
    cells = [
        cell(0, ("load", "10x100"), ("invariant", "deadlocks")),
        cell(0, ("load", "10x100"), ("invariant", "crashes")),
        cell(0.1, ("load", "10x100"), unit="seconds"),
        cell(0, ("threads", "2"), ("depth", "5"), ("invariant", "crashes")),
        Cell("m", "e", "embedded", "races.Program.track_violations", (), "violations", 0),
    ]
    assert columns_of(cells) == [
        Column(NAME, 0, "X", "10x100", "deadlocks"),
        Column(NAME, 1, "X", "10x100", "crashes"),
        Column(NAME, 2, "X", "2, 5", "crashes"),
        Column("races.Program.track_violations", 0, "Program", "", "violations"),
    ]


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ([0, 0, 1], "new", "0 before, 1 at the newest commit"),
        ([0, None, 1, None], "new", "0 before, 1 at the newest commit"),
        ([0, "failed"], "new", "0 before, failed at the newest commit"),
        ([0, 2, 3], "still broken", "up to 3 for the last 2 commits"),
        ([0, 0, 3, 0], "recovered", "up to 3 for 1 commit, 0 since"),
        ([0, 3, None, 3, 0], "recovered", "up to 3 for 2 commits, 0 since"),
        ([0, "failed", 0], "recovered", "failed for 1 commit, 0 since"),
        ([4, 0], "recovered", "up to 4 for 1 commit, 0 since"),
        ([0, 0, 1, 0, 1, 0, 0, 2], "flaky", "bad at 3 of 8 commits, in 3 spells"),
        ([5, 5, 5], "constant", "5 at every commit measured"),
        ([5, 7], "constant", "never 0 at every commit measured"),
        ([None, 1], "constant", "1 at every commit measured"),
    ],
)
def test_a_story(values: list[Value], kind: str, words: str) -> None:
    told = stories([column(0)], [[value] for value in values])
    assert told == [Story(kind, (0,), tuple(values), words)]


@pytest.mark.parametrize("values", [[], [0], [0, 0, 0], [None, None], [0, None, 0]])
def test_no_story(values: list[Value]) -> None:
    assert stories([column(0)], [[value] for value in values]) == []


def test_equal_histories_of_one_load_are_one_story_and_the_worst_comes_first() -> None:
    columns = [column(0), column(1), column(2), column(3, "50x100")]
    rows: list[list[Value]] = [[0, 0, 0, 0], ["failed", "failed", 2, "failed"], [0, 0, 0, 1]]
    told = [(story.kind, story.columns) for story in stories(columns, rows)]
    assert told == [("still broken", (3,)), ("recovered", (2,)), ("recovered", (0, 1))]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([0, 0], []),
        ([0, 1], [(1, 0, 1)]),
        ([5, 5, 5], [(0, 0, 5)]),
        ([0, 3, 0], [(1, 0, 3)]),
        ([0, 0, 1, 0, 1, 0, 0, 2], [(2, 0, 1), (4, 0, 1), (7, 0, 2)]),
        ([0, 4, 2], [(1, 0, 4), (2, 4, 2)]),
        ([5, None, float("nan"), 5], [(0, 0, 5)]),
        ([None, None], []),
    ],
)
def test_jumps(values: list[float | None], expected: list[tuple[int, float, float]]) -> None:
    assert jumps(list(enumerate(values))) == [[None, *jump] for jump in expected]


def test_a_sheet_of_two_commits_one_of_which_was_not_measured() -> None:
    cells = [cell(float("nan"), ("load", "1"), ("invariant", "crashes"))]
    sheet = Sheet("m", "e", "embedded", {}, {"old": Measured("old", cells, [])})
    known = {NAME: {"param_names": ["load", "invariant"], "params": [["'1'"], ["'crashes'"]]}}
    document, texts = sheet_document(sheet, ["new", "old"], known, bins([sheet]))
    assert document["rows"] == [None, [None]]
    assert document["recovery"] == [None, None]
    assert document["columns"][0]["parameters"] == {"p-load": "'1'", "p-invariant": "'crashes'"}
    assert (document["stories"], texts) == ([], {})
