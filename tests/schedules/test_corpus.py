"""What was found before is kept in a form that lasts."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.schedules.corpus import Entry, load, of_program, save
from benchmarks.schedules.hunts import Hunt, document, find_program, pursue
from benchmarks.schedules.models import BROKEN
from benchmarks.schedules.races import MODELS, RACES, SCHEDULES
from benchmarks.schedules.supervised import pursue_all, replay_of
from benchmarks.schedules.tokens import Token, decode, encode
from tests.conftest import STALE_TOKEN

ENTRIES = load()
MENDED = [entry for entry in ENTRIES if entry.mended]
KEPT = [entry for entry in ENTRIES if not entry.mended]
RACE = {race.program: race for race in (*RACES, *MODELS)}
#: For one child: three times what the slowest race is allowed on an idle machine.
SECONDS = 90.0


def test_every_race_and_every_model_has_an_entry() -> None:
    kept = {(entry.of, entry.program) for entry in KEPT}
    assert kept == {(race.name, race.program) for race in (*RACES, *MODELS)}
    assert {race.name for race in MODELS} == set(BROKEN)
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


@pytest.mark.parametrize("entry", KEPT, ids=lambda entry: entry.of)
def test_a_token_shows_its_race_ten_times_of_ten_or_else_its_search_does(
    entry: Entry, request: pytest.FixtureRequest
) -> None:
    """A stale token is reported at the end of the tests, and never taken for one that was run."""
    if not entry.stale:
        result = replay_of(entry.token, 10, SECONDS)
        assert result["shown"] == 10, result
    else:
        if entry.python == sys.implementation.cache_tag:
            request.node.user_properties.append((STALE_TOKEN, entry.of))
        # The bound of the entry is for the source that the token is for.
        hunt = Hunt(entry.program, entry.strategy, entry.depth, entry.seed, SCHEDULES, SECONDS)
        (result,) = pursue_all([hunt], SECONDS)
        result = result["finding"] or {"invariant": None}
    assert result["invariant"] in RACE[entry.program].invariants


def test_a_token_is_stale_when_the_source_has_changed_and_not_before() -> None:
    (entry,) = of_program("model:lost-wakeup")
    program = find_program(entry.program)
    here = replace(entry, token=encode(Token(program.name, program.digest(), [])))
    assert not here.stale
    assert replace(entry, token=encode(Token(program.name, b"else", []))).stale
    assert not MENDED[0].stale, "it has none"


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
