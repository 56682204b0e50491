"""Pipes in memory: what a thread that waits for its sockets is woken by.

`os.pipe` in a task's hands gives the numbers of a connected pair of `sockets`, one way; `os.read`,
`os.write`, `os.close` and `os.set_blocking` understand these. A number that is a real descriptor's,
and a thread that is no task, get the real thing.
"""

from __future__ import annotations

import socket as _socket
from typing import Any

from . import real
from .sockets import Socket, net
from .task import current


def pipe() -> tuple[int, int]:
    """In place of `os.pipe`: the end to read from, the end to write to."""
    if current() is None:
        return real.pipe()
    reading, writing = Socket(_socket.AF_UNIX), Socket(_socket.AF_UNIX)
    reading.join(writing)
    return reading.fileno(), writing.fileno()


def read(fd: int, n: int, /) -> bytes:
    """In place of `os.read`."""
    sock = _ours(fd)
    return real.read(fd, n) if sock is None else sock.recv(n)


def write(fd: int, data: Any, /) -> int:
    """In place of `os.write`."""
    sock = _ours(fd)
    return real.write(fd, data) if sock is None else sock.send(data)


def close(fd: int) -> None:
    """In place of `os.close`."""
    sock = _ours(fd)
    if sock is None:
        real.close(fd)
    else:
        sock.close()


def set_blocking(fd: int, blocking: bool, /) -> None:
    """In place of `os.set_blocking`."""
    sock = _ours(fd)
    if sock is None:
        real.set_blocking(fd, blocking)
    else:
        sock.setblocking(blocking)


def _ours(fd: Any) -> Socket | None:
    return None if current() is None else net().by_number.get(fd)
