"""The deep search's own work: sharing out the time, and the tables. The searches are pretended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.schedules.corpus import Entry, load, save
from benchmarks.schedules.hunts import Hunt
from benchmarks.schedules.races import MODELS, RACES
from benchmarks.schedules.scenarios import catalogue
from tools import explore
from tools.explore import SMALL, deep_table, keep, line, main, markdown, race_row

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

    def __call__(self, hunts: Iterable[Hunt], seconds: float) -> list[Result]:
        return [self.answer(hunt) for hunt in hunts]

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
        "before\n<!-- the deep search, by tools/explore.py -->\nold\n"
        "<!-- end of the deep search -->\n"
        "<!-- the races, by tools/explore.py -->\nold\n<!-- end of the races -->\nafter\n"
    )
    return file


def pretend(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Pretended:
    pretended = Pretended(answers.pop("by_name", answers))
    monkeypatch.setattr(explore, "pursue_all", pretended)
    return pretended


def test_the_small_ones_are_of_the_catalogue_and_each_is_exhausted_once() -> None:
    names = [name for names in SMALL.values() for name in names]
    assert set(names) <= set(catalogue())
    assert len(names) == len(set(names))


def test_everything_is_searched_both_ways_and_the_small_ones_exhausted(
    monkeypatch: pytest.MonkeyPatch, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended = pretend(monkeypatch)
    assert main(["--write", str(document)]) == 0
    asked = {(hunt.program, hunt.strategy, hunt.depth) for hunt in pretended.asked}
    expected = {(name, "pct", depth) for name in catalogue() for depth in (3, 5)}
    expected |= {(name, "dfs", depth) for depth, names in SMALL.items() for name in names}
    assert asked == expected
    assert len(pretended.asked) == len(expected)
    assert all(hunt.schedules is None and hunt.seconds for hunt in pretended.asked)
    number = len(expected)
    out = capsys.readouterr().out
    assert f"154 scenarios, {number} searches (14 of them exhausted, 0 failed)" in out
    text = document.read_text()
    assert "| `acquire+release.1` | 40 | 40 | 2: 40, exhausted | 0 |" in text
    assert "| `publish+kill.1` | 40 | 40 |  | 0 |" in text
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
    "words", [["--minutes", "0"], ["--jobs", "0"], ["--races", "--seeds", "0"]]
)
def test_wrong_arguments_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)


def test_the_races_are_looked_for_and_kept(
    monkeypatch: pytest.MonkeyPatch, document: Path, tmp_path: Path
) -> None:
    file = tmp_path / "corpus.json"
    stale = Entry(RACES[0].name, RACES[0].program, "pct", 2, 1, 9, "deadlocks", token="x~y~z")
    other = Entry("another", "acquire+acquire.1", "pct", 3, 1, 9, "deadlocks", mended=True)
    save([stale, other], file)
    monkeypatch.setattr(explore, "load", lambda: load(file))
    monkeypatch.setattr(explore, "save", lambda entries: save(entries, file))
    answers = {race.program: race.invariants[0] for race in ALL}
    pretended = pretend(monkeypatch, by_name=answers)
    assert main(["--races", "--seeds", "2", "--write", str(document)]) == 0
    assert len(pretended.asked) == 2 * len(ALL)
    kept = {(entry.of, entry.schedules) for entry in load(file)}
    assert kept == {("another", 9)} | {(race.name, 40) for race in ALL}
    row = "| `TwoReconnectAtItsWidth` | leaks | `publish+kill.1`, PCT 2 | 2 of 2 | 40 | 1.0 | 1.0 |"
    assert row in document.read_text()


def test_a_race_that_is_missed_or_late_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {race.program: race.invariants[0] for race in ALL}
    first = RACES[0]
    pretend(monkeypatch, by_name=answers | {first.program: ""})
    assert main(["--races", "--seeds", "1"]) == 1
    late = result(first.hunt(1), first.invariants[0], seconds=31.0)
    pretend(monkeypatch, by_name=answers | {first.program: late})
    assert main(["--races", "--seeds", "1"]) == 1
    pretend(monkeypatch, by_name=answers | {first.program: {"failure": "no result"}})
    assert main(["--races", "--seeds", "1"]) == 1


def test_a_row_of_nothing_found_is_empty_where_there_is_no_number() -> None:
    race = RACES[0]
    row = race_row(race, [result(race.hunt(1)), result(race.hunt(2), "leaks")])
    assert row[3:] == ("0 of 2", "", "", "")
    assert deep_table([]) == []


def test_a_search_that_failed_is_told_as_such() -> None:
    hunt = Hunt("publish+kill.1", "pct", 3)
    failed = {"hunt": asdict(hunt), "failure": "no result"}
    assert "failed: no result" in line(failed)
    assert deep_table([failed]) == [("`publish+kill.1`", "failed", "", "", "0")]


def test_a_document_without_a_place_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.md"
    file.write_text("nothing")
    with pytest.raises(SystemExit, match="has no place for the table"):
        keep(file, "the races", markdown(("a",), [], "how"))
