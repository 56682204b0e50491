"""Whatever a fault holds, it holds no more than the link may: sources are paused, memory stays."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pamqp.commands as c
import pytest

from benchmarks.proxy.faults.latency import Latency
from benchmarks.proxy.link import READ_SIZE
from benchmarks.proxy.pipe import HIGH_WATER
from benchmarks.wire.frames import BODY, DEFAULT_FRAME_MAX, PROTOCOL_HEADER
from benchmarks.wire.frames import frame as encode
from tests.proxy.inside import Stage
from tests.proxy.stage import (
    DEADLINE,
    ProxyProcess,
    content,
    cpu_seconds,
    exactly,
    fill,
    identities,
    paused,
    resident,
)

MESSAGE = b"".join(content(1, c.Basic.Return(312, "", "", "q"), b"m\n" + b"x" * 50_000, "m"))
HOLDING: list[tuple[str, dict[str, Any]]] = [
    ("stall", {}),
    ("latency", {"ms": 60_000}),
    ("throttle", {"rate": 1}),
]


@pytest.mark.parametrize(("kind", "options"), HOLDING, ids=lambda value: str(value))
def test_what_a_fault_holds_is_bounded(
    proxy: ProxyProcess, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault(kind, **options)
    before = resident(proxy.process.pid)
    sent = fill(pair.broker, MESSAGE)
    grown = resident(proxy.process.pid) - before
    # What the kernel's two buffers hold is not ours; far more than the mark was pushed.
    assert sent > 2 * HIGH_WATER
    assert grown < 3 * HIGH_WATER
    used = cpu_seconds(proxy.process.pid)
    assert paused(pair.broker)
    assert cpu_seconds(proxy.process.pid) - used <= 0.02, "the proxy spins"
    assert identities(proxy.ledger(tmp_path), 1, "return") == []
    proxy.control.heal()
    count = sent // len(MESSAGE)
    assert exactly(pair.client, count * len(MESSAGE)) == MESSAGE * count


@pytest.mark.parametrize("direction", [0, 1])
def test_no_more_is_read_than_the_mark_and_one_read(direction: int) -> None:
    """Counted inside: what left the writer's buffers is what the link has taken."""
    with Stage() as stage:
        writer, reader = stage.client, stage.broker
        if direction == 1:
            writer, reader = reader, writer
        else:
            writer.sendall(PROTOCOL_HEADER)
            stage.settle()
        held = Latency(ms=60_000)
        stage.link.shape(direction, held.make(1, direction))
        raw = encode(BODY, 1, b"x" * DEFAULT_FRAME_MAX)
        [pipe] = [
            one for one in vars(stage.link).values() if getattr(one, "direction", None) == direction
        ]
        sent, rest = 0, 0.0
        end = time.monotonic() + DEADLINE
        while rest < 3:
            assert time.monotonic() < end
            try:
                sent += writer.send(raw[sent % len(raw) :])
                rest = 0
            except BlockingIOError:
                rest += not stage.turn(0.05)
        assert sent > HIGH_WATER
        assert HIGH_WATER <= pipe.outbox.pending < HIGH_WATER + READ_SIZE + len(raw)
        assert not pipe.wants_read
        stage.link.unshape(held)
        received = stage.read(reader)
        while len(received) < sent // len(raw) * len(raw):
            assert time.monotonic() < end
            stage.turn()
            received = stage.read(reader)


@pytest.mark.parametrize(("kind", "options"), HOLDING, ids=lambda value: str(value))
def test_another_connection_does_not_notice(
    proxy: ProxyProcess, kind: str, options: dict[str, Any]
) -> None:
    first = proxy.pair().begin()
    second = proxy.pair().begin()
    proxy.control.fault(kind, generations=[1], **options)
    first.broker.setblocking(False)
    first.broker.send(MESSAGE * 10)
    before = time.monotonic()
    second.to_client(MESSAGE).to_broker(MESSAGE)
    assert time.monotonic() - before < DEADLINE
