"""The receipts of one worker: what became of its publishes, written down as it becomes known."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.clients.base import Receipt


class Receipts:
    """Those that are not known yet; its length says how many."""

    def __init__(self, log: list[list[Any]]) -> None:
        self._log = log
        self._open: list[tuple[str, Receipt]] = []

    def __len__(self) -> int:
        return len(self._open)

    def add(self, identity: str, receipt: Receipt) -> None:
        self._open.append((identity, receipt))

    def collect(self) -> None:
        """Write down the receipts that are known by now; keep the others."""
        if self._open:
            self._open = [pair for pair in self._open if not self._known(*pair)]

    def _known(self, identity: str, receipt: Receipt) -> bool:
        outcome = receipt.outcome()
        if outcome is None:
            return False
        now = time.monotonic()
        returned = receipt.returned()
        if returned is not None:
            self._log.append(["return", now, returned])
        self._log.append(["confirm", now, identity, outcome])
        return True
