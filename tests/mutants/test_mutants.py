"""Every counter is seen to rise: each mutant is tried, and the *set* of what rose is compared.

The sound pool's zeros in the same scenarios are asserted in ``tests/test_stability.py``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.request import Request
from benchmarks.harness.supervise import run_trial

BROKEN = Path(__file__).with_name("broken.py")


def _load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("broken_clients", BROKEN)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


MUTANTS = _load().MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_counter_rises(mutant: type) -> None:
    request = Request(mutant.scenario, mutant.load, 1, f"{BROKEN}:{mutant.__name__}")
    result = run_trial(request)
    document = result.document
    risen = {name for name, count in result.violations.items() if count}
    told = f"{document['witnesses']}\n{document['unknown_because']}\n{document['replay']}"
    assert mutant.rises <= risen <= mutant.rises | mutant.may_rise, told
    assert result.verdict == "invalid"
    witnessed = {witness["invariant"] for witness in document["witnesses"]}
    assert witnessed == risen, "a violation without a witness helps nobody"
    for name in ("deadlocks", "unexpected_errors", "keyerror_none"):
        for witness in document["witnesses"]:
            if witness["invariant"] == name:
                assert witness.get("stack") or witness.get("traceback"), witness


def test_every_counter_has_a_mutant() -> None:
    assert set().union(*(mutant.rises for mutant in MUTANTS)) == set(INVARIANTS)
