"""Refuse connections, as a broker that is gone does, and reset those that there are.

A connect is answered with an RST (ECONNREFUSED), also of a connection that was not accepted yet.
The port stays ours all the while, and the same port works again afterwards. It hits everybody:
whoever is up, whoever is in the middle of a handshake, and whoever comes. It prevents a client
from being tested only against a broker that is back at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.proxy.doors import Doors
from benchmarks.proxy.faults.base import Lasting
from benchmarks.proxy.faults.rst import reset
from benchmarks.proxy.link import Link


@dataclass(frozen=True, eq=False, kw_only=True)
class Refuse(Lasting):
    """The doors shut."""

    kind: ClassVar[str] = "refuse"
    ends: ClassVar[bool] = True
    everyone: ClassVar[bool] = True

    def start(self, doors: Doors) -> None:
        """Shut the doors, before the links go: nobody who is reset may slip in again."""
        doors.shut()

    def fire(self, links: Sequence[Link]) -> float:
        """Reset the links that there are."""
        return reset(links, self.kind)

    def stop(self, doors: Doors) -> None:
        """Open the doors."""
        doors.reopen()

    def heal(self, links: Sequence[Link]) -> None:
        """There are no links to heal: they ended at the beginning."""
