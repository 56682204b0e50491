"""What RabbitMQ itself can suffer: it strikes, it is healed, and what was confirmed is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import amqp
import pytest

from benchmarks.rabbitmq.control import KeeperControl
from benchmarks.rabbitmq.faults import RABBIT_FAULTS
from benchmarks.wire.client import WireClient, WireError, WireTimeout
from benchmarks.wire.control import ControlError
from tests.rabbitmq.stage import KeeperProcess

# A node starts in 7 s; beside other work on all cores that may be a minute.
pytestmark = pytest.mark.timeout(240)

BODY = b"a confirmed persistent message"


@pytest.fixture(name="control")
def _control(kept: KeeperProcess) -> Iterator[KeeperControl]:
    with kept.control() as control:
        yield control
        control.heal()


def refused(keeper: KeeperProcess) -> bool:
    """Does nobody take a connection?"""
    try:
        WireClient("127.0.0.1", keeper.ready["ports"][0], timeout=1.0).close()
    except (WireError, WireTimeout):
        return True
    return False


def blocked(keeper: KeeperProcess) -> bool:
    """Are publishers not read any more?"""
    client = WireClient("127.0.0.1", keeper.ready["ports"][0], timeout=1.0)
    try:
        # A connection is blocked from its first publish on, which itself gets through.
        client.publish("", "nowhere", b"")
        client.publish("", "nowhere", b"")
    except WireTimeout:
        return True
    client.close()
    return False


@pytest.mark.parametrize(
    ("kind", "options", "struck"),
    [
        ("node_kill", {}, refused),
        ("node_stop", {}, refused),
        ("app_stop", {}, refused),
        # The harness names its queue whatever the broker is: there is but one victim here.
        ("node_pause", {"which": "leader", "queue": "any"}, refused),
        ("alarm", {"resource": "memory"}, blocked),
        ("alarm", {"resource": "disk"}, blocked),
    ],
)
def test_a_confirmed_message_survives(
    kept: KeeperProcess,
    control: KeeperControl,
    kind: str,
    options: dict[str, str],
    struck: Callable[[KeeperProcess], bool],
) -> None:
    queue = f"survives-{kind}"
    client = kept.client()
    client.queue_declare(queue)
    assert client.publish("", queue, BODY)
    control.sync()
    before = control.status()["now"]
    fired = control.fault(kind, **options)
    assert fired["fired"], fired
    assert before < fired["t"] < control.status()["now"]
    assert struck(kept)
    assert control.status()["active"] == [kind]
    again = control.fault("operator_close")
    assert again == {"fired": False, "why": f"{kind} is still at work: heal it first"}
    healed = control.heal(kind)
    assert healed["healed"] == [kind]
    assert not struck(kept)
    status = control.status()
    assert (status["died"], status["active"]) == ([], [])
    with kept.client() as after:
        message = after.get(queue)
        assert message is not None
        assert message.body == BODY
        after.queue_delete(queue)
    client.close()


def test_every_single_node_fault_is_tried_above() -> None:
    tried = {"node_kill", "node_stop", "app_stop", "node_pause", "alarm", "operator_close"}
    assert {name for name, row in RABBIT_FAULTS.items() if row.nodes == 1} == tried


def stranger(keeper: KeeperProcess) -> amqp.Connection:
    """A connection that is not the harness's own."""
    connection = amqp.Connection(f"127.0.0.1:{keeper.ready['ports'][0]}", read_timeout=10.0)
    connection.connect()
    return connection


def closed_by_an_operator(connection: amqp.Connection) -> bool:
    try:
        connection.channel().close()
    except amqp.exceptions.ConnectionForced as error:
        return "closed by an operator" in str(error)
    connection.close()
    return False


def test_an_operator_closes_a_clients_connection_and_none_of_the_harness(
    kept: KeeperProcess, control: KeeperControl
) -> None:
    with kept.client() as own:
        assert control.fault("operator_close") == {
            "fired": False,
            "why": "no client has a connection",
        }
        clients = [stranger(kept), stranger(kept)]
        assert control.fault("operator_close")["fired"]
        assert [closed_by_an_operator(client) for client in clients].count(True) == 1
        clients = [stranger(kept), stranger(kept)]
        assert control.fault("operator_close", all=True)["fired"]
        assert [closed_by_an_operator(client) for client in clients] == [True, True]
        own.queue_declare("", exclusive=True)  # it is still there
    assert control.status()["active"] == []


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("node_melt", {}, "no fault 'node_melt'; there are node_kill, "),
        ("node_kill", {"sort": "of"}, "node_kill has no option 'sort'; it has node"),
        ("node_kill", {"node": 1}, "node is 0 to 0, not 1"),
        ("alarm", {"resource": "sea"}, "resource is memory or disk, not 'sea'"),
        ("operator_close", {"all": 1}, "all is true or false, not 1"),
    ],
)
def test_a_wrong_request_is_refused_and_changes_nothing(
    control: KeeperControl, kind: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ControlError) as error:
        control.fault(kind, **options)
    assert words in str(error.value)
    assert control.status()["active"] == []
