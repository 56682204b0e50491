"""Keepers for the tests; all are skipped, with the reason, where RabbitMQ is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.rabbitmq.programs import Missing, find
from tests.rabbitmq.stage import KeeperProcess, running


@pytest.fixture(name="installed", scope="session")
def _installed() -> None:
    try:
        find()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(name="keeper")
def _keeper(installed: None, tmp_path: Path) -> Iterator[KeeperProcess]:
    """A keeper of one node that has just been started: nothing answers yet."""
    process = KeeperProcess(tmp_path)
    yield process
    process.stop()


@pytest.fixture(name="kept", scope="module")
def _kept(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperProcess]:
    """One node for the whole module; each test leaves it healed."""
    with running(tmp_path_factory.mktemp("kept")) as process:
        yield process
