"""Operations that declare, and those that the broker answers with the end of the channel.

The name in a declare-ok tells whose answer it was. A poisoned channel's error belongs to the thread
that poisoned it; everybody else goes on, and the channel must not be lent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.plan import Step
from benchmarks.harness.recorder import has_keyerror_none
from benchmarks.harness.workload.errors import NotRefusedError

if TYPE_CHECKING:
    from benchmarks.harness.workload.worker import Worker


def declare(worker: Worker, step: Step) -> None:
    with worker.calls.leased() as lease:
        worker.calls.declare(lease, worker.queue, passive=False)


def declare_passive(worker: Worker, step: Step) -> None:
    with worker.calls.leased() as lease:
        worker.calls.declare(lease, worker.declared(lease, worker.queue), passive=True)


def poison_404(worker: Worker, step: Step) -> None:
    """Look at a queue that does not exist."""
    _poison(worker, 404, f"{worker.context.queue}.missing", passive=True, durable=True)


def poison_406(worker: Worker, step: Step) -> None:
    """Declare a durable queue again, as one that is not."""
    with worker.calls.leased() as lease:
        worker.declared(lease, worker.queue)
    _poison(worker, 406, worker.queue, passive=False, durable=False)


def _poison(worker: Worker, code: int, queue: str, passive: bool, durable: bool) -> None:
    calls = worker.calls
    with calls.leased() as lease:
        try:
            answered = calls.declare(lease, queue, passive, durable)
        except BaseException as error:
            if worker.client.reply_code(error) != code or has_keyerror_none(error):
                raise
        else:
            # Another's answer is a matter of the books, by the name that it carries.
            if answered == queue:
                raise NotRefusedError(f"the broker's {code} for {queue} was not told")
    # The dead channel may not come back: whatever is lent now must work.
    with calls.leased() as lease:
        calls.declare(lease, worker.queue, passive=False)
