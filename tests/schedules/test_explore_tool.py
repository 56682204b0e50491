"""The deep search's own work: sharing out the time, and the tables. The searches are pretended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.schedules import control
from benchmarks.schedules.hunts import Hunt
from benchmarks.schedules.races import MODELS, RACES
from benchmarks.schedules.scenarios import catalogue
from tools import explore, explore_races
from tools.explore import SMALL, main
from tools.explore_tables import (
    EXHAUSTIVE_HEAD,
    RACES_HEAD,
    deep_table,
    exhaustive_table,
    keep,
    line,
    markdown,
    race_row,
)

Result = dict[str, Any]
ALL = (*RACES, *MODELS)


def result(hunt: Hunt, invariant: str = "", schedules: int = 40, seconds: float = 1.0) -> Result:
    finding = {"invariant": invariant, "kind": "", "detail": "d", "story": "s", "token": "a~b~c"}
    return {
        "hunt": asdict(hunt),
        "schedules": schedules,
        "exhausted": hunt.strategy == "dfs" and not invariant,
        "races": int(bool(invariant)),
        "seconds": seconds,
        "finding": finding if invariant else None,
    }


class Pretended:
    """In place of the searches: what was asked for, and answers by the program's name."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[Hunt] = []
        self.controls: list[int] = []

    def __call__(self, hunts: Iterable[Hunt], seconds: float) -> list[Result]:
        return [self.answer(hunt) for hunt in hunts]

    def control_of(self, seed: int, seconds: float) -> Result:
        self.controls.append(seed)
        answer = self.answers.get(control.SCENARIO, 0)
        if isinstance(answer, dict):
            return answer
        return {"missed": answer, "seed": seed, "schedules": 30, "seconds": 2.0, "replays": 10}

    def answer(self, hunt: Hunt) -> Result:
        self.asked.append(hunt)
        answer = self.answers.get(hunt.program, "")
        if isinstance(answer, dict):
            return {"hunt": asdict(hunt), **answer}
        return result(hunt, answer)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "schedules.md"
    file.write_text(
        "before\n<!-- the exhaustive search, by tools/explore.py -->\nold\n"
        "<!-- end of the exhaustive search -->\n"
        "<!-- the deep search, by tools/explore.py -->\nold\n<!-- end of the deep search -->\n"
        "<!-- the races, by tools/explore.py -->\nold\n<!-- end of the races -->\nafter\n"
    )
    return file


def pretend(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Pretended:
    pretended = Pretended(answers.pop("by_name", answers))
    monkeypatch.setattr(explore, "pursue_all", pretended)
    monkeypatch.setattr(explore_races, "pursue_all", pretended)
    monkeypatch.setattr(explore_races, "control_of", pretended.control_of)
    return pretended


def test_the_small_ones_are_of_the_catalogue_and_each_is_searched_once() -> None:
    names = [name.partition("@")[0] for _depth, names in SMALL for name in names]
    assert set(names) <= set(catalogue())
    searches = [(depth, name) for depth, names in SMALL for name in names]
    assert len(searches) == len(set(searches))


def test_everything_is_searched_both_ways_and_the_small_ones_exhausted(
    monkeypatch: pytest.MonkeyPatch, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended = pretend(monkeypatch)
    assert main(["--write", str(document)]) == 0
    asked = {(hunt.program, hunt.strategy, hunt.depth) for hunt in pretended.asked}
    expected = {(name, "pct", depth) for name in catalogue() for depth in (3, 5)}
    expected |= {(name, "dfs", depth) for depth, names in SMALL for name in names}
    assert asked == expected
    assert len(pretended.asked) == len(expected)
    assert all(hunt.schedules is None and hunt.seconds for hunt in pretended.asked)
    number = len(expected)
    out = capsys.readouterr().out
    small = sum(len(names) for _depth, names in SMALL)
    assert f"154 scenarios, {number} searches ({small} of them exhausted, 0 failed)" in out
    text = document.read_text()
    assert "| `acquire+release.1` | access | 2 | 40 | exhausted | 0 | 1 |" in text
    assert "| `acquire+release.1` | 40 | 40 | 0 |" in text
    assert "| `publish+kill.1` | 40 | 40 | 0 |" in text
    assert text.startswith("before\n")
    assert text.endswith(
        "<!-- the races, by tools/explore.py -->\nold\n<!-- end of the races -->\nafter\n"
    )


def test_the_time_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = pretend(monkeypatch)
    assert main(["publish+kill.1", "publish+kill.2", "--minutes", "1", "--jobs", "1"]) == 0
    seconds = [hunt.seconds or 0.0 for hunt in pretended.asked]
    # Four searches; the pretended ones take no time, so the second pair has twice as much each.
    assert [round(each) for each in seconds] == [15, 15, 30, 30]


def test_who_asks_for_one_scenario_gets_its_exhaustive_searches_in_their_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretended = pretend(monkeypatch)
    assert main(["acquire+release.1", "--minutes", "2"]) == 0
    exhaustive = [hunt for hunt in pretended.asked if hunt.strategy == "dfs"]
    assert {hunt.program.partition("@")[0] for hunt in exhaustive} == {"acquire+release.1"}
    assert {hunt.depth for hunt in exhaustive} >= {2}
    assert all(0.58 < (hunt.seconds or 0.0) / 120 <= 0.6 for hunt in exhaustive)


def test_a_race_is_1_and_a_failure_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["publish+kill.1", "publish+kill.2"]
    failed = {"failure": "no result"}
    pretend(monkeypatch, by_name={names[0]: failed})
    assert main(names) == 3
    assert "failed: no result" in capsys.readouterr().out
    pretend(monkeypatch, by_name={names[0]: failed, names[1]: "leaks"})
    assert main(names) == 1
    assert "python -m benchmarks.harness replay a~b~c" in capsys.readouterr().out


def test_what_does_not_exist_is_not_searched() -> None:
    with pytest.raises(SystemExit, match=r"no such scenario: nothing\.1"):
        main(["nothing.1"])


@pytest.mark.parametrize(
    "words",
    [["--minutes", "0"], ["--jobs", "0"], *(["--seeds", text] for text in ("0", "9-1", "x"))],
)
def test_wrong_arguments_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)


FOUND: dict[str, Any] = {race.program: race.invariants[0] for race in ALL}


def test_the_races_and_the_control_are_looked_for_and_kept(
    monkeypatch: pytest.MonkeyPatch, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended = pretend(monkeypatch, by_name=FOUND)
    assert main(["--races", "--seeds", "101-102", "--write", str(document)]) == 0
    assert len(pretended.asked) == 2 * len(ALL)
    assert {hunt.seed for hunt in pretended.asked} == {101, 102} == set(pretended.controls)
    out = capsys.readouterr().out
    assert "seed 101, found, 10 of its replays alike" in out
    assert f"{len(ALL) + 1} races, 2 seeds each, 0 searches missed theirs" in out
    text = document.read_text()
    assert "Seeds 101 to 102, 2 searches at a time" in text
    race = RACES[-1]
    scenario = race.program.rpartition(":")[2]
    for row in (
        f"| `{race.name}` | {race.invariants[0]} | `{scenario}`, PCT {race.depth} | 2 of 2 | 40 |",
        "| kombu-pyamqp-threadsafe 0.6.0 | keyerror_none | `publish+rpc.2`, PCT 5 | 2 of 2 | 30 |",
    ):
        assert row in text


def test_a_control_that_is_missed_is_1_and_one_that_failed_3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, by_name=FOUND | {control.SCENARIO: 1})
    assert main(["--races", "--seeds", "1"]) == 1
    pretend(monkeypatch, by_name=FOUND | {control.SCENARIO: {"failure": "no result"}})
    assert main(["--races", "--seeds", "1"]) == 3


def test_a_control_that_cannot_be_had_is_told_and_no_miss(
    monkeypatch: pytest.MonkeyPatch, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, by_name=FOUND | {control.SCENARIO: {"refused": "no index"}})
    assert main(["--races", "--seeds", "1", "--write", str(document)]) == 0
    assert "not searched: no index" in capsys.readouterr().out
    assert "`publish+rpc.2`, PCT 5 | not searched |" in document.read_text()


def test_a_race_that_is_missed_or_late_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    first = RACES[0]
    pretend(monkeypatch, by_name=FOUND | {first.program: ""})
    assert main(["--races", "--seeds", "1"]) == 1
    late = result(first.hunt(1), first.invariants[0], seconds=31.0)
    pretend(monkeypatch, by_name=FOUND | {first.program: late})
    assert main(["--races", "--seeds", "1"]) == 1
    pretend(monkeypatch, by_name=FOUND | {first.program: {"failure": "no result"}})
    assert main(["--races", "--seeds", "1"]) == 1


def test_a_row_of_nothing_found_is_empty_where_there_is_no_number() -> None:
    race = RACES[0]
    row = race_row(race, [result(race.hunt(1)), result(race.hunt(2), "leaks")])
    assert row[3:] == ("0 of 2", "", "", "", "")
    assert len(row) == len(RACES_HEAD)
    assert deep_table([]) == []


def test_a_search_that_failed_is_told_as_such() -> None:
    hunt = Hunt("publish+kill.1", "pct", 3)
    failed = {"hunt": asdict(hunt), "failure": "no result"}
    assert "failed: no result" in line(failed)
    assert deep_table([failed]) == [("`publish+kill.1`", "failed", "", "0")]
    dfs = {"hunt": asdict(Hunt("publish+kill.1@sync", "dfs", 2)), "failure": "no result"}
    (row,) = exhaustive_table([failed, dfs])
    assert row == ("`publish+kill.1`", "sync", "2", "failed", "", "", "")
    assert len(row) == len(EXHAUSTIVE_HEAD)


def test_a_budget_that_ran_out_reads_not_exhausted() -> None:
    ran_out = result(Hunt("publish+kill.1@sync", "dfs", 2)) | {"exhausted": False}
    assert "not exhausted" in line(ran_out)
    assert exhaustive_table([ran_out])[0][3:6] == ("40", "not exhausted", "0")


def test_a_document_without_a_place_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.md"
    file.write_text("nothing")
    with pytest.raises(SystemExit, match="has no place for the table"):
        keep(file, "the races", markdown(("a",), [], "how"))
