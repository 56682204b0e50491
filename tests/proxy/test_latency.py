"""The latency fault: every frame comes late, none overtakes another, and none is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT
from benchmarks.proxy.faults.latency import Latency
from benchmarks.proxy.link import DRAIN_DEADLINE
from benchmarks.wire.frames import PROTOCOL_HEADER
from tests.proxy.stage import (
    Pair,
    ProxyProcess,
    deliver,
    exactly,
    identities,
    publish,
    silent,
    to_end,
    until,
)

PUBLISH = b"".join(publish(1, "m"))
DELIVER = b"".join(deliver(1, 1, "d"))


def _timed(move: Callable[[], object]) -> float:
    before = time.monotonic()
    move()
    return time.monotonic() - before


def test_each_direction_is_delayed(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("latency", ms=150, direction="to_broker")
    assert _timed(lambda: pair.to_broker(PUBLISH)) >= 0.15
    assert _timed(lambda: pair.to_client(DELIVER)) < 0.15
    proxy.control.fault("latency", ms=200)
    assert _timed(lambda: pair.to_client(DELIVER)) >= 0.2
    # Two delays at a time: the longer one decides.
    assert _timed(lambda: pair.to_broker(PUBLISH)) >= 0.2
    assert proxy.control.heal("latency")["healed"] == ["latency"]
    pair.to_broker(PUBLISH)
    (generation,) = proxy.ledger(tmp_path)["generations"]
    assert (generation["faulted"], generation["thrown"]) == (False, 0)


def test_frames_overlap_on_their_way(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("latency", ms=100, jitter_ms=20)

    def move() -> None:
        for _ in range(50):
            pair.client.sendall(PUBLISH)
        assert exactly(pair.broker, 50 * len(PUBLISH)) == PUBLISH * 50

    assert 0.1 <= _timed(move) < 3.0  # one after the other they would take 5 s


def test_what_is_held_goes_out_in_order_at_the_end(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("latency", ms=60_000, jitter_ms=1000)
    ids = [f"m{n}" for n in range(200)]
    raws = [b"".join(publish(1, one)) for one in ids]
    for raw in raws:
        pair.client.sendall(raw)
    assert silent(pair.broker)
    assert proxy.ledger(tmp_path)["generations"][0]["events"] == []
    proxy.control.heal()
    stream = b"".join(raws)
    assert exactly(pair.broker, len(stream)) == stream
    assert identities(proxy.ledger(tmp_path), 1, "publish") == ids


def test_a_client_that_closes_at_once_still_gets_its_bytes_through(proxy: ProxyProcess) -> None:
    """The bytes are held for longer than a side that ended is otherwise waited for."""
    pair = proxy.pair().begin()
    proxy.control.fault("latency", ms=1000 * DRAIN_DEADLINE + 500)
    pair.client.sendall(PUBLISH)
    pair.client.close()
    assert to_end(pair.broker) == (PUBLISH, None)


def test_future_connections_are_delayed_from_the_beginning(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    fired = proxy.control.fault("latency", ms=100, future=True)
    assert fired == {"fired": True, "t": fired["t"], "generations": []}
    first, second = proxy.pair(), proxy.pair()
    first.client.sendall(PROTOCOL_HEADER)
    assert _timed(lambda: exactly(first.broker, len(PROTOCOL_HEADER))) >= 0.05
    assert _timed(second.begin) >= 0.2  # there and back
    first.close()
    proxy.ended(tmp_path, 1)
    assert proxy.control.status()["lasting"] == ["latency"]
    healed = proxy.control.heal()
    ledger = proxy.ledger(tmp_path)
    one, other = ledger["generations"]
    (fault,) = ledger["faults"]
    assert fault["generations"] == [1, 2]
    assert one["faults"][0]["until"] == one["closed"] < fault["until"]
    assert one["injected"] is False  # a delay is no reason to hang up
    assert other["faults"][0]["until"] == fault["until"] >= healed["t"]
    assert other["faults"][0]["t"] >= other["opened"] > fault["t"]
    assert _timed(lambda: proxy.pair().begin()) < 0.2


def test_without_future_it_is_over_with_its_last_connection(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    assert proxy.control.fault("latency", ms=1)["fired"] is False
    proxy.pair().begin()
    proxy.control.fault("latency", ms=1)
    proxy.control.fault("rst")
    until(lambda: proxy.control.status()["lasting"] == [], "the end of the fault")
    (generation,) = proxy.ledger(tmp_path)["generations"]
    assert [fault["until"] for fault in generation["faults"]] == [generation["closed"]] * 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, "latency needs the option 'ms'"),
        ({"ms": -1}, "latency: ms is a number from 0"),
        ({"ms": 1, "jitter_ms": "2"}, "latency: jitter_ms is a number"),
        ({"ms": 1, "seed": 1.5}, "latency: seed is a whole number"),
        ({"ms": 1, "future": 1}, "latency: future is true or false"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Latency.parse(options)


def _delays(fault: Latency, generation: int, direction: int) -> list[float]:
    """When each of a hundred frames that come together is due."""
    shape, due = fault.make(generation, direction), []
    for n in range(1, 101):
        shape.queue(n, 10.0)
    while (next_ := shape.wake(0.0)) is not None:
        due.append(next_ - 10.0)
        shape.limit(0, next_)
    return due


def test_the_jitter_is_decided_by_the_seed_and_keeps_the_order() -> None:
    fault = Latency(ms=50, jitter_ms=100, seed=7)
    due = _delays(fault, 1, TO_BROKER)
    assert due == sorted(due) == _delays(Latency(ms=50, jitter_ms=100, seed=7), 1, TO_BROKER)
    assert 0.05 <= due[0] < due[-1] <= 0.15 + 1e-9
    for other in (
        _delays(Latency(ms=50, jitter_ms=100, seed=8), 1, TO_BROKER),
        _delays(fault, 2, TO_BROKER),
        _delays(fault, 1, TO_CLIENT),
    ):
        assert other != due


def test_a_slow_line_holds_many_connections_apart(proxy: ProxyProcess) -> None:
    pairs: list[Pair] = [proxy.pair().begin() for _ in range(5)]
    proxy.control.fault("latency", ms=60_000, generations=[2, 4])
    for number, pair in enumerate(pairs, 1):
        pair.client.sendall(PUBLISH)
        assert silent(pair.broker) is (number in (2, 4))
