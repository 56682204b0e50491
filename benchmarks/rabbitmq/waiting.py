"""The lifeline and every wait of the keeper: each has a deadline, and none outlives the lifeline.

The keeper has one thread. While a node starts or a fault takes effect it waits here, and here it
notices that its parent is gone or that a signal came. It prevents nodes that start on for a
minute though nobody is left who wants them.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

#: Seconds between two looks. What is waited for here takes a tenth of a second and more.
POLL: Final = 0.05


class KeeperError(Exception):
    """Something did not come about; the text says what, and after how long."""


class TookTooLong(KeeperError):
    """A wait was over before what it waited for came."""


class Ended(BaseException):
    """The lifeline closed, or SIGTERM or SIGINT came: the keeper is to end.

    No ``Exception``: nobody may take it for a fault that failed.
    """


class Lifeline:
    """What the keeper's life hangs on. Main thread only, since it catches signals."""

    def __init__(self, descriptor: int | None) -> None:
        """``descriptor``: a pipe that the parent holds open, None for none.

        Raises OSError when it can never be waited for, as is the case with a file.
        """
        self._poll = select.epoll()
        self._descriptor = descriptor
        if descriptor is not None:
            self._poll.register(descriptor, select.EPOLLIN)
        # The handlers only have to be there: the byte in the pair ends the wait.
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._poll.register(self._reader, select.EPOLLIN)
        signal.set_wakeup_fd(self._writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when it may be over: then ``check``."""
        own = [] if self._descriptor is None else [self._descriptor]
        return [*own, self._reader.fileno()]

    def check(self) -> None:
        """Raise Ended when it is over."""
        self.wait(0.0)

    def wait(self, seconds: float) -> None:
        """Wait that long. Raises Ended as soon as it is over."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            for descriptor, _events in self._poll.poll(left):
                # Whatever the parent writes is read and ignored: only the end says something.
                if descriptor != self._descriptor or not os.read(descriptor, 4096):
                    raise Ended
            if not left:
                return

    def until(
        self, reached: Callable[[], bool], seconds: float, what: str, poll: float = POLL
    ) -> None:
        """Poll until ``reached``. Raises TookTooLong with ``what`` was waited for."""
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                raise TookTooLong(f"{what} after {seconds:.0f} s")
            self.wait(poll)
