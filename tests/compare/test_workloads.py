"""The speed workloads, run by amqpool on the embedded broker: they do the work that they count."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.clients.speed.table import SPEEDS, load_speed
from benchmarks.harness.processes import Service
from benchmarks.harness.speed.runner import Failure, Place, Runner
from benchmarks.harness.speed.works import WORKS
from benchmarks.wire.client import WireClient
from benchmarks.wire.url import Endpoint


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("broker")
    service = Service("broker", folder, ["--port", "0"], {"AMQPOOL_BROKER_TOKEN": "t" * 32})
    try:
        yield Endpoint("127.0.0.1", service.wait_ready()["port"])
    finally:
        service.stop()


def runner(work: str, broker: Endpoint, folder: Path, client: str = "amqpool") -> Runner:
    return Runner(client, work, Path(sys.executable), Place(broker, broker), "test", folder)


@pytest.mark.parametrize("work", WORKS)
def test_amqpool_does_the_work(work: str, broker: Endpoint, tmp_path: Path) -> None:
    measured = runner(work, broker, tmp_path)
    try:
        for _ in range(2):
            sample = measured.round(WORKS[work].first, 60.0)
            assert sample.operations == WORKS[work].first
            assert sample.seconds > 0
            assert sample.cpu_s > 0
    finally:
        measured.stop()
    with WireClient.to(broker) as wire:
        # What it declared is gone: declared anew, the queue is empty and nobody's.
        state = wire.queue_declare(f"test.{work}.amqpool.0")
        assert (state.message_count, state.consumer_count) == (0, 0)
        wire.queue_delete(state.name)


def test_a_client_that_is_not_there_is_a_failure(broker: Endpoint, tmp_path: Path) -> None:
    measured = runner("publish_1", broker, tmp_path, "amqpstorm")
    with pytest.raises(Failure, match="No module named 'amqpstorm'"):
        measured.round(10, 30.0)
    measured.stop()


def test_a_round_is_bounded(broker: Endpoint, tmp_path: Path) -> None:
    measured = runner("publish_1", broker, tmp_path)
    with pytest.raises(Failure, match=r"did not finish in 0\.01 s"):
        measured.round(100_000, 0.01)
    # The next one starts anew.
    assert measured.round(10, 30.0).operations == 10
    measured.stop()


@pytest.mark.parametrize("client", SPEEDS)
def test_every_client_says_what_it_is(client: str) -> None:
    kind = load_speed(client)
    assert kind.name
    assert all("==" in pin for pin in kind.requirements)
