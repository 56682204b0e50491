"""Arming, firing, disarming and healing through the control port."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pamqp.commands as c
import pytest

from benchmarks.proxy.faults import FAULTS
from benchmarks.proxy.rules import ARMED_LIMIT
from benchmarks.wire.control import ControlError
from benchmarks.wire.frames import HEARTBEAT_FRAME, PROTOCOL_HEADER
from tests.proxy.stage import (
    ProxyProcess,
    exactly,
    identities,
    method,
    publish,
    running,
    silent,
    to_end,
)

OPEN_OK = method(0, c.Connection.OpenOk())
RESET = (b"", ConnectionResetError)
BEAT = {"direction": "to_broker", "frame": "heartbeat", "nth": 3, "where": "after"}


def test_the_table() -> None:
    assert {kind: (one.ends, one.silent, one.needs_rule) for kind, one in FAULTS.items()} == {
        "rst": (True, False, False),
        "fin": (True, False, False),
        "cut": (True, False, True),
        "stall": (False, True, False),
        "blackhole": (True, True, False),
        "latency": (False, False, False),
        "throttle": (False, False, False),
        "slice": (False, False, False),
        "refuse": (True, False, False),
    }


def test_a_rule_fires_once_and_says_so(proxy: ProxyProcess) -> None:
    number = proxy.control.arm("rst", BEAT)
    assert proxy.control.status()["armed"] == 1
    pair = proxy.pair().begin()
    pair.to_broker(HEARTBEAT_FRAME * 2)
    before = time.monotonic()
    assert proxy.control.fired(number, 0.1) == {
        "fired": False,
        "why": "it has seen 2 of the 3 frames that it counts",
    }
    assert time.monotonic() - before >= 0.1
    pair.client.sendall(HEARTBEAT_FRAME)
    assert exactly(pair.broker, len(HEARTBEAT_FRAME)) == HEARTBEAT_FRAME
    fired = proxy.control.fired(number, 5.0)
    assert fired == {"fired": True, "t": fired["t"], "generations": [1]}
    assert before < fired["t"] < time.monotonic()
    assert to_end(pair.broker) == to_end(pair.client) == RESET
    assert proxy.control.fired(number, 0) == fired
    assert proxy.control.disarm(number) is False
    assert proxy.control.status()["armed"] == 0
    proxy.pair().begin().to_broker(HEARTBEAT_FRAME * 6)


def test_a_rule_counts_over_all_connections_that_it_may_hit(proxy: ProxyProcess) -> None:
    some = proxy.control.arm("rst", BEAT, generations=[2])
    every = proxy.control.arm("fin", {**BEAT, "nth": 4})
    first, second = proxy.pair().begin(), proxy.pair().begin()
    for pair in (first, second, first):
        pair.to_broker(HEARTBEAT_FRAME)
    second.client.sendall(HEARTBEAT_FRAME)
    assert proxy.control.fired(every, 5.0)["generations"] == [2]
    assert to_end(second.client) == (b"", None)
    assert proxy.control.fired(some, 0)["why"].startswith("it has seen 2 of the 3")


def test_a_rule_taken_back_never_fires(proxy: ProxyProcess) -> None:
    number = proxy.control.arm("rst", BEAT)
    other = proxy.control.arm("rst", {"at": 0.1})
    assert proxy.control.disarm(number) is True
    assert proxy.control.disarm(other) is True
    for call in (proxy.control.disarm, lambda one: proxy.control.fired(one, 0)):
        with pytest.raises(ControlError, match=f"no rule {number}"):
            call(number)
    pair = proxy.pair().begin().to_broker(HEARTBEAT_FRAME * 4)
    assert silent(pair.client, 0.3)


def test_heal_of_everything_takes_rules_back(proxy: ProxyProcess) -> None:
    proxy.control.arm("rst", BEAT)
    proxy.control.arm("rst", {"at": 0.2})
    pair = proxy.pair().begin()
    proxy.control.fault("latency", ms=1)
    proxy.control.fault("slice", size=100)
    assert proxy.control.heal("slice")["healed"] == ["slice"]
    assert proxy.control.status()["armed"] == 2
    assert proxy.control.heal()["healed"] == ["latency"]
    assert proxy.control.status()["armed"] == 0
    pair.to_broker(HEARTBEAT_FRAME * 4)
    assert silent(pair.client, 0.3)


def test_a_rule_with_a_time(proxy: ProxyProcess) -> None:
    pairs = [proxy.pair().begin() for _ in range(3)]
    before = time.monotonic()
    number = proxy.control.arm("rst", {"at": 0.2}, generations=[1, 3])
    assert proxy.control.fired(number, 0)["fired"] is False
    fired = proxy.control.fired(number, 5.0)
    assert fired["generations"] == [1, 3]
    assert fired["t"] - before >= 0.2
    assert to_end(pairs[0].client) == to_end(pairs[2].client) == RESET
    pairs[1].to_broker(HEARTBEAT_FRAME)


def test_a_rule_with_a_time_waits_for_somebody_to_hit(proxy: ProxyProcess) -> None:
    number = proxy.control.arm("rst", {"at": 0})
    assert proxy.control.fired(number, 0.1)["fired"] is False
    pair = proxy.pair().begin()
    assert proxy.control.fired(number, 5.0)["generations"] == [1]
    assert to_end(pair.client) == RESET


def test_a_rule_can_hit_the_handshake(proxy: ProxyProcess, tmp_path: Path) -> None:
    rule = {"direction": "to_client", "frame": "connection.open-ok", "nth": 1, "where": 3}
    number = proxy.control.arm("cut", rule)
    pair = proxy.pair()
    pair.client.sendall(PROTOCOL_HEADER)
    assert exactly(pair.broker, len(PROTOCOL_HEADER)) == PROTOCOL_HEADER
    pair.broker.sendall(OPEN_OK)
    assert proxy.control.fired(number, 5.0)["fired"]
    assert to_end(pair.client) == (OPEN_OK[:3], ConnectionResetError)
    assert proxy.ledger(tmp_path)["generations"][0]["ready"] is None


def test_several_rules_at_one_frame(proxy: ProxyProcess, tmp_path: Path) -> None:
    """Each at its own point of the frame, and the one that ends the connection at last."""
    raws = publish(1, "m")
    stream = b"".join(raws)
    rule = {"direction": "to_broker", "frame": "basic.publish", "nth": 1}
    numbers = [
        proxy.control.arm(kind, {**rule, "where": where}, **options)
        for kind, where, options in (
            ("cut", 16, {}),
            ("latency", "before", {"ms": 100}),
            ("stall", 5, {"seconds": 0.2}),
        )
    ]
    pair = proxy.pair().begin()
    before = time.monotonic()
    pair.client.sendall(stream)
    fired = [proxy.control.fired(number, 5.0) for number in numbers]
    assert to_end(pair.broker) == (stream[:16], ConnectionResetError)
    assert before < fired[1]["t"] < fired[2]["t"] < fired[0]["t"]
    assert fired[2]["t"] - fired[1]["t"] >= 0.1
    assert fired[0]["t"] - fired[2]["t"] >= 0.2
    ledger = proxy.ledger(tmp_path)
    assert identities(ledger, 1, "publish") == []
    assert [one["kind"] for one in ledger["faults"]] == ["latency", "stall", "cut"]
    assert [one["kind"] for one in ledger["generations"][0]["faults"]] == [
        "latency",
        "stall",
        "cut",
    ]


def test_a_rule_whose_frame_died_fires_at_the_next(proxy: ProxyProcess) -> None:
    number = proxy.control.arm("cut", {**BEAT, "nth": 1})
    first = proxy.pair().begin()
    proxy.control.fault("latency", ms=60_000)
    first.client.sendall(HEARTBEAT_FRAME)
    assert silent(first.broker)
    assert proxy.control.fired(number, 0)["why"].startswith("what stands in front of its frame")
    proxy.control.fault("rst")
    second = proxy.pair().begin()
    second.client.sendall(HEARTBEAT_FRAME)
    assert proxy.control.fired(number, 5.0)["generations"] == [2]


def test_wrong_rules_and_faults_are_refused_at_once(proxy: ProxyProcess) -> None:
    for kind, rule, options, error in (
        ("nuke", BEAT, {}, "no such fault; there are blackhole, cut"),
        ("rst", {**BEAT, "frame": "basic.shout"}, {}, "not 'basic.shout'"),
        ("rst", BEAT, {"ms": 5}, "rst has no option 'ms'"),
        ("latency", BEAT, {}, "latency needs the option 'ms'"),
        ("rst", BEAT, {"generations": 3}, "generations is a list of numbers"),
        ("refuse", BEAT, {"generations": [3]}, "leave generations out"),
        ("slice", BEAT, {"size": 1, "future": True, "generations": [3]}, "leave generations out"),
        ("stall", BEAT, {"seconds": -1}, "stall: seconds is a number"),
    ):
        with pytest.raises(ControlError, match=error):
            proxy.control.arm(kind, rule, **options)
    with pytest.raises(ControlError, match="a rule is an object"):
        proxy.control.call("arm", kind="rst")
    assert proxy.control.status()["armed"] == 0


def test_so_many_rules_can_be_armed(proxy: ProxyProcess) -> None:
    for _ in range(ARMED_LIMIT):
        proxy.control.arm("rst", {**BEAT, "nth": 10**6})
    with pytest.raises(ControlError, match=f"at most {ARMED_LIMIT} rules"):
        proxy.control.arm("rst", BEAT)
    pair = proxy.pair().begin()
    pair.to_broker(HEARTBEAT_FRAME * 50)  # and it still forwards


@pytest.fixture(name="unbooked")
def _unbooked() -> Iterator[ProxyProcess]:
    with running(arguments=("--no-ledger",)) as process:
        yield process


def test_without_a_ledger_faults_and_ends_are_still_known(
    unbooked: ProxyProcess, tmp_path: Path
) -> None:
    pair = unbooked.pair().begin()
    pair.to_broker(*publish(1, "m"))
    fired = unbooked.control.fault("rst")
    ledger = unbooked.ledger(tmp_path)
    (generation,) = ledger["generations"]
    assert (generation["end"], generation["events"]) == ("fault:rst", [])
    assert generation["ready"] is not None
    assert [one["t"] for one in ledger["faults"]] == [fired["t"]]
