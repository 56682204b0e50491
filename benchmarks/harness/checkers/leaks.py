"""Leaks: channels and connections at rest, and what is left of the client after its close.

Pure functions. Channels and connections are counted by the proxy's ledger, never by the client's
own word; what the client may keep at rest is what its adapter declares. One witness for each thing
that is too many. It prevents a leak from being missed because the trial never came to rest: without
rest or close the invariant is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.harness.checkers.evidence import Evidence, Finding, found, not_judged


@dataclass
class OpenChannel:
    """A channel that was opened and not closed. ``used``: when anything last crossed on it."""

    generation: int
    channel: int
    incarnation: int
    used: float


def leaks(evidence: Evidence) -> Finding:
    """Channels, connections, threads and descriptors above what the client may keep."""
    report = evidence.report
    if report is None:
        return not_judged("the trial's process ended without a report")
    witnesses: list[dict[str, Any]] = []
    reasons: list[str] = []
    for found_here, reason in (_at_rest(evidence, report), _after_close(evidence, report)):
        witnesses += found_here
        reasons += [reason] if reason else []
    if not witnesses and reasons:
        return not_judged("; ".join(reasons))
    return found(witnesses)


def _at_rest(evidence: Evidence, report: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    rest = report["rest_at"]
    if rest is None:
        return [], "the trial never came to rest"
    if evidence.ledger is None:
        return [], "there is no ledger"
    alive = living(evidence.ledger, rest)
    # What the client sent before it closed was on its way at rest; a Close is not a leak.
    closing = report["phases"].get("close", [rest])[0]
    channels = open_channels(alive, rest, max(rest, closing))
    client = report["client"]
    witnesses: list[dict[str, Any]] = []
    # Leaked channels are those that nobody uses any more: the longest unused are named.
    surplus = max(0, len(channels) - client["idle_channels"])
    for one in sorted(channels, key=lambda one: one.used)[:surplus]:
        detail = (
            f"{len(channels)} channels are open at rest, {client['idle_channels']} may be: channel "
            f"{one.channel} of generation {one.generation} (opening {one.incarnation}) is the one "
            "longest unused"
        )
        witnesses.append({"leak": "channel", **vars(one), "detail": detail})
    connections = sorted(alive, key=lambda generation: generation["opened"])
    for generation in connections[: max(0, len(alive) - client["connections"])]:
        detail = (
            f"{len(alive)} connections are open at rest, {client['connections']} may be: "
            f"generation {generation['generation']} is the oldest"
        )
        witnesses.append(
            {"leak": "connection", "generation": generation["generation"], "detail": detail}
        )
    return witnesses, None


def _after_close(
    evidence: Evidence, report: dict[str, Any]
) -> tuple[list[dict[str, Any]], str | None]:
    resources = report["resources"]
    if resources is None:
        return [], "close() did not return"
    witnesses: list[dict[str, Any]] = []
    left = evidence.links_left
    if left:
        detail = f"{left} connections are still up after close"
        witnesses += [{"leak": "link", "detail": detail}] * left
    for leak, what, key in (
        ("thread", "thread", "new_threads"),
        ("fd", "descriptor", "new_fds"),
    ):
        witnesses += [
            {"leak": leak, "name": name, "detail": f"the {what} {name} is left after close"}
            for name in resources[key]
        ]
    return witnesses, "nobody counted the connections after close" if left is None else None


def living(ledger: dict[str, Any], t: float) -> list[dict[str, Any]]:
    """The generations that were open at ``t``."""
    return [
        generation
        for generation in ledger["generations"]
        if generation["opened"] <= t and (generation["closed"] is None or generation["closed"] > t)
    ]


def open_channels(
    generations: list[dict[str, Any]], rest: float, closing: float
) -> list[OpenChannel]:
    """Channels opened by ``rest`` and not closed by ``closing``, whoever closed them."""
    channels: dict[tuple[int, int], OpenChannel] = {}
    for generation in generations:
        number = generation["generation"]
        for t, kind, channel, incarnation, _ in generation["events"]:
            place = (number, channel)
            if kind == "open" and t <= rest:
                channels[place] = OpenChannel(number, channel, incarnation, t)
            elif kind in ("close", "server_close") and t <= closing:
                channels.pop(place, None)
            elif place in channels and t <= rest:
                channels[place].used = t
    return list(channels.values())
