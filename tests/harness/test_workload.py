"""What the workload writes down when the client under test misbehaves."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from benchmarks.clients.base import Bounds
from benchmarks.harness.history import History
from benchmarks.harness.leases import LeaseLedger
from benchmarks.harness.plan import Step
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.workload import Context, Worker


class Late:
    """A receipt that is known after some questions."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def outcome(self) -> str | None:
        self.left -= 1
        return "ack" if self.left < 0 else None

    def returned(self) -> str | None:
        return None


class Client:
    """Publishes; every drain raises ``error``."""

    cannot: frozenset[str] = frozenset()
    bounds = Bounds(recovery=5.0)
    timeouts = (TimeoutError,)

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.drains = 0

    def acquire(self, timeout: float) -> str:
        return "channel"

    def channel_key(self, handle: str) -> str:
        return handle

    def release(self, handle: str) -> None: ...

    def publish(self, handle: str, message: Any) -> Late:
        return Late(4)

    def drain(self, timeout: float) -> None:
        self.drains += 1
        raise self.error


@pytest.mark.parametrize(
    "error",
    [KeyError(None), ConnectionError("lost"), TimeoutError("nothing came")],
    ids=["unexpected", "recoverable", "contract"],
)
def test_a_late_confirm_is_written_down_whatever_the_drains_raise(error: Exception) -> None:
    client, history = Client(error), History()
    recorder = Recorder((ConnectionError,), client.timeouts)
    context = Context(
        run="t",
        client=client,  # type: ignore[arg-type]
        queue="q",
        history=history,
        leases=LeaseLedger(),
        recorder=recorder,
        nemesis=None,
        progress=Progress([], 0),
        aborted=threading.Event(),
    )
    slot = Slot("worker-0", "worker")
    worker = Worker(context, slot, (Step("publish", size=64),))
    worker.run(threading.Barrier(1), cycles=False)
    told = [entry[2:] for entry in history.snapshot()["worker-0"] if entry[0] == "confirm"]
    assert told == [["t/worker-0/1", "ack"]]
    assert slot.done
    raised = 0 if isinstance(error, TimeoutError) else client.drains
    assert len(recorder.snapshot()["events"]) == raised
