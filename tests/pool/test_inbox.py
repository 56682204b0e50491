"""The inbox: order, bounds, one dispatcher at a time, and no wake-up is ever lost."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from amqpool.errors import ConnectionLost, LeaseEnded
from amqpool.inbox import EVENT_OVERHEAD, Call, DeadlinePassed, Inbox
from amqpool.parser import Event


def event(number: int, size: int = 0) -> Event:
    return Event((60, 60), b"%d" % number, b"", (b"x" * size,))


def put(inbox: Inbox, *events: Event) -> list[bool]:
    with inbox.lock:
        kept = [inbox.put(each) for each in events]
        inbox.wake()
    return kept


def test_events_come_out_in_order_and_then_the_deadline() -> None:
    inbox = Inbox(10_000)
    put(inbox, event(1), event(2))
    for number in (1, 2):
        assert inbox.take(None, 0.0) == event(number)
        inbox.dispatched()
    with pytest.raises(DeadlinePassed):
        inbox.take(None, 0.0)


def test_the_bound_is_in_bytes_and_one_event_always_fits() -> None:
    inbox = Inbox(1000)
    assert put(inbox, event(1, 5000)) == [True]
    assert put(inbox, event(2)) == [False]
    inbox.take(None, 0.0)
    inbox.dispatched()
    fits = 1000 // (EVENT_OVERHEAD + 1)
    assert put(inbox, *[event(1)] * 10) == [True] * fits + [False] * (10 - fits)


def test_what_is_left_is_dispatched_before_the_end_is_raised_anew_each_time() -> None:
    inbox = Inbox(1000)
    put(inbox, event(1))
    with inbox.lock:
        inbox.end(lambda: ConnectionLost("first"))
        inbox.end(lambda: ConnectionLost("second"))
    assert inbox.take(None, 0.0) == event(1)
    inbox.dispatched()
    raised = []
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="first") as caught:
            inbox.take(None, 0.0)
        raised.append(caught.value)
    assert raised[0] is not raised[1]


def test_a_parked_inbox_belongs_to_nobody() -> None:
    inbox = Inbox(1000)
    inbox.parked = True
    with pytest.raises(LeaseEnded):
        inbox.take(None, time.monotonic() + 10)


def test_a_thread_may_take_more_from_within_a_dispatch_and_others_wait() -> None:
    inbox = Inbox(10_000)
    put(inbox, event(1), event(2), event(3))
    inbox.take(None, 0.0)
    inbox.take(None, 0.0)
    other: list[Any] = []

    def take() -> None:
        other.append(inbox.take(None, time.monotonic() + 10))
        inbox.dispatched()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    inbox.dispatched()
    thread.join(0.05)
    assert thread.is_alive()
    inbox.dispatched()
    thread.join(5)
    assert not thread.is_alive()
    assert other == [event(3)]


def test_a_call_that_another_thread_answered_wakes() -> None:
    inbox = Inbox(10_000)
    call = Call(((20, 11),))
    got: list[Any] = []
    thread = threading.Thread(
        target=lambda: got.append(inbox.take(call, time.monotonic() + 10)), daemon=True
    )
    put(inbox, event(1))
    inbox.take(None, 0.0)
    thread.start()
    call.done = True
    inbox.dispatched()
    thread.join(5)
    assert not thread.is_alive()
    assert got == [None]


def test_no_event_is_lost_or_doubled_between_many_takers(crowd: Any) -> None:
    inbox = Inbox(10_000_000)
    total, takers = 3000, 6

    def work(number: int) -> list[bytes]:
        if not number:
            for at in range(0, total, 3):
                put(inbox, *(event(n) for n in range(at, at + 3)))
            with inbox.lock:
                inbox.end(lambda: ConnectionLost("done"))
            return []
        mine: list[bytes] = []
        while True:
            try:
                taken = inbox.take(None, time.monotonic() + 10)
            except ConnectionLost:
                return mine
            assert taken is not None
            mine.append(taken.args)
            inbox.dispatched()

    lists = crowd(takers + 1, work).run()
    assert sorted(int(each) for mine in lists for each in mine) == list(range(total))
    for mine in lists:
        assert [int(each) for each in mine] == sorted(int(each) for each in mine)
