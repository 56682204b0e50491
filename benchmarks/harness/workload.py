"""The workload: what worker and consumer threads do with the client under test.

It uses the client protocol and nothing else, as an application would. Every call is recorded
(history, leases, exceptions) and none is judged here. A worker whose operation met a fault retries
until it succeeds; an error that no fault explains ends that iteration and stays on record.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.clients.base import Client, Delivery, Outgoing, Receipt
from benchmarks.harness.history import History, delivered
from benchmarks.harness.leases import LeaseLedger
from benchmarks.harness.nemesis import Nemesis
from benchmarks.harness.plan import Step, body_of
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder

#: Seconds of the drain in the workload: long enough to meet traffic, short enough to be many.
SHORT_DRAIN = 0.005
#: Seconds of one drain while receipts are waited for, and of a consumer's drain of its lease.
SETTLE_DRAIN = 0.01
CONSUMER_DRAIN = 0.05
#: Deliveries that a consumer may hold unacked; small, so that acks and deliveries interleave.
PREFETCH = 20
#: First and longest pause between two tries of an operation that met a fault, in seconds.
RETRY_PAUSE = (0.001, 0.05)
#: Iterations in a row that may fail before a worker gives up: what is broken for good has shown
#: itself by then, and every further try may cost a whole timeout.
FAILURES_IN_A_ROW = 3
#: Errors in a row that no fault explains, after which a consumer gives up.
CONSUMER_FAILURES = 5
#: Seconds that a cycle waits for the consumers before it strikes without them.
CONSUMER_BACK = 1.0


@dataclass
class Context:
    """What all threads of a trial share."""

    run: str
    client: Client
    queue: str
    history: History
    leases: LeaseLedger
    recorder: Recorder
    nemesis: Nemesis | None
    progress: Progress
    #: Set when the trial is given up: everybody ends at the next occasion.
    aborted: threading.Event
    #: One for each consumer, set while its basic.consume stands.
    consuming: list[threading.Event] = field(default_factory=list)

    def expects_errors(self, t: float) -> bool:
        return self.nemesis is not None and self.nemesis.expects_errors(t)


class Leaser:
    """Acquire and release, entered in the lease ledger in the order that raises no false alarm."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._leases = context.leases
        self._timeout = context.client.bounds.operation

    def acquire(self) -> tuple[Any, Any, int]:
        handle = self._client.acquire(self._timeout)
        key = self._client.channel_key(handle)
        return handle, key, self._leases.acquired(key, threading.current_thread().name)

    def release(self, lease: tuple[Any, Any, int]) -> None:
        handle, key, number = lease
        self._leases.released(key, number)
        self._client.release(handle)


class Worker:
    """One worker thread: goes through its steps, then waits for its receipts."""

    def __init__(self, context: Context, slot: Slot, steps: tuple[Step, ...]) -> None:
        self._context = context
        self._client = context.client
        self._slot = slot
        self._steps = steps
        self._leaser = Leaser(context)
        self._log = context.history.log(slot.name)
        self._sequence = 0
        self._receipts: list[tuple[str, Receipt]] = []
        #: When each kill fired, and when the confirm that ended its cycle was there.
        self.recoveries: list[tuple[float, float]] = []
        self._operations = {
            "drain": self._drain,
            "connected": self._connected,
            "acquire_release": self._acquire_release,
            "publish": self._publish,
            "publish_confirmed": self._publish_confirmed,
        }

    def run(self, barrier: threading.Barrier, cycles: bool) -> None:
        """The body of the thread. ``cycles``: strike before every step, time until it succeeds."""
        try:
            barrier.wait(timeout=30)
            self._load(cycles)
            self._settle()
        finally:
            self._slot.done = True

    def _load(self, cycles: bool) -> None:
        context, failures = self._context, 0
        for step in self._steps:
            context.progress.hold(self._slot)
            if context.aborted.is_set():
                return
            if step.operation in self._client.cannot:
                context.progress.advance(succeeded=False)
                continue
            struck = None
            if cycles and context.nemesis is not None:
                self._await_consumers()
                struck = context.nemesis.strike()
            succeeded = self._attempt(step)
            if succeeded and struck is not None:
                self.recoveries.append((struck, time.monotonic()))
            context.progress.advance(succeeded)
            failures = 0 if succeeded else failures + 1
            if failures == FAILURES_IN_A_ROW:
                self._slot.gave_up = f"{failures} iterations in a row failed, last {step.operation}"
                return

    def _await_consumers(self) -> None:
        """Let the consumers come back (bounded) before the next kill, or nothing is delivered."""
        deadline = time.monotonic() + CONSUMER_BACK
        for consuming in self._context.consuming:
            consuming.wait(max(0.0, deadline - time.monotonic()))
        self._slot.alive()

    def _attempt(self, step: Step) -> bool:
        """Do one step until it succeeds; False when it failed and no fault explains it."""
        context, slot = self._context, self._slot
        bounds = self._client.bounds
        deadline = time.monotonic() + bounds.recovery + bounds.operation
        pause, longest = RETRY_PAUSE
        operation = self._operations[step.operation]
        while True:
            slot.begin(step.operation)
            try:
                operation(step)
            except BaseException as error:  # noqa: BLE001 - recorded, every one of them
                now = time.monotonic()
                kind = context.recorder.record("operation", step.operation, error, now)
                slot.end(kind == "contract")
                if kind != "recoverable":
                    return kind == "contract"
                if not context.expects_errors(now):
                    return False
                if now > deadline:
                    late = NotRecoveredError(f"{step.operation} kept failing: {error!r}")
                    context.recorder.record("operation", step.operation, late)
                    return False
                if context.aborted.wait(pause):
                    return False
                pause = min(2 * pause, longest)
            else:
                slot.end(True)
                return True
            finally:
                self._collect()

    # -- the operations ----------------------------------------------------------------------

    def _drain(self, step: Step) -> None:
        self._client.drain(SHORT_DRAIN)

    def _connected(self, step: Step) -> None:
        self._client.connected()

    def _acquire_release(self, step: Step) -> None:
        self._leaser.release(self._leaser.acquire())

    def _publish(self, step: Step) -> None:
        self._send(step, confirmed=False)

    def _publish_confirmed(self, step: Step) -> None:
        receipt = self._send(step, confirmed=True)
        if receipt.outcome() != "ack":
            raise UnconfirmedError(f"the outcome of a confirmed publish is {receipt.outcome()!r}")

    def _send(self, step: Step, confirmed: bool) -> Receipt:
        """One publish on a lease of its own. Each call is a message of its own: a retry too."""
        lease = self._leaser.acquire()
        self._sequence += 1
        identity = f"{self._context.run}/{self._slot.name}/{self._sequence}"
        message = Outgoing(
            identity=identity,
            body=body_of(identity, step.size),
            exchange="",
            routing_key=f"{self._context.queue}{'.nowhere' if step.unroutable else ''}",
            mandatory=step.unroutable,
        )
        started = time.monotonic()
        routable = not step.unroutable
        entry = ["publish", started, None, identity, lease[2], routable, "invoked"]
        self._log.append(entry)
        try:
            if confirmed:
                timeout = self._client.bounds.operation
                receipt = self._client.publish_confirmed(lease[0], message, timeout)
            else:
                receipt = self._client.publish(lease[0], message)
        except BaseException:
            entry[2], entry[6] = time.monotonic(), "error"
            self._leaser.release(lease)
            raise
        entry[2], entry[6] = time.monotonic(), "ok"
        self._receipts.append((identity, receipt))
        self._leaser.release(lease)
        return receipt

    # -- receipts ----------------------------------------------------------------------------

    def _collect(self) -> None:
        """Write down the receipts that are known by now; keep the others."""
        if self._receipts:
            self._receipts = [pair for pair in self._receipts if not self._known(*pair)]

    def _known(self, identity: str, receipt: Receipt) -> bool:
        outcome = receipt.outcome()
        if outcome is None:
            return False
        now = time.monotonic()
        returned = receipt.returned()
        if returned is not None:
            self._log.append(["return", now, returned])
        self._log.append(["confirm", now, identity, outcome])
        return True

    def _settle(self) -> None:
        """Drain until every receipt is known, within the recovery bound.

        Whatever a drain raises is on record and no reason to look away: a receipt that nobody
        asks for any more would be taken for a lost confirm.
        """
        deadline = time.monotonic() + self._client.bounds.recovery
        self._collect()
        while self._receipts and time.monotonic() < deadline:
            if self._context.aborted.is_set():
                return
            self._slot.begin("settle")
            try:
                self._client.drain(SETTLE_DRAIN)
            except BaseException as error:  # noqa: BLE001 - recorded, every one of them
                kind = self._context.recorder.record("operation", "settle", error)
                self._slot.end(kind == "contract")
                if kind != "contract":
                    self._context.aborted.wait(RETRY_PAUSE[1])
            else:
                self._slot.end(True)
            self._collect()


class NotRecoveredError(Exception):
    """An operation met faults and never succeeded within the client's own bounds."""


class UnconfirmedError(Exception):
    """A confirmed publish came back without the broker's ack: never expected, never recoverable."""


class Consumer:
    """One consumer thread: a lease for as long as its connection lives, then another."""

    def __init__(self, context: Context, slot: Slot, stop: threading.Event) -> None:
        self._context = context
        self._client = context.client
        self._slot = slot
        self._stop = stop
        self._leaser = Leaser(context)
        self._log = context.history.log(slot.name)
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
                    self._consume_once()
                except BaseException as error:  # noqa: BLE001 - recorded, every one of them
                    now = time.monotonic()
                    operation = self._slot.operation
                    kind = self._context.recorder.record("operation", operation, error, now)
                    self._slot.end(False)
                    if kind == "recoverable" and self._context.expects_errors(now):
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

    def _consume_once(self) -> None:
        """Lease, consume until told to stop, cancel, release; raises what the client raises."""
        lease = self._leaser.acquire()
        self._incarnation += 1
        tag = f"{self._slot.name}.{self._incarnation}"
        try:
            self._consume(lease, tag)
        except BaseException:
            self._leaser.release(lease)
            raise
        self._leaser.release(lease)

    def _consume(self, lease: tuple[Any, Any, int], tag: str) -> None:
        client, slot, handle = self._client, self._slot, lease[0]

        def take(delivery: Delivery) -> None:
            # The tag of the incarnation that was consuming is what the application knows; what
            # the message itself says of its consumer is what the client made of the wire.
            self._log.append(delivered(time.monotonic(), delivery.consumer_tag or tag, delivery))
            self._ack(handle, tag, delivery)

        entry = ["consume", time.monotonic(), None, tag, lease[2], "invoked"]
        self._log.append(entry)
        client.consume(handle, self._context.queue, tag, PREFETCH, take)
        entry[2], entry[5] = time.monotonic(), "ok"
        slot.end(True)
        self.consuming.set()
        while not self._ending():
            slot.begin("drain_lease")
            try:
                client.drain_lease(handle, CONSUMER_DRAIN)
            except BaseException as error:
                # Only the drain's own timeout is dealt with here; the rest is run()'s to record.
                if not isinstance(error, client.timeouts):
                    raise
                slot.idle += 1
            else:
                slot.idle = 0
            slot.end(True)
        slot.begin("cancel")
        entry = ["cancel", time.monotonic(), None, tag, "invoked"]
        self._log.append(entry)
        client.cancel(handle, tag)
        entry[2], entry[4] = time.monotonic(), "ok"
        slot.end(True)

    def _ack(self, handle: Any, tag: str, delivery: Delivery) -> None:
        entry = [
            "ack",
            time.monotonic(),
            None,
            tag,
            delivery.delivery_tag,
            delivery.identity,
            "invoked",
        ]
        self._log.append(entry)
        try:
            self._client.ack(handle, delivery.delivery_tag)
        except BaseException:
            entry[2], entry[6] = time.monotonic(), "error"
            raise
        entry[2], entry[6] = time.monotonic(), "ok"
