"""Loopback ports that stay ours, also while the node that uses them is down.

A port that was merely free a moment ago may be taken when the node comes to listen, or while it
restarts: by another keeper, or by any connection that goes out. Here each port is held by a
socket that is bound and never listens. Erlang listens with SO_REUSEADDR, and so may; whoever
tries without cannot.
"""

from __future__ import annotations

import os
import random
import socket
from typing import Final

from .waiting import KeeperError

#: Below the ports that the kernel gives to outgoing connections (32768 and above), above those
#: that services have by custom.
FIRST: Final = 20000
LAST: Final = 31999


class Ports:
    """Free ports of 127.0.0.1, held until ``close``."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []
        # Where the search begins: two keepers that start together rarely meet.
        self._source = random.Random(os.getpid())

    def take(self) -> int:
        """Return a port that nobody has. Raises KeeperError when there seems to be none."""
        for _ in range(LAST - FIRST):
            port = self._source.randint(FIRST, LAST)
            holder = socket.socket()
            try:
                holder.bind(("127.0.0.1", port))
            except OSError:
                holder.close()
                continue
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.append(holder)
            return port
        raise KeeperError(f"no port between {FIRST} and {LAST} is free")

    def close(self) -> None:
        """Give them back."""
        for holder in self._held:
            holder.close()
        self._held.clear()
