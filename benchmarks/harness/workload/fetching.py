"""Operations that fetch from a queue of the worker's own: nobody else publishes to it.

So what must come is known. Messages that an earlier try left there, cut short by a fault or by a
cancel, are the worker's own too: they are taken and acked on the way. What came instead of what,
and what came damaged, is a matter of the books; that nothing came at all is raised.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from benchmarks.clients.base import Delivery, Receipt
from benchmarks.harness.plan import Step
from benchmarks.harness.workload.context import CONSUMER_DRAIN, PREFETCH
from benchmarks.harness.workload.errors import NothingCameError
from benchmarks.harness.workload.leaser import Lease

if TYPE_CHECKING:
    from benchmarks.harness.workload.worker import Worker

#: Seconds until an empty queue is asked again: a message that was requeued may be on its way.
EMPTY_PAUSE = 0.005
#: Seconds without a delivery after which a consumer that had some takes the rest for missing, and
#: leaves it to the books which ledger it is missing from. Many round trips on a slow network.
QUIET = 1.0


def get(worker: Worker, step: Step) -> None:
    _fetch(worker, step, no_ack=False)


def get_no_ack(worker: Worker, step: Step) -> None:
    _fetch(worker, step, no_ack=True)


def _fetch(worker: Worker, step: Step, no_ack: bool) -> None:
    """Publish, confirmed, and get until that message is there."""
    calls = worker.calls
    with calls.leased() as lease:
        queue = worker.declared(lease, worker.queue)
        identity, _ = worker.store(lease, queue, step.size)
        limit = worker.bounds.operation
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            delivery = calls.get(lease, queue, no_ack)
            if delivery is None:
                if worker.context.aborted.wait(EMPTY_PAUSE):
                    return
                continue
            if not no_ack:
                calls.ack(lease, delivery)
            if delivery.identity == identity:
                return
    raise NothingCameError(f"{identity} was confirmed and not got from {queue} within {limit:g} s")


def get_empty(worker: Worker, step: Step) -> None:
    """From a queue that nobody publishes to: a message from there is another's."""
    with worker.calls.leased() as lease:
        worker.calls.get(lease, worker.declared(lease, f"{worker.queue}.empty"), no_ack=True)


def consume_ack(worker: Worker, step: Step) -> None:
    """Publish several, consume and ack them all, of each two the later one first, cancel.

    An ack is for one delivery: who takes it for an older one as well, or sends several as one that
    says so, acknowledges what was not acknowledged, and then the same once more.
    """
    calls = worker.calls
    with calls.leased() as lease:
        queue = worker.declared(lease, worker.queue)
        missing = _stock(worker, lease, queue, step)
        tag = worker.consumer_tag()
        held: deque[Delivery] = deque()

        def ack_held() -> None:
            while held:
                calls.ack(lease, held.pop(), tag)

        def take(delivery: Delivery) -> None:
            missing.pop(delivery.identity, None)
            held.append(delivery)
            if len(held) == 2 or not missing:
                ack_held()

        calls.consume(lease, queue, tag, PREFETCH, take)
        _await(worker, lease, missing)
        calls.cancel(lease, tag)
        # Of an odd number the last one, where one that was nacked never came.
        ack_held()


def consume_cancel(worker: Worker, step: Step) -> None:
    """Cancel while deliveries are on their way: those come again, to a later try.

    Behind it a message that comes back, with nobody waiting for it: the lease is not clean then, so
    what a pool does with the channel (close it, as a rule) meets the return on its way.
    """
    calls = worker.calls
    with calls.leased() as lease:
        queue = worker.declared(lease, worker.queue)
        _stock(worker, lease, queue, step)
        tag = worker.consumer_tag()
        calls.consume(lease, queue, tag, PREFETCH, lambda delivery: calls.ack(lease, delivery, tag))
        calls.cancel(lease, tag)
        worker.send(lease, None, step.size)


def _stock(worker: Worker, lease: Lease, queue: str, step: Step) -> dict[str | None, Receipt]:
    """Put ``step.count`` messages into the queue; the broker's ack for the last is waited for."""
    sent = [worker.send(lease, queue, step.size) for _ in range(step.count - 1)]
    return dict([*sent, worker.store(lease, queue, step.size)])


def _await(worker: Worker, lease: Lease, missing: dict[str | None, Receipt]) -> None:
    """Drain the lease until all have come that were not nacked. Raises NothingCameError."""
    client, limit = worker.client, worker.bounds.operation
    many = len(missing)
    latest = time.monotonic()
    # A copy: a client may call back in a thread of its own.
    while any(receipt.outcome() != "nack" for receipt in list(missing.values())):
        before = len(missing)
        try:
            client.drain_lease(lease.handle, CONSUMER_DRAIN)
        except client.timeouts:
            pass  # nothing came in that time: the clock below says when it was enough
        worker.slot.alive()
        now = time.monotonic()
        if len(missing) < before:
            latest = now
        elif len(missing) < many and now - latest > QUIET:
            return
        elif now - latest > limit:
            raise NothingCameError(f"of {many} messages none was delivered within {limit:g} s")
        if worker.context.aborted.is_set():
            return
