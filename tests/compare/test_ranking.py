"""Two runs: which pairs of clients changed places, and whether that says anything."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from benchmarks.harness.speed.ranking import agreement

NONE = {"same": 0, "changed": 0, "clear once": 0, "reversed": 0}
#: Rounds of a pair: the first is ahead in each; it is ahead, but not in each; and the reverse.
CLEAR = ([2.0] * 5, [1.0] * 5)
CLOSE = ([2.0, 2.0, 2.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0, 2.0])
EQUAL = ([1.0] * 5, [1.0] * 5)


def run(*rounds: list[float], work: str = "publish_50", state: str = "measured") -> dict[str, Any]:
    figure = "p50" if work == "recovery" else "rate"
    cells = [
        {
            "work": work,
            "client": f"client{number}",
            "state": state,
            "figures": {figure: {"value": statistics.median(each), "rounds": each}},
        }
        for number, each in enumerate(rounds)
    ]
    return {"when": "2026-01-02", "commit": "abc", "partial": None, "speed": cells}


def back(pair: tuple[list[float], list[float]]) -> tuple[list[float], list[float]]:
    return pair[1], pair[0]


@pytest.mark.parametrize(
    ("before", "now", "became"),
    [
        (CLEAR, CLEAR, "same"),
        (CLOSE, CLEAR, "same"),
        (EQUAL, EQUAL, "same"),
        (CLOSE, back(CLOSE), "changed"),
        (EQUAL, CLOSE, "changed"),
        (CLEAR, back(CLOSE), "clear once"),
        (back(CLOSE), CLEAR, "clear once"),
        (EQUAL, CLEAR, "clear once"),
        (CLEAR, back(CLEAR), "reversed"),
    ],
)
def test_what_becomes_of_an_order(
    before: tuple[list[float], list[float]], now: tuple[list[float], list[float]], became: str
) -> None:
    found = agreement(run(*before), run(*now))
    assert found["works"] == {"publish_50": {**NONE, became: 1}}
    turned = [["publish_50", "client0", "client1"]] if became == "reversed" else []
    assert found["reversed"] == turned
    assert (found["when"], found["commit"]) == ("2026-01-02", "abc")


def test_four_rounds_are_not_enough_for_a_clear_order() -> None:
    few = ([2.0] * 4, [1.0] * 4)
    assert agreement(run(*few), run(*back(few)))["works"]["publish_50"]["changed"] == 1


def test_of_a_latency_the_least_is_ahead() -> None:
    slow, fast = CLEAR
    before = run(slow, fast, work="recovery")
    assert agreement(before, before)["works"] == {"recovery": {**NONE, "same": 1}}
    found = agreement(before, run(fast, slow, work="recovery"))
    assert found["reversed"] == [["recovery", "client0", "client1"]]


def test_every_pair_counts_that_both_runs_measured() -> None:
    three = run([3.0] * 5, [2.0] * 5, [1.0] * 5)
    assert agreement(three, three)["works"]["publish_50"]["same"] == 3
    assert agreement(run(*CLEAR), three)["works"]["publish_50"]["same"] == 1
    assert agreement(three, run(*CLEAR))["works"]["publish_50"]["same"] == 1
    assert agreement(three, run(*CLEAR, work="publish_1"))["works"] == {}
    assert agreement(three, run(*CLEAR, state="failed"))["works"] == {}
