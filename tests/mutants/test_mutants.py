"""Every counter is seen to rise: each mutant is tried, and the *set* of what rose is compared.

One seed for each here; `python -m tools.mutants --seeds 10` makes the table of docs/mutants.md with
the same function. The sound pool's zeros in the same scenarios are asserted in
``tests/test_stability.py``.
"""

from __future__ import annotations

import pytest

from tools.mutants import catalogue, complaints, explain, try_mutant

MUTANTS = [mutant for mutants in catalogue().values() for mutant in mutants]
SEED = 1
#: Witnesses of these are no use without a place in the code.
WITH_CODE = ("deadlocks", "unexpected_errors", "keyerror_none")


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_counter_rises(mutant: type) -> None:
    tried = try_mutant(mutant, SEED)
    assert not complaints([tried]), explain(tried)
    assert tried.verdict == "invalid"
    witnesses = tried.document["witnesses"]
    witnessed = {witness["invariant"] for witness in witnesses}
    assert witnessed == tried.risen, "a violation without a witness helps nobody"
    for witness in witnesses:
        if witness["invariant"] in WITH_CODE:
            assert witness.get("stack") or witness.get("traceback"), witness
