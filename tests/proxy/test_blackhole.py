"""The blackhole fault: writes succeed for ever, nothing arrives, and the end is a reset."""

from __future__ import annotations

from pathlib import Path

import pamqp.commands as c
import pytest

from benchmarks.proxy.pipe import HIGH_WATER
from tests.proxy.stage import (
    ProxyProcess,
    content,
    deliver,
    exactly,
    identities,
    publish,
    resident,
    silent,
    to_end,
    until,
)

PUBLISH = b"".join(publish(1, "m"))
DELIVER = b"".join(deliver(1, 1, "d"))
LARGE = b"".join(content(1, c.Basic.Publish(), b"m\n" + b"x" * 50_000, "m"))
RESET = (b"", ConnectionResetError)


def test_a_writer_never_blocks_and_nothing_arrives(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    pair.to_broker(PUBLISH)
    fired = proxy.control.fault("blackhole")
    assert fired == {"fired": True, "t": fired["t"], "generations": [1]}
    before = resident(proxy.process.pid)
    count = 40 * HIGH_WATER // len(LARGE)
    pair.client.sendall(LARGE * count)  # has a deadline
    pair.broker.sendall(DELIVER * 10)
    swallowed = len(LARGE) * count + len(DELIVER) * 10
    until(
        lambda: proxy.ledger(tmp_path)["generations"][0]["thrown"] == swallowed,
        "all of it is counted",
    )
    assert resident(proxy.process.pid) - before < 4 * HIGH_WATER
    assert silent(pair.broker)
    assert silent(pair.client)
    ledger = proxy.ledger(tmp_path)
    assert identities(ledger, 1, "publish") == ["m"]
    assert identities(ledger, 1, "deliver") == []
    (generation,) = ledger["generations"]
    assert (generation["end"], generation["faulted"], generation["injected"]) == (
        "open",
        True,
        False,
    )

    assert proxy.control.heal("blackhole")["healed"] == ["blackhole"]
    assert to_end(pair.client) == to_end(pair.broker) == RESET
    ledger = proxy.ledger(tmp_path)
    (generation,), (fault,) = ledger["generations"], ledger["faults"]
    assert (generation["end"], generation["injected"]) == ("fault:blackhole", True)
    assert generation["faults"] == [{"kind": "blackhole", "t": fired["t"], "until": fault["until"]}]
    assert fired["t"] < fault["until"] <= generation["closed"]


@pytest.mark.parametrize("direction", ["to_broker", "to_client"])
def test_the_other_direction_goes_on(proxy: ProxyProcess, tmp_path: Path, direction: str) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("blackhole", direction=direction, seconds=0.3)
    if direction == "to_broker":
        pair.client.sendall(PUBLISH)
        pair.to_client(DELIVER)
        lost = PUBLISH
    else:
        pair.broker.sendall(DELIVER)
        pair.to_broker(PUBLISH)
        lost = DELIVER
    assert to_end(pair.client) == to_end(pair.broker) == RESET
    (generation,) = proxy.ledger(tmp_path)["generations"]
    assert generation["thrown"] == len(lost)
    fault = generation["faults"][0]
    assert fault["until"] - fault["t"] >= 0.3


@pytest.mark.parametrize("side", ["client", "broker"])
@pytest.mark.parametrize("direction", ["to_broker", "to_client", "both"])
def test_who_gives_up_was_driven_to_it(
    proxy: ProxyProcess, tmp_path: Path, side: str, direction: str
) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("blackhole", direction=direction)
    this, other = pair.client, pair.broker
    if side == "broker":
        this, other = other, this
    this.close()
    # Bytes may be missing: the other side must not see an orderly end.
    assert to_end(other) == RESET
    generation = proxy.ended(tmp_path)
    assert (generation["end"], generation["injected"]) == (side, True)
    assert generation["faults"][0]["until"] == generation["closed"]
    assert proxy.control.status()["lasting"] == []


@pytest.mark.parametrize("where", ["before", 5, "after"])
def test_the_rest_of_a_frame_counts_as_thrown(
    proxy: ProxyProcess, tmp_path: Path, where: object
) -> None:
    rule = {"direction": "to_broker", "frame": "body", "nth": 2, "where": where}
    number = proxy.control.arm("blackhole", rule, direction="to_broker")
    pair = proxy.pair().begin()
    pair.client.sendall(PUBLISH * 3)
    assert proxy.control.fired(number, 5.0)["fired"]
    body = len(publish(1, "m")[-1])
    kept = {"before": 2 * len(PUBLISH) - body, "after": 2 * len(PUBLISH)}.get(
        str(where), 2 * len(PUBLISH) - body + 5
    )
    assert exactly(pair.broker, kept) == (PUBLISH * 2)[:kept]
    until(
        lambda: proxy.ledger(tmp_path)["generations"][0]["thrown"] == 3 * len(PUBLISH) - kept,
        "the rest is counted",
    )
    assert silent(pair.broker)
    published = identities(proxy.ledger(tmp_path), 1, "publish")
    assert published == ["m"] * (2 if where == "after" else 1)


def test_what_waits_already_is_swallowed(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("latency", ms=60_000, direction="to_broker")
    pair.client.sendall(PUBLISH)
    pair.to_client(DELIVER)
    proxy.control.fault("blackhole")
    proxy.control.heal("latency")
    assert silent(pair.broker)
    (generation,) = proxy.ledger(tmp_path)["generations"]
    assert (generation["thrown"], generation["end"]) == (len(PUBLISH), "open")
