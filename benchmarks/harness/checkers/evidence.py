"""What is known of a trial when it is over, and what a checker says of it.

It owns the two records that pass between supervisor, checkers and result. It judges nothing. It
prevents a zero that nobody looked for: a count of None always comes with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.books import Verdict as Books

#: Witnesses kept for each invariant; the count is always the whole one.
WITNESSES_AT_MOST = 20


@dataclass
class Evidence:
    """Everything that is known of a trial when it is over.

    ``report`` is None when its process ended without one; ``ended`` then says how. ``books`` is
    None when there is no ledger, or a history that stops in the middle.
    """

    report: dict[str, Any] | None
    ended: str
    hung: bool = False
    #: The user, not the client, ended the trial.
    interrupted: bool = False
    stderr: str = ""
    #: When each connection came up, as the proxy saw it (monotonic seconds, in order).
    ready: list[float] = field(default_factory=list)
    books: Books | None = None
    #: The proxy's ledger, as it was written; None when it could not be had.
    ledger: dict[str, Any] | None = None
    #: Connections still up at the proxy when the close and its bound were over.
    links_left: int | None = None
    #: Why nothing that was seen says anything of the client: the broker or the proxy died.
    void: str | None = None
    #: What the keeper of RabbitMQ's nodes said of them; None for any other broker.
    nodes: dict[str, Any] | None = None


@dataclass
class Finding:
    """``count`` None means: not judged, for ``reason``."""

    count: int | None
    witnesses: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None


def not_judged(reason: str) -> Finding:
    """Nobody looked, or nobody could."""
    return Finding(None, reason=reason)


def found(witnesses: list[dict[str, Any]], count: int | None = None) -> Finding:
    """Somebody looked; ``count`` where it is more than one for each witness."""
    total = len(witnesses) if count is None else count
    return Finding(total, witnesses[:WITNESSES_AT_MOST])
