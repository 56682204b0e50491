"""The public suites against the embedded broker; their sources are fetched at test time."""

from __future__ import annotations

import pytest

from tools.conformance import run
from tools.suites.rows import SUITES
from tools.suites.run import FETCH_SECONDS, SUITE_SECONDS


@pytest.mark.conformance
@pytest.mark.timeout(2 * FETCH_SECONDS + SUITE_SECONDS + 60)
@pytest.mark.parametrize("suite", SUITES)
def test_the_broker_passes_what_its_list_says(suite: str) -> None:
    assert run(suite) == []
