"""Waiting for several inboxes at once: nothing is missed, and nobody spins."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from amqpool.draining import drain_any
from amqpool.errors import ConnectionLost, LeaseEnded
from amqpool.inbox import DeadlinePassed, Inbox
from amqpool.parser import Event

EVENT = Event((60, 60), b"")


class CountingInbox(Inbox):
    """Counts how often it was looked into."""

    looks = 0

    @property
    def ready(self) -> bool:
        self.looks += 1
        return super().ready


class Source:
    """A channel as far as draining knows one."""

    def __init__(self) -> None:
        self.inbox: Inbox = CountingInbox(10_000_000)
        self.dispatched = 0
        self.error: Exception | None = None

    @property
    def usable(self) -> bool:
        return True

    @property
    def looks(self) -> int:
        assert isinstance(self.inbox, CountingInbox)
        return self.inbox.looks

    def drain_one(self, deadline: float) -> bool:
        if self.error is not None:
            raise self.error
        try:
            self.inbox.take(None, deadline)
        except DeadlinePassed:
            return False
        self.dispatched += 1
        self.inbox.dispatched()
        return True

    def put(self) -> None:
        with self.inbox.lock:
            self.inbox.put(EVENT)
            self.inbox.wake()


def test_one_event_of_any_source_is_dispatched_and_the_wakers_are_gone() -> None:
    one, two = Source(), Source()
    two.put()
    two.put()
    assert drain_any([one, two], 0.0) is True
    assert (one.dispatched, two.dispatched) == (0, 1)
    assert drain_any([one, two], 0.0) is True
    assert drain_any([one, two], time.monotonic() + 0.01) is False
    assert (one.inbox.wakers, two.inbox.wakers) == ([], [])


def test_a_sleeper_is_woken_by_either_source() -> None:
    for which in range(2):
        sources = [Source(), Source()]
        result: list[bool] = []
        thread = threading.Thread(
            target=lambda own=sources, out=result: out.append(
                drain_any(own, time.monotonic() + 10)
            ),
            daemon=True,
        )
        thread.start()
        deadline = time.monotonic() + 5
        while not sources[1].looks:
            assert time.monotonic() < deadline
        began = time.monotonic()
        sources[which].put()
        thread.join(5)
        assert not thread.is_alive()
        assert time.monotonic() - began < 5
        assert result == [True]


def test_a_wake_without_an_event_does_not_make_it_spin() -> None:
    one, two = Source(), Source()
    timer = threading.Timer(0.02, lambda: _wake(one))
    timer.start()
    assert drain_any([one, two], time.monotonic() + 0.2) is False
    timer.join(5)
    assert one.looks <= 4


def _wake(source: Source) -> None:
    with source.inbox.lock:
        source.inbox.wake()


def test_an_end_is_raised_and_a_released_channel_left_out() -> None:
    one, two = Source(), Source()
    one.put()
    two.put()
    one.error = LeaseEnded("released")
    assert drain_any([one, two], 0.0) is True
    assert two.dispatched == 1
    two.error = ConnectionLost("gone")
    with two.inbox.lock:
        two.inbox.end(lambda: ConnectionLost("gone"))
    with pytest.raises(ConnectionLost, match="gone"):
        drain_any([one, two], 0.0)
    assert (one.inbox.wakers, two.inbox.wakers) == ([], [])


def test_no_event_is_missed_between_looking_and_waiting(crowd: Any) -> None:
    total = 2000
    sources = [Source(), Source(), Source()]

    def work(number: int) -> int:
        if number < 3:
            for _ in range(total):
                sources[number].put()
            return 0
        done = 0
        while done < 3 * total:
            assert drain_any(sources, time.monotonic() + 10)
            done += 1
        return done

    assert crowd(4, work).run()[3] == 3 * total
    assert [each.dispatched for each in sources] == [total] * 3
