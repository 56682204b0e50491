"""Works of the comparison for asv: amqpool in this process, the broker in another, a fixed count.

asv's own clock runs around ``run``, the opening of client and channels included. It never raises
because of the client: a client that fails at a work costs the rest of BOUND, and so never looks
faster.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

from benchmarks.clients.speed.table import SUBJECT, load_speed
from benchmarks.harness.brokers import Broker, choose_broker, start_broker
from benchmarks.harness.speed.bench import PATIENCE, Bench
from benchmarks.harness.speed.works import WORKS

#: Operations of each: some tenths of a second.
COUNTS = MappingProxyType(
    {"confirm_50": 3_000, "consume_1": 5_000, "consume_10": 5_000, "lease_50": 20_000}
)
#: Seconds that one run may take.
BOUND = PATIENCE


class Workbench:
    """``broker`` is one that runs, or the kind of one, which ends with it.

    Raises EnvironmentProblem and WireError: what our own services fail at.
    """

    def __init__(self, work: str, broker: str | Broker) -> None:
        self._work = WORKS[work]
        self._count = COUNTS[work]
        #: What close() ends, last come first.
        self._ends = ExitStack()
        try:
            if not isinstance(broker, Broker):
                folder = Path(tempfile.mkdtemp(prefix="amqpool-workbench-"))
                self._ends.callback(shutil.rmtree, folder, ignore_errors=True)
                broker = start_broker(choose_broker(broker), folder)
                self._ends.callback(broker.stop)
            endpoint = broker.endpoints[0]
            prefix = f"amqpool.workbench-{secrets.token_hex(3)}"
            self._bench = Bench(load_speed(SUBJECT), endpoint, endpoint, prefix)
            self._ends.callback(self._bench.close)
        except BaseException:
            self._ends.close()
            raise

    def run(self) -> None:
        """The work, once."""
        start = time.monotonic()
        try:
            self._work.run(self._bench, self._work.threads, self._count)
        except Exception as error:  # noqa: BLE001 - told, and it costs the bound
            print(f"{self._work.name}: {error!r}", file=sys.stderr)
            time.sleep(max(0.0, start + BOUND - time.monotonic()))

    def close(self) -> None:
        self._ends.close()
