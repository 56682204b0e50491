"""What the workload itself raises: expectations that no ledger could see broken.

None of them is ever recoverable, so each is counted among the unexpected errors. What a ledger can
see (a wrong reply, a frame that never came, a made-up confirm) raises nothing here: it is in the
history, and the books count it once.
"""

from __future__ import annotations


class NotRecoveredError(Exception):
    """An operation met faults and never succeeded within the client's own bounds."""


class UnconfirmedError(Exception):
    """A confirmed publish came back without the broker's word, or with a nack nobody asked for."""


class NothingCameError(Exception):
    """A message that the broker confirmed did not come within the client's bound, and no fault
    explains it."""


class NotRefusedError(Exception):
    """What the broker refuses with an error of the channel was reported as done."""


class NotReleasedError(Exception):
    """A release in another thread neither returned nor raised."""
