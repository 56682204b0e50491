"""The application's ledger, A of the books: what each thread tried, and what it was told.

One list per thread, so that recording takes no lock; an entry is appended when an operation is
*invoked* and completed in place, so that an operation that never returned is still on record as
``invoked`` (Jepsen's *info*). Times are CLOCK_MONOTONIC seconds, the clock of the proxy's ledger.

Entries, by their first field:

``["publish", t0, t1, identity, lease, queue, status, size, crc]``
``["confirm", t, identity, "ack" | "nack" | "unknown"]``
``["return", t, identity]``
``["consume", t0, t1, tag, lease, status, queue, no_ack, answered]``
``["deliver", t, tag, delivery tag, identity, body identity, size, crc, redelivered]``
``["get", t0, t1, queue, lease, status, no_ack, delivery tag, identity, body identity, size, crc,
redelivered]``
``["ack", t0, t1, tag, delivery tag, identity, status, lease]``
``["cancel", t0, t1, tag, status]``
``["declare", t0, t1, asked, answered, status]``
``["lease", t, number, key]``
``["released", t0, t1, number, status]``
``["op", t0, t1, operation, status]``

The status is invoked, ok or error; of a get also empty, and the last six fields are None unless it
is ok. The queue of a publish is None where nothing is bound to its key. ``answered`` is what the
broker's reply named, in the client's words. An ack's tag is None where it acks a get. Two leases
with equal keys had the same channel of the same connection. ``op`` is one try of one operation,
with what became of it.
"""

from __future__ import annotations

import threading
import zlib
from typing import Any

from benchmarks.clients.base import Delivery
from benchmarks.harness.plan import body_of

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
            return {
                name: [_whole(entry) for entry in list(log)] for name, log in self._logs.items()
            }


def published(t: float, identity: str, lease: int, queue: str | None, size: int) -> list[Any]:
    """The entry for a publish that is about to be tried; its crc is entered in the snapshot.

    The body is what ``body_of`` makes of identity and size, so nothing needs to be summed up, or
    kept, while the load runs.
    """
    return ["publish", t, None, identity, lease, queue, "invoked", size, None]


def _whole(entry: list[Any]) -> list[Any]:
    copy = list(entry)
    if copy[0] == "publish":
        copy[8] = zlib.crc32(body_of(copy[3], copy[7]))
    return copy


def body_identity(body: bytes) -> str | None:
    """The identity in the body's first line, or None where there is none."""
    head, newline, _ = body[: IDENTITY_BYTES + 1].partition(b"\n")
    return head.decode("latin-1") if newline else None


def seen(delivery: Delivery) -> list[Any]:
    """What is written down of a message that came in, by a consumer or by a get."""
    body = delivery.body
    return [
        delivery.delivery_tag,
        delivery.identity,
        body_identity(body),
        len(body),
        zlib.crc32(body),
        delivery.redelivered,
    ]
