"""Both brokers for one module; skipped, with the reason, where RabbitMQ is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.rabbitmq.programs import Missing
from tests.differential.brokers import embedded, rabbitmq
from tests.differential.comparing import Comparison
from tests.differential.driver import Driver


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Driver, Driver]]:
    """The embedded broker and RabbitMQ."""
    try:
        with embedded() as mine, rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as other:
            pair = Driver(mine), Driver(other)
            yield pair
            for driver in pair:
                driver.close()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def comparison(drivers: tuple[Driver, Driver]) -> Comparison:
    """The two side by side, with nothing compared yet."""
    return Comparison(*drivers)
