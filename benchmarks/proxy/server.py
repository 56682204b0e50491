"""The proxy itself: one selector loop over the doors, the links, the control port, the lifeline.

It owns the links and the ledger, one for all doors; what the control port asks for the injector
carries out. It binds to loopback only, wherever its upstreams are. It never outlives its parent:
standard input is a pipe that the parent holds, and when it closes, whatever killed the parent, the
loop ends. One link's trouble ends that link, and an upstream that is gone those to it alone;
running out of descriptors pauses the accepting, not the proxy.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.proxy.doors import Doors
from benchmarks.proxy.injector import Injector
from benchmarks.proxy.ledger import Ledger
from benchmarks.proxy.link import Link
from benchmarks.proxy.rules import Armed, Rules
from benchmarks.proxy.timers import Timers
from benchmarks.wire.commands import CommandError, Commands

#: Descriptors kept back for listeners, control sessions, the ledger file and Python itself.
RESERVED_DESCRIPTORS: Final = 64
#: Links at a time, at most: twice the threads of the largest load, each on its own connection.
LINK_LIMIT: Final = 1024
#: Seconds between two looks at the links' deadlines, which are seconds long themselves. Not at
#: every turn: with some hundred links the looking would cost more than the forwarding.
TICK: Final = 0.1


class Proxy:
    """Listens on a loopback port for each of ``upstreams``, and forwards what comes there to it.

    The ports are ``ports``, in the order of the upstreams; where one is missing or 0, any. Without
    ``booking`` the ledger holds no messages. Raises OSError when a port is taken.
    """

    def __init__(
        self,
        upstreams: Sequence[tuple[str, int]],
        ports: Sequence[int],
        token: str,
        *,
        booking: bool = True,
    ) -> None:
        self.ledger = Ledger(booking=booking)
        self._upstreams = list(upstreams)
        self._links: set[Link] = set()
        self._stopping = False
        self._next_look = 0.0
        self._selector = selectors.DefaultSelector()
        self._timers = Timers()
        wanted = [*ports, *[0] * (len(upstreams) - len(ports))]
        self._doors = Doors(wanted, self._selector, self._accept)
        self._injector = Injector(self._links, self._doors, self.ledger, self._timers)
        self._link_limit = _link_limit()
        handlers = {
            "status": self._status,
            "ledger": self._write_ledger,
            "fault": self._injector.fault,
            "arm": self._injector.arm,
            "fired": self._injector.fired,
            "disarm": self._injector.disarm,
            "heal": self._injector.heal,
        }
        self._commands = Commands(token, handlers, self._selector)

    @property
    def ports(self) -> list[int]:
        """The ports that clients connect to, in the order of the upstreams."""
        return self._doors.ports

    @property
    def rules(self) -> Rules:
        """The rules that are armed."""
        return self._injector.rules

    @property
    def control_port(self) -> int:
        """The port of the control connection."""
        return self._commands.port

    def run(self, lifeline: int) -> None:
        """Serve until the descriptor ``lifeline`` is at its end, or SIGTERM or SIGINT comes.

        Raises PermissionError when the lifeline is a file, which is at its end all the time.
        Must be called in the main thread, since it takes over the signals.
        """
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        with wake_read, wake_write:
            self._selector.register(wake_read, selectors.EVENT_READ, self._on_signal)
            self._selector.register(lifeline, selectors.EVENT_READ, self._on_lifeline)
            signal.set_wakeup_fd(wake_write.fileno())
            numbers = (signal.SIGTERM, signal.SIGINT)
            previous = [signal.signal(number, _noted) for number in numbers]
            try:
                while not self._stopping:
                    self._turn()
            finally:
                for number, handler in zip(numbers, previous, strict=True):
                    signal.signal(number, handler)
                signal.set_wakeup_fd(-1)
                self.close()

    def close(self) -> None:
        """Close every connection, the control port and the doors."""
        for link in list(self._links):
            link.close("proxy")
        self._commands.close()
        self._doors.close()
        self._selector.close()

    def _turn(self) -> None:
        for key, mask in self._selector.select(self._patience()):
            key.data(key.fileobj, mask)
        now = time.monotonic()
        self._timers.run(now)
        if now >= self._next_look:
            self._next_look = now + TICK
            for link in list(self._links):
                link.expire(now)

    def _patience(self) -> float | None:
        """Seconds that the loop may sleep, None for ever."""
        due = self._timers.due()
        if due is None:
            return TICK if self._links else None
        wait = max(0.0, due - time.monotonic())
        return min(TICK, wait) if self._links else wait

    def _accept(self, place: int, client: socket.socket) -> None:
        generation = self.ledger.open(time.monotonic(), place)
        link = Link(client, self._upstreams[place], generation, self._selector, self)
        if not link.end:
            self._links.add(link)
            self._doors.room(len(self._links) < self._link_limit)
            self._injector.made(link)

    # -- what links need ------------------------------------------------------------------------

    def ended(self, link: Link) -> None:
        """Let go of a link whose sockets are closed."""
        self._links.discard(link)
        self._injector.ended(link)
        self._doors.room(len(self._links) < self._link_limit)

    def reached(self, link: Link, armed: Armed) -> None:
        """Fire a rule on a link."""
        self._injector.reached(link, armed)

    def later(self, due: float, call: Callable[[], None]) -> None:
        """Have ``call`` called at ``due``."""
        self._timers.at(due, call)

    def _on_signal(self, sock: socket.socket, _mask: int) -> None:
        sock.recv(4096)
        self._stopping = True

    def _on_lifeline(self, lifeline: int, _mask: int) -> None:
        if not os.read(lifeline, 4096):
            self._stopping = True

    # -- requests -------------------------------------------------------------------------------

    def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        generations = self.ledger.generations
        up = sorted(
            (link.generation for link in self._links if link.up), key=lambda one: one.number
        )
        return {
            "generations": len(generations),
            "ready": sum(generation.ready is not None for generation in generations),
            "up": [one.number for one in up],
            "links": len(self._links),
            "faults": len(self.ledger.faults),
            "lasting": self._injector.lasting,
            "armed": len(self._injector.rules),
            "ports": self._doors.ports,
            "upstreams": [
                {
                    "address": f"{host}:{port}",
                    "up": [one.number for one in up if one.upstream == place],
                }
                for place, (host, port) in enumerate(self._upstreams)
            ],
            "now": time.monotonic(),
        }

    def _write_ledger(self, request: dict[str, Any]) -> dict[str, Any]:
        path = request.get("path")
        if not isinstance(path, str) or not Path(path).is_absolute():
            raise CommandError("ledger needs an absolute path")
        try:
            events = self.ledger.write(Path(path))
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot write the ledger to {path}: {error}") from error
        return {"path": path, "events": events}


def _link_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return LINK_LIMIT
    return max(1, min(LINK_LIMIT, (soft - RESERVED_DESCRIPTORS) // 2))


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Leave it to the wake-up descriptor, which the loop reads."""
