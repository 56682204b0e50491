"""A channel's inbox: what came in for it and was not dispatched yet.

The I/O thread puts events in; a caller takes them out, one at a time, and dispatches them in its
own thread, so that an error surfaces in the thread whose channel it concerns. "Is my reply already
here?" and going to sleep are one critical section; two steps there are how other clients lose
wake-ups. One thread dispatches at a time, so that events keep their order; it may take further
events from within a callback.

`lock` is the channel lock: it also guards the channel's state and its confirms.
Lock order: channel lock > outbox lock, and channel lock > a waker's. No user code runs under it,
and nothing under it waits for the network.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .errors import LeaseEnded
from .frames import Sig
from .parser import Event

#: What an event costs beside its bytes, so that a flood of tiny ones is bounded as well: a tuple,
#: three bytes objects and their place in the deque take about this much.
EVENT_OVERHEAD: Final = 250


class Call:
    """A synchronous call that waits for its reply; replies come in the order of the calls."""

    __slots__ = ("done", "methods", "on_reply", "result", "sent")

    def __init__(
        self, methods: tuple[Sig, ...], on_reply: Callable[[list[Any]], None] | None = None
    ) -> None:
        self.methods = methods
        self.on_reply = on_reply
        self.done = False
        self.result: list[Any] = []
        self.sent = time.monotonic()


class DeadlinePassed(Exception):
    """Nothing came in time; whoever waits says so in its own words."""


class Inbox:
    """A bounded queue of events with its condition; see the module's text for the rules."""

    def __init__(self, limit: int) -> None:
        #: The channel lock; entered directly, since a condition's `with` costs ten times as much.
        self.lock = threading.Lock()
        self._cond = threading.Condition(self.lock)
        #: Makes the error of this inbox's end; None while it is alive. Guarded by `lock`.
        self.ended: Callable[[], Exception] | None = None
        #: The channel is in the pool's hands, not in a caller's. Guarded by `lock`.
        self.parked = False
        #: Events of threads that wait for several inboxes at once. Guarded by `lock`.
        self.wakers: list[threading.Event] = []
        self._limit = limit
        #: What was not dispatched yet. Guarded by `lock`.
        self.events: deque[Event] = deque()
        # What each of them counts for, and all together.
        self._sizes: deque[int] = deque()
        self._size = 0
        self._waiting = 0
        self._dispatcher: int | None = None
        self._depth = 0

    def __len__(self) -> int:
        return len(self.events)

    @property
    def ready(self) -> bool:
        """Whether there is an event, or an end, to look at."""
        return bool(self.events) or self.ended is not None

    # -- under `lock` ------------------------------------------------------------------------

    def put(self, event: Event) -> bool:
        """Append; False when the bound is passed (the event is not kept). Needs `lock`."""
        _, args, header, body = event
        size = EVENT_OVERHEAD + len(args)
        if header is not None:
            size += len(header) + (len(body[0]) if len(body) == 1 else sum(map(len, body)))
        total = self._size + size
        if total > self._limit and self.events:
            return False
        self._size = total
        self._sizes.append(size)
        self.events.append(event)
        return True

    def wake(self) -> None:
        """Wake whoever waits for this inbox. Needs `lock`."""
        if self._waiting:
            self._cond.notify_all()
        for waker in self.wakers:
            waker.set()

    def end(self, error: Callable[[], Exception]) -> None:
        """No more events come; the first reason stays. Needs `lock`."""
        if self.ended is None:
            self.ended = error
        self.wake()

    def clear(self) -> None:
        """Throw away what was not dispatched. Needs `lock`."""
        self.events.clear()
        self._sizes.clear()
        self._size = 0

    def wait(self, seconds: float) -> None:
        """One wait that `wake` knows about. Needs `lock`."""
        self._waiting += 1
        try:
            self._cond.wait(seconds)
        finally:
            self._waiting -= 1

    # -- without it --------------------------------------------------------------------------

    def take(self, call: Call | None, deadline: float) -> Event | None:
        """The next event to dispatch; the caller must then call `dispatched()`.

        None when `call` has its reply. Raises DeadlinePassed (`deadline` in monotonic seconds), the
        inbox's own error when it has ended and nothing is left in it, and LeaseEnded when the
        lease was released meanwhile.
        """
        me = threading.get_ident()
        with self.lock:
            while True:
                if call is not None and call.done:
                    return None
                if self._dispatcher is None or self._dispatcher == me:
                    if self.events:
                        self._size -= self._sizes.popleft()
                        self._dispatcher = me
                        self._depth += 1
                        return self.events.popleft()
                    if self.ended is not None:
                        raise self.ended()
                    if self.parked:
                        raise LeaseEnded("the lease was released while its channel was in use")
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise DeadlinePassed
                self.wait(remaining)

    def dispatched(self) -> None:
        """The event taken last has been dispatched."""
        with self.lock:
            self._depth -= 1
            if not self._depth:
                self._dispatcher = None
            # A call may have its reply now, and what is left may be another thread's turn.
            if self._waiting or self.wakers:
                self.wake()
