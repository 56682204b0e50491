"""The price of a thread that waits: publishes while another is parked in a drain, and while not."""

from __future__ import annotations

import threading
import time

from benchmarks.clients.speed.base import Session
from benchmarks.harness.speed.bench import PATIENCE, Bench, Sample

#: Seconds between two publishes: each is alone, so that its latency is not a matter of the queue.
PACE = 0.0005
#: Seconds of one drain of the parked thread, and of all publishes of a phase at most.
DRAIN, PHASE = 0.5, 1.5


def park(bench: Bench, threads: int, count: int) -> Sample:
    """``count`` publishes with nobody parked and as many with; milliseconds of each."""
    queue = bench.queue()
    client = bench.client(2)
    over, parked = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            session = client.session()
            parked.set()
            while not over.is_set():
                session.drain(DRAIN)
            session.close()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
            parked.set()

    thread = threading.Thread(target=wait, name="parked", daemon=True)
    session = client.session()
    try:
        free = _publishes(session, queue, bench.body, count)
        thread.start()
        parked.wait(PATIENCE)
        # It has its channel; now let it come to its drain.
        time.sleep(DRAIN / 10)
        busy = _publishes(session, queue, bench.body, count)
        over.set()
        thread.join(PATIENCE)
        if errors:
            raise errors[0]
        session.close()
    finally:
        client.close()
    return Sample(count, 0.0, 0.0, {"free_ms": free, "parked_ms": busy})


def _publishes(session: Session, queue: str, body: bytes, count: int) -> list[float]:
    took = []
    end = time.perf_counter() + PHASE
    for _ in range(count):
        time.sleep(PACE)
        start = time.perf_counter()
        if start > end:
            break
        session.publish(queue, body)
        took.append((time.perf_counter() - start) * 1000)
    return took
