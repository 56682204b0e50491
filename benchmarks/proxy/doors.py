"""All doors of a proxy as one: a door for each node of a cluster, and what holds for all of them.

It owns the doors and their order, which is that of the upstreams. What it prevents is a fault that
shuts the way to one node and leaves that to the next one open, and a proxy that is full and goes
on accepting at another door.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.proxy.door import Door


class Doors:
    """Listens on each loopback port of ``ports`` (0: any).

    ``accept`` is called with each new connection and the place of its door. Raises OSError when a
    port is taken.
    """

    def __init__(
        self,
        ports: Sequence[int],
        selector: selectors.BaseSelector,
        accept: Callable[[int, socket.socket], None],
    ) -> None:
        self._doors: list[Door] = []
        try:
            for place, port in enumerate(ports):
                self._doors.append(Door(port, selector, partial(accept, place)))
        except (OSError, OverflowError):
            self.close()
            raise

    @property
    def ports(self) -> list[int]:
        """The ports that clients connect to."""
        return [door.port for door in self._doors]

    def room(self, room: bool) -> None:
        """Accept only while there is room; without it, connections wait to be accepted."""
        for door in self._doors:
            door.room(room)

    def shut(self) -> None:
        """Refuse connections at all doors until as many ``reopen`` followed."""
        for door in self._doors:
            door.shut()

    def reopen(self) -> None:
        """Undo one ``shut``."""
        for door in self._doors:
            door.reopen()

    def close(self) -> None:
        """Stop listening for good."""
        for door in self._doors:
            door.close()
