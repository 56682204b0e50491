"""What all threads of a trial share, and the constants of workers and consumers alike."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.clients.base import Client
from benchmarks.harness.history import History
from benchmarks.harness.leases import LeaseLedger
from benchmarks.harness.progress import Progress
from benchmarks.harness.recorder import Recorder

if TYPE_CHECKING:
    from benchmarks.harness.nemesis import Nemesis

#: Deliveries that a consumer may hold unacked; small, so that acks and deliveries interleave.
PREFETCH = 20
#: Seconds of one drain of a lease that consumes.
CONSUMER_DRAIN = 0.05
#: First and longest pause between two tries of an operation that met a fault, in seconds.
RETRY_PAUSE = (0.001, 0.05)


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
    #: Set just before the client is closed under the load: its word for "closed" is expected then.
    closing: threading.Event | None = None
    #: Stands before lease keys, where several clients live one after the other.
    prefix: str = ""
    #: The broker nacks some publishes on purpose: a nack is then an answer like another.
    may_nack: bool = False
    #: Reply codes with which the broker closes channels on purpose: recoverable, as a lost
    #: connection is, but in a client's words no class of their own.
    refusals: frozenset[int] = frozenset()

    def expects_errors(self, t: float) -> bool:
        return self.nemesis is not None and self.nemesis.expects_errors(t)

    def record(self, operation: str | None, error: BaseException, t: float) -> str:
        """Take down what an operation raised; see Recorder.record for what it returns."""
        ending: tuple[type[BaseException], ...] = ()
        if self.closing is not None and self.closing.is_set():
            ending = (*self.client.closed, *self.client.recoverable)
        refused = bool(self.refusals) and self.client.reply_code(error) in self.refusals
        return self.recorder.record("operation", operation, error, t, ending, refused)
