"""Operations that publish: to the shared queue, which the consumers empty, and to one that stays.

Where a message goes nowhere it is mandatory, and comes back. A return that never came, or a
confirm that nobody sent, is a matter of the books.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.plan import Step

if TYPE_CHECKING:
    from benchmarks.harness.workload.worker import Worker

#: Bytes of a large body at least: above the frame_max of 128 KiB that brokers offer, so that the
#: frames of several threads may come to lie between each other.
LARGE_BYTES = 129 * 1024


def publish(worker: Worker, step: Step) -> None:
    with worker.calls.leased() as lease:
        worker.send(lease, _key(worker, step), step.size)


def publish_batch(worker: Worker, step: Step) -> None:
    """Several on one lease without a wait between; where one is unroutable, every second is."""
    with worker.calls.leased() as lease:
        for number in range(max(1, step.count)):
            back = step.unroutable and number % 2 == 1
            worker.send(lease, None if back else worker.context.queue, step.size)


def publish_confirmed(worker: Worker, step: Step) -> None:
    with worker.calls.leased() as lease:
        worker.store(lease, _key(worker, step), step.size)


def publish_returned(worker: Worker, step: Step) -> None:
    """Back before its confirm: whoever has the confirm has the return too, or never gets it."""
    with worker.calls.leased() as lease:
        worker.store(lease, None, step.size)


def publish_large(worker: Worker, step: Step) -> None:
    with worker.calls.leased() as lease:
        worker.store(lease, _key(worker, step), max(step.size, LARGE_BYTES))


def publish_kept(worker: Worker, step: Step) -> None:
    """Confirmed, to a queue that nobody empties: at the end it is there, whatever the broker went
    through."""
    with worker.calls.leased() as lease:
        worker.store(lease, worker.declared(lease, f"{worker.queue}.kept"), step.size)


def _key(worker: Worker, step: Step) -> str | None:
    return None if step.unroutable else worker.context.queue
