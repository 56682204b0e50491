"""Who was parked when a publish began: pure sorting, and a thread that really sits in a drain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from benchmarks.clients.base import Bounds
from benchmarks.harness.history import History
from benchmarks.harness.leases import LeaseLedger
from benchmarks.harness.parked import FAILURES, Parked, SortedOut, sort_out
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.workload import Context

DEADLINE = 10.0


@pytest.mark.parametrize(
    ("publishes", "drains", "free", "parked"),
    [
        pytest.param([], [[]], [], [], id="nothing"),
        pytest.param([(1.0, 1.5)], [[]], [500.0], [], id="nobody ever parked"),
        pytest.param([(1.0, 1.5)], [[(0.0, 2.0)]], [], [500.0], id="one in a drain"),
        pytest.param([(1.0, 1.5)], [[(0.0, 1.0)]], [500.0], [], id="just out of it"),
        pytest.param([(1.0, 1.5)], [[(1.0, 2.0)]], [], [500.0], id="just in it"),
        pytest.param(
            [(1.0, 4.0)], [[(0.0, 3.0)]], [], [3000.0], id="held up until the drain was over"
        ),
        pytest.param([(1.0, 1.5)], [[(0.0, 2.0)], [(1.2, 2.0)]], [], [], id="one of two"),
        pytest.param([(1.0, 1.5)], [[(0.0, 2.0)], [(0.5, 2.0)]], [], [500.0], id="both"),
        pytest.param(
            [(1.0, 1.5), (4.5, 5.0)], [[(0.0, 0.5), (2.0, float("inf"))]], [500.0], [500.0],
            id="one that never came back",
        ),
    ],
)  # fmt: skip
def test_publishes_are_sorted_by_who_was_parked_when_they_began(
    publishes: list[tuple[float, float]],
    drains: list[list[tuple[float, float]]],
    free: list[float],
    parked: list[float],
) -> None:
    assert sort_out(publishes, drains) == SortedOut(free, parked)


class Lost(Exception):
    pass


class Quiet:
    """A client on whose queue nothing comes; ``failing`` is what a drain raises instead."""

    bounds = Bounds()
    heartbeat = 0
    timeouts = (TimeoutError,)
    recoverable: tuple[type[BaseException], ...] = ()
    closed = (Lost,)
    cancelled: tuple[type[BaseException], ...] = ()
    unconfirmed: tuple[type[BaseException], ...] = ()

    def __init__(self, failing: type[BaseException] | None = None) -> None:
        self.failing = failing
        self.calls: list[str] = []
        self.release_drain = threading.Event()

    def acquire(self, timeout: float) -> str:
        self.calls.append("acquire")
        return "handle"

    def release(self, handle: str) -> None:
        self.calls.append("release")

    def channel_key(self, handle: str) -> tuple[int, int]:
        return (1, 1)

    def declare(self, handle: str, queue: str, passive: bool, durable: bool = True) -> str:
        return queue

    def consume(
        self, handle: str, queue: str, tag: str, prefetch: int, callback: Any, no_ack: bool = False
    ) -> str:
        return tag

    def cancel(self, handle: str, tag: str) -> None:
        self.calls.append("cancel")

    def drain_lease(self, handle: str, timeout: float) -> None:
        if self.failing is not None:
            raise self.failing
        self.release_drain.wait(timeout)
        raise TimeoutError


class Sitting:
    """A parked thread at work."""

    def __init__(self, client: Quiet, closing: threading.Event | None = None) -> None:
        self.gate, self.stop = threading.Event(), threading.Event()
        self.history = History()
        self.recorder = Recorder(client.recoverable, client.timeouts)
        self.slot = Slot("parked-0", "parked")
        context = Context(
            run="t1",
            client=cast(Any, client),
            queue="amqpool.t1",
            history=self.history,
            leases=LeaseLedger(),
            recorder=self.recorder,
            nemesis=None,
            progress=Progress([], 0),
            aborted=threading.Event(),
            closing=closing,
        )
        self.parked = Parked(context, self.slot, self.gate, self.stop)
        self.thread = threading.Thread(target=self.parked.run, name="parked-0", daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()
        assert self.slot.done


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_drains_while_the_gate_is_open_and_only_then() -> None:
    client = Quiet()
    sitting = Sitting(client)
    until(lambda: bool(sitting.slot.succeeded["park"]))
    assert not sitting.parked.in_drain()
    sitting.gate.set()
    until(sitting.parked.in_drain)
    sitting.gate.clear()
    client.release_drain.set()
    until(lambda: not sitting.parked.in_drain())
    sitting.end()
    assert client.calls == ["acquire", "cancel", "release"]
    assert sitting.slot.attempted["drain_parked"] == len(sitting.parked.drains)
    assert all(start < end < float("inf") for start, end in sitting.parked.drains)
    kinds = [entry[0] for entry in sitting.history.snapshot()["parked-0"]]
    assert kinds == [
        *("lease", "declare", "consume"),
        *["op"] * len(sitting.parked.drains),
        *("cancel", "released"),
    ]
    assert sitting.recorder.snapshot()["events"] == [], "its timeout is its contract"


def test_it_gives_up_what_is_broken_for_good() -> None:
    sitting = Sitting(Quiet(ValueError))
    sitting.gate.set()
    sitting.thread.join(DEADLINE)
    assert sitting.slot.gave_up is not None
    assert len(sitting.recorder.snapshot()["events"]) == FAILURES
    sitting.end()


@pytest.mark.parametrize(("told", "errors"), [(True, 0), (False, FAILURES)])
def test_a_client_that_was_told_to_close_may_say_so(told: bool, errors: int) -> None:
    closing = threading.Event()
    if told:
        closing.set()
    sitting = Sitting(Quiet(Lost), closing)
    sitting.gate.set()
    sitting.thread.join(DEADLINE)
    sitting.end()
    assert len(sitting.recorder.snapshot()["events"]) == errors
