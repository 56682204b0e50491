"""The works, as data: what is done, by how many threads, who can, and which figures come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.clients.speed.base import (
    CONFIRM,
    CONSUME,
    DOUBT,
    DRAIN,
    LEASE,
    RECOVER,
    SHARE,
    Speed,
)
from benchmarks.harness.speed import breaking, consuming, leasing, parking, publishing
from benchmarks.harness.speed.bench import Bench, Sample

#: Operations of one round at most.
MOST = 100_000
#: Turns of all threads together, be they few or many: for each of 500 so many that they all being
#: woken for their first one is a small part of it.
TURNS = 10_000


@dataclass(frozen=True)
class Figure:
    """One number of a work. ``series`` None: operations per second of the whole round.

    ``at``: the percentile of the series that is taken, of all rounds together; 100 is the largest.
    """

    name: str
    unit: str
    series: str | None = None
    at: float = 50.0
    more_is_better: bool = False


RATE = Figure("rate", "/s", more_is_better=True)


@dataclass(frozen=True)
class Work:
    """``first``: operations of the warm-up, from which those of a round are worked out.

    ``least`` and ``most``: operations of a round; ``most`` is ``first`` where the number is fixed.
    ``needs``: what a client must be able to do. ``proxied``: it breaks connections.
    """

    name: str
    title: str
    run: Callable[[Bench, int, int], Sample]
    threads: int
    first: int
    most: int
    needs: frozenset[str] = frozenset()
    figures: tuple[Figure, ...] = (RATE,)
    proxied: bool = False
    least: int = 1

    def possible(self, kind: type[Speed]) -> bool:
        """Whether the client has a way to do it."""
        cannot = kind.cannot if kind.shares else kind.cannot | {SHARE}
        return not self.needs & cannot


def _work(
    name: str,
    title: str,
    run: Callable[[Bench, int, int], Sample],
    threads: int,
    first: int,
    most: int = MOST,
    *needs: str,
    figures: tuple[Figure, ...] = (RATE,),
    proxied: bool = False,
    least: int = 1,
) -> Work:
    return Work(name, title, run, threads, first, most, frozenset(needs), figures, proxied, least)


_ALL = (
    _work("publish_50", "publish, 50 threads", publishing.publish, 50, 1000),
    _work("publish_1", "publish, 1 thread", publishing.publish, 1, 500),
    _work(
        "confirm_50", "publish and await its confirm, 50 threads", publishing.confirm, 50, 500,
        MOST, CONFIRM,
    ),
    _work(
        "confirm_1", "publish and await its confirm, 1 thread", publishing.confirm, 1, 50,
        MOST, CONFIRM,
    ),
    _work(
        "mix_50", "random operations, 50 x 100", leasing.mix, 50, 5000, 5000,
        LEASE, DRAIN, SHARE,
    ),
    _work(
        "consume_1", "consume and acknowledge, 1 consumer", consuming.consume, 1, 500,
        MOST, CONSUME,
    ),
    _work(
        "consume_10", "consume and acknowledge, 10 consumers", consuming.consume, 10, 1000,
        MOST, CONSUME,
    ),
    _work(
        "lease_50", "acquire and release, 50 x 1000", leasing.lease, 50, 2500, 50_000,
        LEASE, least=50_000,
    ),
    _work(
        "turn_10", "acquire, publish, release, 10 threads", leasing.turn, 10, 500, MOST,
        LEASE, least=TURNS,
    ),
    _work(
        "turn_500", "acquire, publish, release, 500 threads", leasing.turn, 500, 2500, MOST,
        LEASE, least=TURNS,
    ),
    _work(
        "recovery", "from a reset to the next confirmed publish", breaking.recover, 1, 20, 20,
        CONFIRM, RECOVER,
        figures=(
            Figure("p50", "ms", "recovery_ms"),
            Figure("p99", "ms", "recovery_ms", 99),
        ),
        proxied=True,
    ),
    _work(
        "gone_50", "a reset: from the first of 50 threads that knows to the last", breaking.gone,
        50, 3, 3, CONFIRM, SHARE, RECOVER,
        figures=(Figure("p50", "ms", "apart_ms"), Figure("max", "ms", "apart_ms", 100)),
        proxied=True,
    ),
    _work(
        "parked", "a lone publish, beside a thread parked in a drain", parking.park, 1, 400, 400,
        SHARE, DRAIN,
        figures=(
            Figure("p99", "ms", "parked_ms", 99),
            Figure("p99 alone", "ms", "free_ms", 99),
            Figure("p50", "ms", "parked_ms"),
        ),
    ),
    _work(
        "doubt_50", "a reset under 50 publishing threads: messages lost unseen", breaking.doubt,
        50, 2, 2, RECOVER, DOUBT,
        figures=(
            Figure("p50", "messages", "messages"),
            Figure("max", "messages", "messages", 100),
            Figure("max bytes", "bytes", "bytes", 100),
        ),
        proxied=True,
    ),
)  # fmt: skip

WORKS = {work.name: work for work in _ALL}
