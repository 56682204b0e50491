"""Resources: what a client leaves behind is found, whatever made it; what was there is not."""

from __future__ import annotations

import _thread
import os
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.harness.resources import Baseline, Resources, look, new_since

DEADLINE = 10.0
NOTHING = Resources({}, Counter())


@pytest.mark.parametrize(
    ("before", "now", "own", "threads", "fds"),
    [
        pytest.param(NOTHING, NOTHING, (), [], [], id="nothing at all"),
        pytest.param(
            Resources({1: "main"}, Counter(a=1)),
            Resources({1: "main"}, Counter(a=1)),
            (),
            [],
            [],
            id="as before",
        ),
        pytest.param(
            Resources({1: "main", 2: "old"}, Counter(a=2)),
            Resources({1: "main"}, Counter(a=1)),
            (),
            [],
            [],
            id="less than before",
        ),
        pytest.param(
            Resources({1: "main"}, Counter(a=1)),
            Resources({1: "main", 7: "heartbeat", 8: "worker-0"}, Counter(a=3, b=1)),
            (8,),
            ["heartbeat"],
            ["a", "a", "b"],
            id="a thread of its own, two more of one target, one of another",
        ),
        pytest.param(
            Resources({1: "io"}, Counter()),
            Resources({2: "io"}, Counter()),
            (),
            ["io"],
            [],
            id="another thread of the same name",
        ),
    ],
)
def test_new_since(
    before: Resources, now: Resources, own: tuple[int, ...], threads: list[str], fds: list[str]
) -> None:
    assert new_since(before, now, own) == (threads, fds)


def test_what_is_left_behind_is_found_once(tmp_path: Path) -> None:
    own: set[int] = set()
    baseline = Baseline(tmp_path, lambda: own)
    assert baseline.clean()
    stop = threading.Event()
    leaked = threading.Thread(target=stop.wait, name="leaked", daemon=True)
    mine = threading.Thread(target=stop.wait, name="mine", daemon=True)
    left, right = socket.socketpair()
    try:
        leaked.start()
        mine.start()
        assert mine.native_id is not None
        own.add(mine.native_id)
        assert not baseline.clean()
        baseline.take_down()
        assert baseline.clean(), "taken down once, it is known"
        told = baseline.as_json()
        assert told["new_threads"] == ["leaked"]
        targets = sorted(os.readlink(f"/proc/self/fd/{end.fileno()}") for end in (left, right))
        assert told["new_fds"] == targets
        baseline.take_down()
        assert baseline.as_json()["new_fds"] == targets
    finally:
        stop.set()
        left.close()
        right.close()
        for thread in (leaked, mine):
            thread.join(DEADLINE)
            assert not thread.is_alive()


def test_a_thread_that_the_threading_module_does_not_know(tmp_path: Path) -> None:
    before = look(tmp_path)
    started, stop, ended = threading.Event(), threading.Event(), threading.Event()

    def body() -> None:
        started.set()
        stop.wait(DEADLINE)
        ended.set()

    _thread.start_new_thread(body, ())
    assert started.wait(DEADLINE)
    try:
        threads, _ = new_since(before, look(tmp_path))
        assert len(threads) == 1
        assert threads[0]
    finally:
        stop.set()
        assert ended.wait(DEADLINE)


def test_the_trials_own_files_are_nobodys_leak(tmp_path: Path) -> None:
    baseline = Baseline(tmp_path, set)
    with (tmp_path / "progress.txt").open("w"):
        assert baseline.clean()
    other = tmp_path.parent / f"{tmp_path.name}-other"
    with other.open("w"):
        assert not baseline.clean()
    assert baseline.clean()
