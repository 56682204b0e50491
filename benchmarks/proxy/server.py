"""The proxy itself: one selector loop over the listener, the links, the control port, the lifeline.

It owns the links and the ledger; what the control port asks for the injector carries out. It binds
and connects to loopback only. It never outlives its parent: standard input is a pipe that the
parent holds, and when it closes, whatever killed the parent, the loop ends. One link's trouble
ends that link; running out of descriptors pauses the accepting, not the proxy.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.proxy.door import Door
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
    """Listens on a loopback ``port`` (0: any) and forwards to ``upstream``, also on loopback.

    Without ``booking`` the ledger holds no messages. Raises OSError when the port is taken.
    """

    def __init__(
        self, upstream: tuple[str, int], port: int, token: str, *, booking: bool = True
    ) -> None:
        self.ledger = Ledger(booking=booking)
        self._upstream = upstream
        self._links: set[Link] = set()
        self._stopping = False
        self._next_look = 0.0
        self._selector = selectors.DefaultSelector()
        self._timers = Timers()
        self._door = Door(port, self._selector, self._accept)
        self._injector = Injector(self._links, self._door, self.ledger, self._timers)
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
    def port(self) -> int:
        """The port that clients connect to."""
        return self._door.port

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
        """Close every connection, the control port and the listener."""
        for link in list(self._links):
            link.close("proxy")
        self._commands.close()
        self._door.close()
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

    def _accept(self, client: socket.socket) -> None:
        generation = self.ledger.open(time.monotonic())
        link = Link(client, self._upstream, generation, self._selector, self)
        if not link.end:
            self._links.add(link)
            self._door.room(len(self._links) < self._link_limit)
            self._injector.made(link)

    # -- what links need ------------------------------------------------------------------------

    def ended(self, link: Link) -> None:
        """Let go of a link whose sockets are closed."""
        self._links.discard(link)
        self._injector.ended(link)
        self._door.room(len(self._links) < self._link_limit)

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
        return {
            "generations": len(generations),
            "ready": sum(generation.ready is not None for generation in generations),
            "up": sorted(link.generation.number for link in self._links if link.up),
            "links": len(self._links),
            "faults": len(self.ledger.faults),
            "lasting": self._injector.lasting,
            "armed": len(self._injector.rules),
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
