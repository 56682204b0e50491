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
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.proxy.link import Link

#: Seconds that all victims together get for their booked bytes to leave. On loopback a segment
#: that is sent is in the peer's queue at once, so this is spent only where a window is full.
FLUSH_DEADLINE: Final = 0.05
#: Seconds between two looks at the queues: fine enough not to lengthen a recovery visibly.
POLL: Final = 0.0002
#: SO_LINGER on, for 0 seconds: close() sends RST instead of FIN.
_RESET: Final = struct.pack("ii", 1, 0)
#: <linux/sockios.h>: bytes not yet sent. TIOCOUTQ would count those not yet *acknowledged*, and
#: the kernel delays acknowledgements by 40 ms: measured, that made every kill take 42 ms.
_SIOCOUTQNSD: Final = 0x894B


def fire(links: Sequence[Link], options: Mapping[str, Any]) -> float:
    """Reset both connections of every link; return when (CLOCK_MONOTONIC) the first one went.

    Raises ValueError when there are options: it has none.
    """
    if options:
        raise ValueError(f"rst has no option {sorted(options)[0]!r}")
    sockets = [sock for link in links for sock in (link.client, link.upstream)]
    _flush(sockets)
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    t = time.monotonic()
    for link in links:
        link.close("fault:rst", t)
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
