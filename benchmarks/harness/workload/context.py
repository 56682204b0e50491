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
from benchmarks.harness.windows import (
    CANCELLED,
    DECIDED,
    RECOVERABLE,
    UNANSWERED,
    UNCONFIRMED,
    refused,
)

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
    #: Reply codes with which the broker closes channels on purpose: what such a fault excuses, but
    #: in a client's words no class of their own.
    refusals: frozenset[int] = frozenset()

    def expects_errors(self, t: float, word: str = RECOVERABLE) -> bool:
        """Does a fault excuse that word (what ``record`` returned) at ``t``?"""
        if self.nemesis is None or word in DECIDED:
            return False
        return self.nemesis.expects_errors(t, word)

    def under_fault(self, word: str) -> bool:
        """Is a fault that excuses that word still at work?"""
        return self.nemesis is not None and self.nemesis.under(word)

    def record(
        self, operation: str | None, error: BaseException, t: float, waited: bool = False
    ) -> str:
        """Take down what an operation raised; see Recorder.record for what it returns.

        ``waited``: it was raised by a wait for a confirm, or for a channel.
        """
        ending: tuple[type[BaseException], ...] = ()
        if self.closing is not None and self.closing.is_set():
            ending = (*self.client.closed, *self.client.recoverable)
        word = self._word(error, waited)
        return self.recorder.record("operation", operation, error, t, ending, word)

    def _word(self, error: BaseException, waited: bool) -> str | None:
        client = self.client
        # A library may well derive the one from the other, and still they are two things.
        if isinstance(error, client.cancelled):
            return CANCELLED
        if isinstance(error, client.recoverable):
            return RECOVERABLE
        # Where confirms do not come, channels are held for as long as they are waited for.
        if isinstance(error, (*client.unconfirmed, *client.timeouts)):
            return UNCONFIRMED if waited else UNANSWERED
        code = client.reply_code(error) if self.refusals else None
        return refused(code) if code is not None and code in self.refusals else None
