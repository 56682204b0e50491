"""The pool alone, and the pool with everything else: what many threads do to one connection."""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.clients.speed.base import Session, Speed
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.harness.speed.bench import Bench, Sample, shares
from benchmarks.harness.workload.leasing import SHORT_DRAIN

#: The scenario whose operations are mixed, in its proportions.
SCENARIO = SCENARIOS["chaos_no_deadlock"]
SEED = 1
#: Channels of the pool that ten threads share, and five hundred.
CHANNELS = 10


def lease(bench: Bench, threads: int, count: int) -> Sample:
    """Acquire a channel and release it. As many channels as threads: nobody waits for one."""
    share = shares(count, threads)
    client = bench.client(threads)

    def work(number: int, nothing: None) -> None:
        for _ in range(share[number]):
            client.session().close()

    try:
        return bench.timed(count, threads, lambda number: client.session().close(), work, _nothing)
    finally:
        client.close()


def turn(bench: Bench, threads: int, count: int) -> Sample:
    """Acquire, publish, release: what a web application does in each request.

    A pool of CHANNELS, however many threads there are.
    """
    queue, body, share = bench.queue(), bench.body, shares(count, threads)
    client = bench.client(CHANNELS)

    def work(number: int, nothing: None) -> None:
        for _ in range(share[number]):
            session = client.session()
            session.publish(queue, body)
            session.close()

    try:
        return bench.timed(
            count,
            threads,
            lambda number: client.session().close(),
            work,
            _nothing,
            lambda: bench.until_held(queue, count),
        )
    finally:
        client.close()


def mix(bench: Bench, threads: int, count: int) -> Sample:
    """The operations of ``chaos_no_deadlock``, without its proxy, history, confirms and consumers.

    A pool of the scenario's size, so that most threads wait for a channel now and then.
    """
    queue, body, share = bench.queue(), bench.body, shares(count, threads)
    load = SCENARIO.load(threads=threads, iterations=max(1, count // threads))
    client = bench.client(SCENARIO.channels(load) - load.consumers)
    doing = _operations(client, queue, body)
    names, weights = zip(*SCENARIO.mix.items(), strict=True)
    planned = [
        [doing[name] for name in random.Random(f"{SEED}/{n}").choices(names, weights, k=part)]
        for n, part in enumerate(share)
    ]
    published = sum(steps.count(doing["publish"]) for steps in planned)

    def work(number: int, nothing: None) -> None:
        for operation in planned[number]:
            operation()

    try:
        return bench.timed(
            count,
            threads,
            lambda number: client.session().close(),
            work,
            _nothing,
            lambda: bench.until_held(queue, published),
        )
    finally:
        client.close()


def _operations(client: Speed, queue: str, body: bytes) -> dict[str, Callable[[], object]]:
    def publish() -> None:
        session: Session = client.session()
        session.publish(queue, body)
        session.close()

    return {
        "drain": lambda: client.drain(SHORT_DRAIN),
        "connected": client.connected,
        "acquire_release": lambda: client.session().close(),
        "publish": publish,
    }


def _nothing(mine: object) -> None:
    """Nobody holds anything before or after."""
