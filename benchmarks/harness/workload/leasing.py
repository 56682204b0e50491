"""Operations on the connection and on leases, without a message in them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from benchmarks.harness.plan import Step
from benchmarks.harness.workload.errors import NotReleasedError

if TYPE_CHECKING:
    from benchmarks.harness.workload.worker import Worker

#: Seconds of the drain in the workload: long enough to meet traffic, short enough to be many.
SHORT_DRAIN = 0.005
#: Seconds of an acquire that is meant to time out where the pool is empty.
SHORT_ACQUIRE = 0.001
#: A release in another thread is given up after so many times the client's longest bound. Beyond
#: the stall window, which is one and a half: that it hangs is the watchdog's to say.
GIVE_UP = 3


def drain(worker: Worker, step: Step) -> None:
    worker.client.drain(SHORT_DRAIN)


def connected(worker: Worker, step: Step) -> None:
    worker.client.connected()


def acquire_release(worker: Worker, step: Step) -> None:
    with worker.calls.leased():
        pass


def acquire_short(worker: Worker, step: Step) -> None:
    worker.calls.release(worker.calls.acquire(SHORT_ACQUIRE))


def release_twice(worker: Worker, step: Step) -> None:
    """The second release comes when the channel may already be another's."""
    lease = worker.calls.acquire()
    worker.calls.release(lease)
    worker.calls.release_again(lease)


def release_elsewhere(worker: Worker, step: Step) -> None:
    """Acquired here, released by another thread; what that one met is raised here."""
    lease = worker.calls.acquire()
    raised: list[BaseException] = []

    def release() -> None:
        try:
            worker.calls.release(lease)
        except BaseException as error:  # noqa: BLE001 - raised in the worker, which records it
            raised.append(error)

    helper = threading.Thread(target=release, name=f"{worker.slot.name}.releaser", daemon=True)
    helper.start()
    limit = GIVE_UP * worker.bounds.longest
    helper.join(limit)
    if helper.is_alive():
        raise NotReleasedError(f"a release in {helper.name} did not come back within {limit:g} s")
    for error in raised:
        raise error
