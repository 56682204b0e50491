"""Every operation of the workload, on every adapter, by several threads against a real broker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients.base import Client
from benchmarks.clients.loader import make_client
from benchmarks.harness.history import History
from benchmarks.harness.leases import LeaseLedger
from benchmarks.harness.plan import Step
from benchmarks.harness.processes import Service
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.workload import OPERATIONS, Consumer, Context, Worker
from benchmarks.wire.client import WireClient

ADAPTERS = ["amqpool", f"{Path(__file__).parents[2] / 'examples/locked_pyamqp.py'}:Locked"]
DEADLINE = 60.0
THREADS, ROUNDS = 4, 2


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    broker = Service("broker", tmp_path_factory.mktemp("broker"), ["--port", "0"])
    try:
        yield broker.wait_ready()["port"]
    finally:
        broker.stop()


def steps_of(worker: int) -> tuple[Step, ...]:
    """All operations, each worker from another one on, so that different ones meet."""
    names = [*OPERATIONS]
    names = names[worker * 5 :] + names[: worker * 5]
    return tuple(
        Step(name, unroutable=bool(number % 2), size=200, count=4)
        for number in range(ROUNDS)
        for name in names
    )


def run(client: Client) -> tuple[Context, list[Slot], list[Slot]]:
    context = Context(
        run="all",
        client=client,
        queue="shared",
        history=History(),
        leases=LeaseLedger(),
        recorder=Recorder(client.recoverable, client.timeouts),
        nemesis=None,
        progress=Progress([], 0),
        aborted=threading.Event(),
    )
    stop, barrier = threading.Event(), threading.Barrier(THREADS)
    workers = [Slot(f"worker-{number}", "worker") for number in range(THREADS)]
    consumers = [Slot("consumer-0", "consumer")]
    threads = [
        threading.Thread(target=Worker(context, slot, steps_of(number)).run, args=[barrier, False])
        for number, slot in enumerate(workers)
    ]
    taking = threading.Thread(target=Consumer(context, consumers[0], stop).run)
    for thread, slot in zip([*threads, taking], [*workers, *consumers], strict=True):
        thread.name, thread.daemon = slot.name, True
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    # Everything that was routed is there by now: a confirm came for each, and the queue is empty.
    stop.set()
    taking.join(DEADLINE)
    assert not taking.is_alive()
    return context, workers, consumers


@pytest.mark.parametrize("name", ADAPTERS, ids=["amqpool", "locked"])
def test_all_operations_at_once(name: str, port: int) -> None:
    client = make_client(name, [f"amqp://guest:guest@127.0.0.1:{port}/"], THREADS)
    with WireClient("127.0.0.1", port) as broker:
        broker.queue_declare("shared")
        client.open()
        context, workers, _ = run(client)
        client.close(client.bounds.close)
        own = [f"shared.{slot.name}" for slot in workers]
        queues = ("shared", *own, *(f"{queue}.kept" for queue in own))
        left = [m.message_id for queue in queues for m in broker.drain(queue, 10_000)]
        for queue in queues:
            broker.queue_delete(queue)
    taken = context.recorder.snapshot()
    assert taken["signatures"] == []
    for slot in workers:
        assert {n: c for n, c in slot.succeeded.items() if n in OPERATIONS} == dict.fromkeys(
            OPERATIONS, ROUNDS
        ), slot.name
    assert context.leases.snapshot()["doubles"] == []
    assert context.leases.snapshot()["held"] == []

    log: list[list[Any]] = [e for log in context.history.snapshot().values() for e in log]
    published = [entry for entry in log if entry[0] == "publish"]
    routed = {entry[3] for entry in published if entry[5] is not None}
    confirms = Counter(entry[2:][1] for entry in log if entry[0] == "confirm")
    assert confirms == Counter(ack=len(published))
    assert {e[2] for e in log if e[0] == "return"} == {e[3] for e in published} - routed
    gone = {e[5] for e in log if e[0] == "ack"}
    gone |= {e[8] for e in log if e[0] == "get" and e[6]} - {None}
    assert gone | set(left) == routed
    assert gone & set(left) == set()
    for entry in log:
        if entry[0] in ("deliver", "get") and entry[-1] is not None:
            assert entry[-5] == entry[-4], entry
    assert {tuple(e[3:]) for e in log if e[0] == "declare" and e[5] == "ok"} == {
        (queue, queue, "ok")
        for slot in workers
        for queue in (f"shared.{slot.name}{end}" for end in ("", ".empty", ".kept"))
    }
    refused = [entry[3] for entry in log if entry[0] == "declare" and entry[5] == "error"]
    assert Counter(refused) == Counter(
        {"shared.missing": THREADS * ROUNDS, **{f"shared.{s.name}": ROUNDS for s in workers}}
    )
