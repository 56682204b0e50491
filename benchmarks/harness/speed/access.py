"""The broker of a comparison and the proxy before it, as the works need them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.harness.brokers import Broker
from benchmarks.harness.kinds import EMBEDDED
from benchmarks.harness.processes import EnvironmentProblem, Service, proxy_arguments
from benchmarks.harness.speed.runner import Place
from benchmarks.wire.client import WireClient, WireError, WireTimeout
from benchmarks.wire.url import Endpoint


@contextmanager
def place_at(broker: Broker, folder: Path) -> Iterator[Place]:
    """The place to measure at: the broker's first node, with a proxy of its own before it.

    Raises EnvironmentProblem.
    """
    [endpoint, *_] = broker.endpoints
    token = secrets.token_hex(16)
    address = [(endpoint.host, endpoint.port)]
    arguments = proxy_arguments(address, remote=broker.kind != EMBEDDED)
    proxy = Service("proxy", folder, arguments, {"AMQPOOL_PROXY_TOKEN": token})
    try:
        ready = proxy.wait_ready()
        [port] = ready["ports"]
        proxied = replace(endpoint, host="127.0.0.1", port=port)
        yield Place(endpoint, proxied, (ready["control"], token))
    finally:
        proxy.stop()


def name_of(endpoint: Endpoint) -> str:
    """What the broker calls itself. Raises EnvironmentProblem where none answers."""
    try:
        with WireClient.to(endpoint) as wire:
            return f"{wire.server.get('product', '?')} {wire.server.get('version', '')}".strip()
    except (WireError, WireTimeout) as error:
        raise EnvironmentProblem(f"--broker {endpoint.safe}: {error}") from error
