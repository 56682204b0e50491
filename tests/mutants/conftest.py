"""The marker of the tests that try a mutant: a trial each, some seconds."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "mutants: tries one client that is broken on purpose")
