"""poll, select and selectors over the sockets of `sockets`.

A thread that is no task gets the real ones. A number that is none of ours, in a task's hands, is
an error that says so: a real descriptor would block the thread outside the scheduler's sight.
"""

from __future__ import annotations

import select as _select
import selectors
from typing import Any, Final

from . import real
from .sockets import Socket, net
from .task import Until, current

#: All that `poll` can be asked to watch for; errors are told unasked.
ASKED: Final = _select.POLLIN | _select.POLLPRI | _select.POLLOUT


class Poll:
    """In place of `select.poll()`."""

    def __new__(cls) -> Any:
        return real.poll() if current() is None else object.__new__(cls)

    def __init__(self) -> None:
        self._watched: dict[int, int] = {}

    def register(self, fd: Any, eventmask: int = ASKED) -> None:
        self._watched[_number(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int) -> None:
        if _number(fd) not in self._watched:
            raise FileNotFoundError(2, "No such file or directory")
        self._watched[_number(fd)] = eventmask

    def unregister(self, fd: Any) -> None:
        del self._watched[_number(fd)]

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """`timeout` in milliseconds; None or negative for none."""
        task = current()
        assert task is not None, "this poll belongs to a task"
        scheduler = task.scheduler
        scheduler.point(task)
        found = self._ready()
        if not found and timeout != 0:
            seconds = None if timeout is None or timeout < 0 else timeout / 1000
            wait = Until(lambda: bool(self._ready()), "activity on its sockets")
            scheduler.block(task, wait, seconds)
            found = self._ready()
        return found

    def _ready(self) -> list[tuple[int, int]]:
        sockets = net().by_number
        found = []
        for number, mask in self._watched.items():
            sock = sockets.get(number)
            if sock is None:
                found.append((number, _select.POLLNVAL))
                continue
            events = 0
            if mask & _select.POLLIN and sock.readable:
                events |= _select.POLLIN
            if mask & _select.POLLOUT and sock.writable:
                events |= _select.POLLOUT
            if events:
                found.append((number, events))
        return found


def select(rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None) -> Any:
    """In place of `select.select`."""
    task = current()
    if task is None:
        return real.select_(rlist, wlist, xlist, timeout)
    sockets = net().by_number

    def ready() -> tuple[list[Any], list[Any], list[Any]]:
        readers = [each for each in rlist if sockets[_number(each)].readable]
        writers = [each for each in wlist if sockets[_number(each)].writable]
        return readers, writers, []

    task.scheduler.point(task)
    if timeout != 0 and not any(ready()):
        wait = Until(lambda: any(ready()), "activity on its sockets")
        task.scheduler.block(task, wait, timeout)
    return ready()


class Selector(selectors.SelectSelector):
    """In place of `selectors.DefaultSelector`."""

    def __new__(cls) -> Any:
        return real.DefaultSelector() if current() is None else object.__new__(cls)

    def _select(self, *args: Any) -> Any:
        return select(*args)


def _number(fd: Any) -> int:
    number = fd if isinstance(fd, int) else fd.fileno()
    if isinstance(fd, Socket) or number in net().by_number:
        return int(number)
    raise OSError(f"{fd!r} is no socket of this run: a task cannot wait for it")
