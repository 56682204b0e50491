"""The embedded broker as a process, and the RabbitMQ that it is held against.

RabbitMQ is a private node on free ports, or the one of the URL in AMQPOOL_RABBITMQ_URL: that one
must be nobody else's, since a sequence uses plain names and the exchanges that are there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rabbitmq.programs import find
from benchmarks.wire.url import Endpoint, parse_amqp_url
from tests.rabbitmq.stage import running

MAIN = Path(__file__).parents[2] / "benchmarks" / "broker" / "__main__.py"
URL_VARIABLE = "AMQPOOL_RABBITMQ_URL"


@contextmanager
def embedded() -> Iterator[Endpoint]:
    """Run the embedded broker. At the end it must not have met a bug of its own."""
    process = subprocess.Popen(
        [sys.executable, str(MAIN), "--port", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield Endpoint("127.0.0.1", json.loads(process.stdout.readline())["port"])
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors.decode()
    finally:
        process.kill()
        process.communicate(timeout=20)


@contextmanager
def rabbitmq(folder: Path) -> Iterator[Endpoint]:
    """Run a node that keeps its files in ``folder``. Raises Missing where there is no RabbitMQ."""
    url = os.environ.get(URL_VARIABLE)
    if url:
        yield parse_amqp_url(url)
        return
    find()
    with running(folder) as keeper:
        yield Endpoint(keeper.ready["addresses"][0], keeper.ready["ports"][0])
