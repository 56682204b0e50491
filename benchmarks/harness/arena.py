"""The arena of the ``time_`` benchmarks: broker and proxy as processes, the client in this one.

asv's own clock runs around ``chaos``, ``recover`` or ``publish``; nothing is judged here (a
supervised trial did that first, see ``suite.require``). The three never raise because of the
client and never hang: what fails is tried again until it is done or the bound has passed. So a
client that breaks while it is timed costs time, up to the bound, and never looks faster.

The clock stops when the broker *holds* every message: each one was confirmed by it, and what must
be in the queue is there by the broker's own word.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.clients.base import Client, Outgoing, Receipt
from benchmarks.clients.loader import load_client
from benchmarks.harness.brokers import Broker, choose_broker, start_broker
from benchmarks.harness.history import History
from benchmarks.harness.kinds import EMBEDDED
from benchmarks.harness.leases import LeaseLedger
from benchmarks.harness.nemesis import Nemesis
from benchmarks.harness.plan import BODY_BYTES, Plan, Step, body_of, make_plan
from benchmarks.harness.processes import Service
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.scenarios import Load
from benchmarks.harness.windows import RECOVERABLE
from benchmarks.harness.workload import RETRY_PAUSE, Consumer, Context, Worker
from benchmarks.proxy.control import Control
from benchmarks.wire.client import WireClient

#: The scenario whose faults ``recover`` injects, one cycle at a time.
CYCLES = "repeated_recovery_stress"
#: Seconds that one timed piece of work may take: each takes a second or two on two busy cores.
BOUND = 30.0
#: Bytes of a message in ``publish``, identity included: a small one, as most are.
MESSAGE_BYTES = 256
#: Messages that one thread has unconfirmed at a time: far more than fit into one round trip, and
#: far less than any client's or broker's bounds.
WINDOW = 100
#: Seconds between two looks at something that is all but certain to be there already.
LOOK = 0.01
#: Kinds of errors that are told when the arena closes.
TOLD_AT_MOST = 10


class Arena:
    """``channels`` is the size of the pool; ``proxied`` puts the fault proxy in between;
    ``broker`` is one that runs and outlives the arena, or the kind of one, which ends with it.

    Raises EnvironmentProblem and WireError: what our own services fail at, never the client.
    """

    def __init__(
        self, client: str, channels: int, *, proxied: bool, broker: str | Broker = EMBEDDED
    ) -> None:
        self.name = f"arena-{secrets.token_hex(3)}"
        self.queue = f"amqpool.{self.name}"
        self._stop = threading.Event()
        self._calls = self._cycles = 0
        self._opened = False
        # Guards the counter of errors. A leaf.
        self._lock = threading.Lock()
        self._errors: Counter[str] = Counter()
        #: What close() ends, last come first.
        self._ends = ExitStack()
        try:
            urls = self._start(broker, proxied)
            self._client: Client = load_client(client)(urls, channels)
            self._client.queue_arguments = self._running.queue_arguments
        except BaseException:
            self._ends.close()
            raise
        self._ends.callback(self._close_client)
        self._open(time.monotonic() + 2 * self._client.bounds.operation)

    def _start(self, broker: str | Broker, proxied: bool) -> list[str]:
        """Start the services; returns the URLs that the client connects to."""
        self._folder = Path(tempfile.mkdtemp(prefix="amqpool-arena-"))
        self._ends.callback(shutil.rmtree, self._folder, ignore_errors=True)
        if isinstance(broker, Broker):
            self._running = broker
        else:
            self._running = start_broker(choose_broker(broker), self._folder)
            self._ends.callback(self._running.stop)
        endpoints = self._running.endpoints
        self._broker = self._ends.enter_context(WireClient.to(endpoints[0]))
        arguments = dict(self._running.queue_arguments)
        self._broker.queue_declare(self.queue, durable=True, arguments=arguments)
        self._ends.callback(self._broker.queue_delete, self.queue)
        if not proxied:
            return [endpoint.url for endpoint in endpoints]
        token = secrets.token_hex(16)
        words = self._running.upstreams()
        proxy = Service("proxy", self._folder, words, {"AMQPOOL_PROXY_TOKEN": token})
        self._ends.callback(proxy.stop)
        ready = proxy.wait_ready()
        self._control = self._ends.enter_context(Control(ready["control"], token, timeout=10.0))
        return [
            replace(endpoint, host="127.0.0.1", port=port).url
            for endpoint, port in zip(endpoints, ready["ports"], strict=True)
        ]

    def close(self) -> None:
        """End consumers, client and services, and tell what failed meanwhile."""
        self._stop.set()
        self._ends.close()
        with self._lock:
            errors = self._errors.most_common(TOLD_AT_MOST)
        for error, count in errors:
            print(f"{count} x {error}", file=sys.stderr)

    # -- the timed work ----------------------------------------------------------------------

    def chaos(self, plan: Plan) -> None:
        """Every step of the plan, each worker in its own thread, and all confirms in."""
        self._drive(plan.steps)

    def recover(self, fault: str) -> None:
        """One fault, and then the first operation that the broker confirmed. Needs the proxy."""
        # The rule of a fault that needs one is drawn anew for each cycle; the seed is the cycle.
        self._cycles += 1
        plan = make_plan(CYCLES, Load(cycles=1), self._cycles, fault)
        nemesis = Nemesis(
            self._control,
            None,
            plan.faults,
            patience=BOUND,
            recovery=self._client.bounds.longest,
        )
        self._drive(((Step("publish_confirmed", size=BODY_BYTES[0]),),), nemesis)

    def publish(self, threads: int, messages: int) -> None:
        """``messages`` in all, from so many threads, each on one lease; the broker holds them."""
        deadline = time.monotonic() + BOUND
        self._open(deadline)
        wanted = self._ready() + messages
        shares = [messages // threads + (n < messages % threads) for n in range(threads)]
        publishers = [
            self._thread(f"publisher-{n}", partial(self._publisher, n, share, deadline))
            for n, share in enumerate(shares)
        ]
        self._join(publishers, deadline)
        while self._ready() < wanted and time.monotonic() < deadline:
            time.sleep(LOOK)

    def consume(self, number: int) -> None:
        """Start consumers that drain the queue until the arena closes. Not to be timed."""
        context = self._context()
        for index in range(number):
            slot = Slot(f"consumer-{index}", "consumer")
            consumer = Consumer(context, slot, self._stop)
            thread = self._thread(slot.name, consumer.run)
            self._ends.callback(thread.join, BOUND)
            consumer.consuming.wait(BOUND)

    # -- workers -----------------------------------------------------------------------------

    def _drive(self, work: Sequence[tuple[Step, ...]], nemesis: Nemesis | None = None) -> None:
        deadline = time.monotonic() + BOUND
        self._open(deadline)
        context = self._context(nemesis)
        barrier = threading.Barrier(len(work))
        cycles = nemesis is not None
        threads = []
        for number, steps in enumerate(work):
            worker = _Persistent(context, Slot(f"worker-{number}", "worker"), steps)
            threads.append(self._thread(f"worker-{number}", partial(worker.run, barrier, cycles)))
        self._join(threads, deadline)
        context.aborted.set()
        for signature in context.recorder.snapshot()["signatures"]:
            if signature["kind"] != RECOVERABLE:
                self._note(f"{signature['operation']}: {signature['type']}({signature['text']})")

    def _context(self, nemesis: Nemesis | None = None) -> Context:
        self._calls += 1
        return Context(
            run=f"{self.name}-{self._calls}",
            client=self._client,
            queue=self.queue,
            history=History(),
            leases=LeaseLedger(),
            recorder=Recorder(self._client.recoverable, self._client.timeouts),
            nemesis=nemesis,
            progress=Progress([], 0),
            aborted=threading.Event(),
        )

    # -- publishers --------------------------------------------------------------------------

    def _publisher(self, number: int, share: int, deadline: float) -> None:
        """The body of one publisher thread."""
        todo = [self._message(number, sequence) for sequence in range(share)]
        while todo and time.monotonic() < deadline:
            try:
                handle = self._client.acquire(self._client.bounds.operation)
                try:
                    while todo and time.monotonic() < deadline:
                        todo = self._window(handle, todo[:WINDOW], deadline) + todo[WINDOW:]
                finally:
                    self._client.release(handle)
            except BaseException as error:  # noqa: BLE001 - noted, and done again
                self._note(f"publish: {error!r}")
                self._stop.wait(RETRY_PAUSE[1])

    def _window(self, handle: Any, window: list[Outgoing], deadline: float) -> list[Outgoing]:
        """Publish them and wait for the broker's word; returns those that it did not take."""
        client = self._client
        receipts: list[Receipt] = [client.publish(handle, message) for message in window[:-1]]
        # Confirms of one channel come in order, so the last one's brings the others'.
        receipts.append(client.publish_confirmed(handle, window[-1], client.bounds.operation))
        while any(r.outcome() is None for r in receipts) and time.monotonic() < deadline:
            try:
                client.drain_lease(handle, LOOK)
            except client.timeouts:
                pass  # nothing came within that time: look again, until the deadline
        return [m for m, r in zip(window, receipts, strict=True) if r.outcome() != "ack"]

    def _message(self, number: int, sequence: int) -> Outgoing:
        identity = f"{self.name}/{number}/{sequence}"
        body = body_of(identity, MESSAGE_BYTES)
        return Outgoing(identity, body, "", self.queue, mandatory=False)

    def _ready(self) -> int:
        """Messages in the queue, by the broker's own word, on a connection of our own."""
        return self._broker.queue_declare(self.queue, passive=True).message_count

    # -- the client and the threads in which it is called --------------------------------------

    def _open(self, deadline: float) -> None:
        """Open the client if it is not open yet; tried again until the deadline."""
        while not self._opened and time.monotonic() < deadline:
            self._opened = self._returned("open", self._client.open, deadline)
            if not self._opened:
                self._stop.wait(RETRY_PAUSE[1])

    def _close_client(self) -> None:
        bound = self._client.bounds.close
        self._returned("close", partial(self._client.close, bound), time.monotonic() + 2 * bound)

    def _returned(self, what: str, call: Callable[[], object], deadline: float) -> bool:
        """Call in a thread of its own; False when it raised, or did not return in time."""
        done = threading.Event()

        def body() -> None:
            call()
            done.set()

        thread = self._thread(what, body)
        self._join([thread], deadline)
        return done.is_set()

    def _thread(self, name: str, body: Callable[[], object]) -> threading.Thread:
        """Start a thread in which an exception is noted instead of lost."""

        def run() -> None:
            try:
                body()
            except BaseException as error:  # noqa: BLE001 - noted, and told when the arena closes
                self._note(f"{name}: {error!r}")

        # A daemon: a thread that hangs in the client must not keep asv's process from its end.
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def _join(self, threads: Sequence[threading.Thread], deadline: float) -> None:
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self._note(f"{thread.name} did not end within its bound")

    def _note(self, error: str) -> None:
        with self._lock:
            self._errors[error] += 1


class _Persistent(Worker):
    """A worker that neither skips a step nor gives up before its context is aborted."""

    def _load(self, cycles: bool) -> None:
        context = self._context
        for step in self._steps:
            if cycles and context.nemesis is not None:
                context.nemesis.strike()
            while not context.aborted.is_set() and not self._attempt(step):
                context.aborted.wait(RETRY_PAUSE[1])
            if cycles and context.nemesis is not None:
                context.nemesis.struck()

    def _settle(self) -> None:
        super()._settle()
        while self._receipts and not self._context.aborted.wait(RETRY_PAUSE[1]):
            super()._settle()
