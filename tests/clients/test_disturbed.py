"""What the broker does to one channel, consumer or confirm, as each adapter tells of it.

It ends that one thing: the error has a word of its own, its owner alone is told, and the rest of
the client goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.broker.control import BrokerControl
from benchmarks.clients.base import Client, Delivery, Outgoing
from benchmarks.clients.loader import check_declared, load_client
from benchmarks.harness.processes import Service

ADAPTERS = ["amqpool", f"{Path(__file__).parents[2] / 'examples/locked_pyamqp.py'}:Locked"]
QUEUE, TOKEN = "disturbed", "a token of the test"
DEADLINE = 10.0


@pytest.fixture(name="ready", scope="module")
def _ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("broker")
    broker = Service("broker", folder, ["--port", "0"], {"AMQPOOL_BROKER_TOKEN": TOKEN})
    try:
        yield broker.wait_ready()
    finally:
        broker.stop()


@pytest.fixture(name="broker")
def _broker(ready: dict[str, Any]) -> Iterator[BrokerControl]:
    with BrokerControl(ready["control"], TOKEN, timeout=DEADLINE) as control:
        yield control
        control.heal()


@pytest.fixture(name="client", params=ADAPTERS, ids=["amqpool", "locked"])
def _client(request: pytest.FixtureRequest, ready: dict[str, Any]) -> Iterator[Client]:
    url = f"amqp://guest:guest@127.0.0.1:{ready['port']}/"
    client = load_client(request.param)([url], size=3)
    check_declared(client)
    client.open()
    try:
        yield client
    finally:
        client.close(5.0)


def message(identity: str, key: str = QUEUE) -> Outgoing:
    return Outgoing(identity, identity.encode() + b"\nbody", "", key, key != QUEUE)


def told(client: Client, drain: Callable[[float], None]) -> BaseException:
    """What a drain raises beside its own timeout, within the deadline."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            drain(0.05)
        except client.timeouts:
            continue
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            return error
    raise AssertionError("nobody was told")


def quiet(client: Client, drain: Callable[[float], None]) -> None:
    """Some drains that raise nothing but their own timeout."""
    for _ in range(5):
        try:
            drain(0.02)
        except client.timeouts:
            continue


def elsewhere(client: Client) -> None:
    """The same with the shared drain, in a thread that has no lease."""
    errors: list[BaseException] = []

    def body() -> None:
        try:
            quiet(client, client.drain)
        except BaseException as error:  # noqa: BLE001 - whichever it is
            errors.append(error)

    thread = threading.Thread(target=body, name="elsewhere", daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert errors == []


def test_a_cancelled_consumer_is_told_where_it_is_drained_and_nowhere_else(
    client: Client, broker: BrokerControl
) -> None:
    mine, other = client.acquire(5.0), client.acquire(5.0)
    client.declare(mine, QUEUE, passive=False)
    taken: list[Delivery] = []
    client.consume(mine, QUEUE, "mine", 5, taken.append)
    assert broker.fault("consumer_cancel")["fired"]
    # Whoever reads first: it is not the other's.
    quiet(client, lambda timeout: client.drain_lease(other, timeout))
    elsewhere(client)
    error = told(client, lambda timeout: client.drain_lease(mine, timeout))
    assert isinstance(error, client.cancelled)
    quiet(client, lambda timeout: client.drain_lease(mine, timeout))
    key = client.channel_key(other)
    assert client.publish_confirmed(other, message("one"), 5.0).outcome() == "ack"
    assert client.channel_key(other) == key, "it is the same connection"
    client.consume(mine, QUEUE, "again", 5, taken.append)
    deadline = time.monotonic() + DEADLINE
    while not taken:
        assert time.monotonic() < deadline, "the second consumer got nothing"
        quiet(client, lambda timeout: client.drain_lease(mine, timeout))
    client.ack(mine, taken[0].delivery_tag)
    client.cancel(mine, "again")
    client.release(mine)
    client.release(other)


@pytest.mark.parametrize("code", [406, 541])
def test_a_closed_channel_is_told_to_its_owner_and_not_lent_again(
    client: Client, broker: BrokerControl, code: int
) -> None:
    mine, other = client.acquire(5.0), client.acquire(5.0)
    client.declare(mine, QUEUE, passive=False)
    broker.fault("confirm_omit", every=1)
    receipt = client.publish(mine, message("one"))
    # Behind it on the wire, so the broker has the publish when this is answered.
    client.declare(mine, QUEUE, passive=True)
    broker.heal("confirm_omit")
    assert broker.fault("channel_close", code=code)["fired"]
    quiet(client, lambda timeout: client.drain_lease(other, timeout))
    elsewhere(client)
    error = told(client, lambda timeout: client.drain_lease(mine, timeout))
    assert client.reply_code(error) == code
    assert not isinstance(error, client.recoverable)
    assert receipt.outcome() == "unknown"
    client.release(mine)
    for handle in (other, client.acquire(5.0), client.acquire(5.0)):
        assert client.publish_confirmed(handle, message("two"), 5.0).outcome() == "ack"
        client.release(handle)


def test_a_confirm_that_never_comes_is_a_timeout_and_costs_its_channel_at_most(
    client: Client, broker: BrokerControl
) -> None:
    handle = client.acquire(5.0)
    client.declare(handle, QUEUE, passive=False)
    broker.fault("confirm_omit", every=1)
    back = client.publish(handle, message("back", key="nowhere"))
    with pytest.raises(client.unconfirmed):
        client.publish_confirmed(handle, message("one"), 0.2)
    assert (back.outcome(), back.returned()) == (None, "back")
    client.release(handle)
    broker.heal("confirm_omit")
    handles = [client.acquire(5.0) for _ in range(3)]
    for handle in handles:
        assert client.publish_confirmed(handle, message("two"), 5.0).outcome() == "ack"
        client.release(handle)
