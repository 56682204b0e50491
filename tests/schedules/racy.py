"""A client with a race of its own, for the tests of the search: whatever the pool is made of."""

from __future__ import annotations

from typing import Any

from benchmarks.clients.amqpool import AmqpoolClient


class Racy(AmqpoolClient):
    """Two threads that want a channel at once are mixed up: one is told `KeyError: None`."""

    busy = False

    def acquire(self, timeout: float) -> Any:
        if self.busy:
            raise KeyError(None)
        self.busy = True
        try:
            return super().acquire(timeout)
        finally:
            self.busy = False
