"""The catalogue itself: each counter has its mutants, and each mutant says what it stands for."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients.loader import load_client
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.scenarios import find_fault, find_scenario
from tools.mutants import (
    BEGIN,
    END,
    FOLDER,
    ROOT,
    Tried,
    catalogue,
    complaints,
    enough,
    keep,
    main,
    markdown,
    row,
)

FAMILIES = catalogue()
UNWIDENED = catalogue(unwidened=True)
MUTANTS = [mutant for mutants in FAMILIES.values() for mutant in mutants]
NATURAL = [mutant for mutants in UNWIDENED.values() for mutant in mutants]


def named(mutant: Any) -> str:
    return str(mutant.__name__)


def test_every_invariant_has_three_mutants() -> None:
    few = {name: len(mutants) for name, mutants in FAMILIES.items() if len(set(mutants)) < 3}
    assert not few
    assert list(FAMILIES) == list(INVARIANTS)


def test_a_family_stands_for_its_own_invariant() -> None:
    for invariant, mutants in FAMILIES.items():
        assert {mutant.rises[0] for mutant in mutants} == {invariant}
        assert {mutant.rises[0] for mutant in UNWIDENED[invariant]} <= {invariant}


def test_names_are_unique() -> None:
    names = [named(mutant) for mutant in MUTANTS + NATURAL]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("mutant", MUTANTS + NATURAL, ids=named)
def test_a_mutant_says_what_it_is(mutant: Any) -> None:
    told = inspect.cleandoc(mutant.__doc__ or "")
    assert len(told) > 40, "the docstring says what is broken"
    assert set(mutant.rises) | mutant.may_rise <= set(INVARIANTS)
    assert not set(mutant.rises) & mutant.may_rise
    scenario = find_scenario(mutant.scenario)
    scenario.load(mutant.load)
    if mutant.fault is not None:
        find_fault(mutant.fault, scenario)
    assert load_client(f"{FOLDER / mutant.rises[0]}.py:{named(mutant)}").__name__ == named(mutant)


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_the_docstring_accounts_for_what_else_rises(mutant: Any) -> None:
    told = inspect.cleandoc(mutant.__doc__)
    # "As above" is a reason that the class before it gives.
    for other in (*mutant.rises[1:], *mutant.may_rise):
        assert re.search(rf"\b({other}|{other.replace('_', ' ')})\b", told), other
    assert ("Widened" in told) == bool(mutant.pause)


def test_each_widened_race_is_kept_at_its_natural_width() -> None:
    widened = {mutant for mutant in MUTANTS if mutant.pause}
    kept = {mutant.__base__ for mutant in NATURAL}
    assert kept == widened
    for mutant in NATURAL:
        assert mutant.pause == 0.0
        assert mutant.mutate is mutant.__base__.mutate, "only the pause may differ"


def test_the_document_names_exactly_these_mutants() -> None:
    text = (ROOT / "docs" / "mutants.md").read_text()
    table = text.partition(BEGIN)[2].partition(END)[0]
    told = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w*) ?\|", table, re.MULTILINE)
    assert told == [
        (named(mutant), mutant.rises[0], "widened" if mutant.pause else "") for mutant in MUTANTS
    ]


# -- the runner's own judgement --------------------------------------------------------------


class Example:
    """A mutant's attributes, without a mutant."""

    rises = ("phantoms", "unavailable")
    may_rise = frozenset({"lost_frames"})
    pause = 0.001


def tried(*risen: str, seed: int = 1, seconds: float = 2.0) -> Tried:
    document = {"unknown_because": [], "witnesses": [], "replay": "run"}
    return Tried(Example, seed, frozenset(risen), seconds, "invalid", document)


@pytest.mark.parametrize(
    ("caught", "seeds", "verdict"),
    [(0, 1, False), (1, 1, True), (8, 9, False), (9, 9, True), (8, 10, False), (9, 10, True)],
)
def test_what_is_enough(caught: int, seeds: int, verdict: bool) -> None:
    assert enough(caught, seeds) is verdict


def test_a_mutant_that_is_caught_is_no_complaint() -> None:
    assert complaints([tried("phantoms", "unavailable", "lost_frames")]) == []
    assert complaints([tried("phantoms", "unavailable", seed=seed) for seed in range(1, 11)]) == []


def test_a_mutant_that_is_missed_is_a_complaint() -> None:
    assert complaints([tried("phantoms")]) == ["Example: not caught with the seeds 1"]
    assert complaints([tried(seed=3), tried(seed=4)]) == ["Example: not caught with the seeds 3, 4"]


def test_a_counter_that_is_another_s_is_a_complaint() -> None:
    assert complaints([tried("phantoms", "unavailable", "leaks", seed=7)]) == [
        "Example: leaks rose with seed 7, which it does not name"
    ]


def test_a_row_sums_up_all_seeds() -> None:
    both = [tried("phantoms", "unavailable"), tried("phantoms", "lost_frames", seconds=4.0)]
    assert row(both) == (
        "Example",
        "phantoms",
        "widened",
        "1 of 2",
        "3.0",
        "lost_frames 1 of 2, unavailable 1 of 2",
    )


def test_the_table_replaces_the_one_before(tmp_path: Path) -> None:
    document = tmp_path / "mutants.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    keep(document, markdown([row([tried("phantoms", "unavailable")])], seeds=1, jobs=2))
    text = document.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "| `Example` | phantoms | widened | 1 of 1 | 2.0 | unavailable 1 of 1 |" in text
    assert "old" not in text


@pytest.mark.parametrize(
    "words",
    [["--seeds", "0"], ["--jobs", "0"], ["--only", "leaks", "--write", "x.md"], ["--only", "Nope"]],
)
def test_wrong_arguments_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
