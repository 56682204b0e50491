"""The socket as the I/O thread and the senders see it: non-blocking, plain or TLS.

Owns the socket of one connection and nothing else. `receive` and `send` return None and 0 where
the kernel has nothing or takes nothing; they never block. `send_short` is for who publishes and
goes on: Python gives its global lock away around each send, another thread takes it, and to get it
back costs several times what the send itself does. So a short piece is sent with the lock held, by
the C library's own send(2), where that is at hand (docs/speed.md).

OpenSSL's objects must not be used by two threads at once, so a TLS socket carries a lock around
each single call; a plain socket needs none. Closing is in two steps: `shutdown` may come from any
thread at any time and ends every pending poll, `close` gives the descriptor back and is the I/O
thread's alone, after the last sender has left: a number that is reused under a running send would
write into a stranger's socket.
"""

from __future__ import annotations

import _socket
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Final

#: Bytes of a short piece at most: the kernel copies them in a microsecond.
SHORT: Final = 4096


def _c_send() -> Callable[[int, bytes, int, int], int] | None:
    """send(2) that keeps the global lock; None where there is none (then Python's own does it)."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        function = ctypes.PyDLL(None).send
    except (ImportError, OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
    function.restype = ctypes.c_ssize_t
    return function


_SEND: Final = _c_send()
#: Never wait; no SIGPIPE.
_FLAGS: Final = getattr(socket, "MSG_DONTWAIT", 0) | getattr(socket, "MSG_NOSIGNAL", 0)


def _plain(sock: socket.socket) -> bool:
    """Whether it is a socket of the system's, which may be written to by its number."""
    return _SEND is not None and isinstance(sock, _socket.socket)


def knock(sock: socket.socket) -> None:
    """Send one byte to whoever polls the other end, and go on: it runs when this thread waits.

    Raises OSError when the socket is closed, or full.
    """
    if _plain(sock):
        assert _SEND is not None
        if sock.fileno() >= 0 and _SEND(sock.fileno(), b"\0", 1, _FLAGS) == 1:
            return
    sock.send(b"\0")


class Wire:
    """A plain TCP socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._descriptor = sock.fileno() if _plain(sock) else None

    def fileno(self) -> int:
        return self._sock.fileno()

    def receive(self, into: memoryview) -> int | None:
        """Bytes read, 0 at end of file, None when there is nothing now. Raises OSError."""
        try:
            return self._sock.recv_into(into)
        except (BlockingIOError, InterruptedError):
            return None

    def send(self, data: bytes | memoryview) -> int:
        """Bytes that the kernel took, possibly 0. Raises OSError."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def send_short(self, data: bytes | memoryview) -> int:
        """As `send`; a short piece goes without letting another thread run meanwhile."""
        if self._descriptor is not None and len(data) <= SHORT and isinstance(data, bytes):
            assert _SEND is not None
            sent = _SEND(self._descriptor, data, len(data), _FLAGS)
            if sent >= 0:
                return sent
            # Python's own says why, in its own errors.
        return self.send(data)

    def pending(self) -> bool:
        """Whether bytes were read from the kernel already and wait here (TLS alone)."""
        return False

    def shutdown(self) -> None:
        """End both directions; everybody who polls wakes."""
        self.shutdown_socket(self._sock)

    @staticmethod
    def shutdown_socket(sock: socket.socket) -> None:
        """The same for a socket that has no wire yet."""
        try:
            # Of a TLS socket the TCP one: TLS's own farewell would need the lock and the peer.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was first, which is what was wanted

    def close(self) -> None:
        self._descriptor = None
        self._sock.close()


class TlsWire(Wire):
    """A TLS socket; the lock is a leaf and guards each call into OpenSSL."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        self._descriptor = None
        self._tls = sock
        self._lock = threading.Lock()

    def receive(self, into: memoryview) -> int | None:
        try:
            with self._lock:
                return self._tls.recv_into(into)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLEOFError:
            return 0

    def send(self, data: bytes | memoryview) -> int:
        try:
            with self._lock:
                return self._tls.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def pending(self) -> bool:
        with self._lock:
            return self._tls.pending() > 0


def open_wire(sock: socket.socket) -> Wire:
    """The wire for a connected socket."""
    return TlsWire(sock) if isinstance(sock, ssl.SSLSocket) else Wire(sock)
