"""A network of its own for each node: who reaches whom, with the cable and without it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from benchmarks.rabbitmq.leftovers import Folder
from benchmarks.rabbitmq.namespaces import Network, NoNamespaces, _free_network
from benchmarks.rabbitmq.waiting import Lifeline
from tests.rabbitmq.stage import eventually

#: Nobody listens there: whoever is reached refuses.
PORT = 9
REFUSED, NO_WAY, SILENCE = errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EAGAIN
#: Prints what comes of a connection; silence is what a timeout of a second ends.
CALL = """
import socket, sys
with socket.socket() as sock:
    sock.settimeout(1.0)
    print(sock.connect_ex((sys.argv[1], int(sys.argv[2]))))
"""


class Waiter:
    """What a network needs of a lifeline."""

    def until(self, reached: object, seconds: float, what: str, poll: float) -> None:
        assert callable(reached)
        assert eventually(reached, seconds), what


@pytest.fixture(name="network")
def _network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Folder()
    try:
        network = Network(3, folder.path, cast(Lifeline, Waiter()))
    except NoNamespaces as why:
        folder.remove()
        pytest.skip(str(why))
    own = f"amqpool{os.getpid()}"
    assert own in [name for _, name in socket.if_nameindex()]
    yield network
    folder.remove()
    for holder in network._holders:
        holder.wait(5.0)
    # No command has removed it: it went with the namespace at its other end.
    assert eventually(lambda: own not in [name for _, name in socket.if_nameindex()])


def call(network: Network, caller: int | None, called: int) -> int:
    """What comes of a connection from a node, or from the host, to a node."""
    enter = () if caller is None else network.enter(caller)
    done = subprocess.run(
        [*enter, sys.executable, "-c", CALL, network.address(called), str(PORT)],
        capture_output=True,
        text=True,
        timeout=20.0,
        check=True,
    )
    return int(done.stdout)


#: Caller (None is the host) and called. The cable of 0 is to be cut.
PAIRS: list[tuple[int | None, int]] = [(None, 0), (None, 1), (0, 1), (1, 0), (0, 0), (1, 2)]


def calls(network: Network) -> dict[tuple[int | None, int], int]:
    return {(caller, called): call(network, caller, called) for caller, called in PAIRS}


def test_a_cut_cable_parts_one_node_from_the_others_and_from_the_host(network: Network) -> None:
    all_reached = dict.fromkeys(PAIRS, REFUSED)
    assert calls(network) == all_reached
    network.cut(0)
    assert calls(network) == {
        **all_reached,
        (None, 0): SILENCE,
        (0, 1): NO_WAY,
        (1, 0): NO_WAY,
    }
    network.cut(0)  # twice is once
    network.mend(0)
    network.mend(0)
    assert calls(network) == all_reached


def test_a_network_that_has_a_route_is_not_taken(network: Network) -> None:
    taken = network.address(0).rpartition(".")[0]
    # The choice is drawn from the process id, so that it would be the same one again.
    assert _free_network() != taken
    assert _free_network().startswith(("198.18.", "198.19."))
