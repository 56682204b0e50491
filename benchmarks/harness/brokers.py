"""The broker that a trial runs on: chosen by a word or by URLs, started, reached, ended.

It owns the difference between the embedded broker, a private node of RabbitMQ, a cluster of three
and nodes that somebody else runs. Whoever has one knows where it is, who hurts it and what its
queues are declared with, and never asks of which kind it is. A password comes in a URL or in the
environment, and stands in no text from here.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness.kinds import CLUSTER, EMBEDDED, EXTERNAL, NAMED, RABBITMQ
from benchmarks.harness.processes import (
    EnvironmentProblem,
    Service,
    proxy_arguments,
)
from benchmarks.rabbitmq.control import KeeperControl
from benchmarks.rabbitmq.faults import RABBIT_FAULTS
from benchmarks.wire.control import ControlError
from benchmarks.wire.url import Endpoint, parse_amqp_url

#: Where the password of an external broker is looked for when its URL holds none, so that it need
#: not stand in a list of processes.
PASSWORD_VARIABLE = "AMQPOOL_BROKER_PASSWORD"
#: Seconds for the nodes of RabbitMQ to answer: one takes 7 s, three 22, on two idle cores.
NODE_SECONDS, CLUSTER_SECONDS = 120.0, 300.0
#: Seconds for the keeper to say what became of its nodes.
STATUS_SECONDS = 30.0
#: Nodes of a cluster.
NODES = 3
#: How queues are declared there: what is in them survives the loss of one node.
QUORUM: Mapping[str, object] = {"x-queue-type": "quorum"}


@dataclass(frozen=True)
class BrokerChoice:
    """What was asked for. ``endpoints``: where an external one is; ``label`` holds no password.

    ``isolated``: each node of the cluster gets a network of its own, which a partition needs.
    """

    kind: str = EMBEDDED
    endpoints: tuple[Endpoint, ...] = ()
    isolated: bool = False

    @property
    def label(self) -> str:
        """The word for it in results; given to ``choose_broker`` it is the same choice again."""
        return ",".join(e.safe for e in self.endpoints) if self.endpoints else self.kind

    def able(self, faults: Iterable[str | None]) -> BrokerChoice:
        """The same one, made so that it can suffer those faults."""
        rows = (RABBIT_FAULTS.get(kind) for kind in faults if kind is not None)
        isolated = any(row is not None and row.isolated for row in rows)
        return replace(self, isolated=isolated and self.kind == CLUSTER)


def choose_broker(text: str, *, remote: bool = False) -> BrokerChoice:
    """The choice that ``--broker`` asks for: a kind, or one URL or several with commas between.

    ``remote`` allows hosts beyond this machine. Raises EnvironmentProblem, in one line.
    """
    if text in NAMED:
        return BrokerChoice(text)
    if not text.startswith("amqp:"):
        raise EnvironmentProblem(
            f"--broker {text!r} is none of {', '.join(NAMED)}, and no amqp:// URL"
        )
    try:
        endpoints = tuple(_endpoint(url) for url in text.split(","))
    except ValueError as error:
        raise EnvironmentProblem(f"--broker: {error}") from None
    for endpoint in endpoints:
        if not remote and not _on_loopback(endpoint):
            raise EnvironmentProblem(
                f"{endpoint.safe} is another machine: load goes to loopback, unless --allow-remote "
                "says that the broker there is yours to put under load"
            )
    return BrokerChoice(EXTERNAL, endpoints)


def _endpoint(url: str) -> Endpoint:
    endpoint = parse_amqp_url(url)
    login = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    if ":" not in login and PASSWORD_VARIABLE in os.environ:
        endpoint = replace(endpoint, password=os.environ[PASSWORD_VARIABLE])
    return endpoint


def _on_loopback(endpoint: Endpoint) -> bool:
    """Is it on this machine? Raises EnvironmentProblem where its host is not known."""
    try:
        address = socket.gethostbyname(endpoint.host)
    except (OSError, UnicodeError) as error:
        raise EnvironmentProblem(f"{endpoint.safe}: its host is not known ({error})") from None
    return ipaddress.IPv4Address(address).is_loopback


@dataclass
class Broker:
    """One that runs. ``stop`` ends what was started for it, at any moment."""

    choice: BrokerChoice
    #: One for each node, in an order that stays.
    endpoints: tuple[Endpoint, ...] = ()
    service: Service | None = None
    token: str = field(default="", repr=False)
    #: What the service said when it listened.
    ready: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.choice.kind

    @property
    def own(self) -> bool:
        """Does it live and die with one trial? Else names are to be unique, and deleted."""
        return self.kind == EMBEDDED

    @property
    def control_port(self) -> int | None:
        """The port that takes faults; None where there are none to commit."""
        return None if self.service is None else int(self.ready["control"])

    @property
    def queue_arguments(self) -> Mapping[str, object]:
        """What queues are declared with, by the harness and by the client under test."""
        return QUORUM if self.kind == CLUSTER or len(self.endpoints) > 1 else {}

    def upstreams(self) -> list[str]:
        """Arguments for a proxy that is to stand before every node."""
        # Whether another machine may be put under load was settled when it was chosen; the nodes
        # of a partition have addresses of their own on this one.
        addresses = [(endpoint.host, endpoint.port) for endpoint in self.endpoints]
        return proxy_arguments(addresses, remote=self.kind != EMBEDDED)

    def status(self) -> Mapping[str, Any]:
        """What its keeper knows of the nodes; empty where there is none. Raises ControlError."""
        if self.kind not in (RABBITMQ, CLUSTER) or not self.alive:
            return {}
        with KeeperControl(self.ready["control"], self.token, timeout=STATUS_SECONDS) as keeper:
            return dict(keeper.status())

    def sync(self) -> None:
        """Put on the disk of its nodes what was declared so far. Raises ControlError."""
        with KeeperControl(self.ready["control"], self.token) as keeper:
            keeper.sync()

    @property
    def alive(self) -> bool:
        return self.service is None or self.service.alive

    def facts(self) -> dict[str, Any] | None:
        """For a result: version, seconds it took to start, bytes of memory by node, and what
        happened to the nodes so far; None where nobody keeps them."""
        try:
            status = self.status()
        except ControlError as error:
            return {"unknown": str(error)}
        if not status:
            return None
        nodes = status["nodes"]
        return {
            "version": self.ready["version"],
            "start_seconds": self.ready["start_seconds"],
            "memory": [node["memory"] for node in nodes],
            "restarts": sum(node["restarts"] for node in nodes),
            "leader_changes": status["leader_changes"],
        }

    def died(self) -> str | None:
        """Why it cannot be trusted any more: a process ended that nobody had ended."""
        if self.service is not None and not self.service.alive:
            return f"{self.service.name}: {self.service.last_words()}"
        try:
            nodes = self.status().get("died")
        except ControlError as error:
            return str(error)
        return f"nodes that ended by themselves: {', '.join(map(str, nodes))}" if nodes else None

    def stop(self) -> None:
        if self.service is not None:
            self.service.stop()


def start_broker(choice: BrokerChoice, folder: Path) -> Broker:
    """Have such a broker; logs go to ``folder``. Raises EnvironmentProblem.

    An external one is only looked up: that it answers is seen by the first who connects.
    """
    if choice.kind == EXTERNAL:
        return Broker(choice, choice.endpoints)
    token = secrets.token_hex(16)
    if choice.kind == EMBEDDED:
        variables = {"AMQPOOL_BROKER_TOKEN": token}
        service = Service("broker", folder, ["--port", "0"], variables)
        seconds = None
    else:
        nodes = 1 if choice.kind == RABBITMQ else NODES
        arguments = ["--nodes", str(nodes), *(["--isolated"] if choice.isolated else [])]
        service = Service("rabbitmq", folder, arguments, {"AMQPOOL_KEEPER_TOKEN": token})
        seconds = NODE_SECONDS if nodes == 1 else CLUSTER_SECONDS
    broker = Broker(choice, service=service, token=token)
    try:
        broker.ready = ready = service.wait_ready(seconds)
    except BaseException:
        broker.stop()
        raise
    ports = ready["ports"] if "ports" in ready else [ready["port"]]
    hosts = ready.get("addresses", ["127.0.0.1"])
    broker.endpoints = tuple(map(Endpoint, hosts, ports))
    return broker


@contextmanager
def kept_broker(choice: BrokerChoice) -> Iterator[Broker | None]:
    """One broker for all trials of a command; None for the embedded one, which every trial has to
    itself. Raises EnvironmentProblem."""
    if choice.kind == EMBEDDED:
        yield None
        return
    with TemporaryDirectory(prefix="amqpool-broker-") as folder:
        broker = start_broker(choice, Path(folder))
        try:
            yield broker
        finally:
            broker.stop()
