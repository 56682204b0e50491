"""What is explored of a client: operations side by side, on a pool of 1 or 2, and a check at rest.

A scenario's name says it all: `publish+kill.1` is one thread that publishes, one that kills the
connection, and one channel. Any such name is a program; `catalogue` lists those worth running:
every pair, with both limits, and some mixes of three and four. The check at rest asks what the
suite asks everywhere: is each channel in the free list once, did every confirmed message stay, can
the client still work, is nothing left after close?
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import time
from collections import Counter
from typing import Any, Final

from benchmarks.clients.base import Client
from benchmarks.clients.loader import check_declared, load_client

from .brokering import URL, BrokerTask
from .operations import OPERATIONS, PATIENT, QUEUE, Operation, Record, publish_until_confirmed
from .outcome import Violation
from .program import Program, folder
from .task import current
from .world import rest, together

DEFAULT_CLIENT: Final = "amqpool"
#: Pool sizes: with 1 everybody waits for everybody, with 2 two are inside at once.
LIMITS: Final = (1, 2)
#: What a pair is made of; `end`, `stall` and `outage` are variants of `kill` that the mixes have.
PAIRED: Final = (
    "acquire", "release", "publish", "confirmed", "rpc", "drain",
    "consume", "kill", "reconnect", "close", "timeout",
)  # fmt: skip
MIXES: Final = (
    ("publish", "confirmed", "kill"),
    ("acquire", "timeout", "release"),
    ("consume", "confirmed", "kill"),
    ("confirmed", "kill", "close"),
    ("reconnect", "reconnect", "publish"),
    ("rpc", "end", "timeout"),
    ("timeout", "timeout", "release", "kill"),
    ("publish", "rpc", "drain", "end"),
    ("confirmed", "rpc", "stall"),
    ("confirmed", "acquire", "outage"),
    ("consume", "close", "end"),
)
#: A scenario with a short wait in it also lets that wait run out early now and then.
EARLY: Final = 0.1
#: Points of one run: the longest sound ones take some thousand.
MAX_STEPS: Final = 30_000
#: Virtual seconds of one run. All of a scenario's own waits together stay far below; a client's
#: I/O thread that wakes once a minute would else hide a deadlock of the others for ever.
HORIZON: Final = 600.0


def catalogue() -> list[str]:
    """The names of all scenarios that are explored by default."""
    pairs = itertools.combinations_with_replacement(PAIRED, 2)
    return [f"{'+'.join(each)}.{limit}" for each in (*pairs, *MIXES) for limit in LIMITS]


def find(name: str) -> Program:
    """The program of a scenario's name. Raises KeyError, ClientError.

    `client:` may stand before it, as given to the client's loader; without it is the pool's own.
    """
    client, _colon, scenario = name.rpartition(":")
    text, dot, limit = scenario.rpartition(".")
    operations = tuple(text.split("+"))
    if not dot or not limit.isdigit() or not int(limit) or set(operations) - set(OPERATIONS):
        raise KeyError(name)
    kind = load_client(client or DEFAULT_CLIENT)
    return Program(
        name=name,
        body=lambda: _body(kind, operations, int(limit)),
        sources=_sources(kind),
        early=_early(operations),
        max_steps=MAX_STEPS,
        horizon=HORIZON,
        summary=f"{len(operations)} threads on a pool of {limit}: {', '.join(operations)}",
    )


def _early(operations: tuple[str, ...]) -> float:
    return EARLY if {"timeout", "drain", "consume"} & set(operations) else 0.0


def _sources(kind: type[Client]) -> tuple[str, ...]:
    """Where the client's code is; all of it is imported now, before the world is patched."""
    check_declared(kind([URL], 1))
    packages = getattr(kind, "packages", (kind.name,))
    found = [folder(str(importlib.import_module(package).__file__)) for package in packages]
    ours = folder(importlib.import_module("benchmarks.clients").__file__ or "")
    for base in kind.__mro__:
        file = "" if base is object else os.path.abspath(inspect.getfile(base))
        # An adapter of somebody else's may be what is wrong; ours only calls the client.
        if issubclass(base, Client) and not file.startswith(ours) and file not in found:
            found.append(file)
    return tuple(found)


def _body(kind: type[Client], operations: tuple[str, ...], limit: int) -> None:
    broker = BrokerTask()
    client = kind([URL], limit)
    client.open()
    record = Record(client, broker, early=bool(_early(operations)))
    _prepare(record, operations)

    def thread(number: int, operation: str) -> Any:
        return lambda: _timed(record, f"{operation}-{number}", OPERATIONS[operation])

    names = tuple(f"{operation}-{number}" for number, operation in enumerate(operations, 1))
    work = [thread(number, operation) for number, operation in enumerate(operations, 1)]
    for error in together(*work, names=names):
        if error is not None:
            raise error
    _check(record, limit)


def _timed(record: Record, name: str, operation: Operation) -> None:
    """The operation, which no timer may have to rescue. Raises Violation.

    Time passes here only when nobody can go on. So where no timer runs out early, an operation
    that took as long as its own safety net was woken by nobody: on a real machine it would have
    stood still.
    """
    began = time.monotonic()
    operation(record, name)
    took = time.monotonic() - began
    if took >= PATIENT and not record.early:
        raise Violation(
            "deadlocks", f"{name} went on only when a timer ran out, after {took:.1f} s"
        )


def _prepare(record: Record, operations: tuple[str, ...]) -> None:
    """The queue, a message for who consumes, a lease for who releases."""
    client = record.client
    handle = record.acquire("main")
    client.declare(handle, QUEUE, False)
    record.release(handle)
    if "consume" in operations:
        for _ in range(operations.count("consume")):
            publish_until_confirmed(record, "main")
    for _ in range(operations.count("release")):
        if len(record.leased) < client.size:
            record.leased.append(record.acquire(f"main-{len(record.leased)}"))


def _check(record: Record, limit: int) -> None:
    """At rest: everything is as it was, or gone with the client. Raises Violation."""
    client = record.client
    rest()
    if not record.closing:
        if record.faults:
            # The first thing that is asked for is a connection.
            publish_until_confirmed(record, "main")
        _check_channels(record, limit)
        publish_until_confirmed(record, "main")
        record.closing = True
        client.close(PATIENT)
    rest()
    _check_nothing_left(record)
    _check_books(record)


def _check_channels(record: Record, limit: int) -> None:
    client = record.client
    rest()
    counts = client.at_rest()
    if counts is not None:
        idle = list(counts.get("idle", ()))
        if len(set(idle)) < len(idle):
            raise Violation("double_releases", f"a channel is twice in the free list: {idle}")
        if counts.get("in_use"):
            raise Violation("leaks", f"{counts['in_use']} leases are out, and nobody has one")
    handles = []
    for number in range(limit):
        try:
            handles.append(record.acquire(f"main-{number}"))
        except client.timeouts as error:
            raise Violation("leaks", f"of {limit} channels {number} can be had: {error}") from error
    for handle in handles:
        record.release(handle)


def _check_nothing_left(record: Record) -> None:
    if record.broker.connections:
        raise Violation("leaks", f"{record.broker.connections} connections are open after close")
    task = current()
    assert task is not None
    left = [
        each.name
        for each in task.scheduler.tasks
        if not each.done and each is not task and each.name != "broker"
    ]
    if left:
        raise Violation("leaks", f"threads are left after close: {', '.join(left)}")


def _check_books(record: Record) -> None:
    """What was confirmed, or sent on a connection that never broke, is in the queue or acked."""
    remaining = Counter(record.broker.remaining(QUEUE))
    there = set(remaining) | set(record.acked)
    if not record.faults:
        # First: a body in another's message is a phantom; that its own is missing only follows.
        for identity, times in remaining.items():
            if times > 1 or identity in record.acked:
                raise Violation("phantoms", f"{identity} was published once and is there again")
    for identity in record.confirmed:
        if identity not in there:
            raise Violation("lost_messages", f"{identity} was confirmed and is gone")
    if not record.faults:
        for identity in record.sent:
            if identity not in there:
                raise Violation("lost_frames", f"{identity} was sent and never came")
    unknown = there - set(record.tried)
    if unknown:
        raise Violation("phantoms", f"nobody published {', '.join(sorted(unknown))}")
