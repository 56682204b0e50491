"""Connections that a node of the broker took down with it: which, by the ledger and the faults.

Pure functions. The proxy sees only that the broker's side of a connection ended, or fell silent;
that a node was killed, stopped or paused just then is the keeper's knowledge. Brought together
here, so that the books read the end as injected: it was not the client's choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.faults import KEPT, KINDS

#: Ends of a connection that began on the broker's side, in the ledger's words.
BY_BROKER = frozenset(("broker", "broker-error"))
#: Seconds behind a fault in which an end still counts as its doing: a node that goes on after a
#: pause, or comes back, closes what it took for dead only then; a client decides at its timeout.
AFTERMATH = 2.0


#: Faults in which a node loses what it holds in memory.
KILLS = frozenset(("node_kill", "leader_kill", "follower_kill"))


def forgetful(fired: Sequence[Mapping[str, Any]]) -> bool:
    """May the broker have forgotten what it need not keep: was a node killed?"""
    return any(fault["kind"] in KILLS for fault in fired)


def charge_outages(ledger: dict[str, Any], fired: Sequence[dict[str, Any]], nodes: int) -> None:
    """Mark in the ledger, in place, the generations that a node's fault ended as ``injected``.

    ``fired``: the nemesis's entries, with ``asked`` and ``healed``. Where there are several nodes a
    fault may hit one that carries no connection: its ``ends`` then says whether it did.
    """
    for fault in fired:
        row = KINDS[fault["kind"]]
        if row.side not in KEPT or not row.ends:
            continue
        hit = [g for g in ledger["generations"] if _ended_by(g, fault)]
        for generation in hit:
            generation["injected"] = True
        if nodes > 1:
            fault["ends"] = bool(hit)


def _ended_by(generation: Mapping[str, Any], fault: Mapping[str, Any]) -> bool:
    closed, over = generation["closed"], fault["healed"]
    if closed is None or not generation["faulted"]:
        return False
    over = fault["t"] if over is None else over
    if not fault["asked"] <= closed <= over + AFTERMATH:
        return False
    # Of a node that says nothing any more it is the client that gives the connection up.
    return generation["end"] in BY_BROKER or KINDS[fault["kind"]].silent
