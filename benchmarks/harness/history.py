"""The application's ledger, A of the books: what each thread tried, and what it was told.

One list per thread, so that recording takes no lock; an entry is appended when an operation is
*invoked* and completed in place, so that an operation that never returned is still on record as
``invoked`` (Jepsen's *info*). Times are CLOCK_MONOTONIC seconds, the clock of the proxy's ledger.

Entries, by their first field:

``["publish", t0, t1, identity, lease, routable, status]``   status: invoked, ok, error
``["confirm", t, identity, "ack" | "nack" | "unknown"]``
``["return", t, identity]``
``["consume", t0, t1, consumer tag, lease, status]``
``["deliver", t, consumer tag, delivery tag, identity, body identity, size, crc, redelivered]``
``["ack", t0, t1, consumer tag, delivery tag, identity, status]``
``["cancel", t0, t1, consumer tag, status]``
``["op", t0, t1, operation, status]``                         what no book needs but counts do
"""

from __future__ import annotations

import threading
import zlib
from typing import Any

from benchmarks.clients.base import Delivery

#: The longest identity that is looked for at the start of a body; the proxy uses the same.
IDENTITY_BYTES = 120


class History:
    """All lists of one trial. ``log`` hands a thread its own list."""

    def __init__(self) -> None:
        # Guards the dict only, never an append. A leaf: nothing is called under it.
        self._lock = threading.Lock()
        self._logs: dict[str, list[list[Any]]] = {}

    def log(self, thread: str) -> list[list[Any]]:
        with self._lock:
            return self._logs.setdefault(thread, [])

    def snapshot(self) -> dict[str, list[list[Any]]]:
        """A copy that stays still while threads that hang may still append."""
        with self._lock:
            return {name: [list(entry) for entry in list(log)] for name, log in self._logs.items()}


def body_identity(body: bytes) -> str | None:
    """The identity in the body's first line, or None where there is none."""
    head, newline, _ = body[: IDENTITY_BYTES + 1].partition(b"\n")
    return head.decode("latin-1") if newline else None


def delivered(t: float, tag: str, delivery: Delivery) -> list[Any]:
    """The entry for one delivery as the application saw it."""
    body = delivery.body
    return [
        "deliver",
        t,
        tag,
        delivery.delivery_tag,
        delivery.identity,
        body_identity(body),
        len(body),
        zlib.crc32(body),
        delivery.redelivered,
    ]
