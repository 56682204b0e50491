"""One link inside the test's own process, turned by hand: for what must be exact to the byte.

The test plays client and broker, and decides when the link's loop takes a turn.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from typing import Self

from benchmarks.proxy.ledger import Ledger
from benchmarks.proxy.link import Link
from benchmarks.proxy.rules import Armed, Rules
from benchmarks.proxy.timers import Timers
from tests.proxy.stage import DEADLINE


class Stage:
    """A link, its two peers, and what it asks of its host."""

    def __init__(self, on_rule: Callable[[Link, Armed], None] | None = None) -> None:
        self.rules = Rules()
        self.gone: list[Link] = []
        self.ledger = Ledger()
        self._on_rule = on_rule
        self._timers = Timers()
        self._selector = selectors.DefaultSelector()
        self._read: dict[socket.socket, bytes] = {}
        with (
            socket.create_server(("127.0.0.1", 0)) as upstream,
            socket.create_server(("127.0.0.1", 0)) as listener,
        ):
            self.client = socket.create_connection(listener.getsockname(), DEADLINE)
            accepted, _ = listener.accept()
            generation = self.ledger.open(time.monotonic())
            self.link = Link(accepted, upstream.getsockname(), generation, self._selector, self)
            self.broker, _ = upstream.accept()
        for sock in (self.client, self.broker):
            sock.setblocking(False)
        self.turn()  # the connect is through

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close("proxy")
        self.client.close()
        self.broker.close()
        self._selector.close()

    def turn(self, wait: float = 0.05) -> bool:
        """One turn of the loop. False when nothing was to be done within ``wait`` seconds."""
        due = self._timers.due()
        if due is not None:
            wait = min(wait, max(0.0, due - time.monotonic()))
        events = self._selector.select(wait) if self._selector.get_map() else []
        for key, mask in events:
            key.data(key.fileobj, mask)
        now = time.monotonic()
        self._timers.run(now)
        return bool(events) or (due is not None and due <= now)

    def settle(self) -> None:
        """Take turns until nothing is to be done any more."""
        end = time.monotonic() + DEADLINE
        while self.turn(0.0):
            assert time.monotonic() < end, "the loop never comes to rest"

    def read(self, sock: socket.socket) -> bytes:
        """All that this peer has received so far."""
        data = self._read.get(sock, b"")
        try:
            while more := sock.recv(65536):
                data += more
        except (BlockingIOError, ConnectionError):
            pass
        self._read[sock] = data
        return data

    # -- what the link asks ---------------------------------------------------------------------

    def ended(self, link: Link) -> None:
        self.gone.append(link)

    def reached(self, link: Link, armed: Armed) -> None:
        if self._on_rule is not None:
            self._on_rule(link, armed)

    def later(self, due: float, call: Callable[[], None]) -> None:
        self._timers.at(due, call)
