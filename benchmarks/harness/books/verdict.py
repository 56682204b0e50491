"""What the books say of a trial, and what one witness looks like.

It owns the verdict's fields and nothing else; who may write into which of them is said beside each.
It prevents the one confusion that would make every number worthless: lost, in doubt, discarded and
duplicated are four things, and an event is counted in exactly one of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: ``event``, ``identity`` and ``why`` (one phrase) always; ``direction``, ``generation``,
#: ``channel``, ``incarnation``, ``t``, ``thread``, ``lease`` where they are known.
Witness = dict[str, Any]


@dataclass
class Verdict:
    """Each witness in ``lost``, ``lost_messages`` and ``phantoms`` is one event, counted once."""

    #: Frames that crossed the wire and never reached the application, or were reported as sent
    #: and never crossed it (the invariant ``lost_frames``).
    lost: list[Witness] = field(default_factory=list)
    #: Confirmed to the application, disposed of by the client, never seen by anybody.
    lost_messages: list[Witness] = field(default_factory=list)
    phantoms: list[Witness] = field(default_factory=list)
    #: Missing, and a fault, or the broker's own close, can explain it.
    in_doubt: int = 0
    #: Of those in doubt, the ones that only a connection ended without an injected fault explains.
    dropped: int = 0
    #: Missing behind the application's own cancel or close, answers to calls that had ended in an
    #: error, and publishes that a broker threw away when it closed their channel.
    discarded: int = 0
    #: Deliveries of a message that the application had been given before.
    duplicates: int = 0
    #: Messages that the broker confirmed and that are neither settled nor left: the broker's loss.
    broker_lost: list[str] = field(default_factory=list)
    #: What only the broker can have done wrong, one phrase each: the run proves nothing then.
    broker_faults: list[str] = field(default_factory=list)
    #: Events that were compared, by kind, and how many of them could have been found lost (those
    #: that no faulted generation excuses): a book that judged nothing proves nothing.
    compared: Counter[str] = field(default_factory=Counter)
    judged: int = 0

    def compare(self, kind: str, *, judged: bool) -> None:
        """Note that one event of that kind was looked for; ``judged``: nothing would excuse it."""
        self.compared[kind] += 1
        self.judged += judged

    def doubt(self, *, dropped: bool) -> None:
        """Note one event in doubt; ``dropped``: without an injected fault to explain it."""
        self.in_doubt += 1
        self.dropped += dropped
