"""The socket as the I/O thread and the senders see it: non-blocking, plain or TLS.

Owns the socket of one connection and nothing else. `receive` and `send` return None and 0 where
the kernel has nothing or takes nothing; they never block. OpenSSL's objects must not be used by
two threads at once, so a TLS socket carries a lock around each single call; a plain socket needs
none. Closing is in two steps: `shutdown` may come from any thread at any time and ends every
pending poll, `close` gives the descriptor back and is the I/O thread's alone, after the last
sender has left: a number that is reused under a running send would write into a stranger's socket.
"""

from __future__ import annotations

import socket
import ssl
import threading


class Wire:
    """A plain TCP socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

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
        self._sock.close()


class TlsWire(Wire):
    """A TLS socket; the lock is a leaf and guards each call into OpenSSL."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
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
