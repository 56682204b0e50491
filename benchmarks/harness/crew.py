"""The crew of a load: its workers and its consumers, started in the order a load needs.

It starts threads and hands out what is needed to wait for them. It prevents a load that runs
before anybody consumes, in which nothing would be delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from benchmarks.harness.plan import Step
from benchmarks.harness.progress import Slot
from benchmarks.harness.stage import Stage
from benchmarks.harness.workload import Consumer, Context, Worker

#: Seconds for consumers to be ready before the load starts without them.
CONSUMERS_READY = 10.0


def start_workers(
    context: Context,
    stage: Stage,
    steps: Sequence[tuple[Step, ...]],
    *,
    prefix: str = "",
    cycles: bool = False,
) -> list[Worker]:
    """One worker for each tuple of steps, all at one barrier. ``prefix`` makes names unique."""
    barrier = threading.Barrier(len(steps))
    workers = []
    for number, own in enumerate(steps):
        slot = stage.watch(f"{prefix}worker-{number}", "worker")
        worker = Worker(context, slot, own)
        workers.append(worker)
        stage.start(slot.name, partial(worker.run, barrier, cycles))
    return workers


def start_consumers(
    context: Context, stage: Stage, number: int, stop: threading.Event, *, prefix: str = ""
) -> list[Slot]:
    """So many consumers of the shared queue; returns when they consume, or time is up."""
    slots = []
    for index in range(number):
        slot = stage.watch(f"{prefix}consumer-{index}", "consumer")
        consumer = Consumer(context, slot, stop)
        stage.start(slot.name, consumer.run)
        context.consuming.append(consumer.consuming)
        slots.append(slot)
    stage.until(
        lambda: (
            all(event.is_set() for event in context.consuming) or all(slot.done for slot in slots)
        ),
        CONSUMERS_READY,
    )
    return slots
