"""Every adapter keeps the client protocol: the whole of it, against the embedded broker.

The scenarios use a part of the protocol only; what an adapter offers must work all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clients.base import Bounds, Client, Delivery, Outgoing, effective_bounds
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


def make(name: str, port: int) -> Client:
    client = load_client(name)([f"amqp://guest:guest@127.0.0.1:{port}/"], size=3)
    check_declared(client)
    return client


@pytest.fixture(params=ADAPTERS, ids=["amqpool", "locked"])
def client(request: pytest.FixtureRequest, port: int) -> Iterator[Client]:
    client = make(request.param, port)
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

    assert client.consume(handle, QUEUE, "tag", 5, take) == "tag"
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


def test_a_get_without_ack_is_the_last_of_its_message(client: Client) -> None:
    handle = client.acquire(5.0)
    client.declare(handle, QUEUE, passive=False)
    client.publish_confirmed(handle, message("once"), 5.0)
    got = client.get(handle, QUEUE, no_ack=True)
    assert got is not None
    assert (got.identity, client.get(handle, QUEUE, no_ack=True)) == ("once", None)
    client.release(handle)


def test_a_consumer_without_acks(client: Client) -> None:
    handle = client.acquire(5.0)
    client.declare(handle, QUEUE, passive=False)
    taken: list[Delivery] = []
    assert client.consume(handle, QUEUE, "free", 5, taken.append, no_ack=True) == "free"
    for number in range(12):
        client.publish_confirmed(handle, message(f"m{number}"), 5.0)
    drained(client, handle, lambda: len(taken) == 12)
    client.cancel(handle, "free")
    client.release(handle)
    after = client.acquire(5.0)
    assert client.get(after, QUEUE) is None
    client.release(after)


def test_messages_of_a_cancelled_consumer_that_nobody_acked_come_again(client: Client) -> None:
    handle = client.acquire(5.0)
    client.declare(handle, "unacked", passive=False)
    client.publish_confirmed(handle, message("again", "unacked"), 5.0)
    taken: list[Delivery] = []
    client.consume(handle, "unacked", "tag", 5, taken.append)
    drained(client, handle, lambda: taken)
    client.cancel(handle, "tag")
    client.release(handle)
    client.close(5.0)
    client = make(ADAPTERS[0], int(client.urls[0].rstrip("/").rpartition(":")[2]))
    client.open()
    handle = client.acquire(5.0)
    got = client.get(handle, "unacked", no_ack=True)
    assert got is not None
    assert (got.identity, got.redelivered) == ("again", True)
    client.close(5.0)


@pytest.mark.parametrize(("code", "queue", "passive"), [(404, "none", True), (406, QUEUE, False)])
def test_a_refusal_ends_one_channel_with_the_brokers_code(
    client: Client, code: int, queue: str, passive: bool
) -> None:
    other, handle = client.acquire(5.0), client.acquire(5.0)
    client.declare(other, QUEUE, passive=False)
    with pytest.raises(Exception) as caught:
        client.declare(handle, queue, passive, durable=False)
    assert client.reply_code(caught.value) == code
    assert client.reply_code(ValueError("no code")) is None
    client.release(handle)
    assert client.publish_confirmed(other, message("other"), 5.0).outcome() == "ack"
    client.release(other)
    # Of all the channels there are now, none is the dead one.
    handles = [client.acquire(5.0) for _ in range(3)]
    for handle in handles:
        assert client.publish_confirmed(handle, message("after"), 5.0).outcome() == "ack"
        got = client.get(handle, QUEUE, no_ack=True)
        assert got is not None
    for handle in handles:
        client.release(handle)


def test_a_second_release_has_no_effect(client: Client) -> None:
    handles = [client.acquire(5.0) for _ in range(3)]
    client.release(handles[0])
    for _ in range(3):
        try:
            client.release(handles[0])
        except client.refused:
            pass  # a client may say so
    last = client.acquire(5.0)
    with pytest.raises(client.timeouts):
        client.acquire(0.01)
    for handle in (*handles[1:], last):
        client.release(handle)


@pytest.mark.parametrize("name", ADAPTERS, ids=["amqpool", "locked"])
def test_the_heartbeat_is_asked_for(name: str, port: int) -> None:
    client = make(name, port)
    assert effective_bounds(client) == client.bounds
    client.heartbeat = 1
    assert effective_bounds(client) == Bounds(client.bounds.operation, 1.0, 5.0, 5.0)
    client.open()
    handle = client.acquire(5.0)
    assert agreed(client) == 1
    client.release(handle)
    client.close(5.0)


def agreed(client: Any) -> float:
    """The heartbeat that the adapter's library and the broker agreed on."""
    connection = client._connection if hasattr(client, "_connection") else None
    if connection is None:
        connection = client.pool._roster.slots.connection
    return float(connection.heartbeat)


def test_close_is_the_end(client: Client) -> None:
    outcomes: list[BaseException | None] = []

    def wait_for_a_channel() -> None:
        try:
            client.acquire(5.0)
        except BaseException as error:  # noqa: BLE001 - whichever it is
            outcomes.append(error)

    handles = [client.acquire(5.0) for _ in range(3)]
    waiter = threading.Thread(target=wait_for_a_channel, name="waiter", daemon=True)
    waiter.start()
    client.close(5.0)
    assert not client.connected()
    waiter.join(10.0)
    assert not waiter.is_alive()
    told = (*client.closed, *client.recoverable)
    assert [isinstance(error, told) for error in outcomes] == [True]
    for call in (
        lambda: client.acquire(1.0),
        lambda: client.drain(0.01),
        lambda: client.publish(handles[0], message("late")),
    ):
        with pytest.raises(told):
            call()
    assert not client.connected(), "nothing that is done to a closed client connects it again"


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
