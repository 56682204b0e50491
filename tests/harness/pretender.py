"""A client that has its broker in itself and misbehaves on demand, and a worker set on it."""

from __future__ import annotations

import threading
from typing import Any

from benchmarks.clients.base import Bounds, Client, Delivery, Outgoing
from benchmarks.harness.history import History
from benchmarks.harness.leases import LeaseLedger
from benchmarks.harness.plan import Step
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.windows import RECOVERABLE
from benchmarks.harness.workload import Context, Worker


class Lost(Exception):
    """What the client of this file declares as recoverable."""


class Shut(Exception):
    """What it raises once it was closed."""


class Cancelled(Lost):
    """The broker cancelled a consumer; derived as py-amqp's is."""


class Gone(Exception):
    """The broker closed a channel."""

    def __init__(self, reply_code: int) -> None:
        super().__init__(f"the broker said {reply_code}")
        self.reply_code = reply_code


class Receipt:
    """A receipt that is known after some questions."""

    def __init__(self, outcome: str = "ack", returned: str | None = None, late: int = 0) -> None:
        self.said, self.back, self.late = outcome, returned, late

    def outcome(self) -> str | None:
        self.late -= 1
        return self.said if self.late < 0 else None

    def returned(self) -> str | None:
        return self.back


class Pretender(Client):
    """A sound client that has its broker in itself. ``trouble`` makes single methods go wrong."""

    name = "pretender"
    bounds = Bounds(operation=0.2, recovery=0.5, close=0.2)

    def __init__(self, **trouble: Any) -> None:
        super().__init__([], size=1)
        self.trouble = trouble
        self.called: list[tuple[Any, ...]] = []
        self.queues: dict[str, list[Outgoing]] = {}
        self.consumers: dict[str, tuple[int, str, Any]] = {}
        self.handles = self.tags = 0
        self.nacks = 0

    version = "1"
    recoverable = (Lost,)
    timeouts = (TimeoutError,)
    closed = (Shut,)
    cancelled = (Cancelled,)

    def _call(self, name: str, *details: Any) -> None:
        self.called.append((name, *details))
        trouble = self.trouble.get(name)
        if isinstance(trouble, list):
            trouble = trouble.pop(0) if trouble else None
        if isinstance(trouble, BaseException):
            raise trouble

    def open(self) -> None: ...

    def connected(self) -> bool:
        self._call("connected")
        return True

    def drain(self, timeout: float) -> None:
        self._call("drain")
        raise TimeoutError

    def acquire(self, timeout: float) -> int:
        self._call("acquire", timeout)
        self.handles += 1
        return self.handles

    def release(self, handle: int) -> None:
        self._call("release", handle, threading.current_thread().name)
        # With the lease ends what it consumed.
        self.consumers = {t: c for t, c in self.consumers.items() if c[0] != handle}

    def channel_key(self, handle: int) -> tuple[int, int]:
        return (1, handle)

    def publish(self, handle: int, message: Outgoing) -> Receipt:
        self._call("publish", message.routing_key, len(message.body))
        if self.nacks:
            self.nacks -= 1
            return Receipt("nack")
        if message.mandatory:
            return Receipt(returned=message.identity)
        self.queues.setdefault(message.routing_key, []).append(message)
        return Receipt()

    def publish_confirmed(self, handle: int, message: Outgoing, timeout: float) -> Receipt:
        return self.trouble.get("receipt") or self.publish(handle, message)

    def consume(
        self, handle: int, queue: str, tag: str, prefetch: int, callback: Any, no_ack: bool = False
    ) -> str:
        self._call("consume", queue)
        self.consumers[tag] = (handle, queue, callback)
        return str(self.trouble.get("answer", tag))

    def drain_lease(self, handle: int, timeout: float) -> None:
        self._call("drain_lease")
        for tag, (_, queue, callback) in self.consumers.items():
            if self.queues.get(queue) and "silent" not in self.trouble:
                callback(self._delivery(queue, tag))
                return
        raise TimeoutError

    def _delivery(self, queue: str, tag: str | None) -> Delivery:
        self.tags += 1
        message = self.queues[queue].pop(0)
        return Delivery(message.identity, message.body, tag, self.tags, False)

    def cancel(self, handle: int, tag: str) -> None:
        self._call("cancel", tag)
        _, queue, callback = self.consumers[tag]
        if "late" in self.trouble:
            callback(self._delivery(queue, tag))
        del self.consumers[tag]

    def ack(self, handle: int, delivery_tag: int) -> None:
        self._call("ack", delivery_tag)

    def get(self, handle: int, queue: str, no_ack: bool = False) -> Delivery | None:
        self._call("get", queue, no_ack)
        if not self.queues.get(queue) or "silent" in self.trouble:
            return None
        return self._delivery(queue, None)

    def declare(self, handle: int, queue: str, passive: bool, durable: bool = True) -> str:
        self._call("declare", queue, passive, durable)
        if "never_refuses" not in self.trouble:
            if queue.endswith(".missing"):
                raise Gone(404)
            if not durable:
                raise Gone(406)
        self.queues.setdefault(queue, [])
        return str(self.trouble.get("answer", queue))

    def close(self, timeout: float) -> None: ...


class Faults:
    """A nemesis that strikes before each step; errors are expected for ``expecting`` questions."""

    def __init__(
        self,
        expecting: int = 0,
        when: float | None = None,
        words: tuple[str, ...] = (RECOVERABLE,),
    ) -> None:
        self.expecting, self.when, self.words = expecting, when, words
        self.strikes = 0

    def expects_errors(self, t: float, word: str = RECOVERABLE) -> bool:
        self.expecting -= 1
        return self.expecting >= 0 and word in self.words

    def under(self, word: str) -> bool:
        """It is over: the client's time to recover runs."""
        return False

    def strike(self) -> bool:
        self.strikes += 1
        return True

    def struck(self) -> float | None:
        return self.when


def context_of(client: Client, **fields: Any) -> Context:
    given: dict[str, Any] = {
        "run": "t",
        "client": client,
        "queue": "q",
        "history": History(),
        "leases": LeaseLedger(),
        "recorder": Recorder(client.recoverable, client.timeouts),
        "nemesis": None,
        "progress": Progress([], 0),
        "aborted": threading.Event(),
    }
    return Context(**{**given, **fields})


class Done:
    """A worker that went through its steps, and what it left behind."""

    def __init__(self, client: Client, *steps: Step | str, cycles: bool = False, **fields: Any):
        self.context = context_of(client, **fields)
        self.slot = Slot("worker-0", "worker")
        whole = tuple(Step(step, size=64) if isinstance(step, str) else step for step in steps)
        self.worker = Worker(self.context, self.slot, whole)
        self.worker.run(threading.Barrier(1), cycles)
        assert self.slot.done
        self.log = self.context.history.snapshot()["worker-0"]

    def of(self, kind: str) -> list[list[Any]]:
        return [entry[1:] for entry in self.log if entry[0] == kind]

    def kinds(self) -> list[str]:
        return [entry[0] for entry in self.log]

    def errors(self) -> list[str]:
        taken = self.context.recorder.snapshot()
        return [taken["signatures"][event[2]]["type"].split(".")[-1] for event in taken["events"]]
