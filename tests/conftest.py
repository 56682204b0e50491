"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def _patchable() -> dict[tuple[str, str], Any]:
    """The attributes of the pool's classes, which a mutant that is loaded here would replace."""
    import amqpool
    from amqpool import confirms, roster

    classes = [value for value in vars(amqpool).values() if isinstance(value, type)]
    classes += [confirms.ConfirmBook, roster.Roster]
    return {(kind.__name__, name): value for kind in classes for name, value in vars(kind).items()}


@pytest.fixture(autouse=True, scope="module")
def _no_mutant_gets_out() -> Iterator[None]:
    """Mutants patch the real pool, each in a process of its own: none may break this one's."""
    before = _patchable()
    yield
    after = _patchable()
    changed = [key for key in before if after.get(key) is not before[key]]
    assert not changed, f"this module left the pool patched: {changed}"
