"""Draining inboxes in the caller's thread: one, or a thread's own channels and its connection.

For several at once the order of the steps is the whole of it: hang a waker on every inbox, then
look into each, then wait. Whatever comes in after the look sets the waker, so nothing can come
between looking and waiting. Wakers are `threading.Event`s that belong to the waiting thread; an
inbox sets them under its own lock, which makes an event's lock a leaf below it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from .errors import LeaseEnded
from .inbox import DeadlinePassed, Inbox
from .parser import Event


class Drainable(Protocol):
    """A channel or a connection."""

    inbox: Inbox

    @property
    def usable(self) -> bool: ...

    def drain_one(self, deadline: float) -> bool: ...


def dispatch_next(inbox: Inbox, dispatch: Callable[[Event], None], deadline: float) -> bool:
    """Dispatch the next event of one inbox in this thread; False at the deadline.

    `deadline` in monotonic seconds. Raises what ended the inbox, and what `dispatch` raises.
    """
    try:
        event = inbox.take(None, deadline)
    except DeadlinePassed:
        return False
    assert event is not None
    try:
        dispatch(event)
    finally:
        inbox.dispatched()
    return True


def drain_any(sources: Sequence[Drainable], deadline: float) -> bool:
    """Dispatch one event of one of the sources in this thread; False at the deadline.

    `deadline` in monotonic seconds. Raises what the sources raise; a channel whose lease another
    thread released meanwhile is left out.
    """
    if len(sources) == 1:
        return sources[0].drain_one(deadline)
    waker = threading.Event()
    for source in sources:
        with source.inbox.lock:
            source.inbox.wakers.append(waker)
    try:
        while True:
            waker.clear()
            for source in sources:
                if not source.inbox.ready:
                    continue
                try:
                    if source.drain_one(0.0):
                        return True
                except LeaseEnded:
                    continue
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            waker.wait(remaining)
    finally:
        for source in sources:
            with source.inbox.lock:
                source.inbox.wakers.remove(waker)
