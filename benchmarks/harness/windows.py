"""When an error is a fault's doing, and which: one rule, asked while the load runs and afterwards.

Owns the words for errors that a fault may bring about, and the window of each fault. The workload
asks whether to try again, the checker whether to count: both ask here, of the same numbers. It
injects nothing and reads no clock. It prevents a fault from excusing what it cannot have caused: a
cancelled consumer is no lost connection, and a channel that was closed with 541 no 406.
"""

from __future__ import annotations

from dataclasses import dataclass

#: What the client declares recoverable: its connection was lost.
RECOVERABLE = "recoverable"
#: The broker cancelled a consumer.
CANCELLED = "cancelled"
#: A confirm did not come within the time allowed for it, or no channel while all wait for theirs.
UNCONFIRMED = "unconfirmed"
#: An answer, or a connection to ask for one, did not come within the time allowed for it.
UNANSWERED = "unanswered"

#: How an error is taken that no window is asked about.
CONTRACT, ENDED, UNEXPECTED = "contract", "ended", "unexpected"
DECIDED = frozenset((CONTRACT, ENDED, UNEXPECTED))


def refused(code: int) -> str:
    """The word for a channel that the broker closed with that reply code."""
    return f"refused {code}"


@dataclass(slots=True, eq=False)
class Window:
    """Of one fault: the words it excuses, when it was asked for, and when it was over."""

    words: tuple[str, ...]
    start: float
    #: Infinite until it is known.
    over: float = float("inf")

    def excuses(self, word: str, t: float, recovery: float) -> bool:
        """Is an error with that word, at ``t``, this fault's doing?

        Until ``recovery`` seconds behind the fault, which is no shorter than any wait of the
        client: one for a confirm may have begun at the fault's very end, and one for the channel
        behind that.
        """
        late = 2 * recovery if word == UNCONFIRMED else recovery
        return word in self.words and self.start <= t <= self.over + late
