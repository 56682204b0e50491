"""The broker of a comparison, and the proxy before it: the one place that knows of which kind.

``embedded`` is started here and ended with the block; an AMQP URL is somebody's own broker, where
only queues of ours are made, and deleted again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.harness.processes import EnvironmentProblem, Service
from benchmarks.harness.speed.runner import Place
from benchmarks.wire.client import WireClient, WireError, WireTimeout
from benchmarks.wire.url import Endpoint, parse_amqp_url

EMBEDDED = "embedded"


@contextmanager
def place_at(broker: str, folder: Path) -> Iterator[tuple[Place, str]]:
    """The place, and what the broker calls itself. Raises EnvironmentProblem."""
    if broker != EMBEDDED:
        with _proxied(_endpoint(broker), folder) as place:
            yield place, _named(place.broker)
        return
    service = Service(
        "broker", folder, ["--port", "0"], {"AMQPOOL_BROKER_TOKEN": secrets.token_hex(16)}
    )
    try:
        with _proxied(Endpoint("127.0.0.1", service.wait_ready()["port"]), folder) as place:
            yield place, EMBEDDED
    finally:
        service.stop()


def _endpoint(url: str) -> Endpoint:
    if not url.startswith("amqp:"):
        raise EnvironmentProblem(f"--broker is {EMBEDDED} or an amqp:// URL")
    try:
        return parse_amqp_url(url)
    except ValueError as error:
        raise EnvironmentProblem(f"--broker: {error}") from None


def _named(endpoint: Endpoint) -> str:
    try:
        with WireClient.to(endpoint) as wire:
            return f"{wire.server.get('product', 'unknown')} {wire.server.get('version', '')}"
    except (WireError, WireTimeout) as error:
        raise EnvironmentProblem(f"--broker {endpoint.safe}: {error}") from error


@contextmanager
def _proxied(broker: Endpoint, folder: Path) -> Iterator[Place]:
    token = secrets.token_hex(16)
    proxy = Service(
        "proxy",
        folder,
        ["--upstream", f"{broker.host}:{broker.port}", "--port", "0"],
        {"AMQPOOL_PROXY_TOKEN": token},
    )
    try:
        ready = proxy.wait_ready()
        proxied = replace(broker, host="127.0.0.1", port=ready["port"])
        yield Place(broker, proxied, (ready["control"], token))
    finally:
        proxy.stop()
