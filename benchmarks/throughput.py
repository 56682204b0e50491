"""Throughput, as the time for a fixed amount of work: asv takes every rise for a regression.

The clock stops when the broker holds every message, see ``arena``.
"""

from __future__ import annotations

from benchmarks.harness.arena import Arena
from benchmarks.harness.digest import instrument_digest
from benchmarks.harness.kinds import EMBEDDED
from benchmarks.harness.label import node
from benchmarks.harness.plan import make_plan
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.harness.speed.workbench import COUNTS, Workbench
from benchmarks.harness.suite import CLIENT, ONE_A_ROUND, SEEDS, TIMED_SECONDS, require

_SCENARIO = "chaos_no_deadlock"
#: Messages of one ``time_publish``, whatever the number of threads: some tenths of a second.
_MESSAGES = 10_000
#: Operations of the short trial before anything is timed, and the fewest of one thread.
_CHECK_OPERATIONS, _CHECK_ITERATIONS = 100, 10


def _require(threads: int) -> None:
    """The same kind of work with as many threads, but short."""
    iterations = max(_CHECK_ITERATIONS, _CHECK_OPERATIONS // threads)
    require(_SCENARIO, f"{threads}x{iterations}")


class Chaos:
    """The whole load of ``chaos_no_deadlock``, through the proxy as in the trials beside it."""

    version = instrument_digest()
    timeout = TIMED_SECONDS
    params = (list(SCENARIOS[_SCENARIO].loads),)
    param_names = ("load",)
    number, repeat, rounds, warmup_time = ONE_A_ROUND

    def setup(self, load: str) -> None:
        scenario = SCENARIOS[_SCENARIO]
        numbers = scenario.load(load)
        _require(numbers.threads)
        self.plan = make_plan(_SCENARIO, numbers, SEEDS[0])
        channels = scenario.channels(numbers)
        self.arena = Arena(CLIENT, channels, proxied=True, broker=node() or EMBEDDED)
        self.arena.consume(numbers.consumers)

    def teardown(self, load: str) -> None:
        # asv calls it also after a setup that was skipped.
        if hasattr(self, "arena"):
            self.arena.close()

    def time_operations(self, load: str) -> None:
        self.arena.chaos(self.plan)


class Publish:
    """10,000 messages of 256 bytes from several threads, each on a lease of its own.

    Straight to the broker: nothing is broken or booked here, and on two cores a third process
    would measure how it is scheduled.
    """

    version = instrument_digest()
    timeout = TIMED_SECONDS
    params = ([1, 10, 50],)
    param_names = ("threads",)
    number, repeat, rounds, warmup_time = ONE_A_ROUND

    def setup(self, threads: int) -> None:
        _require(threads)
        self.arena = Arena(CLIENT, threads, proxied=False, broker=node() or EMBEDDED)
        # The first publish of each thread opens its channel, which is not what is timed.
        self.arena.publish(threads, threads)

    def teardown(self, threads: int) -> None:
        # asv calls it also after a setup that was skipped.
        if hasattr(self, "arena"):
            self.arena.close()

    def time_publish(self, threads: int) -> None:
        self.arena.publish(threads, _MESSAGES)


class Work:
    """Works of the comparison with other clients (docs/compare.md) that the others leave out."""

    version = instrument_digest()
    timeout = TIMED_SECONDS
    params = (list(COUNTS),)
    param_names = ("work",)
    number, repeat, rounds, warmup_time = ONE_A_ROUND

    def setup(self, work: str) -> None:
        _require(_CHECK_ITERATIONS)
        self.workbench = Workbench(work, node() or EMBEDDED)
        # The first run imports and allocates what the others only use.
        self.workbench.run()

    def teardown(self, work: str) -> None:
        # asv calls it also after a setup that was skipped.
        if hasattr(self, "workbench"):
            self.workbench.close()

    def time_work(self, work: str) -> None:
        self.workbench.run()
