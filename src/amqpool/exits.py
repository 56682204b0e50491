"""The interpreter's exit: what was published is flushed, within a bound.

A publish returns when its bytes are with the kernel or with a thread that is sending. At the exit
that thread may be a daemon that is about to vanish, so the exit waits for it. Connections are held
weakly; the hook is registered with the first one, never at import.
"""

from __future__ import annotations

import atexit
import time
import weakref
from typing import Final, Protocol

#: The exit waits this long (seconds), for all connections together.
EXIT_FLUSH: Final = 2.0


class Flushable(Protocol):
    """What has bytes on their way."""

    def flush(self, timeout: float) -> bool: ...


_connections: weakref.WeakSet[Flushable] = weakref.WeakSet()


def flush_at_exit(connection: Flushable) -> None:
    """From now on the interpreter's exit flushes this connection, while it exists."""
    if not _connections:
        # Registered once: twice at the same moment would only flush twice.
        atexit.unregister(_flush_all)
        atexit.register(_flush_all)
    _connections.add(connection)


def _flush_all() -> None:
    deadline = time.monotonic() + EXIT_FLUSH
    for connection in list(_connections):
        connection.flush(max(0.0, deadline - time.monotonic()))
