"""Kill connections by TCP reset, exactly behind the last frame that the ledger has booked.

Both sides get an RST: the client reads ECONNRESET, not a mere end of file. Whatever the proxy has
read but not forwarded is thrown away, and is not in the ledger. What was booked is with the
kernel, where a reset discards what was not sent yet, so that is first given a bounded time to
leave. It prevents a booked frame from being lost by the fault itself: bytes that reached the
peer's kernel stay readable after the reset. Only a peer that does not read costs the whole bound.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from benchmarks.proxy.faults.base import Fault
from benchmarks.proxy.link import Link

#: Seconds that all victims together get for their booked bytes to leave. On loopback a segment
#: that is sent is in the peer's queue at once, so this is spent only where a window is full.
FLUSH_DEADLINE: Final = 0.05
#: Seconds between two looks at the queues: fine enough not to lengthen a recovery visibly.
POLL: Final = 0.0002
#: <linux/sockios.h>: bytes not yet sent. TIOCOUTQ would count those not yet *acknowledged*, and
#: the kernel delays acknowledgements by 40 ms: measured, that made every kill take 42 ms.
_SIOCOUTQNSD: Final = 0x894B


@dataclass(frozen=True, eq=False, kw_only=True)
class Rst(Fault):
    """The reset, as a fault of its own."""

    kind: ClassVar[str] = "rst"
    ends: ClassVar[bool] = True

    def fire(self, links: Sequence[Link]) -> float:
        """Reset both connections of every link."""
        return reset(links, self.kind)


def reset(links: Sequence[Link], kind: str) -> float:
    """Reset both connections of every link, in the name of the fault ``kind``.

    Returns when (CLOCK_MONOTONIC seconds) the first one went.
    """
    _flush([sock for link in links for sock in (link.client, link.upstream)])
    t = time.monotonic()
    for link in links:
        link.reset(f"fault:{kind}", t)
    return t


def _flush(sockets: Sequence[socket.socket]) -> None:
    """Wait until every byte was sent, or the deadline is over."""
    deadline = time.monotonic() + FLUSH_DEADLINE
    while any(_unsent(sock) for sock in sockets) and time.monotonic() < deadline:
        time.sleep(POLL)


def _unsent(sock: socket.socket) -> int:
    """Bytes that the kernel took and has not put on the wire."""
    answer = fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, b"\0\0\0\0")
    unsent: int = struct.unpack("i", answer)[0]
    return unsent
