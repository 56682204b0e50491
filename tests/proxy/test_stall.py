"""The stall fault: writes block in the end, nothing is forwarded, and nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pamqp.commands as c
import pytest

from benchmarks.proxy.faults.stall import Stall
from benchmarks.proxy.pipe import HIGH_WATER
from tests.proxy.stage import (
    ProxyProcess,
    content,
    cpu_seconds,
    deliver,
    exactly,
    fill,
    identities,
    method,
    paused,
    publish,
    reset,
    resident,
    silent,
    to_end,
    until,
)

PUBLISH = b"".join(publish(1, "m"))
LARGE = b"".join(content(1, c.Basic.Publish(), b"m\n" + b"x" * 50_000, "m"))


@pytest.mark.parametrize("direction", ["to_broker", "to_client", "both"])
def test_nothing_passes_until_it_is_healed_and_then_everything(
    proxy: ProxyProcess, tmp_path: Path, direction: str
) -> None:
    pair = proxy.pair().begin()
    fired = proxy.control.fault("stall", direction=direction)
    outbound, inbound = PUBLISH * 3, b"".join(deliver(1, 1, "d")) * 3
    pair.client.sendall(outbound)
    pair.broker.sendall(inbound)
    for sock, raw, way in (
        (pair.broker, outbound, "to_broker"),
        (pair.client, inbound, "to_client"),
    ):
        if direction in (way, "both"):
            assert silent(sock)
        else:
            assert exactly(sock, len(raw)) == raw
    assert proxy.control.status()["lasting"] == ["stall"]
    assert proxy.control.status()["up"] == [1]
    (generation,) = proxy.ledger(tmp_path)["generations"]
    assert generation["faults"] == [{"kind": "stall", "t": fired["t"], "until": None}]

    healed = proxy.control.heal("stall")
    assert healed == {"t": healed["t"], "healed": ["stall"]}
    if direction != "to_client":
        assert exactly(pair.broker, len(outbound)) == outbound
    if direction != "to_broker":
        assert exactly(pair.client, len(inbound)) == inbound
    pair.to_broker(PUBLISH).to_client(method(1, c.Basic.Ack(1)))
    ledger = proxy.ledger(tmp_path)
    (generation,) = ledger["generations"]
    assert (generation["end"], generation["faulted"], generation["thrown"]) == ("open", False, 0)
    assert identities(ledger, 1, "publish") == ["m"] * 4
    (fault,) = ledger["faults"]
    assert fault["t"] == fired["t"] < healed["t"] <= fault["until"]
    assert generation["faults"] == [{k: fault[k] for k in ("kind", "t", "until")}]
    assert proxy.control.heal()["healed"] == []


def test_a_writer_blocks_and_the_proxy_neither_grows_nor_spins(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("stall")
    before = resident(proxy.process.pid)
    sent = fill(pair.client, LARGE)
    used = cpu_seconds(proxy.process.pid)
    assert paused(pair.client)
    assert cpu_seconds(proxy.process.pid) - used <= 0.02
    assert resident(proxy.process.pid) - before < 4 * HIGH_WATER
    assert silent(pair.broker)
    proxy.control.heal()
    whole = sent // len(LARGE) * len(LARGE)
    assert exactly(pair.broker, whole) == LARGE * (whole // len(LARGE))


def test_it_ends_by_itself(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    t = proxy.control.fault("stall", seconds=0.3)["t"]
    pair.client.sendall(PUBLISH)
    assert exactly(pair.broker, len(PUBLISH)) == PUBLISH
    assert time.monotonic() - t >= 0.3
    (fault,) = proxy.ledger(tmp_path)["faults"]
    assert fault["until"] - fault["t"] >= 0.3
    assert proxy.control.status()["lasting"] == []


def test_it_may_begin_in_the_middle_of_a_frame(proxy: ProxyProcess, tmp_path: Path) -> None:
    rule = {"direction": "to_broker", "frame": "basic.publish", "nth": 2, "where": 5}
    number = proxy.control.arm("stall", rule)
    pair = proxy.pair().begin()
    pair.client.sendall(PUBLISH * 3)
    assert proxy.control.fired(number, 5.0)["fired"]
    assert exactly(pair.broker, len(PUBLISH) + 5) == (PUBLISH * 2)[: len(PUBLISH) + 5]
    assert silent(pair.broker)
    assert identities(proxy.ledger(tmp_path), 1, "publish") == ["m"]
    proxy.control.heal()
    assert exactly(pair.broker, 2 * len(PUBLISH) - 5) == (PUBLISH * 3)[len(PUBLISH) + 5 :]
    assert identities(proxy.ledger(tmp_path), 1, "publish") == ["m"] * 3


@pytest.mark.parametrize("side", ["client", "broker"])
@pytest.mark.parametrize("abrupt", [False, True])
def test_who_gives_up_meanwhile_was_driven_to_it(
    proxy: ProxyProcess, tmp_path: Path, side: str, abrupt: bool
) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("stall")
    this, other = pair.client, pair.broker
    if side == "broker":
        this, other = other, this
    this.sendall(LARGE)
    if abrupt:
        reset(this)
    else:
        this.close()
    assert silent(other)
    assert proxy.control.status()["links"] == 1
    proxy.control.heal()
    if not abrupt:
        assert to_end(other)[0] == LARGE
    other.close()
    generation = proxy.ended(tmp_path)
    assert (generation["end"], generation["injected"]) == (side, True)


def test_a_handshake_after_giving_up_is_none(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("stall")
    close = method(0, c.Connection.Close(200, "", 0, 0))
    pair.client.sendall(close)
    pair.client.close()  # without waiting for the answer
    proxy.control.heal()
    assert exactly(pair.broker, len(close)) == close
    pair.broker.sendall(method(0, c.Connection.CloseOk()))
    pair.broker.close()
    generation = proxy.ended(tmp_path)
    assert (generation["end"], generation["faulted"], generation["injected"]) == (
        "client",
        True,
        True,
    )


def test_who_gives_up_without_a_fault_was_not(proxy: ProxyProcess, tmp_path: Path) -> None:
    proxy.pair().begin().close()
    assert proxy.ended(tmp_path)["injected"] is False


def test_the_end_of_the_proxy_is_not_held_up(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("stall")
    fill(pair.client, LARGE)  # and `running` sees to it that the process ends in time


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"direction": "up"}, "stall: direction is one of to_broker, to_client, both"),
        ({"direction": ["both"]}, "stall: direction is one of"),
        ({"seconds": -1}, "stall: seconds is a number from 0 to 86400"),
        ({"seconds": True}, "stall: seconds is a number"),
        ({"seconds": "1"}, "stall: seconds is a number"),
        ({"seconds": float("nan")}, "stall: seconds is a number"),
        ({"ms": 3}, "stall has no option 'ms'"),
        ({"future": True}, "stall has no option 'future'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Stall.parse(options)


def test_two_at_a_time_need_two_ends(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("stall", seconds=0.2)
    proxy.control.fault("stall", direction="to_broker")
    pair.client.sendall(PUBLISH)
    until(lambda: proxy.control.status()["lasting"] == ["stall"], "one is left")
    pair.to_client(b"".join(deliver(1, 1, "d")))  # once the first is over
    assert silent(pair.broker)
    proxy.control.heal()
    assert exactly(pair.broker, len(PUBLISH)) == PUBLISH
