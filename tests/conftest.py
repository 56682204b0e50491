"""What holds for every test."""

from __future__ import annotations

import importlib
import pkgutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes is the machine's business, and no property of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

#: What a test of the corpus calls a token that is not for the source that is here.
STALE_TOKEN = "stale token"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A stale token fails nothing, since its search stands in for it; but it is told."""
    stale = sorted(
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == STALE_TOKEN
    )
    if stale:
        terminalreporter.section("stale tokens", blue=True)
        terminalreporter.line(
            f"{len(stale)} tokens of benchmarks/schedules/corpus.json are of another source; their"
            f" searches were run instead: {', '.join(stale)}"
        )
        terminalreporter.line("new ones, in a minute: python -m tools.corpus --refresh")


@pytest.fixture(name="vacant")
def _vacant() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections. It is taken: one that was given back may be
    another test's listener a moment later."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def _patchable() -> dict[tuple[str, ...], Any]:
    """What stands in the pool's modules and classes: a mutant that is loaded here replaces some."""
    import amqpool

    found: dict[tuple[str, ...], Any] = {}
    for each in pkgutil.iter_modules(amqpool.__path__, "amqpool."):
        module = importlib.import_module(each.name)
        for name, value in vars(module).items():
            found[each.name, name] = value
            if isinstance(value, type) and value.__module__ == each.name:
                for attribute, inner in vars(value).items():
                    found[each.name, name, attribute] = inner
    return found


@pytest.fixture(autouse=True, scope="module")
def _no_mutant_gets_out() -> Iterator[None]:
    """Mutants patch the real pool, each in a process of its own: none may break this one's."""
    before = _patchable()
    yield
    after = _patchable()
    changed = [key for key in before if after.get(key) is not before[key]]
    assert not changed, f"this module left the pool patched: {changed}"
