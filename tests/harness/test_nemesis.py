"""The nemesis against a made-up proxy: what counts as a kill, and what is reported as missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from benchmarks.harness.nemesis import Nemesis
from benchmarks.harness.progress import Progress
from benchmarks.proxy.control import Control
from benchmarks.wire.control import ControlError

DEADLINE = 10.0
MISSED: dict[str, Any] = {"fired": False, "why": "no connection that is ready"}
#: The proxy is gone for good.
GONE = "gone"


class Proxy:
    """Answers as it was told to; when nothing is left it fires."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, str]] = []

    def fault(self, kind: str) -> dict[str, Any]:
        self.asked.append((time.monotonic(), kind))
        answer = self.answers.pop(0) if self.answers else {"fired": True, "generations": [1]}
        if answer is GONE:
            self.answers.insert(0, GONE)
            raise ControlError("the proxy went away")
        return {**answer, "t": time.monotonic()} if answer["fired"] else dict(answer)


def nemesis(proxy: Proxy, planned: int = 1, patience: float = DEADLINE) -> Nemesis:
    return Nemesis(cast(Control, proxy), "rst", planned, patience=patience, recovery=5.0)


def test_a_strike_waits_until_there_is_something_to_break() -> None:
    proxy = Proxy(MISSED, MISSED)
    enemy = nemesis(proxy)
    assert not enemy.expects_errors(time.monotonic())
    t = enemy.strike()
    assert t is not None
    assert [kind for _, kind in proxy.asked] == ["rst"] * 3
    told = enemy.snapshot()
    asked = told["fired"][0]["asked"]
    assert told == {
        "planned": 1,
        "fired": [{"fired": True, "generations": [1], "t": t, "kind": "rst", "asked": asked}],
        "missed": [],
    }
    # The window opens before the proxy acts, and only the strike that fired opens one.
    assert proxy.asked[1][0] < asked <= proxy.asked[2][0] <= t
    assert not enemy.expects_errors(asked - 0.001)
    assert enemy.expects_errors(asked)
    assert enemy.expects_errors(asked + 5.0)
    assert not enemy.expects_errors(asked + 5.001)


def test_a_strike_that_finds_nothing_is_missed_with_the_proxys_reason() -> None:
    enemy = nemesis(Proxy(*[MISSED] * 100_000), patience=0.05)
    assert enemy.strike() is None
    assert enemy.snapshot() == {"planned": 1, "fired": [], "missed": [MISSED["why"]]}
    assert not enemy.expects_errors(time.monotonic())


def test_a_proxy_that_is_gone_is_missed_at_once_and_raises_nothing() -> None:
    enemy, started = nemesis(Proxy(GONE)), time.monotonic()
    assert [enemy.strike(), enemy.strike()] == [None, None]
    assert time.monotonic() - started < DEADLINE / 2
    assert enemy.snapshot()["missed"] == ["the proxy went away"] * 2
    assert not enemy.expects_errors(time.monotonic())


@contextmanager
def at_work(enemy: Nemesis, progress: Progress) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=enemy.run, args=[progress], name="nemesis", daemon=True)
    thread.start()
    yield thread
    thread.join(DEADLINE)
    assert not thread.is_alive()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_strikes_once_at_each_mark() -> None:
    progress, enemy = Progress([2, 4], slack=10), nemesis(Proxy(), planned=2)
    with at_work(enemy, progress):
        progress.advance(True)
        assert enemy.snapshot()["fired"] == []
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 1)
        progress.advance(True)
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 2)
    assert enemy.snapshot()["missed"] == []


def test_it_waits_for_a_success_since_the_last_kill() -> None:
    progress, enemy = Progress([1, 2], slack=10), nemesis(Proxy(), planned=2)
    with at_work(enemy, progress) as thread:
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 1)
        progress.advance(False)
        thread.join(0.05)
        assert len(enemy.snapshot()["fired"]) == 1
        progress.advance(True)
    assert len(enemy.snapshot()["fired"]) == 2


def test_a_client_that_never_recovered_is_not_struck_again() -> None:
    progress, enemy = Progress([1, 2], slack=10), nemesis(Proxy(), planned=2, patience=0.05)
    with at_work(enemy, progress):
        progress.advance(True)
        until(lambda: len(enemy.snapshot()["fired"]) == 1)
        progress.advance(False)
    told = enemy.snapshot()
    assert (len(told["fired"]), told["missed"]) == (
        1,
        ["no operation succeeded since the fault before"],
    )


@pytest.mark.parametrize("succeeded", [True, False])
def test_it_ends_with_the_load(succeeded: bool) -> None:
    progress, enemy = Progress([1, 100], slack=10), nemesis(Proxy(), planned=2)
    with at_work(enemy, progress):
        progress.advance(succeeded)
        until(lambda: len(enemy.snapshot()["fired"]) == int(succeeded))
        progress.finish()


def test_held_workers_go_on_when_the_proxy_is_gone() -> None:
    progress, enemy = Progress([1], slack=0), nemesis(Proxy(GONE))
    with at_work(enemy, progress):
        progress.advance(True)
    assert progress.wait_for_mark() is False
    assert enemy.snapshot()["missed"] == ["the proxy went away"]
