"""The receipts of one worker: what became of its publishes, written down as it becomes known."""

from __future__ import annotations

import time

from benchmarks.clients.base import Receipt
from benchmarks.harness.history import Log


class Receipts:
    """Those that are not known yet; its length says how many."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._open: list[tuple[str, Receipt]] = []
        #: Of those, what came back already: the confirm behind a return may never come.
        self._back: set[str] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, identity: str, receipt: Receipt) -> None:
        self._open.append((identity, receipt))

    def collect(self) -> None:
        """Write down the receipts that are known by now; keep the others."""
        if self._open:
            self._open = [pair for pair in self._open if not self._known(*pair)]

    def _known(self, identity: str, receipt: Receipt) -> bool:
        # Asked in this order: who has the outcome has the return too.
        outcome = receipt.outcome()
        returned = None if identity in self._back else receipt.returned()
        if returned is not None:
            self._back.add(identity)
            self._log.add(["return", time.monotonic(), returned])
        if outcome is None:
            return False
        self._back.discard(identity)
        self._log.add(["confirm", time.monotonic(), identity, outcome])
        return True
