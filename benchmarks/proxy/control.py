"""The harness's end of the proxy's control port: the requests that the proxy knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from benchmarks.wire.control import ControlSession


class Status(TypedDict):
    """What the proxy has seen so far."""

    generations: int
    """Connections that clients opened."""
    ready: int
    """Connections on which Connection.OpenOk went to the client."""
    up: list[int]
    """Generations that are ready and have not ended."""
    faults: int
    """Faults that fired."""
    now: float
    """The proxy's time.monotonic(), which on Linux is the same clock in every process."""


class Fired(TypedDict, total=False):
    """What came of a fault: ``t`` and ``generations`` when it fired, else ``why``."""

    fired: bool
    t: float
    generations: list[int]
    why: str


class Written(TypedDict):
    """Where the ledger is, and how many events it holds."""

    path: str
    events: int


class Control(ControlSession):
    """One connection to the proxy's control port; see ``ControlSession``."""

    service = "proxy"

    def status(self) -> Status:
        """Return what the proxy has seen so far."""
        answer: Status = self.call("status")
        return answer

    def fault(
        self, kind: str, *, generations: Sequence[int] | None = None, **options: object
    ) -> Fired:
        """Inject a fault on every connection that is ready, or on those of ``generations``.

        Returns after it fired. ``fired`` is false when there was nothing to hit.
        """
        if generations is not None:
            options["generations"] = list(generations)
        answer: Fired = self.call("fault", kind=kind, **options)
        return answer

    def ledger(self, path: Path | str) -> Written:
        """Have the ledger of all connections so far written to the absolute ``path``."""
        answer: Written = self.call("ledger", path=str(path))
        return answer
