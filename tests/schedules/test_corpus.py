"""What was found before is kept in a form that lasts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.schedules.corpus import Entry, load, of_program, save
from benchmarks.schedules.explore import replay
from benchmarks.schedules.hunts import Hunt, document, find_program, pursue
from benchmarks.schedules.models import BROKEN, FOUND_AS
from benchmarks.schedules.races import RACES
from benchmarks.schedules.tokens import decode

ENTRIES = load()
MENDED = [entry for entry in ENTRIES if entry.mended]


def test_every_race_and_every_model_has_an_entry() -> None:
    kept = {entry.program for entry in ENTRIES}
    assert {race.program for race in RACES} <= kept
    assert {f"model:{name}" for name in BROKEN} <= kept
    assert len({(entry.of, entry.program) for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.of} {entry.program}")
def test_an_entry_names_a_program_and_its_token_is_of_it(entry: Entry) -> None:
    program = find_program(entry.program)
    assert entry.schedules > 0
    assert entry.of
    if entry.token:
        token = decode(entry.token)
        assert token.name == program.name
        assert token.choices
        assert len(entry.token) - len(program.name) <= 100
    else:
        assert entry.mended, "what is not mended is kept with its token"


@pytest.mark.parametrize("entry", MENDED, ids=lambda entry: f"{entry.of} {entry.program}")
def test_what_was_mended_is_not_found_any_more(entry: Entry) -> None:
    report = pursue(entry.hunt)
    assert report.found is None, report.text
    assert report.schedules == entry.schedules


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_model_s_token_or_else_its_hunt_shows_its_race(name: str) -> None:
    (entry,) = of_program(f"model:{name}")
    assert entry.invariant == FOUND_AS[name]
    program = find_program(entry.program)
    if decode(entry.token).digest == program.digest():
        outcomes = replay(entry.token, find_program, 10)
        assert {(o.finding.invariant if o.finding else None, o.diverged) for o in outcomes} == {
            (entry.invariant, False)
        }
    # On another source or Python the token is void; the hunt's bound is for this one alone.
    report = pursue(Hunt(entry.program, entry.strategy, entry.depth, entry.seed, 4_000))
    assert report.found is not None
    assert report.found.finding is not None
    assert report.found.finding.invariant == entry.invariant


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    hunt = Hunt("model:inverted-locks", "pct", 3, 1, 500)
    entry = Entry.from_result(document(hunt, pursue(hunt)), "a test")
    mended = Entry("another", "acquire+acquire.1", "dfs", 1, 1, 456, "deadlocks", mended=True)
    file = tmp_path / "corpus.json"
    save([mended, entry], file)
    assert load(file) == [entry, mended], "sorted by whose it is"
    assert of_program("acquire+acquire.1", file) == [mended]
    assert of_program("publish+kill.1", file) == []
    assert entry.hunt == Hunt("model:inverted-locks", "pct", 3, 1, entry.schedules)
    assert pursue(entry.hunt).token == entry.token, "its bound is enough"
    save([], file)
    assert load(file) == []


def test_a_file_that_is_no_corpus_is_told(tmp_path: Path) -> None:
    file = tmp_path / "corpus.json"
    file.write_text(json.dumps([{"of": "x"}]))
    with pytest.raises(TypeError):
        load(file)
    file.write_text("{")
    with pytest.raises(ValueError):
        load(file)
