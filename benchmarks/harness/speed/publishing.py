"""Publishing: as many threads as a work says, each on a channel of its own, one queue."""

from __future__ import annotations

from benchmarks.clients.speed.base import Session
from benchmarks.harness.speed.bench import Bench, Sample, shares


def publish(bench: Bench, threads: int, count: int) -> Sample:
    """Without confirms. The clock stops when the broker holds every message."""
    queue, body, share = bench.queue(), bench.body, shares(count, threads)
    client = bench.client(threads)

    def work(number: int, session: Session) -> None:
        send = session.publish
        for _ in range(share[number]):
            send(queue, body)
        session.flush()

    try:
        return bench.sessions(client, threads, count, work, lambda: bench.until_held(queue, count))
    finally:
        client.close()


def confirm(bench: Bench, threads: int, count: int) -> Sample:
    """Each publish waits for its own confirm before the next."""
    queue, body, share = bench.queue(), bench.body, shares(count, threads)
    client = bench.client(threads, confirms=True)

    def work(number: int, session: Session) -> None:
        send = session.publish_confirmed
        for _ in range(share[number]):
            send(queue, body)

    try:
        return bench.sessions(client, threads, count, work, lambda: bench.until_held(queue, count))
    finally:
        client.close()
