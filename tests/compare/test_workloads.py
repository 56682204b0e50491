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
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, token = tmp_path_factory.mktemp("place"), "t" * 32
    broker = Service("broker", folder, ["--port", "0"], {"AMQPOOL_BROKER_TOKEN": token})
    try:
        port = broker.wait_ready()["port"]
        upstream = ["--upstream", f"127.0.0.1:{port}", "--port", "0"]
        proxy = Service("proxy", folder, upstream, {"AMQPOOL_PROXY_TOKEN": token})
        try:
            ready = proxy.wait_ready()
            proxied = Endpoint("127.0.0.1", ready["port"])
            yield Place(Endpoint("127.0.0.1", port), proxied, (ready["control"], token))
        finally:
            proxy.stop()
    finally:
        broker.stop()


def runner(work: str, place: Place, folder: Path, client: str = "amqpool") -> Runner:
    return Runner(client, work, Path(sys.executable), place, "test", folder)


@pytest.mark.parametrize("work", WORKS)
def test_amqpool_does_the_work(work: str, place: Place, tmp_path: Path) -> None:
    measured = runner(work, place, tmp_path)
    try:
        for _ in range(2):
            sample = measured.round(WORKS[work].first, 60.0)
            assert sample.operations == WORKS[work].first
            for figure in WORKS[work].figures:
                if figure.series is None:
                    assert sample.seconds > 0
                    assert sample.cpu_s > 0
                else:
                    assert sample.series[figure.series]
    finally:
        measured.stop()
    with WireClient.to(place.broker) as wire:
        # What it declared is gone: declared anew, the queue is empty and nobody's.
        state = wire.queue_declare(f"test.{work}.amqpool.0")
        assert (state.message_count, state.consumer_count) == (0, 0)
        wire.queue_delete(state.name)


def test_a_client_that_is_not_there_is_a_failure(place: Place, tmp_path: Path) -> None:
    measured = runner("publish_1", place, tmp_path, "amqpstorm")
    with pytest.raises(Failure, match="No module named 'amqpstorm'"):
        measured.round(10, 30.0)
    measured.stop()


def test_a_round_is_bounded(place: Place, tmp_path: Path) -> None:
    measured = runner("publish_1", place, tmp_path)
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
