"""Dialling: py-amqp's transports, with socket options of our own.

py-amqp connects, speaks TLS and sends the protocol header; that is kept. Its socket options are
not. It sets TCP_USER_TIMEOUT to one second, and Linux then ends the connection to a peer that has
not *read* for a second, which is what a broker under memory alarm does. And it reads all other TCP
options and sets them to what it read: for TCP_MAXSEG the kernel returns 32,768 on loopback now and
then and takes 32,767 at most ("Invalid argument", seen in 0.7 % of connects to a fast peer), and
TCP_WINDOW_CLAMP freezes the receive window at its first size.
"""

from __future__ import annotations

import socket
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


class _OwnOptions:
    """Replaces py-amqp's way of setting options."""

    sock: socket.socket

    def _set_socket_options(self, socket_settings: dict[int, int] | None) -> None:
        for option, value in {**OPTIONS, **(socket_settings or {})}.items():
            self.sock.setsockopt(socket.IPPROTO_TCP, option, value)


class _Tcp(_OwnOptions, TCPTransport):  # type: ignore[misc]
    """Plain TCP."""


class _Tls(_OwnOptions, SSLTransport):  # type: ignore[misc]
    """TLS; the handshake has the connect_timeout of its own."""


def transport(host: str, timeout: float, tls: bool | dict[str, Any]) -> Any:
    """An unconnected transport; `timeout` in seconds bounds each of its blocking steps."""
    kind = _Tls if tls else _Tcp
    return kind(host, connect_timeout=timeout, read_timeout=timeout, write_timeout=timeout, ssl=tls)
