"""What a lost connection costs: until work goes on, until all know, and what nobody knows.

The client connects through the fault proxy, which resets its connections; the floor goes the same
way.
"""

from __future__ import annotations

import time

from benchmarks.clients.speed.base import Session, Speed
from benchmarks.harness.speed.bench import LOOK, PATIENCE, Bench, Sample

#: Seconds of work before the connection is reset: thousands of messages.
BEFORE = 0.1
#: Seconds of one round of recoveries: some clients take a third of a second for one.
LONGEST = 2.0
#: Looks in a row, LOOK apart, after which a queue that does not grow is taken for settled.
SETTLED = 100
#: Bytes of a message on the wire beside its body: method, header and body frame with the
#: queue's name left out.
FRAMES = 8 + 8 + 8 + 12 + 14 + 30


def recover(bench: Bench, threads: int, count: int) -> Sample:
    """``count`` resets of one thread's connection, and the time to its next confirmed publish.

    Fewer where they take longer than LONGEST together.
    """
    queue, body = bench.queue(), bench.body
    client = bench.client(2, confirms=True)
    took: list[float] = []
    session = client.session()
    try:
        end = time.monotonic() + LONGEST
        while len(took) < count and time.monotonic() < end:
            # The connection is known to work before it is broken.
            session = _confirmed(client, session, queue, body)
            start = bench.kill()
            session = _confirmed(client, session, queue, body)
            took.append((time.perf_counter() - start) * 1000)
        session.close()
    finally:
        client.close()
    return Sample(len(took), 0.0, 0.0, {"recovery_ms": took})


def _confirmed(client: Speed, first: Session, queue: str, body: bytes) -> Session:
    """Publish until it is confirmed, as an application does; returns the session that did it."""
    session: Session | None = first
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            session = session or client.session()
            session.publish_confirmed(queue, body)
            return session
        except client.lost:
            if time.monotonic() > deadline:
                raise
            client.reconnect()
            if session is not None:
                session.abandon()
            session = None


def gone(bench: Bench, threads: int, count: int) -> Sample:
    """``count`` resets under threads that publish with confirms: the last to know, less the first.

    Milliseconds between the first thread's error and the last one's.
    """
    apart = []
    for _ in range(count):
        told, _ = _broken(bench, threads, confirms=True)
        apart.append((max(told) - min(told)) * 1000)
    return Sample(count, 0.0, 0.0, {"apart_ms": apart})


def doubt(bench: Bench, threads: int, count: int) -> Sample:
    """``count`` resets under threads that publish: messages that ``publish`` took, and are gone."""
    messages, size = [], []
    for _ in range(count):
        _, published = _broken(bench, threads, confirms=False)
        queue = bench.queue_names()[0]
        missing = max(0, published - _settled(bench, queue))
        messages.append(float(missing))
        size.append(float(missing * (len(bench.body) + len(queue) + FRAMES)))
    return Sample(count, 0.0, 0.0, {"messages": messages, "bytes": size})


def _broken(bench: Bench, threads: int, *, confirms: bool) -> tuple[list[float], int]:
    """When each thread was told, and how many publishes had returned."""
    queue, body = bench.queue(), bench.body
    client = bench.client(threads, confirms=confirms)
    told, published = [0.0] * threads, [0] * threads

    def work(number: int, session: Session) -> None:
        send = session.publish_confirmed if confirms else session.publish
        count = 0
        try:
            while True:
                send(queue, body)
                count += 1
        except client.lost:
            told[number] = time.perf_counter()
        published[number] = count

    def prepare(number: int) -> Session:
        return client.session()

    try:
        bench.timed(0, threads, prepare, work, Session.abandon, meanwhile=lambda: _kill_soon(bench))
    finally:
        client.close()
    return told, sum(published)


def _kill_soon(bench: Bench) -> None:
    time.sleep(BEFORE)
    bench.kill()


def _settled(bench: Bench, queue: str) -> int:
    """What the queue holds once it grows no more."""
    held, same = bench.held(queue), 0
    deadline = time.monotonic() + PATIENCE
    while same < SETTLED and time.monotonic() < deadline:
        time.sleep(LOOK)
        now = bench.held(queue)
        same, held = (same + 1 if now == held else 0), now
    return held
