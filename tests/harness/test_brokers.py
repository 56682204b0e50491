"""Which broker a trial runs on: what may be asked for, what is refused, what nobody may read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import brokers
from benchmarks.harness.brokers import (
    PASSWORD_VARIABLE,
    QUORUM,
    BrokerChoice,
    choose_broker,
    kept_broker,
    start_broker,
)
from benchmarks.harness.kinds import CLUSTER, EMBEDDED, EXTERNAL, NAMED, RABBITMQ, kind_of
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.harness.request import Request
from benchmarks.harness.supervise import run_trial
from benchmarks.wire.client import WireClient, WireError
from benchmarks.wire.url import Endpoint

KILLS = "chaos_with_connection_kills"


@pytest.mark.parametrize("kind", NAMED)
def test_a_kind_is_asked_for_by_its_name(kind: str) -> None:
    choice = choose_broker(kind)
    assert (choice, choice.label, kind_of(choice.label)) == (BrokerChoice(kind), kind, kind)


def test_a_url_names_a_node_and_several_a_cluster() -> None:
    text = "amqp://me:secret@127.0.0.1:5673/there,amqp://localhost"
    choice = choose_broker(text)
    assert choice.kind == EXTERNAL
    assert choice.endpoints == (
        Endpoint("127.0.0.1", 5673, "me", "secret", "there"),
        Endpoint("localhost"),
    )
    assert choice.label == "amqp://me@127.0.0.1:5673/there,amqp://guest@localhost:5672/"
    assert "secret" not in repr(choice)
    assert kind_of(choice.label) == EXTERNAL


def test_the_password_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    # The label of a result is enough to ask for the same again.
    (again,) = choose_broker("amqp://me@127.0.0.1:5673/%2F").endpoints
    assert again.password == "secret"
    (given,) = choose_broker("amqp://me:other@127.0.0.1").endpoints
    assert given.password == "other"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("elsewhere", "'elsewhere' is none of embedded, rabbitmq, rabbitmq-cluster, and no amqp:"),
        ("http://x", "no amqp:// URL"),
        ("amqp://me:secret@:5", "--broker: broker URL must look like"),
        ("amqp://me:secret@127.0.0.1,", "--broker: broker URL must look like"),
        ("amqp://me:secret@no.such.host.invalid", "its host is not known"),
        ("amqp://me:secret@192.0.2.1", "is another machine: load goes to loopback, unless"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_line_without_its_password(text: str, words: str) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        choose_broker(text)
    told = str(caught.value)
    assert words in told
    assert "secret" not in told
    assert "\n" not in told


def test_another_machine_is_put_under_load_only_when_that_is_said() -> None:
    assert choose_broker("amqp://192.0.2.1", remote=True).endpoints == (Endpoint("192.0.2.1"),)


def test_the_embedded_broker_is_every_trial_s_own(tmp_path: Path) -> None:
    with kept_broker(BrokerChoice(EMBEDDED)) as kept:
        assert kept is None
    broker = start_broker(BrokerChoice(EMBEDDED), tmp_path)
    try:
        assert (broker.own, broker.queue_arguments, broker.facts()) == (True, {}, None)
        assert broker.died() is None
        assert broker.token not in repr(broker)
        (endpoint,) = broker.endpoints
        with WireClient.to(endpoint) as client:
            assert client.queue_declare("q").message_count == 0
    finally:
        broker.stop()
    assert "broker: " in str(broker.died())
    with pytest.raises(WireError):
        WireClient.to(endpoint)


def external(*endpoints: Endpoint) -> BrokerChoice:
    return BrokerChoice(EXTERNAL, endpoints)


def test_a_node_that_runs_already_is_used_as_it_is_and_left_as_it_was(tmp_path: Path) -> None:
    theirs = start_broker(BrokerChoice(EMBEDDED), tmp_path)
    try:
        (endpoint,) = theirs.endpoints
        with WireClient.to(endpoint) as client:
            client.queue_declare("mine")
            client.publish("", "mine", b"kept")
        with kept_broker(external(endpoint)) as broker:
            assert broker is not None
            request = Request(KILLS, "4x24x8", 1, broker=broker.choice.label)
            results = [run_trial(request, broker=broker) for _ in range(2)]
        for result in results:
            assert result.verdict == "valid", result.document
            assert result.document["broker"] == endpoint.safe
            assert f"--broker {endpoint.safe}" in result.document["replay"]
        with WireClient.to(endpoint) as client:
            assert [message.body for message in client.drain("mine", 5)] == [b"kept"]
            client.queue_delete("mine")
        assert theirs.service is not None
        with brokers_control(theirs) as control:
            assert control.stats()["queues"] == 0
    finally:
        theirs.stop()


def brokers_control(broker: brokers.Broker) -> Any:
    from benchmarks.broker.control import BrokerControl

    assert broker.control_port is not None
    return BrokerControl(broker.control_port, broker.token)


def test_several_nodes_are_given_to_the_client_and_declared_as_quorum_queues() -> None:
    one = external(Endpoint("127.0.0.1", 1))
    two = external(Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2))
    with kept_broker(one) as broker:
        assert broker is not None
        assert broker.queue_arguments == {}
    with kept_broker(two) as broker:
        assert broker is not None
        assert broker.queue_arguments == QUORUM
        assert broker.upstreams() == [
            *("--upstream", "127.0.0.1:1", "--upstream", "127.0.0.1:2"),
            "--allow-remote",
        ]


def test_a_node_that_does_not_answer_is_the_user_s_to_mend(vacant: int) -> None:
    choice = external(Endpoint("127.0.0.1", vacant, "me", "secret"))
    with kept_broker(choice) as broker, pytest.raises(EnvironmentProblem) as caught:
        run_trial(Request(KILLS, "4x24x8", 1, broker=choice.label), broker=broker)
    assert f"127.0.0.1:{vacant}" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [RABBITMQ, CLUSTER])
def test_where_rabbitmq_is_not_installed_one_line_says_how_to_install_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "bin"
    python.mkdir()
    monkeypatch.setenv("PATH", str(python))
    assert shutil.which("rabbitmqctl") is None
    with pytest.raises(EnvironmentProblem) as caught:
        start_broker(BrokerChoice(kind), tmp_path)
    told = str(caught.value)
    assert "install" in told
    assert "rabbitmq-server" in told
    assert "\n" not in told


def test_a_broker_is_made_so_that_it_can_do_what_is_asked_of_it() -> None:
    choice = BrokerChoice(CLUSTER).able(["rst", "partition"])
    assert choice.isolated
    assert not BrokerChoice(CLUSTER).able(["leader_kill", None]).isolated
    assert not BrokerChoice(RABBITMQ).able(["partition"]).isolated
    # It is the same broker to whoever reads a result.
    assert choice.label == CLUSTER
