"""Every adapter keeps the client protocol: the whole of it, against the embedded broker.

The scenarios use a part of the protocol only; what an adapter offers must work all the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients.base import Client, Delivery, Outgoing
from benchmarks.clients.loader import check_declared, load_client
from benchmarks.harness.processes import Service

ADAPTERS = ["amqpool", f"{Path(__file__).parents[2] / 'examples/locked_pyamqp.py'}:Locked"]
QUEUE = "protocol"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    broker = Service("broker", tmp_path_factory.mktemp("broker"), ["--port", "0"])
    try:
        yield broker.wait_ready()["port"]
    finally:
        broker.stop()


@pytest.fixture(params=ADAPTERS, ids=["amqpool", "locked"])
def client(request: pytest.FixtureRequest, port: int) -> Iterator[Client]:
    client = load_client(request.param)([f"amqp://guest:guest@127.0.0.1:{port}/"], size=3)
    check_declared(client)
    client.open()
    try:
        yield client
    finally:
        client.close(5.0)


def message(identity: str, key: str = QUEUE, mandatory: bool = False) -> Outgoing:
    return Outgoing(identity, identity.encode() + b"\nbody", "", key, mandatory)


def drained(client: Client, handle: Any, done: Any) -> None:
    """Drain the lease until ``done()``, within five seconds."""
    deadline = time.monotonic() + 5
    while not done():
        assert time.monotonic() < deadline, "it never came"
        try:
            client.drain_lease(handle, 0.05)
        except client.timeouts:
            continue


def test_a_message_goes_round_by_get(client: Client) -> None:
    handle = client.acquire(5.0)
    assert client.declare(handle, QUEUE, passive=False) == QUEUE
    assert client.declare(handle, QUEUE, passive=True) == QUEUE
    assert client.get(handle, QUEUE) is None
    receipt = client.publish_confirmed(handle, message("one"), 5.0)
    assert (receipt.outcome(), receipt.returned()) == ("ack", None)
    got = client.get(handle, QUEUE)
    assert got is not None
    assert (got.identity, got.body, got.redelivered) == ("one", b"one\nbody", False)
    client.ack(handle, got.delivery_tag)
    assert client.get(handle, QUEUE) is None
    client.release(handle)


def test_an_unroutable_message_comes_back(client: Client) -> None:
    handle = client.acquire(5.0)
    receipt = client.publish(handle, message("back", "nowhere", mandatory=True))
    drained(client, handle, lambda: receipt.outcome() is not None)
    assert (receipt.outcome(), receipt.returned()) == ("ack", "back")
    client.release(handle)


def test_consume_ack_cancel(client: Client) -> None:
    handle = client.acquire(5.0)
    client.declare(handle, QUEUE, passive=False)
    taken: list[Delivery] = []

    def take(delivery: Delivery) -> None:
        taken.append(delivery)
        client.ack(handle, delivery.delivery_tag)

    client.consume(handle, QUEUE, "tag", 5, take)
    other = client.acquire(5.0)
    assert client.channel_key(other) != client.channel_key(handle)
    for number in range(12):
        assert client.publish_confirmed(other, message(f"m{number}"), 5.0).outcome() == "ack"
    drained(client, handle, lambda: len(taken) == 12)
    client.cancel(handle, "tag")
    client.release(other)
    client.release(handle)
    assert [(d.identity, d.consumer_tag, d.redelivered) for d in taken] == [
        (f"m{number}", "tag", False) for number in range(12)
    ]
    assert [d.delivery_tag for d in taken] == list(range(1, 13))
    after = client.acquire(5.0)
    assert client.get(after, QUEUE) is None, "what was acked must not come again"
    client.release(after)


def test_a_drain_in_vain_times_out(client: Client) -> None:
    with pytest.raises(client.timeouts):
        client.drain(0.01)
    assert client.connected()


def test_close_is_the_end(client: Client) -> None:
    client.close(5.0)
    assert not client.connected()


def test_amqpool_counts_at_rest(port: int) -> None:
    client = load_client("amqpool")([f"amqp://guest:guest@127.0.0.1:{port}/"], size=3)
    client.open()
    handles = [client.acquire(5.0) for _ in range(2)]
    keys = {client.channel_key(handle) for handle in handles}
    for handle in handles:
        client.release(handle)
    rest = client.at_rest()
    assert rest is not None
    assert (set(rest["idle"]), len(rest["idle"]), rest["in_use"]) == (keys, 2, 0)
    client.close(5.0)
