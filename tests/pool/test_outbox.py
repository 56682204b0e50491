"""The write path without a socket: order, combining, bounds, hand-over, failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from amqpool.errors import ConnectionLost, PublishTimeout
from amqpool.outbox import ASIDE, BURST_GAP, BURST_SENDS, HAND_OVER_ROUNDS, Outbox


class Kernel:
    """Takes what it is told to take."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.sends: list[bytes] = []
        self.wakes = 0
        self.error: OSError | None = None
        self.during: Callable[[], None] | None = None

    def send(self, data: bytes | memoryview) -> int:
        if self.error is not None:
            raise self.error
        if self.during is not None:
            self.during()
        count = len(data) if self.room is None else min(self.room, len(data))
        if self.room is not None:
            self.room -= count
        if count:
            self.sends.append(bytes(data[:count]))
        return count

    def wake(self) -> None:
        self.wakes += 1

    @property
    def bytes(self) -> bytes:
        return b"".join(self.sends)


def make(room: int | None = None, limit: int = 1000) -> tuple[Outbox, Kernel]:
    kernel = Kernel(room)
    return Outbox(kernel.send, kernel.wake, lambda: ConnectionLost("gone"), limit), kernel


def test_a_lone_message_is_sent_at_once() -> None:
    outbox, kernel = make()
    assert outbox.admit(b"one") is True
    outbox.flush()
    assert (kernel.sends, outbox.pending, kernel.wakes) == ([b"one"], 0, 0)


def test_who_goes_on_at_once_sends_in_the_short_way_and_the_io_thread_never() -> None:
    (_, kernel), (_, quick) = make(), make()
    both = Outbox(kernel.send, kernel.wake, lambda: ConnectionLost("gone"), 1000, quick.send)
    for data, is_short in ((b"one", True), (b"two", False), (b"three", True)):
        assert both.admit(data)
        both.flush(short=is_short)
    assert (kernel.sends, quick.sends) == ([b"two"], [b"one", b"three"])
    quick.room = 2
    assert both.admit(b"four")
    both.flush(short=True)
    assert both.wants_io
    both.flush(io=True)
    assert (kernel.sends[-1], both.pending) == (b"ur", 0)


def test_what_is_appended_during_a_send_goes_out_in_one_piece() -> None:
    outbox, kernel = make()
    more = [b"two", b"three"]

    def append() -> None:
        while more:
            assert outbox.admit(more.pop(0)) is False

    kernel.during = append
    assert outbox.admit(b"one")
    outbox.flush()
    assert kernel.sends == [b"one", b"twothree"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time stands still, but for who adds to it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def burst(outbox: Outbox) -> None:
    for _ in range(BURST_SENDS):
        assert outbox.admit(b".")
        outbox.flush()


def test_in_a_burst_the_io_thread_sends_what_has_gathered(clock: list[float]) -> None:
    outbox, kernel = make()
    burst(outbox)
    assert (len(kernel.sends), kernel.wakes) == (BURST_SENDS, 0), "the first go out at once"
    assert outbox.admit(b"one")
    outbox.flush()
    assert (len(kernel.sends), kernel.wakes, outbox.wants_io) == (BURST_SENDS, 1, True)
    for more in (b"two", b"three", b"four"):
        assert outbox.admit(more) is False
    outbox.flush(io=True)
    assert kernel.sends[BURST_SENDS:] == [b"onetwothreefour"]
    assert outbox.admit(b"five")
    outbox.flush()
    assert outbox.wants_io, "it goes on"


def pause(outbox: Outbox, clock: list[float]) -> None:
    clock[0] += 2 * BURST_GAP


def ask_for_a_flush(outbox: Outbox, clock: list[float]) -> None:
    assert outbox.wait_sent(outbox.mark, clock[0])


def gather_little(outbox: Outbox, clock: list[float]) -> None:
    assert outbox.admit(b".")
    outbox.flush()
    assert outbox.wants_io
    outbox.flush(io=True)


@pytest.mark.parametrize("end", [pause, ask_for_a_flush, gather_little])
def test_what_ends_a_burst(end: Callable[[Outbox, list[float]], None], clock: list[float]) -> None:
    outbox, kernel = make()
    burst(outbox)
    end(outbox, clock)
    assert outbox.admit(b"lone")
    outbox.flush()
    assert (kernel.sends[-1], outbox.wants_io) == (b"lone", False)


def test_a_burst_ends_with_the_connection(clock: list[float]) -> None:
    outbox, _kernel = make()
    burst(outbox)
    assert outbox.admit(b"one")
    outbox.flush()
    outbox.close()
    assert outbox.wait_idle(clock[0]) is True
    outbox.flush(io=True)
    with pytest.raises(ConnectionLost):
        outbox.admit(b"two")


def test_what_the_kernel_does_not_take_is_left_to_the_io_thread() -> None:
    outbox, kernel = make(room=4)
    assert outbox.admit(b"abcdefgh")
    outbox.flush()
    assert (outbox.pending, outbox.wants_io, kernel.wakes) == (4, True, 1)
    assert outbox.admit(b"ij") is False
    kernel.room = None
    outbox.flush(io=True)
    assert (kernel.bytes, outbox.pending, outbox.wants_io) == (b"abcdefghij", 0, False)
    assert outbox.admit(b"k") is True
    outbox.flush()


def test_a_sender_works_for_others_only_so_long() -> None:
    outbox, kernel = make()
    count = 0

    def append() -> None:
        nonlocal count
        count += 1
        outbox.push(b"x")

    kernel.during = append
    outbox.push(b"x")
    outbox.flush()
    assert count == HAND_OVER_ROUNDS
    assert outbox.wants_io
    assert kernel.wakes == 1


def test_the_outbox_is_bounded_in_bytes() -> None:
    outbox, _ = make(room=0, limit=1000)
    outbox.admit(b"x" * 100)
    outbox.flush()
    for _ in range(9):
        assert outbox.admit(b"x" * 100) is False
    assert outbox.pending == 1000
    assert outbox.admit(b"x") is None
    assert outbox.push(b"control") is False
    started = time.monotonic()
    with pytest.raises(PublishTimeout, match=r"took no message for 0\.05 s: 1007 bytes"):
        outbox.wait_room(1, started + 0.05, 0.05)
    assert time.monotonic() - started >= 0.05


def test_a_large_message_gets_in_when_half_is_free() -> None:
    outbox, _ = make(room=0, limit=1000)
    outbox.push(b"x" * 500)
    outbox.flush()
    assert outbox.admit(b"x" * 5000) is False
    assert outbox.admit(b"x") is None


def test_blocked_publishers_wait_and_control_frames_do_not() -> None:
    outbox, kernel = make()
    outbox.set_blocked("low on memory")
    assert outbox.admit(b"message") is None
    assert outbox.push(b"ack") is True
    outbox.flush()
    assert kernel.bytes == b"ack"
    with pytest.raises(PublishTimeout, match=r"blocked publishers for 0\.01 s: low on memory"):
        outbox.wait_room(7, time.monotonic() + 0.01, 0.01)
    outbox.set_blocked(None)
    assert outbox.admit(b"message") is True
    outbox.flush()


def test_a_waiter_for_room_wakes_when_half_is_free() -> None:
    outbox, kernel = make(room=0, limit=100)
    outbox.push(b"x" * 100)
    outbox.flush()
    waiter = threading.Thread(
        target=outbox.wait_room, args=(10, time.monotonic() + 10, 10.0), daemon=True
    )
    waiter.start()
    kernel.room = 40
    outbox.flush(io=True)
    waiter.join(0.05)
    assert waiter.is_alive()
    kernel.room = 20
    outbox.flush(io=True)
    waiter.join(5)
    assert not waiter.is_alive()


def test_wait_sent_waits_for_its_mark_alone() -> None:
    outbox, kernel = make(room=5)
    outbox.push(b"12345")
    outbox.flush()
    mark = outbox.mark
    outbox.push(b"67890")
    outbox.flush()
    assert outbox.wait_sent(mark, time.monotonic()) is True
    assert outbox.wait_sent(outbox.mark, time.monotonic() + 0.01) is False
    kernel.room = None
    outbox.flush(io=True)
    assert outbox.wait_sent(outbox.mark, time.monotonic()) is True


def test_a_failed_write_ends_the_outbox_and_wakes_everybody_once_the_reason_is_known() -> None:
    outbox, kernel = make(room=0, limit=10)
    outbox.push(b"x" * 10)
    outbox.flush()
    errors: list[BaseException] = []

    def publish() -> None:
        outbox.wait_room(10, time.monotonic() + 10, 10.0)
        try:
            outbox.admit(b"y")
        except ConnectionLost as error:
            errors.append(error)

    waiters = [threading.Thread(target=publish, daemon=True) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    kernel.error = BrokenPipeError(32, "Broken pipe")
    with pytest.raises(ConnectionLost):
        outbox.flush(io=True)
    # The I/O thread reads on, for the broker may have said why.
    assert outbox.admit(b"y") is None
    waiters[0].join(0.05)
    assert [waiter.is_alive() for waiter in waiters] == [True] * 5
    outbox.close()
    for waiter in waiters:
        waiter.join(5)
        assert not waiter.is_alive()
    assert outbox.broken is kernel.error
    assert len({id(error) for error in errors}) == 5
    with pytest.raises(ConnectionLost):
        outbox.push(b"late")


@pytest.mark.parametrize("how", ["send", "wait for room"])
def test_who_cannot_send_tells_the_reason_that_the_io_thread_finds(how: str) -> None:
    reasons = ["the connection broke"]
    kernel = Kernel()
    outbox = Outbox(kernel.send, kernel.wake, lambda: ConnectionLost(reasons[-1]), 1000)
    kernel.error = BrokenPipeError(32, "Broken pipe")
    told: list[str] = []

    def publish() -> None:
        try:
            while outbox.admit(b"x") is None:
                outbox.wait_room(1, time.monotonic() + 10, 10.0)
            outbox.flush(patient=True)
        except ConnectionLost as error:
            told.append(error.reply_text)

    if how == "wait for room":
        outbox.fail(kernel.error)
    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    thread.join(0.05)
    assert told == []
    reasons.append("CONNECTION_FORCED")
    outbox.close()
    thread.join(5)
    assert told == ["CONNECTION_FORCED"]
    assert kernel.wakes > 0


def test_a_reason_that_nobody_finds_is_not_waited_for_without_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("amqpool.outbox.WHY", 0.02)
    outbox, kernel = make()
    kernel.error = BrokenPipeError(32, "Broken pipe")
    assert outbox.admit(b"x")
    with pytest.raises(ConnectionLost):
        outbox.flush(patient=True)
    with pytest.raises(ConnectionLost):
        outbox.wait_room(1, time.monotonic() + 0.02, 0.02)


def test_who_is_interrupted_between_two_sends_leaves_the_rest_to_the_io_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox, kernel = make()
    kernel.during = lambda: outbox.push(b"other's")
    outbox.push(b"mine")
    following = outbox._next

    def interrupt() -> Any:
        if kernel.sends:
            raise KeyboardInterrupt
        return following()

    monkeypatch.setattr(outbox, "_next", interrupt)
    with pytest.raises(KeyboardInterrupt):
        outbox.flush()
    monkeypatch.setattr(outbox, "_next", following)
    assert (outbox.wants_io, kernel.wakes, outbox.broken) == (True, 1, None)
    kernel.during = None
    outbox.flush(io=True)
    assert (kernel.sends, outbox.pending) == ([b"mine", b"other's"], 0)


def test_who_is_interrupted_in_the_midst_of_a_send_breaks_the_connection() -> None:
    """Nobody knows what the kernel took, and other threads' messages may be among it."""
    outbox, kernel = make()

    def interrupt() -> None:
        raise KeyboardInterrupt

    outbox.push(b"mine and others'")
    kernel.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        outbox.flush()
    assert str(outbox.broken) == "a thread was interrupted in the midst of a send"
    assert kernel.wakes == 1, "the I/O thread finds out"
    assert outbox.admit(b"the next one") is None
    with pytest.raises(ConnectionLost):
        outbox.push(b"an ack")
    outbox.close()
    with pytest.raises(ConnectionLost):
        outbox.admit(b"the next one")


def test_nothing_gets_behind_the_goodbye() -> None:
    outbox, kernel = make(room=0, limit=10)
    outbox.push(b"x" * 10)
    outbox.flush()
    errors: list[BaseException] = []

    def publish() -> None:
        outbox.wait_room(10, time.monotonic() + 10, 10.0)
        try:
            outbox.admit(b"late")
        except ConnectionLost as error:
            errors.append(error)

    waiter = threading.Thread(target=publish, daemon=True)
    waiter.start()
    assert outbox.push_last(b"goodbye") is False
    waiter.join(5)
    assert not waiter.is_alive()
    assert len(errors) == 1
    with pytest.raises(ConnectionLost):
        outbox.push(b"ack")
    kernel.room = None
    outbox.flush(io=True)
    assert kernel.bytes == b"x" * 10 + b"goodbye"


class Taken:
    """A lock that others hold at first; notes how it is asked for."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked: list[str] = []

    def acquire(self, blocking: bool = True) -> bool:
        self.asked.append("wait" if blocking else "try")
        self.times -= 1
        return self.times < 0

    def release(self) -> None:
        self.asked.append("release")

    def __enter__(self) -> None:
        self.asked.append("with")

    def __exit__(self, *exc_info: object) -> None:
        self.asked.append("release")


@pytest.mark.parametrize("way", ["push", "admit"])
def test_who_finds_the_lock_taken_steps_aside(
    monkeypatch: pytest.MonkeyPatch, crowd: Any, way: str
) -> None:
    """In a queue it would get the lock before it can run: the convoy that publishers were in."""
    outbox = Outbox(len, lambda: None, lambda: ConnectionLost("x"), 1000)
    pauses: list[float] = []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic)
    monkeypatch.setattr("amqpool.outbox.time", clock)
    lock = Taken(2)
    monkeypatch.setattr(outbox, "_lock", lock)
    threads = crowd(1, lambda _: getattr(outbox, way)(b"abc"))
    assert threads.run() == [True]
    assert pauses == [ASIDE] * 2
    assert lock.asked == ["try", "try", "try", "release"]
    assert outbox.pending == 3


def test_the_thread_that_ctrl_c_interrupts_takes_the_lock_in_one_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox = Outbox(len, lambda: None, lambda: ConnectionLost("x"), 1000)
    lock = Taken(0)
    monkeypatch.setattr(outbox, "_lock", lock)
    assert outbox.push(b"abc")
    assert lock.asked == ["with", "release"]


def test_a_refused_message_leaves_the_lock_free(crowd: Any) -> None:
    outbox = Outbox(len, lambda: None, lambda: ConnectionLost("it is gone"), 1000)
    outbox.close()
    threads = crowd(2, lambda _: outbox.push(b"abc"))
    threads.go()
    threads.join()
    assert [str(error) for error in threads.errors] == ["it is gone"] * 2
    assert outbox.pending == 0


# -- acknowledgements that are sent as one ------------------------------------------------------


def test_an_ack_takes_the_place_of_the_one_before_while_that_waits_last() -> None:
    outbox, kernel = make()
    first, second, third = b"ack1", b"ack2", b"ack3"
    assert outbox.push_ack(first, None, True) is True
    assert outbox.wants_io
    assert outbox.ends_with(first)
    mark = outbox.mark
    assert outbox.push_ack(second, first, True) is False
    # It is as long: marks and bounds stay as they are.
    assert (outbox.mark, outbox.pending, outbox.ends_with(second)) == (mark, 4, True)
    assert outbox.push_ack(third, first, True) is False
    outbox.flush()
    assert (kernel.sends, kernel.wakes) == ([], 1)
    outbox.flush(io=True)
    assert kernel.sends == [b"ack2ack3"]
    assert not outbox.wants_io
    assert not outbox.ends_with(third)


def test_an_ack_stays_behind_what_was_appended_before_it() -> None:
    """One that took its predecessor's place further up would overtake the publish that the
    application made first."""
    outbox, kernel = make()
    first = b"ack1"
    outbox.push_ack(first, None, True)
    outbox.admit(b"publish")
    assert not outbox.ends_with(first)
    outbox.push_ack(b"ack2", first, True)
    outbox.flush(io=True)
    assert kernel.bytes == b"ack1publishack2"


def test_an_ack_of_bytes_that_are_equal_and_others_is_another() -> None:
    outbox, kernel = make()
    outbox.push_ack(bytes([1, 2]), None, True)
    twin = bytes([1, 2])
    assert not outbox.ends_with(twin)
    outbox.push_ack(b"ab", twin, True)
    outbox.flush(io=True)
    assert kernel.bytes == b"\1\2ab"


def test_a_lone_ack_is_sent_by_its_caller() -> None:
    outbox, kernel = make()
    assert outbox.push_ack(b"ack1", None, False) is True
    assert not outbox.wants_io
    outbox.flush()
    assert (kernel.sends, kernel.wakes) == ([b"ack1"], 0)
    # It is gone: the next one is appended.
    assert outbox.push_ack(b"ack2", None, False) is True


def test_an_ack_is_refused_once_the_connection_is_gone() -> None:
    outbox, _ = make()
    first = b"ack1"
    outbox.push_ack(first, None, True)
    outbox.fail(OSError("broken"))
    with pytest.raises(ConnectionLost):
        outbox.push_ack(b"ack2", first, True)


def test_a_mark_is_reached_when_the_ack_that_took_the_place_is_sent() -> None:
    outbox, _ = make()
    first = b"ack1"
    outbox.push_ack(first, None, True)
    mark = outbox.mark
    outbox.push_ack(b"ack2", first, True)
    assert not outbox.is_sent(mark)
    outbox.flush(io=True)
    assert outbox.is_sent(mark)
