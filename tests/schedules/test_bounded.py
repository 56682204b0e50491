"""The pool is searched a little in every run of the tests: each scenario, about a minute in all.

`make explore` searches the same for ten minutes.
"""

from __future__ import annotations

import pytest

from benchmarks.schedules.hunts import Hunt
from benchmarks.schedules.scenarios import catalogue
from benchmarks.schedules.supervised import pursue_all

#: Schedules of each scenario; not the seeds of other searches, or they would see the same orders.
SCHEDULES = 20
SEED = 20
#: Seconds for one group of scenarios: ten times what an idle machine takes.
SECONDS = 100.0
FIRST = list(dict.fromkeys(name.partition("+")[0] for name in catalogue()))


@pytest.mark.parametrize("first", FIRST)
def test_the_pool_is_clean(first: str) -> None:
    hunts = [
        Hunt(name, "pct", 3, SEED, SCHEDULES)
        for name in catalogue()
        if name.partition("+")[0] == first
    ]
    results = pursue_all(hunts, SECONDS)
    found = [each for each in results if each.get("races") != 0]
    assert found == []
    assert {each["schedules"] for each in results} == {SCHEDULES}
