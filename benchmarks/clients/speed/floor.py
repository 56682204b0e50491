"""The floor: what no client can be faster than. No client library takes part.

Publishing: frames that were encoded once, sent in large pieces, so that the broker alone sets the
pace. Recovery and confirms: the instrument's own blocking client on one socket and one thread,
which connects, shakes hands, opens a channel and publishes, and does nothing else.
"""

from __future__ import annotations

from benchmarks.clients.speed.base import CONSUME, DOUBT, LEASE, PATIENCE, Session, Speed
from benchmarks.wire.client import WireClient, WireError

#: Messages that are sent at a time, in one piece of some 32 KiB.
AT_ONCE = 100


class _Wired(Session):
    def __init__(self, wire: WireClient) -> None:
        self._wire = wire
        self._waiting = 0

    def publish(self, queue: str, body: bytes) -> None:
        self._to, self._body = queue, body
        self._waiting += 1
        if self._waiting == AT_ONCE:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._wire.fill(self._to, self._body, self._waiting)
            self._waiting = 0

    def publish_confirmed(self, queue: str, body: bytes) -> None:
        self._wire.publish("", queue, body)

    def abandon(self) -> None:
        self._wire.close()

    def close(self) -> None:
        self._wire.close()


class Floor(Speed):
    name = "floor"
    shares = False
    cannot = frozenset({CONSUME, DOUBT, LEASE})

    @property
    def version(self) -> str:
        return "-"

    def open(self) -> None:
        """Each session connects by itself."""

    def session(self) -> Session:
        return _Wired(WireClient.to(self.endpoint, PATIENCE))

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        return (WireError,)

    def close(self) -> None:
        """Every session closed its own."""
