"""The application's ledger, A of the books: what each thread tried, and what it was told.

One log per thread, so that recording takes no lock. An entry is entered when an operation is
*invoked* and laid down when it came back, so that one that never did is still on record as
``invoked`` (Jepsen's *info*). Times are CLOCK_MONOTONIC seconds, the clock of the proxy's ledger.

Entries as the snapshot has them, by their first field:

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


#: Fields of each kind of entry.
FIELDS = {
    "publish": 9,
    "confirm": 4,
    "return": 3,
    "consume": 9,
    "deliver": 9,
    "get": 13,
    "ack": 8,
    "cancel": 5,
    "declare": 6,
    "lease": 4,
    "released": 5,
    "op": 5,
}


class Log:
    """One thread's entries; a client that calls back in a thread of its own may write here too.

    What is complete lies flat, field behind field, in one list. As a list of its own each entry
    would be visited by the cyclic garbage collector again and again: measured, that was most of
    what the history cost (docs/overhead.md).
    """

    __slots__ = ("_complete", "_pending")

    def __init__(self) -> None:
        self._complete: list[Any] = []
        self._pending: list[list[Any]] = []

    def add(self, entry: list[Any]) -> None:
        """Lay down what is complete."""
        self._complete += entry  # one step of the interpreter: no other thread gets in between

    def begin(self, entry: list[Any]) -> list[Any]:
        """Enter a call that is about to be made."""
        self._pending.append(entry)
        return entry

    def end(self, entry: list[Any]) -> None:
        """Lay down a call that came back, its fields filled in."""
        self._complete += entry
        self._pending.remove(entry)

    def entries(self) -> list[list[Any]]:
        """Copies of all entries, in the order in which they were entered."""
        # One that is being ended just now has its status, and is laid down or about to be.
        found = [list(entry) for entry in list(self._pending) if "invoked" in entry]
        flat, at = list(self._complete), 0
        while at < len(flat):
            stop = at + FIELDS[flat[at]]
            found.append(flat[at:stop])
            at = stop
        found.sort(key=_entered)
        return found


def _entered(entry: list[Any]) -> float:
    """When: a call as it began, a try of an operation as it was over."""
    over: float | None = entry[2] if entry[0] == "op" else None
    return entry[1] if over is None else over


class History:
    """All logs of one trial. ``log`` hands a thread its own."""

    def __init__(self) -> None:
        # Guards the dict only, never an append. A leaf: nothing is called under it.
        self._lock = threading.Lock()
        self._logs: dict[str, Log] = {}

    def log(self, thread: str) -> Log:
        with self._lock:
            return self._logs.setdefault(thread, Log())

    def snapshot(self) -> dict[str, list[list[Any]]]:
        """A copy that stays still while threads that hang may still append."""
        with self._lock:
            logs = list(self._logs.items())
        return {name: [_whole(entry) for entry in log.entries()] for name, log in logs}


def published(t: float, identity: str, lease: int, queue: str | None, size: int) -> list[Any]:
    """The entry for a publish that is about to be tried; its crc is entered in the snapshot.

    The body is what ``body_of`` makes of identity and size, so nothing needs to be summed up, or
    kept, while the load runs.
    """
    return ["publish", t, None, identity, lease, queue, "invoked", size, None]


def _whole(entry: list[Any]) -> list[Any]:
    if entry[0] == "publish":
        entry[8] = zlib.crc32(body_of(entry[3], entry[7]))
    return entry


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
