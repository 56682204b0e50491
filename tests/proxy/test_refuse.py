"""The refuse fault: ECONNREFUSED while it lasts, and the same port works again afterwards."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pamqp.commands as c
import pytest

from benchmarks.wire.control import ControlError
from benchmarks.wire.frames import HEARTBEAT_FRAME, PROTOCOL_HEADER
from tests.proxy.stage import ProxyProcess, method, running, to_end, until

RESET = (b"", ConnectionResetError)


def _refused(proxy: ProxyProcess) -> bool:
    try:
        proxy.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_connects_are_refused_until_it_is_healed(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    young = proxy.pair()
    young.client.sendall(PROTOCOL_HEADER)  # in the middle of its handshake
    fired = proxy.control.fault("refuse")
    assert fired == {"fired": True, "t": fired["t"], "generations": [1, 2]}
    assert _refused(proxy)
    assert to_end(pair.client) == to_end(pair.broker) == RESET
    assert to_end(young.client) == RESET
    status = proxy.control.status()
    assert (status["up"], status["links"], status["lasting"]) == ([], 0, ["refuse"])
    assert _refused(proxy)

    healed = proxy.control.heal("refuse")
    assert healed["healed"] == ["refuse"]
    proxy.pair().begin().to_broker(HEARTBEAT_FRAME)
    ledger = proxy.ledger(tmp_path)
    assert [g["end"] for g in ledger["generations"]] == ["fault:refuse"] * 2 + ["open"]
    assert [g["injected"] for g in ledger["generations"]] == [True, True, False]
    (fault,) = ledger["faults"]
    assert fault["t"] == fired["t"] < healed["t"] <= fault["until"]
    for generation in ledger["generations"][:2]:
        assert generation["faults"] == [
            {"kind": "refuse", "t": fired["t"], "until": generation["closed"]}
        ]


def test_it_fires_with_nobody_there_and_ends_by_itself(proxy: ProxyProcess, tmp_path: Path) -> None:
    fired = proxy.control.fault("refuse", seconds=0.3)
    assert fired == {"fired": True, "t": fired["t"], "generations": []}
    assert _refused(proxy)
    until(lambda: not _refused(proxy), "the port works again")
    assert time.monotonic() - fired["t"] >= 0.3
    (fault,) = proxy.ledger(tmp_path)["faults"]
    assert fault["until"] - fault["t"] >= 0.3


@pytest.mark.parametrize("option", [None, socket.SO_REUSEADDR, socket.SO_REUSEPORT])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_nobody_can_take_the_port_meanwhile(
    proxy: ProxyProcess, option: int | None, address: str
) -> None:
    pair = proxy.pair().begin()
    for _ in range(2):
        proxy.control.fault("refuse")
        with socket.socket() as thief:
            if option:
                thief.setsockopt(socket.SOL_SOCKET, option, 1)
            with pytest.raises(OSError, match="in use"):
                thief.bind((address, proxy.ready["port"]))
        proxy.control.heal()
        proxy.pair().begin()
    pair.close()


def test_old_connections_do_not_keep_the_port_from_working_again(proxy: ProxyProcess) -> None:
    """Those in TIME_WAIT hold the port too, and there are many in a long run."""
    for _ in range(20):
        pair = proxy.pair().begin()
        proxy.control.fault("fin")
        to_end(pair.client)
        pair.close()
        proxy.control.fault("refuse")
        assert _refused(proxy)
        proxy.control.heal()


def test_two_at_a_time_need_two_ends(proxy: ProxyProcess) -> None:
    proxy.control.fault("refuse", seconds=0.2)
    t = proxy.control.fault("refuse", seconds=0.5)["t"]
    until(lambda: not _refused(proxy), "the port works again")
    assert time.monotonic() - t >= 0.5


def test_whoever_waits_to_be_accepted_is_reset() -> None:
    limited = ["sh", "-c", 'ulimit -n 80 && exec "$0" "$@"']  # room for eight links
    with running(command=limited) as proxy:
        for _ in range(8):
            proxy.pair().begin()
        with proxy.connect() as ninth:
            proxy.control.fault("refuse")
            assert to_end(ninth) == RESET
        proxy.control.heal()
        proxy.pair().begin()


def test_a_frame_can_set_it_off_for_everybody(proxy: ProxyProcess) -> None:
    rule = {"direction": "to_broker", "frame": "heartbeat", "nth": 1, "where": "after"}
    number = proxy.control.arm("refuse", rule, seconds=60)
    first, second = proxy.pair().begin(), proxy.pair().begin()
    second.client.sendall(HEARTBEAT_FRAME)
    assert proxy.control.fired(number, 5.0)["generations"] == [1, 2]
    assert to_end(second.broker) == (HEARTBEAT_FRAME, ConnectionResetError)
    assert to_end(first.broker) == RESET
    assert _refused(proxy)


def test_a_handshake_that_was_through_before_is_still_one(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    pair = proxy.pair().begin()
    pair.to_broker(method(0, c.Connection.Close(200, "bye", 0, 0)))
    pair.to_client(method(0, c.Connection.CloseOk()))
    assert proxy.control.fault("refuse")["generations"] == [1]
    (generation,) = proxy.ledger(tmp_path)["generations"]
    ends = (generation["end"], generation["faulted"], generation["injected"])
    assert ends == ("close", False, False)


def test_it_cannot_be_restricted(proxy: ProxyProcess) -> None:
    with pytest.raises(ControlError, match="refuse hits all connections here"):
        proxy.control.fault("refuse", generations=[1])
