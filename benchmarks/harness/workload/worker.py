"""One worker thread: goes through its steps, retries what a fault cut short, collects receipts."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

from benchmarks.clients.base import Outgoing, Receipt, effective_bounds
from benchmarks.harness.plan import Step, body_of
from benchmarks.harness.progress import Slot
from benchmarks.harness.windows import CONTRACT, DECIDED, ENDED, RECOVERABLE, UNCONFIRMED
from benchmarks.harness.workload.calls import Calls
from benchmarks.harness.workload.context import RETRY_PAUSE, Context
from benchmarks.harness.workload.errors import (
    NothingCameError,
    NotRecoveredError,
    UnconfirmedError,
)
from benchmarks.harness.workload.leaser import Lease
from benchmarks.harness.workload.operations import OPERATIONS
from benchmarks.harness.workload.receipts import Receipts

#: Seconds of one drain while receipts are waited for.
SETTLE_DRAIN = 0.01
#: Iterations in a row that may fail before a worker gives up: what is broken for good has shown
#: itself by then, and every further try may cost a whole timeout.
FAILURES_IN_A_ROW = 3
#: Seconds that a cycle waits for the consumers before it strikes without them.
CONSUMER_BACK = 1.0
#: Nacks in a row that one message may meet where the broker nacks on purpose.
NACKS_AT_MOST = 20


class Worker:
    """``steps`` is all it does; the operations find here what they need."""

    #: How calls are made; replaced where the cost of recording is measured.
    recording: ClassVar[type[Calls]] = Calls

    def __init__(self, context: Context, slot: Slot, steps: tuple[Step, ...]) -> None:
        self.context = self._context = context
        self.client = self._client = context.client
        self.slot = self._slot = slot
        self._steps = steps
        self._log = context.history.log(slot.name)
        self.calls = self.recording(context, slot)
        self.bounds = effective_bounds(context.client)
        #: The queue that nobody else publishes to, gets or consumes from.
        self.queue = f"{context.queue}.{slot.name}"
        self._declared: set[str] = set()
        self._sequence = 0
        self._consumers = 0
        self._receipts = Receipts(self._log)
        self._ended = False
        #: When each kill fired, and when the confirm that ended its cycle was there.
        self.recoveries: list[tuple[float, float]] = []

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
        nemesis = context.nemesis if cycles else None
        for step in self._steps:
            context.progress.hold(self._slot)
            if context.aborted.is_set():
                return
            if step.operation in self._client.cannot:
                context.progress.advance(succeeded=False)
                continue
            if nemesis is not None:
                self._await_consumers()
                nemesis.strike()
            succeeded = self._attempt(step)
            now = time.monotonic()
            if nemesis is not None and (struck := nemesis.struck()) is not None and succeeded:
                self.recoveries.append((struck, now))
            context.progress.advance(succeeded)
            if self._ended:
                return
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
        context, slot, bounds = self._context, self._slot, self.bounds
        limit = 2 * bounds.heartbeat + bounds.recovery + bounds.operation
        deadline = time.monotonic() + limit
        pause, longest = RETRY_PAUSE
        operation = OPERATIONS[step.operation]
        while True:
            started = time.monotonic()
            slot.begin(step.operation)
            try:
                operation(self, step)
            except BaseException as error:  # noqa: BLE001 - recorded, every one of them
                now = time.monotonic()
                kind = self._record(step.operation, error, started, now)
                self._log.add(["op", started, now, step.operation, kind])
                slot.end(kind == CONTRACT)
                if kind in DECIDED:
                    self._ended = kind == ENDED
                    return kind == CONTRACT
                # What counts is when it was raised, and that is the checker's. To try again is
                # right also for what was begun under the fault.
                if not any(context.expects_errors(t, kind) for t in (now, started)):
                    return False
                if context.under_fault(kind):
                    # The client's word for recovering counts from the end of the fault.
                    deadline = now + limit
                elif now > deadline:
                    late = NotRecoveredError(
                        f"{step.operation} kept failing for {limit:g} s: {error!r}"
                    )
                    context.recorder.record("operation", step.operation, late)
                    return False
                if context.aborted.wait(pause):
                    return False
                pause = min(2 * pause, longest)
            else:
                slot.end(True)
                self._log.add(["op", started, slot.advanced, step.operation, "ok"])
                return True
            finally:
                self._receipts.collect()

    def _record(self, operation: str, error: BaseException, started: float, now: float) -> str:
        """Take down an error. That nothing came is a fault's doing where there was one."""
        context = self._context
        if isinstance(error, NothingCameError) and (
            context.expects_errors(started) or context.expects_errors(now)
        ):
            return RECOVERABLE
        waited, self.calls.waited = self.calls.waited is error, None
        return context.record(operation, error, now, waited)

    # -- what the operations use -------------------------------------------------------------

    def declared(self, lease: Lease, queue: str) -> str:
        """That queue of the worker's own, declared at its first use as an application would."""
        if queue not in self._declared:
            self.calls.declare(lease, queue, passive=False)
            self._declared.add(queue)
        return queue

    def consumer_tag(self) -> str:
        """A consumer tag that was never used before."""
        self._consumers += 1
        return f"{self._slot.name}.{self._consumers}"

    def send(self, lease: Lease, queue: str | None, size: int, confirmed: bool = False) -> _Sent:
        """Publish once, to ``queue`` or (None) to nowhere, mandatory. Each call is a message of
        its own: a retry too."""
        self._sequence += 1
        identity = f"{self._context.run}/{self._slot.name}/{self._sequence}"
        message = Outgoing(
            identity=identity,
            body=body_of(identity, size),
            exchange="",
            routing_key=f"{self._context.queue}.nowhere" if queue is None else queue,
            mandatory=queue is None,
        )
        publish = self.calls.publish_confirmed if confirmed else self.calls.publish
        receipt = publish(lease, message, queue)
        self._receipts.add(identity, receipt)
        return identity, receipt

    def store(self, lease: Lease, queue: str | None, size: int) -> _Sent:
        """Publish until the broker has acked one; anything but the nacks that were asked for ends
        it. Raises UnconfirmedError.

        A queue whose leader is gone takes nothing: as long as a fault excuses that it is asked
        again, without haste.
        """
        context, nacks = self._context, 0
        while nacks < NACKS_AT_MOST:
            sent = self.send(lease, queue, size, confirmed=True)
            outcome = sent[1].outcome()
            if outcome == "ack":
                return sent
            if outcome != "nack" or not context.may_nack:
                raise UnconfirmedError(f"the outcome of a confirmed publish is {outcome!r}")
            leaderless = context.expects_errors(time.monotonic(), UNCONFIRMED)
            nacks += not leaderless
            if leaderless and context.aborted.wait(RETRY_PAUSE[1]):
                raise UnconfirmedError("nacked until the trial was given up")
        raise UnconfirmedError(f"a message was nacked {NACKS_AT_MOST} times in a row")

    # -- the end -----------------------------------------------------------------------------

    def _settle(self) -> None:
        """Drain until every receipt is known, within the recovery bound.

        Whatever a drain raises is on record and no reason to look away: a receipt that nobody
        asks for any more would be taken for a lost confirm. A client that was closed has said
        its last word on each.
        """
        deadline = time.monotonic() + self.bounds.recovery
        self._receipts.collect()
        while self._receipts and not self._ended and time.monotonic() < deadline:
            if self._context.aborted.is_set():
                return
            self._slot.begin("settle")
            try:
                self._client.drain(SETTLE_DRAIN)
            except BaseException as error:  # noqa: BLE001 - recorded, every one of them
                kind = self._context.record("settle", error, time.monotonic())
                self._slot.end(kind == CONTRACT)
                self._ended = kind == ENDED
                if kind != CONTRACT:
                    self._context.aborted.wait(RETRY_PAUSE[1])
            else:
                self._slot.end(True)
            self._receipts.collect()


#: What a publish leaves: the message's identity and its receipt.
_Sent = tuple[str, Receipt]
