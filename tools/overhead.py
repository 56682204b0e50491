"""What the two ledgers cost: the same work with each of them on and off, by turns.

The history is switched off by workers that call the client and write nothing down, which exist
here alone; the ledger by the proxy's own ``--no-ledger``. On and off take turns on one broker (A B,
then B A, and so on), so that a drift of the machine hits both alike, and each pair gives a ratio.
Beside the throughput stands the CPU time of client, proxy and broker together, per operation: what
bounds the throughput where all cores are busy, and on a busy machine the steadier of the two.

    python -m tools.overhead [--repeats 9] [--load NAME ...] [--client NAME] [--write FILE]

Exit status 1 when the history costs more of the throughput than it may, over all loads.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.clients.base import Client
from benchmarks.clients.loader import make_client
from benchmarks.harness.history import History
from benchmarks.harness.leases import LeaseLedger
from benchmarks.harness.plan import Step
from benchmarks.harness.processes import Service
from benchmarks.harness.progress import Progress, Slot
from benchmarks.harness.recorder import Recorder
from benchmarks.harness.workload import Consumer, Context, Worker
from benchmarks.wire.client import WireClient
from tools.unrecorded import NoHistory, UnrecordedConsumer, UnrecordedWorker

#: What the history may cost of the throughput, over all loads.
HISTORY_AT_MOST = 0.05
#: Seconds for one run, which takes about one on two busy cores.
DEADLINE = 120.0
#: Between these lines of the page stands what was measured last.
START, END = "<!-- measured: start -->\n", "<!-- measured: end -->\n"


@dataclass(frozen=True)
class Load:
    """``operations`` is gone through by turns until each thread has done ``iterations``."""

    name: str
    threads: int
    iterations: int
    operations: tuple[str, ...]
    count: int = 1

    def steps(self) -> tuple[Step, ...]:
        names = self.operations * self.iterations
        return tuple(Step(name, size=256, count=self.count) for name in names[: self.iterations])


LOADS = (
    # Four operations of the chaos scenarios; the drains are left out, which mostly wait.
    Load("chaos", 10, 500, ("publish", "connected", "acquire_release", "publish")),
    Load("publish", 10, 300, ("publish",)),
    Load("confirmed", 10, 200, ("publish_confirmed",)),
    Load("large", 4, 60, ("publish_large",)),
    Load("get", 4, 150, ("get",)),
    Load("consume", 4, 60, ("consume_ack",), count=20),
)


# -- one run -------------------------------------------------------------------------------------


@dataclass
class Side:
    """One of the two that are compared, and what it took: seconds, and seconds of CPU."""

    client: Client
    recorded: bool
    cpu: Callable[[], float]
    seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def run(self, load: Load, queue: str, keep: bool) -> None:
        """Once through the load, from the barrier until the last confirm is in."""
        context = Context(
            run=secrets.token_hex(4),
            client=self.client,
            queue=queue,
            history=History() if self.recorded else NoHistory(),
            leases=LeaseLedger(),
            recorder=Recorder(self.client.recoverable, self.client.timeouts),
            nemesis=None,
            progress=Progress([], 0),
            aborted=threading.Event(),
        )
        stop, barrier = threading.Event(), threading.Barrier(load.threads + 1)
        consumer = (Consumer if self.recorded else UnrecordedConsumer)(
            context, Slot("consumer-0", "consumer"), stop
        )
        taking = _thread("consumer-0", consumer.run)
        if not consumer.consuming.wait(DEADLINE):
            raise RuntimeError("the consumer did not start")
        make = Worker if self.recorded else UnrecordedWorker
        threads = []
        for number in range(load.threads):
            slot = Slot(f"worker-{number}", "worker")
            worker = make(context, slot, load.steps())
            threads.append(_thread(slot.name, partial(worker.run, barrier, False)))
        busy, started = self.cpu(), time.perf_counter()
        barrier.wait(DEADLINE)
        _join(threads)
        seconds = time.perf_counter() - started
        busy = self.cpu() - busy
        stop.set()
        _join([taking])
        if failed := context.recorder.snapshot()["signatures"]:
            raise RuntimeError(f"{failed[0]['operation']} failed: {failed[0]['traceback']}")
        if keep:
            self.seconds.append(seconds)
            self.busy.append(busy)


def _thread(name: str, body: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join(DEADLINE)
        if thread.is_alive():
            raise RuntimeError(f"{thread.name} did not end within {DEADLINE:g} s")


# -- on and off, by turns ------------------------------------------------------------------------


def measure(what: str, load: Load, repeats: int, name: str) -> tuple[Side, Side]:
    """``repeats`` pairs of runs behind one that warms up; returns on and off."""
    queue = f"overhead.{load.name}"
    with _sides(what, name, load.threads + 1, queue) as sides:
        for number in range(repeats + 1):
            for side in sides if number % 2 else sides[::-1]:
                side.run(load, queue, keep=number > 0)
        return sides


@contextmanager
def _sides(what: str, name: str, channels: int, queue: str) -> Iterator[tuple[Side, Side]]:
    """The two sides of one comparison, connected through proxies to one broker."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="amqpool-overhead-")))

        def service(program: str, *arguments: str) -> dict[str, Any]:
            token = {"AMQPOOL_PROXY_TOKEN": secrets.token_hex(16)}
            started = Service(program, folder, ["--port", "0", *arguments], token)
            ends.callback(started.stop)
            return started.wait_ready()

        broker = service("broker")
        upstream = f"127.0.0.1:{broker['port']}"
        with WireClient("127.0.0.1", broker["port"]) as wire:
            wire.queue_declare(queue)

        def side(recorded: bool, *arguments: str) -> Side:
            ready = service("proxy", "--upstream", upstream, *arguments)
            client = make_client(name, [f"amqp://guest:guest@127.0.0.1:{ready['port']}/"], channels)
            client.open()
            ends.callback(client.close, client.bounds.close)
            pids = (ready["pid"], broker["pid"])
            return Side(client, recorded, lambda: time.process_time() + sum(map(_cpu_of, pids)))

        if what == "history":
            yield side(recorded=True), side(recorded=False)
        else:
            yield side(recorded=True), side(True, "--no-ledger")


def _cpu_of(pid: int) -> float:
    """Seconds of CPU that a process of one thread has used; the kernel counts nanoseconds here."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


# -- what came of it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One comparison. ``ratios``: of the throughput, on to off, one for each pair."""

    what: str
    load: Load
    on: Side
    off: Side

    @property
    def ratios(self) -> list[float]:
        return [b / a for a, b in zip(self.on.seconds, self.off.seconds, strict=True)]

    @property
    def cost(self) -> float:
        """The share of the throughput that recording costs: by the medians of on and off."""
        return 1 - statistics.median(self.off.seconds) / statistics.median(self.on.seconds)

    def cells(self) -> list[str]:
        number = self.load.threads * self.load.iterations
        low, _, high = statistics.quantiles(self.ratios, n=4)
        cpu = [statistics.median(side.busy) / number * 1e6 for side in (self.on, self.off)]
        return [
            self.what,
            self.load.name,
            f"{number / statistics.median(self.on.seconds):,.0f}",
            f"{number / statistics.median(self.off.seconds):,.0f}",
            f"{100 * self.cost:+.1f} %",
            f"{100 * (1 - high):+.1f} … {100 * (1 - low):+.1f} %",
            f"{cpu[0]:.1f}",
            f"{cpu[1]:.1f}",
            f"{100 * (cpu[0] / cpu[1] - 1):+.1f} %" if cpu[1] else "–",
        ]


HEAD = ["what", "load", "on", "off", "cost", "quartiles", "CPU on", "CPU off", "CPU more"]


def over_all(rows: Sequence[Row], what: str) -> float:
    """The cost over all loads: the geometric mean of the medians' ratios."""
    shares = [1 - row.cost for row in rows if row.what == what]
    return 1 - statistics.geometric_mean(shares)


def table(rows: Sequence[Row]) -> str:
    lines = [HEAD, ["---"] * 2 + ["---:"] * (len(HEAD) - 2), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="overhead", description=__doc__, allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--load", action="append", choices=[load.name for load in LOADS])
    parser.add_argument("--what", action="append", choices=["history", "ledger"])
    parser.add_argument("--client", default="amqpool")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page")
    options = parser.parse_args()
    if options.repeats < 2:
        parser.error("a spread needs two repeats at least")
    rows: list[Row] = []
    whats = options.what or ["history", "ledger"]
    before = os.getloadavg()[0]
    for what in whats:
        for load in LOADS:
            if options.load is None or load.name in options.load:
                rows.append(Row(what, load, *measure(what, load, options.repeats, options.client)))
                print("  ".join(f"{cell:>10}" for cell in rows[-1].cells()), flush=True)
    costs = {what: over_all(rows, what) for what in whats}
    words = ", ".join(f"{what} {100 * cost:+.1f} %" for what, cost in costs.items())
    text = (
        f"{table(rows)}\nOver all loads: {words}. {options.repeats} pairs each, {options.client}, "
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores; load average of the machine "
        f"{before:.1f} before and {os.getloadavg()[0]:.1f} after.\n"
    )
    print(f"\n{text}")
    if options.write is not None:
        page = options.write.read_text()
        head, _, rest = page.partition(START)
        options.write.write_text(f"{head}{START}\n{text}\n{END}{rest.partition(END)[2]}")
    return int(costs.get("history", 0.0) > HISTORY_AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
