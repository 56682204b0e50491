"""The books: what crossed the wire (P), what the application knows (A), what remained (Q).

Pure functions of recorded data: no sockets, no threads, no clocks. P is the proxy's ledger and is
told by somebody who shares no code with the client; A is the history; Q the identities that were
still in the queues at the end. Each message carries an identity, so that everything is compared by
name and nothing by count. docs/trial.md has the rules; each file here owns one of them.

A generation that nothing faulted must agree with A in both directions. In one that was faulted
each side saw a *prefix* of what was sent, so a hole in the middle is lost there too, and only what
stood at the cut is in doubt. A connection that the client drops without the closing handshake is
faulted, but by nobody's fault: what only that explains counts as ``dropped`` as well, or a client
could hide any loss behind a hang-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.books.acks import judge_acks
from benchmarks.harness.books.application import History, read_application
from benchmarks.harness.books.control import check_broker
from benchmarks.harness.books.deliveries import judge_deliveries
from benchmarks.harness.books.publishes import judge_publishes
from benchmarks.harness.books.receipts import judge_receipts
from benchmarks.harness.books.replies import judge_replies
from benchmarks.harness.books.streams import TAIL
from benchmarks.harness.books.verdict import Verdict, Witness
from benchmarks.harness.books.wire import read_wire

__all__ = ["TAIL", "Verdict", "Witness", "books"]


def books(
    ledger: dict[str, Any],
    history: History,
    remaining: Mapping[str, list[str]],
    *,
    forgetful: bool = False,
) -> Verdict:
    """Compare P, A and Q. ``remaining``: by queue, the identities that were left in it.

    ``forgetful``: a node of the broker was killed, and may have forgotten what it need not keep.
    """
    verdict, application = Verdict(), read_application(history)
    wire = read_wire(ledger, application.tried)
    left = {identity for identities in remaining.values() for identity in identities}
    fabricated = judge_receipts(wire, application, verdict)
    matched = judge_deliveries(wire, application, left, verdict)
    acked = judge_acks(wire, application, matched, verdict)
    judge_publishes(wire, application, matched, acked, fabricated, verdict)
    judge_replies(wire, application, verdict)
    check_broker(wire, application, remaining, verdict, forgetful=forgetful)
    return verdict
