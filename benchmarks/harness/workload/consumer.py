"""One consumer thread: a lease for as long as its connection lives, then another."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

from benchmarks.clients.base import Delivery
from benchmarks.harness.progress import Slot
from benchmarks.harness.windows import ENDED
from benchmarks.harness.workload.calls import Calls
from benchmarks.harness.workload.context import CONSUMER_DRAIN, PREFETCH, RETRY_PAUSE, Context
from benchmarks.harness.workload.leaser import Lease

#: Errors in a row that no fault explains, after which a consumer gives up.
CONSUMER_FAILURES = 5


class Consumer:
    """Consumes the shared queue, acks everything, until ``stop`` is set."""

    #: How calls are made; replaced where the cost of recording is measured.
    recording: ClassVar[type[Calls]] = Calls

    def __init__(self, context: Context, slot: Slot, stop: threading.Event) -> None:
        self._context = context
        self._client = context.client
        self._slot = slot
        self._stop = stop
        self._calls = self.recording(context, slot)
        self._incarnation = 0
        #: Set while a basic.consume that was answered stands.
        self.consuming = threading.Event()

    def run(self) -> None:
        """The body of the thread."""
        unexplained, pause = 0, RETRY_PAUSE[0]
        try:
            while not self._ending() and unexplained < CONSUMER_FAILURES:
                self._slot.begin("consume")
                try:
                    with self._calls.leased() as lease:
                        self._consume(lease)
                except BaseException as error:  # noqa: BLE001 - recorded, every one of them
                    now = time.monotonic()
                    kind = self._context.record(self._slot.operation, error, now)
                    self._slot.end(False)
                    if kind == ENDED:
                        return
                    if self._context.expects_errors(now, kind):
                        unexplained, pause = 0, RETRY_PAUSE[0]
                    else:
                        unexplained, pause = unexplained + 1, RETRY_PAUSE[1]
                    if self._context.aborted.wait(pause):
                        return
                finally:
                    self.consuming.clear()
            if unexplained == CONSUMER_FAILURES:
                self._slot.gave_up = f"{unexplained} errors in a row that no fault explains"
        finally:
            self._slot.done = True

    def _ending(self) -> bool:
        return self._stop.is_set() or self._context.aborted.is_set()

    def _consume(self, lease: Lease) -> None:
        """Consume until told to stop, then cancel; raises what the client raises."""
        client, slot, calls = self._client, self._slot, self._calls
        self._incarnation += 1
        tag = f"{slot.name}.{self._incarnation}"

        def take(delivery: Delivery) -> None:
            calls.ack(lease, delivery, tag)

        calls.consume(lease, self._context.queue, tag, PREFETCH, take)
        slot.end(True)
        self.consuming.set()
        while not self._ending():
            slot.begin("drain_lease")
            try:
                client.drain_lease(lease.handle, CONSUMER_DRAIN)
            except client.timeouts:
                # The drain's own timeout; the rest is run()'s to record.
                slot.idle += 1
            else:
                slot.idle = 0
            slot.end(True)
        slot.begin("cancel")
        calls.cancel(lease, tag)
        slot.end(True)
