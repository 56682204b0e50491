"""One round of recovery with a connector that is a script, and a clock that only counts."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from amqpool.errors import ConnectionLost, LoginRefused, RecoveryFailed
from amqpool.recovery import FIRST_PAUSE, LONGEST_PAUSE, Round


class Attempt:
    """A connection as far as a round knows one."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.connected = False
        self.closed = False
        self.aborted = threading.Event()

    def connect(self) -> None:
        if self.error is not None:
            raise self.error
        self.connected = True

    def lost(self) -> Exception:
        return ConnectionLost("died at once")

    def close(self, timeout: float) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted.set()


class Script:
    """Hands out attempts in order; pauses are noted instead of waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> None:
        self.attempts = [Attempt(error) for error in errors]
        self.pauses: list[float] = []
        self.finished: list[Round] = []
        #: Index of the host and seconds for it, of each attempt.
        self.asked: list[tuple[int, float]] = []
        monkeypatch.setattr(Round, "_rest", lambda _, seconds: self.pauses.append(seconds))

    def connector(self, made: Iterator[Attempt]) -> Callable[[int, float], Attempt]:
        def make(host: int, seconds: float) -> Attempt:
            self.asked.append((host, seconds))
            return next(made)

        return make

    def run(self, **options: Any) -> Round:
        made = iter(self.attempts)
        hosts = options.pop("hosts", ["a broker"])
        deadline = options.pop("deadline", 1000.0)
        one = Round(
            self.connector(made),  # type: ignore[arg-type]
            hosts=hosts,
            deadline=deadline,
            rng=random.Random(7),
            finished=self.finished.append,
            **options,
        )
        one.run()
        assert self.finished == [one]
        assert one.wait(0.0)
        return one


def lost(number: int = 1) -> ConnectionLost:
    return ConnectionLost(f"failure {number}")


def test_the_first_attempt_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, None)
    one = script.run()
    assert one.connection is script.attempts[0]
    assert (one.attempts, script.pauses, script.attempts[0].closed) == (1, [], False)


def test_pauses_come_only_between_failures_and_grow_with_jitter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(monkeypatch, *[lost()] * 10, None)
    one = script.run()
    assert one.attempts == 11
    assert len(script.pauses) == 10
    nominal = [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(10)]
    for pause, most in zip(script.pauses, nominal, strict=True):
        assert most / 2 <= pause <= most
    assert len({pause / most for pause, most in zip(script.pauses, nominal, strict=True)}) == 10
    assert [each.closed for each in script.attempts] == [True] * 10 + [False]


def test_a_seed_replays_the_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = []
    for _ in range(2):
        script = Script(monkeypatch, *[lost()] * 5, None)
        script.run()
        pauses.append(script.pauses)
    assert pauses[0] == pauses[1]


def test_the_deadline_ends_the_round_and_each_waiter_gets_its_own_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(monkeypatch, lost(1), lost(2))
    clock = iter([0.0, 0.0, 0.1, 0.4, 0.5, 1.5, 1.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    one = script.run(deadline=1.0)
    assert one.connection is None
    errors = [one.error(), one.error()]
    assert [type(error) for error in errors] == [RecoveryFailed] * 2
    assert errors[0] is not errors[1]
    assert str(errors[0]) == "no connection after 2 attempts in 1.50 s; the last one: failure 2"


def test_a_refused_login_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, LoginRefused("ACCESS_REFUSED", (10, 40), reply_code=403))
    one = script.run()
    assert (one.attempts, script.pauses) == (1, [])
    error = one.error()
    assert type(error) is LoginRefused
    assert error.reply_code == 403
    assert "ACCESS_REFUSED" in str(error)


def test_a_connection_that_died_at_once_is_a_failed_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(monkeypatch, None, None)
    monkeypatch.setattr(script.attempts[0], "connect", lambda: None)
    one = script.run()
    assert (one.attempts, len(script.pauses), one.last_error) == (2, 1, "died at once")
    assert script.attempts[0].closed


def test_the_hosts_are_asked_in_turn_and_pauses_come_between_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(monkeypatch, *[lost()] * 7, None)
    one = script.run(hosts=["a", "b", "c"], first=1)
    assert [host for host, _ in script.asked] == [1, 2, 0, 1, 2, 0, 1, 2]
    assert (one.host, len(script.pauses)) == (2, 2)


def test_each_host_gets_its_share_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, lost(), lost(), lost(), None)
    # The start; before each attempt; before the pause; the end.
    clock = iter([0.0, 0.0, 10.0, 12.0, 20.0, 20.0, 21.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    script.run(hosts=["a", "b", "c"], deadline=30.0)
    assert script.asked == [(0, 10.0), (1, 10.0), (2, 18.0), (0, pytest.approx(10 / 3))]


def test_an_unreachable_list_names_each_host_and_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(monkeypatch, lost(1), lost(2), lost(3))
    clock = iter([0.0, 0.0, 0.1, 0.2, 0.3, 1.5, 1.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    one = script.run(hosts=["amqp://guest@a:5672/", "amqp://guest@b:5672/"], deadline=1.0)
    assert str(one.error()) == (
        "no connection after 3 attempts in 1.50 s; "
        "amqp://guest@a:5672/: failure 3; amqp://guest@b:5672/: failure 2"
    )


def test_who_refuses_the_login_is_not_asked_again_but_others_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = LoginRefused("ACCESS_REFUSED", (10, 40), reply_code=403)
    script = Script(monkeypatch, refused, lost(), lost(), refused)
    one = script.run(hosts=["a", "b"])
    assert [host for host, _ in script.asked] == [0, 1, 1, 1]
    assert type(one.error()) is LoginRefused, "there was nobody left to ask"
    script = Script(monkeypatch, refused, lost(), None)
    one = script.run(hosts=["a", "b"])
    assert one.host == 1
    assert one.connection is script.attempts[2]


def test_what_nobody_foresaw_is_told_to_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, RuntimeError("no such luck"))
    error = script.run().error()
    assert type(error) is RecoveryFailed
    assert str(error).endswith("RuntimeError: no such luck")
    assert script.attempts[0].closed


def test_cancel_ends_a_pause_and_a_connect() -> None:
    connecting = threading.Event()

    class Slow(Attempt):
        def connect(self) -> None:
            connecting.set()
            assert self.aborted.wait(10)
            raise lost()

    slow = Slow(None)
    one = Round(
        lambda number, remaining: slow,  # type: ignore[arg-type,return-value]
        hosts=["a broker"],
        deadline=1000.0,
        rng=random.Random(1),
        finished=lambda each: None,
    )
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    assert connecting.wait(5)
    assert one.wait(time.monotonic()) is False
    one.cancel()
    thread.join(5)
    assert not thread.is_alive()
    assert one.wait(time.monotonic()) is True
    assert slow.closed

    refusing = Round(
        lambda number, remaining: Attempt(lost()),  # type: ignore[arg-type,return-value]
        hosts=["a broker"],
        deadline=1000.0,
        rng=random.Random(1),
        finished=lambda each: None,
    )
    thread = threading.Thread(target=refusing.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 5
    while refusing.attempts < 4:
        assert time.monotonic() < deadline
    refusing.cancel()
    thread.join(5)
    assert not thread.is_alive()
