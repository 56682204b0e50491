"""A real client through the proxy to the embedded broker: the ledger agrees with what it saw."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from tests.proxy.stage import DEADLINE, MAIN, ProxyProcess, running

BROKER = MAIN.parents[1] / "broker" / "__main__.py"


@pytest.fixture(name="proxy")
def _proxy() -> Iterator[ProxyProcess]:
    broker = subprocess.Popen(
        [sys.executable, str(BROKER), "--port", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert broker.stdin is not None
    assert broker.stdout is not None
    with broker.stdin, broker.stdout:
        try:
            with running(port=json.loads(broker.stdout.readline())["port"]) as process:
                yield process
            broker.stdin.close()
            assert broker.wait(DEADLINE) == 0
        finally:
            broker.kill()
            broker.wait(DEADLINE)


def _connect(proxy: ProxyProcess) -> Any:
    connection = amqp.Connection(f"127.0.0.1:{proxy.ready['port']}", read_timeout=DEADLINE)
    connection.connect()
    return connection


def _identities(events: list[Any], kind: str) -> list[str]:
    return [fields["id"] for _, seen, _, _, fields in events if seen == kind]


def test_every_message_is_in_the_ledger(proxy: ProxyProcess, tmp_path: Path) -> None:
    ids = [f"run/0/{n}" for n in range(200)]
    connection = _connect(proxy)
    channel = connection.channel()
    returned: list[str] = []
    delivered: list[str] = []
    channel.confirm_select()
    channel.events["basic_return"].add(lambda exc, *args: returned.append(args[-1].message_id))
    channel.queue_declare("q", durable=True, auto_delete=False)

    def on_message(message: Any) -> None:
        delivered.append(message.message_id)
        channel.basic_ack(message.delivery_tag)

    for n, one in enumerate(ids):
        body = f"{one}\n".encode() + b"x" * n * 2000  # up to three frames
        lost = n % 10 == 0
        message = amqp.Message(body, message_id=one)
        channel.basic_publish(message, "", "nowhere" if lost else "q", mandatory=lost)
    got = channel.basic_get("q", no_ack=True)
    channel.basic_consume("q", callback=on_message)
    end = time.monotonic() + 4 * DEADLINE
    while len(delivered) < 179:
        assert time.monotonic() < end
        connection.drain_events(timeout=DEADLINE)
    assert channel.basic_get("q") is None
    connection.close()

    generation = proxy.ended(tmp_path)
    assert (generation["end"], generation["faulted"]) == ("close", False)
    events = generation["events"]
    assert _identities(events, "publish") == ids
    assert sorted(_identities(events, "confirm")) == sorted(ids)
    assert _identities(events, "return") == returned == ids[::10]
    assert _identities(events, "get_ok") == [got.message_id] == ids[1:2]
    assert _identities(events, "deliver") == delivered
    assert _identities(events, "ack") == delivered
    assert sorted([*delivered, *returned, got.message_id]) == sorted(ids)
    assert [e[1] for e in events].count("get_empty") == 1
    bodies = {f["id"]: f["crc"] for _, kind, _, _, f in events if kind == "publish"}
    for _, kind, _, _, fields in events:
        if kind in ("deliver", "get_ok"):
            assert fields["crc"] == bodies[fields["id"]]
            assert fields["body_id"] == fields["id"]


def test_a_kill_is_seen_and_the_next_connection_works(proxy: ProxyProcess, tmp_path: Path) -> None:
    for number in range(1, 6):
        connection = _connect(proxy)
        connection.channel().queue_declare("q", durable=True, auto_delete=False)
        assert proxy.control.fault("rst")["generations"] == [number]
        with pytest.raises(ConnectionResetError):
            connection.drain_events(timeout=DEADLINE)
        connection.collect()
    ledger = proxy.ledger(tmp_path)
    assert [g["end"] for g in ledger["generations"]] == ["fault:rst"] * 5
    assert [f["generations"] for f in ledger["faults"]] == [[n] for n in range(1, 6)]
    for generation in ledger["generations"]:
        assert [e[1:] for e in generation["events"]] == [
            ["open", 1, 1, {}],
            ["open_ok", 1, 1, {}],
            ["declare", 1, 1, {"queue": "q", "passive": False}],
            ["declare_ok", 1, 1, {"queue": "q"}],
        ]
