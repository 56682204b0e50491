"""The works, as data: what is measured, by how many threads, and who can do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.clients.speed.base import CONFIRM, CONSUME, LEASE, Speed
from benchmarks.harness.speed import consuming, leasing, publishing
from benchmarks.harness.speed.bench import Bench, Sample


@dataclass(frozen=True)
class Work:
    """``first``: operations of the warm-up, from which the count of a round is worked out.

    ``most``: operations of a round at most; equal to ``first`` where the count is fixed.
    """

    name: str
    title: str
    run: Callable[[Bench, int, int], Sample]
    threads: int
    first: int
    most: int
    needs: frozenset[str] = frozenset()

    def possible(self, kind: type[Speed]) -> bool:
        return not self.needs & kind.cannot


#: Operations of one round of any work at most: half a minute of the slowest broker.
MOST = 100_000

WORKS = {
    work.name: work
    for work in (
        Work("publish_50", "publish, 50 threads", publishing.publish, 50, 1000, MOST),
        Work("publish_1", "publish, 1 thread", publishing.publish, 1, 500, MOST),
        Work(
            "confirm_50",
            "confirmed publish, each waits for its own, 50 threads",
            publishing.confirm,
            50,
            500,
            MOST,
            frozenset({CONFIRM}),
        ),
        Work(
            "confirm_1",
            "confirmed publish, 1 thread",
            publishing.confirm,
            1,
            100,
            MOST,
            frozenset({CONFIRM}),
        ),
        Work(
            "mix_50",
            "random operations, 50 x 100",
            leasing.mix,
            50,
            5000,
            5000,
            frozenset({LEASE}),
        ),
        Work(
            "consume_1",
            "consume with acks, 1 consumer",
            consuming.consume,
            1,
            500,
            MOST,
            frozenset({CONSUME}),
        ),
        Work(
            "consume_10",
            "consume with acks, 10 consumers",
            consuming.consume,
            10,
            1000,
            MOST,
            frozenset({CONSUME}),
        ),
        Work(
            "lease_50",
            "acquire and release, 50 x 1000",
            leasing.lease,
            50,
            50 * 50,
            50 * 1000,
            frozenset({LEASE}),
        ),
    )
}
