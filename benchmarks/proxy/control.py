"""The harness's end of the proxy's control port: the requests that the proxy knows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypedDict

from benchmarks.wire.control import ControlSession

#: Seconds between two questions whether a rule has fired: far below what a recovery takes, and
#: the answer costs the proxy some 50 us.
POLL: Final = 0.002


class Upstream(TypedDict):
    """One of the brokers behind the proxy."""

    address: str
    """HOST:PORT."""
    up: list[int]
    """Generations to it that are ready and have not ended."""


class Status(TypedDict):
    """What the proxy has seen so far."""

    generations: int
    """Connections that clients opened."""
    ready: int
    """Connections on which Connection.OpenOk went to the client."""
    up: list[int]
    """Generations that are ready and have not ended."""
    links: int
    """Connections whose sockets are not closed yet."""
    faults: int
    """Faults that fired."""
    lasting: list[str]
    """Kinds of fault that last now."""
    armed: int
    """Rules that are armed."""
    ports: list[int]
    """The ports that clients connect to, in the order of the upstreams."""
    upstreams: list[Upstream]
    """The brokers behind the proxy, in the order in which they were given."""
    now: float
    """The proxy's time.monotonic(), which on Linux is the same clock in every process."""


class Fired(TypedDict, total=False):
    """What came of a fault: ``t`` and ``generations`` when it fired, else ``why``."""

    fired: bool
    t: float
    generations: list[int]
    why: str


class Healed(TypedDict):
    """When lasting faults were ended, and the kinds of those that lasted."""

    t: float
    healed: list[str]


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

        Returns after the first effect. ``fired`` is false when there was nothing to hit.
        """
        if generations is not None:
            options["generations"] = list(generations)
        answer: Fired = self.call("fault", kind=kind, **options)
        return answer

    def arm(self, kind: str, rule: Mapping[str, object], **options: object) -> int:
        """Arm a fault that fires at a frame or a time; return the rule's number.

        ``rule`` is ``{"direction", "frame", "nth", "where"}`` or ``{"at": seconds}``; an option
        ``generations`` restricts it to these.
        """
        number: int = self.call("arm", kind=kind, rule=dict(rule), **options)["number"]
        return number

    def fired(self, number: int, timeout: float) -> Fired:
        """Wait at most ``timeout`` seconds until the rule fired; afterwards it is still armed."""
        deadline = time.monotonic() + timeout
        while True:
            answer: Fired = self.call("fired", number=number)
            if answer["fired"] or time.monotonic() >= deadline:
                return answer
            time.sleep(POLL)

    def disarm(self, number: int) -> bool:
        """Take a rule back. False when it had fired already."""
        disarmed: bool = self.call("disarm", number=number)["disarmed"]
        return disarmed

    def heal(self, kind: str | None = None) -> Healed:
        """End the lasting faults of this kind; without one, all of them and every rule."""
        answer: Healed = self.call("heal", kind=kind)
        return answer

    def ledger(self, path: Path | str) -> Written:
        """Have the ledger of all connections so far written to the absolute ``path``."""
        answer: Written = self.call("ledger", path=str(path))
        return answer
