"""One publish in n is struck: counted over all connections, in the order in which they came in.

Counted and not drawn, so that the same order of publishes is struck in the same places. Over all
connections, since a client that opens a channel for each publish would otherwise never be struck.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .lasting import Lasting

if TYPE_CHECKING:
    from ..core import Broker
    from .options import Options

#: Struck unless asked otherwise: often enough to be met in the shortest run, with both before and
#: behind it publishes to which nothing happens.
DEFAULT = 3
#: No run has more publishes between two of them.
RAREST = 1_000_000


class EveryNth(Lasting):
    """Strikes the n-th publish, the 2n-th, and so on."""

    def __init__(self, broker: Broker, every: int) -> None:
        super().__init__(broker)
        self._every = every
        self._seen = 0

    @classmethod
    def asked(cls, broker: Broker, options: Options) -> Self:
        """Make the fault that is asked for. Raises ValueError for a bad option."""
        return cls(broker, options.whole("every", DEFAULT, 1, RAREST))

    def hits(self) -> bool:
        """Whether this one is struck. Asked once for each."""
        self._seen += 1
        if self._seen % self._every:
            return False
        self.effects += 1
        return True
