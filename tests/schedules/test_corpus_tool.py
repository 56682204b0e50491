"""The corpus' own tool: which tokens are stale, and new ones for those. Searches are pretended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.schedules.corpus import Entry, load, save
from benchmarks.schedules.hunts import Hunt, find_program
from benchmarks.schedules.races import MODELS
from benchmarks.schedules.tokens import Token, encode
from tools import corpus

Result = dict[str, Any]
FIRST, SECOND = MODELS[:2]
MENDED = Entry("another", "acquire+acquire.1", "pct", 3, 1, 9, "deadlocks", mended=True)


def entry(index: int, *, stale: bool = False) -> Entry:
    race = MODELS[index]
    digest = b"else" if stale else find_program(race.program).digest()
    token = encode(Token(race.program, digest, []))
    return Entry(race.name, race.program, "pct", 3, 5, 9, race.invariants[0], token=token)


class Pretended:
    """In place of the children: what was asked for, and answers."""

    def __init__(self, shown: Result | None, found: dict[int, Any]) -> None:
        self.shown = shown
        #: By seed: an invariant, nothing, or a whole document.
        self.found = found
        self.seeds: list[int] = []

    def replay_of(self, token: str, times: int, seconds: float) -> Result:
        assert times == 10
        assert self.shown is not None, "a stale token is never run"
        return self.shown

    def pursue_all(self, hunts: Iterable[Hunt], seconds: float) -> list[Result]:
        (hunt,) = hunts
        self.seeds.append(hunt.seed)
        answer = self.found[hunt.seed]
        if isinstance(answer, dict):
            return [answer]
        finding = {"invariant": answer, "token": f"{hunt.program}~AAAA~EQE"}
        return [{"hunt": asdict(hunt), "schedules": 7, "finding": finding if answer else None}]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "corpus.json"
    monkeypatch.setattr(corpus, "load", lambda: load(file))
    monkeypatch.setattr(corpus, "save", lambda entries: save(entries, file))
    monkeypatch.setattr(corpus, "RACES", ())
    monkeypatch.setattr(corpus, "MODELS", (FIRST, SECOND))
    return file


def pretend(
    monkeypatch: pytest.MonkeyPatch,
    shown: Result | None = None,
    found: dict[int, Any] | None = None,
) -> Pretended:
    pretended = Pretended(shown, found or {})
    monkeypatch.setattr(corpus, "replay_of", pretended.replay_of)
    monkeypatch.setattr(corpus, "pursue_all", pretended.pursue_all)
    return pretended


SHOWN = {"shown": 10, "invariant": FIRST.invariants[0]}


def test_what_fits_and_shows_its_race_is_0(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpus, "MODELS", (FIRST,))
    save([entry(0), MENDED], file)
    pretend(monkeypatch, SHOWN)
    assert corpus.main([]) == 0
    assert capsys.readouterr().out.split() == [FIRST.name, "fits"]
    before = file.read_text()
    assert corpus.main(["--refresh"]) == 0
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ({"shown": 9, "invariant": FIRST.invariants[0]}, "shows it 9 of 10 times"),
        ({"shown": 0, "invariant": None}, "shows nothing instead"),
        ({"shown": 10, "invariant": "crashes"}, "shows crashes instead"),
        ({"failure": "no result"}, "no result"),
    ],
)
def test_a_token_that_fits_and_shows_nothing_is_of_no_use_either(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shown: Result,
    says: str,
) -> None:
    monkeypatch.setattr(corpus, "MODELS", (FIRST,))
    save([entry(0)], file)
    pretend(monkeypatch, shown)
    assert corpus.main([]) == 1
    assert f"{FIRST.name:32} {says}\n" in capsys.readouterr().out


def test_stale_ones_are_1_with_the_command_that_makes_new_ones(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save([entry(0, stale=True), MENDED], file)
    pretended = pretend(monkeypatch)
    before = file.read_text()
    assert corpus.main([]) == 1
    out = capsys.readouterr().out
    assert f"{FIRST.name:32} stale\n" in out
    assert f"{SECOND.name:32} has no token yet\n" in out
    assert out.endswith("2 stale: python -m tools.corpus --refresh\n")
    assert pretended.seeds == []
    assert file.read_text() == before


def test_a_refresh_searches_again_and_keeps_what_it_found(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With further seeds where the entry's own finds nothing, or something else."""
    save([entry(0, stale=True), MENDED], file)
    sign = FIRST.invariants[0]
    found = {5: "crashes", 6: sign, 1: SECOND.invariants[0]}
    pretended = pretend(monkeypatch, found=found)
    assert corpus.main(["--refresh"]) == 0
    assert pretended.seeds == [5, 6, 1]
    assert f"{FIRST.name:32} found again after 7 schedules\n" in capsys.readouterr().out
    kept = {each.of: each for each in load(file)}
    assert set(kept) == {FIRST.name, SECOND.name, "another"}
    new = kept[FIRST.name]
    assert (new.seed, new.schedules, new.invariant) == (6, 7, sign)
    assert new.token == f"{FIRST.program}~AAAA~EQE"
    assert kept["another"] == MENDED


def test_a_refresh_in_vain_is_1_and_keeps_what_was_there(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = entry(0, stale=True)
    save([stale], file)
    nothing = dict.fromkeys((5, 6, 7, 1, 2, 3))
    pretended = pretend(monkeypatch, found=nothing)
    assert corpus.main(["--refresh"]) == 1
    assert pretended.seeds == [5, 6, 7, 1, 2, 3]
    assert f"{FIRST.name:32} was not found again with 3 seeds\n" in capsys.readouterr().out
    assert load(file) == [stale], "a race that was never found has no entry"


def test_what_the_default_order_shows_is_no_race(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "MODELS", (FIRST,))
    stale = entry(0, stale=True)
    save([stale], file)
    finding = {"invariant": FIRST.invariants[0], "token": "a~b~c"}
    at_once = {"hunt": asdict(stale.hunt), "schedules": 0, "finding": finding}
    pretend(monkeypatch, found=dict.fromkeys((5, 6, 7), at_once))
    assert corpus.main(["--refresh"]) == 1
    assert load(file) == [stale]


def test_an_entry_of_a_race_that_is_looked_for_elsewhere_is_replaced(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "MODELS", (FIRST,))
    save([replace(entry(0), program="acquire+acquire.1")], file)
    pretended = pretend(monkeypatch, found={1: FIRST.invariants[0]})
    assert corpus.main(["--refresh"]) == 0
    assert pretended.seeds == [1]
    assert [each.program for each in load(file)] == [FIRST.program]


def test_a_search_that_failed_is_3(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpus, "MODELS", (FIRST,))
    save([entry(0, stale=True)], file)
    pretend(monkeypatch, found={5: {"failure": "no result"}})
    assert corpus.main(["--refresh"]) == 3
    assert "no result" in capsys.readouterr().out
