"""The site is published once for all tests that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from asv_invariants.vendor import VendorError, fetch
from tests.asv_invariants.site import ROOT, all_six, asv_publish, use_libraries
from tests.gate.planted import Planted


@pytest.fixture(scope="session")
def packages() -> Path:
    """The libraries of the pages, from the repository's own cache or from npm."""
    try:
        return fetch(ROOT / ".asv" / "vendor")
    except VendorError as error:
        pytest.skip(f"the libraries of the pages cannot be had: {error}")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Planted:
    planted = all_six(tmp_path_factory.mktemp("a published site") / "scratch")
    use_libraries(planted, packages)
    done = asv_publish(planted)
    assert done.returncode == 0, done.stdout
    assert "the published pages need the internet" not in done.stdout
    return planted
