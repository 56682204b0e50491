"""End connections in TCP's own orderly way, without a word of AMQP.

Both sides get a FIN behind the last frame that was booked, and read a plain end of file. Closing
a socket that holds unread bytes sends an RST instead, so what the peers still say is read and
thrown away until they close too. A peer that does not is not waited for beyond a bound, and gets
the reset then. It prevents the two ends of a connection from being mistaken for each other: a
client may survive one and not the other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.proxy.faults.base import Fault
from benchmarks.proxy.link import Link


@dataclass(frozen=True, eq=False, kw_only=True)
class Fin(Fault):
    """The orderly end of both connections."""

    kind: ClassVar[str] = "fin"
    ends: ClassVar[bool] = True

    def fire(self, links: Sequence[Link]) -> float:
        """Send a FIN to both sides of every link."""
        return finish(links, self.kind)


def finish(links: Sequence[Link], kind: str) -> float:
    """Send a FIN to both sides of every link, in the name of the fault ``kind``; return when."""
    t = time.monotonic()
    for link in links:
        link.leave(f"fault:{kind}", t)
    return t
