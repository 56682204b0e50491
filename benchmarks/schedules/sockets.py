"""Sockets in memory: what a client does with TCP, without a kernel that decides anything.

Owns connected pairs with a bounded buffer each way, the names that can be dialled, and the ways a
connection ends: in order (FIN), by a reset, or not at all (a peer that stalls). As with TCP, what
arrived before a reset can still be read, then comes ECONNRESET once, then end of file; a write to
a peer that is gone fails. A blocking call blocks the task, with the socket's timeout.

File numbers are our own, far above any real one, and are understood by `polling` alone.
"""

from __future__ import annotations

import errno
import socket as _socket
from collections.abc import Callable
from typing import Any, Final

from . import real
from .task import Task, Until, active, current

#: Bytes in flight one way. Small enough that a stalled peer is felt by a scenario.
CAPACITY: Final = 64 * 1024
#: The first file number.
FIRST_NUMBER: Final = 1_000_000


class Stream:
    """Bytes on their way in one direction."""

    def __init__(self) -> None:
        self.data = bytearray()
        #: No more comes: the writer has ended its side.
        self.ended = False
        #: The reader has gone; writes fail.
        self.unread = False


class Net:
    """What one run's sockets share: numbers, and who can be dialled."""

    def __init__(self) -> None:
        self.by_number: dict[int, Socket] = {}
        self.listeners: dict[tuple[str, int], Callable[[Socket], None]] = {}
        self.last_number = FIRST_NUMBER


def net() -> Net:
    """The running scheduler's network."""
    scheduler: Any = active[0]
    found = getattr(scheduler, "net", None)
    if found is None:
        found = scheduler.net = Net()
    assert isinstance(found, Net)
    return found


class Socket:
    """In place of `socket.socket`; a thread that is no task and makes one gets the real thing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return real.Socket(*args, **kwargs) if current() is None else object.__new__(cls)

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: Any = None
    ) -> None:
        self.family = _socket.AF_INET if family == -1 else family
        self.type = _socket.SOCK_STREAM if type == -1 else type
        self.proto = 0 if proto == -1 else proto
        self._net = net()
        self._net.last_number += 1
        self._number = self._net.last_number
        self._net.by_number[self._number] = self
        self._timeout: float | None = None
        self._in = Stream()
        self._out = Stream()
        self._connected = False
        self._reset = False
        self.peer_name: tuple[str, int] = ("", 0)
        self.options: dict[tuple[int, int], Any] = {}

    # -- connecting ------------------------------------------------------------------------------

    def connect(self, address: Any) -> None:
        _point()
        accept = self._net.listeners.get((address[0], address[1]))
        if accept is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        other = Socket(self.family, self.type)
        self.join(other)
        self.peer_name = (address[0], address[1])
        accept(other)

    def connect_ex(self, address: Any) -> int:
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def join(self, other: Socket) -> None:
        """Make the two a connected pair."""
        self._in, self._out = other._out, other._in
        self._connected = other._connected = True

    # -- reading and writing ---------------------------------------------------------------------

    @property
    def readable(self) -> bool:
        """Whether a read would return, or raise, at once."""
        return bool(self._in.data) or self._in.ended or self._reset or self._number < 0

    @property
    def writable(self) -> bool:
        """Whether a write would return, or raise, at once."""
        out = self._out
        return len(out.data) < CAPACITY or out.unread or out.ended or self._number < 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._wait(lambda: self.readable, "data")
        data = bytes(self._in.data[:size])
        if not data:
            self._at_end()
        elif not flags & _socket.MSG_PEEK:
            del self._in.data[:size]
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def _at_end(self) -> None:
        if self._number < 0:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if self._reset:
            self._reset = False
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    def send(self, data: Any, flags: int = 0) -> int:
        self._wait(lambda: self.writable, "room to send")
        if self._number < 0:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if self._reset:
            self._reset = False
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        if not self._connected or self._out.unread or self._out.ended:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        view = memoryview(data).cast("B")
        taken = min(len(view), CAPACITY - len(self._out.data))
        self._out.data += view[:taken]
        return taken

    def sendall(self, data: Any, flags: int = 0) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view, flags) :]

    def sendmsg(self, buffers: Any, *_: Any) -> int:
        return self.send(b"".join(bytes(each) for each in buffers))

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        task = current()
        if task is None:
            return
        task.scheduler.point(task)
        if ready():
            return
        if self._timeout == 0:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if not task.scheduler.block(task, Until(ready, f"{what} ({self!r})"), self._timeout):
            raise TimeoutError("timed out")

    # -- the other end, as a peer that is no client holds it: no points, nothing blocks ------------

    def take(self) -> bytes:
        """All that has come in."""
        data = bytes(self._in.data)
        self._in.data.clear()
        return data

    def put(self, data: Any) -> int:
        """Bytes that there was room for; all of them vanish when nobody will read them."""
        if self._out.unread or self._out.ended:
            return len(data)
        taken = min(len(data), CAPACITY - len(self._out.data))
        self._out.data += data[:taken]
        return taken

    @property
    def has_data(self) -> bool:
        """Whether `take` would return something."""
        return bool(self._in.data)

    @property
    def at_end(self) -> bool:
        """Whether the peer has gone and all that it sent was taken."""
        return not self._in.data and (self._in.ended or self._out.unread or self._reset)

    # -- ending ----------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        _point()
        if not self._connected:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        if how in (_socket.SHUT_RD, _socket.SHUT_RDWR):
            self._in.ended = True
        if how in (_socket.SHUT_WR, _socket.SHUT_RDWR):
            self._out.ended = True

    def close(self) -> None:
        if self._number > 0:
            self._net.by_number.pop(self._number, None)
            self._number = -1
            self._out.ended = True
            self._in.unread = True
            _point()

    def detach(self) -> int:
        self._number, number = -1, self._number
        return number

    def reset(self) -> None:
        """End the connection the hard way: the peer gets ECONNRESET."""
        if self._number > 0:
            for other in list(self._net.by_number.values()):
                if other._in is self._out:
                    other._reset = True
            self.close()

    # -- the rest of a socket's face -------------------------------------------------------------

    def fileno(self) -> int:
        return self._number

    def settimeout(self, value: float | None) -> None:
        self._timeout = value

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        return self._timeout != 0

    def setsockopt(self, level: int, option: int, value: Any, *_: Any) -> None:
        self.options[level, option] = value

    def getsockopt(self, level: int, option: int, *_: Any) -> Any:
        return self.options.get((level, option), 0)

    def getpeername(self) -> tuple[str, int]:
        if not self._connected:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return self.peer_name

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", self._number)

    def set_inheritable(self, _flag: bool) -> None:
        """There is nobody to inherit it."""

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._number < 0 else f"socket {self._number - FIRST_NUMBER}"
        return f"<{state}, {len(self._in.data)} bytes to read, {len(self._out.data)} on their way>"


def _point() -> None:
    task: Task | None = current()
    if task is not None:
        task.scheduler.point(task)


def socketpair(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """In place of `socket.socketpair`."""
    if current() is None:
        return real.socketpair(*args, **kwargs)
    one, other = Socket(_socket.AF_UNIX), Socket(_socket.AF_UNIX)
    one.join(other)
    return one, other


def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    """In place of `socket.getaddrinfo`: names are taken as they are."""
    if current() is None:
        return real.getaddrinfo(host, port, *args, **kwargs)
    return [(_socket.AF_INET, _socket.SOCK_STREAM, 6, "", (host or "127.0.0.1", int(port)))]


def fcntl(fd: Any, cmd: int, arg: Any = 0) -> Any:
    """In place of `fcntl.fcntl`: flags of our sockets are 0 and stay so."""
    number = fd if isinstance(fd, int) else fd.fileno()
    if current() is not None and number in net().by_number:
        return 0
    return real.fcntl_(fd, cmd, arg)
