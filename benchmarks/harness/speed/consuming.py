"""Consuming: each thread one consumer on a queue of its own, which acknowledges every delivery.

A queue of its own, so that each consumer knows its last delivery: none has to be called back from
a wait. The reply to its cancel comes behind its last acknowledgement.
"""

from __future__ import annotations

from benchmarks.clients.speed.base import Session
from benchmarks.harness.speed.bench import Bench, Sample, shares


def consume(bench: Bench, threads: int, count: int) -> Sample:
    share = shares(count, threads)
    queues = [bench.queue(number) for number in range(threads)]
    for queue, part in zip(queues, share, strict=True):
        bench.wire.fill(queue, bench.body, part)
        bench.until_held(queue, part)
    client = bench.client(threads)

    def work(number: int, session: Session) -> None:
        session.consume(queues[number], share[number])

    try:
        return bench.sessions(client, threads, count, work)
    finally:
        client.close()
