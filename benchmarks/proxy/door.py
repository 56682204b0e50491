"""The listening socket: open, paused for want of room, or shut so that connects are refused.

It owns the port for the life of the proxy and never gives it up, not even while it refuses: the
socket stays bound and only stops listening. Linux releases a port at that moment unless it was
asked for by number, so a free one is first found and then asked for. Nor may another process bind
it beside us meanwhile, which SO_REUSEADDR on a socket that does not listen would allow. It
prevents a refused client from reaching somebody else's server.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Final

#: Connections that may wait to be accepted: all threads of the largest load may come at once.
BACKLOG: Final = 1024


class Door:
    """Listens on a loopback ``port`` (0: any); ``accept`` is called with each new connection.

    Raises OSError when the port is taken.
    """

    def __init__(
        self, port: int, selector: selectors.BaseSelector, accept: Callable[[socket.socket], None]
    ) -> None:
        self._selector = selector
        self._accept = accept
        self._listener = _bound(port)
        try:
            self._listener.listen(BACKLOG)
        except OSError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        self._room = True
        self._shut = 0
        self._registered = False
        self.port: int = self._listener.getsockname()[1]
        self._watch()

    def room(self, room: bool) -> None:
        """Accept only while there is room; without it, connections wait to be accepted."""
        if room != self._room:
            self._room = room
            self._watch()

    def shut(self) -> None:
        """Refuse connections until as many ``reopen`` followed; those not accepted are reset."""
        self._shut += 1
        if self._shut == 1:
            self._watch()
            self._reuse(False)
            self._listener.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        """Undo one ``shut``."""
        self._shut -= 1
        if not self._shut:
            # Connections of before still hold the port, and would keep a socket that does not
            # share it from listening.
            self._reuse(True)
            self._listener.listen(BACKLOG)
            self._watch()

    def close(self) -> None:
        """Stop listening for good."""
        self._room = False
        self._watch()
        self._listener.close()

    def _watch(self) -> None:
        wanted = self._room and not self._shut
        if wanted and not self._registered:
            self._selector.register(self._listener, selectors.EVENT_READ, self._on_event)
        elif self._registered and not wanted:
            self._selector.unregister(self._listener)
        self._registered = wanted

    def _on_event(self, _sock: socket.socket, _mask: int) -> None:
        if not self._registered:  # shut by an event of the same round
            return
        try:
            client, _ = self._listener.accept()
        except OSError:  # the client is gone again
            return
        self._accept(client)

    def _reuse(self, on: bool) -> None:
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(on))


def _bound(port: int) -> socket.socket:
    """A socket bound to ``port`` by number, which alone makes the kernel keep it when shut."""
    with _reusable() as probe:
        if not port:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        listener = _reusable()
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            listener.close()
            raise
        return listener


def _reusable() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock
