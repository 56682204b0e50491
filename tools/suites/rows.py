"""The suites: one row each. Versions are pinned, so that a suite that changed cannot be taken for a
broker that did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tools.suites.verdict import Expected

PYTEST: Final = "pytest==9.2.0"


@dataclass(frozen=True)
class Suite:
    """Where a suite comes from, how it is run, and what is expected of it.

    In the values of ``environment``, ``{host}`` and ``{port}`` stand for the broker's address.
    """

    #: The distribution whose sdist holds the tests, pinned.
    source: str
    #: What the environment that runs them holds beside it, pinned.
    requirements: tuple[str, ...]
    #: pytest's arguments: which tests, and which of them not.
    arguments: tuple[str, ...]
    environment: dict[str, str]
    #: So many tests pass, at least: a suite that ran nothing is not green.
    passed: int
    #: What the arguments leave out, and why.
    left_out: str
    #: A conftest.py for the root of the sources: what the git tree has there and the sdist has not.
    conftest: str = ""
    #: What fails, and must.
    expected: tuple[Expected, ...] = ()


#: ``-E NAME`` selects the tests marked ``env(NAME)``. The reruns that the suite's ``flaky`` marks
#: ask for are not granted: a broker that answers well every other time shall not pass.
PY_AMQP_CONFTEST = """\
import pytest


def pytest_addoption(parser):
    parser.addoption("-E", action="append", default=[], metavar="NAME")


def pytest_configure(config):
    config.addinivalue_line("markers", "env(name): needs this environment")
    config.addinivalue_line("markers", "flaky(reruns, reruns_delay): not granted here")


def pytest_runtest_setup(item):
    names = {mark.args[0] for mark in item.iter_markers(name="env")}
    if names and not names & set(item.config.getoption("-E")):
        pytest.skip(f"needs {names}")
"""

#: Its own starts a container unless it is told of a broker. Nobody listens on port 1.
AIORMQ_CONFTEST = """\
import os
from types import SimpleNamespace

import pytest
from yarl import URL


@pytest.fixture(scope="session")
def amqp_direct_url():
    return URL(os.environ["AMQP_URL"])


@pytest.fixture(scope="session")
def rabbitmq_container(amqp_direct_url):
    ports = {"5672/tcp": amqp_direct_url.port, "5671/tcp": 1}
    return SimpleNamespace(host=amqp_direct_url.host, ports=ports)
"""

#: Each passes or fails by chance, on RabbitMQ as well (21 of 48 failed there, 32 of 48 here): two
#: ways of closing race with each other in the client, and the loser's exception is lost.
AIORMQ_CHANCE = (
    *(
        f"tests/test_connection.py::test_closing_waiter_cancellation[{url}-{how}-connection-True]"
        for url in ("amqp", "amqp-named")
        for how in ("cancel", "timeout")
    ),
    "tests/test_connection_futures.py::test_connection_close_during_publish_drain",
)

NO_TLS = "the embedded broker has no TLS"
NO_TX = "it has no transactions: no client under test uses them"
NO_LENGTH = "it has no queues of limited length"
NO_HEADERS = "it has no headers exchanges: no client under test uses them"

SUITES: Final = {
    "py-amqp": Suite(
        source="amqp==5.4.2",
        requirements=(PYTEST,),
        arguments=("t/integration", "-E", "rabbitmq", "-k", "not tls"),
        environment={"RABBITMQ_HOST": "{host}", "RABBITMQ_5672_TCP": "{port}"},
        # Twelve of them talk to a broker, the others to a mock.
        passed=48,
        left_out="what needs TLS",
        conftest=PY_AMQP_CONFTEST,
    ),
    "aiormq": Suite(
        source="aiormq==7.2.4",
        requirements=(PYTEST, "aiomisc-pytest==2.0.0"),
        arguments=(
            *("tests", "-p", "no:asyncio", "-k", "not amqps"),
            *(part for test in AIORMQ_CHANCE for part in ("--deselect", test)),
        ),
        environment={"AMQP_URL": "amqp://guest:guest@{host}:{port}//"},
        passed=554,
        left_out="the same tests over TLS, and six that pass or fail by chance on RabbitMQ too",
        conftest=AIORMQ_CONFTEST,
        expected=(
            Expected("tests.test_connection::test_ssl_context", NO_TLS),
            Expected(
                "tests.test_connection::test_ssl_verification_fails_without_trusted_ca", NO_TLS
            ),
            Expected("tests.test_delivery_error::test_broker_nack_details[*]", NO_LENGTH),
        ),
    ),
    "rabbitpy": Suite(
        source="rabbitpy==3.0.2",
        requirements=(PYTEST, "python-dotenv==1.2.4"),
        arguments=("tests", "--ignore", "tests/test_io.py"),
        environment={"RABBITMQ_URL": "amqp://guest:guest@{host}:{port}/%2f"},
        passed=338,
        left_out="test_io.py, which plays against a server of its own and the clock",
        expected=(
            Expected(
                "tests.test_integration.SimpleCreateHeadersExchangeTests::test_create", NO_HEADERS
            ),
            Expected("tests.test_integration.TransactionTest::*", NO_TX),
        ),
    ),
}
