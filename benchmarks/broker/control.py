"""The harness's end of the broker's control port: the requests that the broker knows."""

from __future__ import annotations

from typing import TypedDict

from benchmarks.wire.control import ControlSession


class Status(TypedDict):
    """What there is now."""

    now: float
    """The broker's time.monotonic(), which on Linux is the same clock in every process."""
    connections: int
    """Open connections that faults may hit: all but those of the harness's own client."""
    active: list[str]
    """Lasting faults that are at work."""


class Stats(TypedDict):
    """Counters since the start, and what there is now. Its own connections count as well."""

    connections: int
    published: int
    delivered: int
    returned: int
    confirmed: int
    internal_errors: int
    sessions: int
    channels: int
    queues: int
    ready: int
    stored_bytes: int
    effects: dict[str, int]
    """How many connections, channels, consumers or frames each fault has struck, by kind."""


class Fired(TypedDict, total=False):
    """What came of a fault: ``t`` when it fired, else ``why``."""

    fired: bool
    t: float
    why: str


class Healed(TypedDict):
    """When lasting faults ended, and which were at work until then."""

    t: float
    healed: list[str]


class BrokerControl(ControlSession):
    """One connection to the broker's control port; see ``ControlSession``."""

    service = "broker"

    def status(self) -> Status:
        """Return what there is now."""
        answer: Status = self.call("status")
        return answer

    def stats(self) -> Stats:
        """Return the broker's counters."""
        answer: Stats = self.call("stats")
        return answer

    def fault(self, kind: str, **options: object) -> Fired:
        """Commit a fault, on all connections but those of the harness's own client.

        Returns when it is at work, and with one that happens at once when the first effect is out.
        A lasting one goes on for its option ``seconds``, or until it is healed, also on
        connections that are opened meanwhile. ``fired`` is false when there was nothing to hit.
        """
        answer: Fired = self.call("fault", kind=kind, **options)
        return answer

    def heal(self, kind: str | None = None) -> Healed:
        """End the lasting fault of that kind, or all."""
        answer: Healed = self.call("heal", **({} if kind is None else {"kind": kind}))
        return answer
