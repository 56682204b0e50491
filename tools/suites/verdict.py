"""What a run of a public suite says, against what is expected of it. Pure.

A list of exceptions that is checked one way only grows for ever: what was mended stays on it, and
hides the day when it breaks again. So a test on the list must fail, as any other must pass.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

PASSED: Final = "passed"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"


@dataclass(frozen=True)
class Outcome:
    """What became of one test; ``why`` is the first line of what it said."""

    status: str
    why: str = ""


@dataclass(frozen=True)
class Expected:
    """Tests that must fail here, by a shell pattern of ``module::test``, and the reason."""

    tests: str
    reason: str

    def covers(self, test: str) -> bool:
        """Whether this test is meant."""
        # Parameters stand in brackets, which mean something else in shell patterns.
        return fnmatchcase(test, self.tests.replace("[", "[[]"))


def read(junit: str) -> dict[str, Outcome]:
    """The outcomes in a report as pytest's ``--junitxml`` writes it, by ``module::test``.

    A test that passed and could not be torn down failed. Raises ParseError.
    """
    outcomes: dict[str, Outcome] = {}
    for case in ElementTree.fromstring(junit).iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        if name not in outcomes or outcomes[name].status != FAILED:
            outcomes[name] = _outcome(case)
    return outcomes


def _outcome(case: ElementTree.Element) -> Outcome:
    for tag, status in (("failure", FAILED), ("error", FAILED), ("skipped", SKIPPED)):
        found = case.find(tag)
        if found is not None:
            return Outcome(status, (found.get("message") or "").partition("\n")[0])
    return Outcome(PASSED)


def problems(
    outcomes: Mapping[str, Outcome], expected: Sequence[Expected], least: int
) -> list[str]:
    """Why the suite does not hold, one line each; at least so many tests must have passed."""
    found = []
    for test, outcome in outcomes.items():
        rows = [row for row in expected if row.covers(test)]
        if outcome.status == FAILED and not rows:
            found.append(f"{test} failed: {outcome.why}")
        elif outcome.status == PASSED and rows:
            found.append(f"{test} is a new pass: take it off the list ({rows[0].reason})")
    found += [
        f"no test is called {row.tests!r}: take it off the list"
        for row in expected
        if not any(map(row.covers, outcomes))
    ]
    passed = counts(outcomes)[PASSED]
    if passed < least:
        found.append(f"{passed} tests passed, at least {least} must")
    return found


def counts(outcomes: Mapping[str, Outcome]) -> Counter[str]:
    """How many tests passed, failed and were skipped."""
    return Counter(outcome.status for outcome in outcomes.values())
