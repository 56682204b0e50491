"""Dialling: py-amqp's transports, with a deadline and socket options of our own.

py-amqp speaks TLS and sends the protocol header; that is kept. How it connects is not: it gives
each address of a name the whole connect_timeout, so a name with two addresses that swallow packets
takes twice as long as was allowed. Nor are its socket options. It sets TCP_USER_TIMEOUT to one
second, and Linux then ends the connection to a peer that has not *read* for a second, which is what
a broker under memory alarm does. And it reads all other TCP options and sets them to what it read:
for TCP_MAXSEG the kernel returns 32,768 on loopback now and then and takes 32,767 at most ("Invalid
argument", seen in 0.7 % of connects to a fast peer), and TCP_WINDOW_CLAMP freezes the receive
window at its first size.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Final

from amqp.transport import SSLTransport, TCPTransport

#: Small frames must not wait for more (Nagle). Keepalive is for connections without heartbeat:
#: a peer that vanished is noticed after 60 + 9 * 10 seconds, as in py-amqp.
OPTIONS: Final = {
    socket.TCP_NODELAY: 1,
    socket.TCP_KEEPIDLE: 60,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 9,
}
#: Seconds that an address is given in any case; 0 would mean for ever.
SHORTEST: Final = 0.001


class _OwnWay:
    """Replaces py-amqp's way of connecting and of setting options."""

    sock: socket.socket | None
    read_timeout: float
    write_timeout: float

    def _connect(self, host: str, port: int, timeout: float) -> None:
        """Connect to one of the name's addresses, in turn, each in its share of the time left."""
        deadline = time.monotonic() + timeout
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for left, (family, kind, protocol, _, address) in zip(
            range(len(addresses), 0, -1), addresses, strict=True
        ):
            self.sock = socket.socket(family, kind, protocol)
            try:
                self.sock.settimeout(max(SHORTEST, (deadline - time.monotonic()) / left))
                self.sock.connect(address)
                break
            except OSError:
                self.sock.close()
                self.sock = None
                if left == 1:
                    raise
        # What is left is for each step of the TLS handshake.
        self.read_timeout = self.write_timeout = max(SHORTEST, deadline - time.monotonic())

    def _set_socket_options(self, socket_settings: dict[int, int] | None) -> None:
        for option, value in {**OPTIONS, **(socket_settings or {})}.items():
            assert self.sock is not None
            self.sock.setsockopt(socket.IPPROTO_TCP, option, value)


class _Tcp(_OwnWay, TCPTransport):  # type: ignore[misc]
    """Plain TCP."""


class _Tls(_OwnWay, SSLTransport):  # type: ignore[misc]
    """TLS."""


def transport(host: str, timeout: float, tls: bool | dict[str, Any]) -> Any:
    """An unconnected transport; `timeout` in seconds bounds each of its blocking steps."""
    kind = _Tls if tls else _Tcp
    return kind(host, connect_timeout=timeout, read_timeout=timeout, write_timeout=timeout, ssl=tls)
