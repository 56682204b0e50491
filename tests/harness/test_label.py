"""The label under which asv measures: read in one place, and skipped where it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.harness import label
from benchmarks.harness.brokers import Broker, BrokerChoice
from benchmarks.harness.kinds import CLUSTER, EMBEDDED, NAMED, RABBITMQ, VARIABLE
from benchmarks.harness.label import NotHere
from benchmarks.harness.processes import EnvironmentProblem


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without RabbitMQ: none of its programs is in the search path."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, EMBEDDED), ("", EMBEDDED), *((name, name) for name in NAMED)],
)
def test_the_label_is_what_asv_says(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert label.label() == expected


@pytest.mark.parametrize("value", ["rabbit", "external", "amqp://me:s3cret@127.0.0.1:5672/"])
def test_anything_else_is_told_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(EnvironmentProblem) as caught:
        label.measured_on_label(lambda kind, broker: pytest.fail("something was measured"))
    assert str(caught.value) == (
        "BROKER must be one of embedded, rabbitmq, rabbitmq-cluster, and no URL"
    )


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ("virtualenv-py3.11-amqp-BROKERrabbitmq", RABBITMQ),
        ("virtualenv-py3.11-amqp-BROKERrabbitmq-cluster", CLUSTER),
        ("virtualenv-py3.11-amqp-BROKERrabbitmq-COLOURred", RABBITMQ),
        ("virtualenv-py3.11-amqp", EMBEDDED),
        ("virtualenv-py3.11-amqp-BROKERembedded", EMBEDDED),
    ],
)
def test_asv_stores_what_it_says(
    monkeypatch: pytest.MonkeyPatch, environment: str, word: str
) -> None:
    monkeypatch.setenv("ASV_ENV_NAME", environment)
    monkeypatch.setenv(VARIABLE, word)
    assert label.label() == word


@pytest.mark.parametrize(
    "environment", ["existing-py_usr_bin_python", "virtualenv-py3.11-amqp-BROKERembedded"]
)
def test_a_label_that_asv_would_not_store_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    """The variable of somebody's shell, in an environment to which asv gives none of its own."""
    monkeypatch.setenv("ASV_ENV_NAME", environment)
    monkeypatch.setenv(VARIABLE, RABBITMQ)
    with pytest.raises(EnvironmentProblem, match="would store the results as embedded"):
        label.label()


def test_the_embedded_broker_can_always_be_had(monkeypatch: pytest.MonkeyPatch, bare: None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert label.measured_on_label(lambda kind, broker: (kind, broker)) == (EMBEDDED, None)
    assert label.node() is None
    label.require_label()


@pytest.mark.parametrize("kind", [RABBITMQ, CLUSTER])
def test_without_the_programs_nothing_is_measured_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, bare: None, kind: str
) -> None:
    monkeypatch.setenv(VARIABLE, kind)
    found = label.measured_on_label(lambda kind, broker: pytest.fail("something was measured"))
    assert isinstance(found, NotHere)
    assert found.reason.startswith(f"{kind}: there is no ")
    assert "install RabbitMQ" in found.reason
    with pytest.raises(NotImplementedError, match="install RabbitMQ"):
        label.skip_if_not_here(found, "10x100", "deadlocks")
    with pytest.raises(NotImplementedError, match="install RabbitMQ"):
        label.require_label()


def test_what_was_measured_is_read() -> None:
    label.skip_if_not_here({"measured": 0}, "10x100", "deadlocks")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """RabbitMQ as if it were here; what happened to its nodes, in words."""
    events: list[str] = []

    @contextmanager
    def kept(choice: BrokerChoice) -> Iterator[Broker]:
        events.append(f"{choice.label} started")
        try:
            yield Broker(choice)
        finally:
            events.append(f"{choice.label} ended")

    monkeypatch.setattr(label, "missing", lambda kind: None)
    monkeypatch.setattr(label, "kept_broker", kept)
    monkeypatch.setenv(VARIABLE, RABBITMQ)
    return events


def test_one_broker_is_kept_for_all_of_the_work_and_then_ended(started: list[str]) -> None:
    def work(kind: str, broker: Broker | None) -> str:
        assert broker is not None
        started.append("worked")
        return kind + broker.kind

    assert label.measured_on_label(work) == RABBITMQ * 2
    assert started == ["rabbitmq started", "worked", "rabbitmq ended"]


def test_a_broker_is_ended_also_after_an_error(started: list[str]) -> None:
    def work(kind: str, broker: Broker | None) -> None:
        raise EnvironmentProblem("a full disk")

    with pytest.raises(EnvironmentProblem, match="a full disk"):
        label.measured_on_label(work)
    assert started == ["rabbitmq started", "rabbitmq ended"]


def test_what_needs_no_broker_is_done_under_one_label_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert label.once(lambda: 7) == 7
    monkeypatch.setenv(VARIABLE, RABBITMQ)
    found = label.once(lambda: pytest.fail("it was done a second time"))
    assert found == NotHere("no broker takes part: it is measured under the label embedded")
