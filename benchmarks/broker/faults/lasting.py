"""What every fault that goes on has in common.

It never reads a clock: it says when it is ``due`` and is then ``run`` with the broker's own time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from ..core import Broker
    from .options import Options


class Lasting:
    """A fault that goes on until it is ended."""

    #: Two faults of the same slot cannot be at work together: the later one ends the earlier.
    slot: ClassVar[str]

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        #: How often it has struck. 0 at the end means that it was on and nothing came its way.
        self.effects = 0

    @classmethod
    def asked(cls, broker: Broker, options: Options) -> Self:
        """Make the fault that is asked for. Raises ValueError for a bad option."""
        raise NotImplementedError

    def begin(self) -> None:
        """Be at work from now on."""
        raise NotImplementedError

    def end(self) -> None:
        """Be no longer at work, and let go of everything that is held back."""
        raise NotImplementedError

    def due(self) -> float | None:
        """When ``run`` has something to do next, None for never."""
        return None

    def run(self) -> None:
        """Do what is due by ``broker.now``."""
