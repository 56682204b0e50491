"""Several upstreams behind one proxy: a door for each; ledger, rules and faults for all of them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.proxy.control import Control
from benchmarks.wire.frames import HEARTBEAT_FRAME, PROTOCOL_HEADER
from tests.proxy.stage import (
    DEADLINE,
    MAIN,
    TOKEN,
    Pair,
    ProxyProcess,
    exactly,
    running,
    silent,
    to_end,
    until,
)

RESET = (b"", ConnectionResetError)
NODES = 3


@pytest.fixture(name="proxy")
def _proxy() -> Iterator[ProxyProcess]:
    with running(nodes=NODES) as process:
        yield process


def _everywhere(proxy: ProxyProcess) -> list[Pair]:
    return [proxy.pair(node).begin() for node in range(NODES)]


def _refused(proxy: ProxyProcess) -> list[bool]:
    answers = []
    for node in range(NODES):
        try:
            proxy.connect(node).close()
        except ConnectionRefusedError:
            answers.append(True)
        else:
            answers.append(False)
    return answers


def test_each_upstream_has_a_door_and_all_have_one_ledger(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    ports = proxy.ready["ports"]
    assert len(set(ports)) == NODES
    assert proxy.ready["port"] == ports[0]
    for node in (2, 0, 1, 2):
        proxy.pair(node).begin().to_broker(HEARTBEAT_FRAME)  # to that very listener
    status = proxy.control.status()
    assert status["up"] == [1, 2, 3, 4]
    assert status["ports"] == ports
    assert status["upstreams"] == [
        {"address": f"127.0.0.1:{listener.getsockname()[1]}", "up": up}
        for listener, up in zip(proxy.upstreams, ([2], [3], [1, 4]), strict=True)
    ]
    ledger = proxy.ledger(tmp_path)
    assert [(one["generation"], one["upstream"]) for one in ledger["generations"]] == [
        (1, 2),
        (2, 0),
        (3, 1),
        (4, 2),
    ]


def test_a_fault_hits_the_connections_of_all_doors(proxy: ProxyProcess) -> None:
    pairs = _everywhere(proxy)
    assert proxy.control.fault("rst")["generations"] == [1, 2, 3]
    for pair in pairs:
        assert to_end(pair.client) == to_end(pair.broker) == RESET


def test_a_fault_can_be_restricted_to_one_node(proxy: ProxyProcess) -> None:
    pairs = _everywhere(proxy)
    there = proxy.control.status()["upstreams"][1]["up"]
    assert proxy.control.fault("rst", generations=there)["generations"] == [2]
    assert to_end(pairs[1].client) == RESET
    for pair in (pairs[0], pairs[2]):
        pair.to_broker(HEARTBEAT_FRAME)


def test_a_rule_counts_over_all_doors(proxy: ProxyProcess) -> None:
    rule = {"direction": "to_broker", "frame": "heartbeat", "nth": 3, "where": 2}
    number = proxy.control.arm("cut", rule)
    pairs = _everywhere(proxy)
    for pair in pairs[:2]:
        pair.to_broker(HEARTBEAT_FRAME)
    pairs[2].client.sendall(HEARTBEAT_FRAME)
    assert proxy.control.fired(number, DEADLINE)["generations"] == [3]
    assert to_end(pairs[2].broker) == (HEARTBEAT_FRAME[:2], ConnectionResetError)


@pytest.mark.parametrize("kind", ["stall", "blackhole"])
def test_silence_lies_on_all_doors(proxy: ProxyProcess, kind: str) -> None:
    pairs = _everywhere(proxy)
    proxy.control.fault(kind)
    for pair in pairs:
        pair.client.sendall(HEARTBEAT_FRAME)
    assert all(silent(pair.broker) for pair in pairs)
    proxy.control.heal()
    for pair in pairs:
        if kind == "stall":  # what it held goes out
            assert exactly(pair.broker, len(HEARTBEAT_FRAME)) == HEARTBEAT_FRAME
        else:  # what has a hole is ended
            assert to_end(pair.broker) == RESET


def test_latency_for_connections_to_come_lies_on_all_doors(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    proxy.control.fault("latency", ms=1, future=True)
    _everywhere(proxy)
    assert [
        [fault["kind"] for fault in one["faults"]] for one in proxy.ledger(tmp_path)["generations"]
    ] == [["latency"]] * NODES


def test_all_doors_refuse_and_all_open_again(proxy: ProxyProcess) -> None:
    pairs = _everywhere(proxy)
    assert proxy.control.fault("refuse")["generations"] == [1, 2, 3]
    assert _refused(proxy) == [True] * NODES
    for pair in pairs:
        assert to_end(pair.client) == RESET
    proxy.control.heal()
    _everywhere(proxy)


def test_all_doors_share_the_room() -> None:
    limited = ["sh", "-c", 'ulimit -n 70 && exec "$0" "$@"']  # room for three links
    with running(command=limited, nodes=NODES) as proxy:
        pairs = _everywhere(proxy)
        with proxy.connect(0), proxy.connect(2) as waiting:
            waiting.sendall(PROTOCOL_HEADER)
            assert silent(waiting)
            assert proxy.control.status()["links"] == NODES
            for pair in pairs:
                pair.close()
            until(lambda: proxy.control.status()["generations"] == 5, "those that waited are in")


def test_a_node_that_is_gone_and_comes_back(proxy: ProxyProcess, tmp_path: Path) -> None:
    address = proxy.upstreams[1].getsockname()
    proxy.upstreams[1].close()
    with proxy.connect(1) as client:
        client.sendall(PROTOCOL_HEADER)
        assert to_end(client)[0] == b""
    gone = proxy.ended(tmp_path)
    assert (gone["upstream"], gone["ready"], gone["end"]) == (1, None, "broker")
    proxy.pair(0).begin()  # its neighbours did not notice

    proxy.upstreams[1] = socket.create_server(address)
    proxy.upstreams[1].settimeout(DEADLINE)
    proxy.pair(1).begin().to_broker(HEARTBEAT_FRAME)
    assert [one["up"] for one in proxy.control.status()["upstreams"]] == [[2], [3], []]


def test_the_ports_can_be_chosen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--upstream", "127.0.0.1:1", "--upstream", "127.0.0.1:2"]
    process = subprocess.Popen(
        [sys.executable, str(MAIN), *options, "--port", "0", "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"AMQPOOL_PROXY_TOKEN": TOKEN},
        text=True,
    )
    assert process.stdout is not None
    assert f", {port}]" in process.stdout.readline()
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


# -- upstreams beyond loopback ------------------------------------------------------------------


@pytest.mark.parametrize("address", ["192.0.2.1:5672", "198.18.0.2:5672", "example.org:5672"])
def test_beyond_loopback_only_when_allowed(address: str) -> None:
    done = subprocess.run(
        [sys.executable, str(MAIN), "--upstream", "127.0.0.1:1", "--upstream", address],
        env={"AMQPOOL_PROXY_TOKEN": TOKEN},
        input="",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"proxy: error: {address} is not a loopback address like 127.0.0.1:5672; "
        "--allow-remote lets the proxy connect to it"
    )


def test_when_allowed_it_still_listens_on_loopback_alone(tmp_path: Path) -> None:
    remote = ("--upstream", "0.0.0.0:1", "--allow-remote")  # no loopback address, and nobody there
    with running(arguments=remote) as proxy:
        local, far = proxy.ready["ports"]
        assert proxy.control.status()["upstreams"][1]["address"] == "0.0.0.0:1"
        with socket.create_connection(("127.0.0.1", far), DEADLINE) as client:
            assert to_end(client)[0] == b""
        assert proxy.ended(tmp_path)["end"] == "broker"
        for port in (local, far, proxy.ready["control"]):
            with socket.socket() as other:  # the port of another address of this machine is free
                other.bind(("127.0.0.2", port))


def test_a_name_that_nobody_knows_is_told() -> None:
    done = subprocess.run(
        [sys.executable, str(MAIN), "--upstream", "no.such.host.invalid:5672", "--allow-remote"],
        env={"AMQPOOL_PROXY_TOKEN": TOKEN},
        input="",
        capture_output=True,
        text=True,
        timeout=6 * DEADLINE,  # the resolver's own patience
    )
    assert done.returncode == 2
    assert "no IPv4 address is known for 'no.such.host.invalid'" in done.stderr.splitlines()[-1]


def test_a_control_session_is_one_for_all_doors(proxy: ProxyProcess) -> None:
    with Control(proxy.ready["control"], TOKEN) as another:
        _everywhere(proxy)
        assert another.status()["ready"] == NODES
