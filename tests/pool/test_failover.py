"""Several URLs: the ways in which a host is not there, with real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from amqpool import AcquireTimeout, ChannelPool, RecoveryFailed
from amqpool.connection import SharedConnection
from amqpool.errors import ConnectionLost
from tests.pool.peer import DEADLINE, Peer

#: Seconds for a whole recovery here, so that a host's share is short.
SHORT = 1.0


def url(port: int) -> str:
    return f"amqp://guest:secret@127.0.0.1:{port}/"


@pytest.fixture
def refusing(vacant: int) -> str:
    """Nobody listens."""
    return url(vacant)


@pytest.fixture
def silent() -> Iterator[str]:
    """TCP connects, and then nothing comes."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listener:
        yield url(listener.getsockname()[1])


@pytest.fixture
def swallowing() -> Iterator[str]:
    """The backlog is full, so that the kernel drops what would open a connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0), backlog=1)))
        address = listener.getsockname()
        full = False
        while not full:
            filler = stack.enter_context(closing(socket.socket()))
            filler.settimeout(0.2)
            try:
                filler.connect(address)
            except TimeoutError:
                full = True
        yield url(address[1])


def works(pool: ChannelPool) -> bool:
    with pool.lease(DEADLINE) as lease:
        return lease.channel.usable


@pytest.mark.parametrize("absent", ["refusing", "silent", "swallowing"])
def test_a_host_that_is_not_there_leaves_time_for_the_next(
    absent: str, request: pytest.FixtureRequest
) -> None:
    dead: str = request.getfixturevalue(absent)
    # One attempt may take longer than the whole recovery: it is the share that bounds it.
    with (
        Peer() as peer,
        ChannelPool([dead, peer.url], recovery_deadline=4 * SHORT, connect_timeout=60) as pool,
    ):
        assert works(pool)
        assert pool.stats()["connect_attempts"] == 2


def test_a_recovery_begins_with_the_host_that_answered_last(silent: str) -> None:
    with (
        Peer() as peer,
        ChannelPool([silent, peer.url], recovery_deadline=2 * SHORT) as pool,
    ):
        assert works(pool)
        attempts = pool.stats()["connect_attempts"]
        peer.sessions[-1].reset()
        deadline = time.monotonic() + DEADLINE
        while pool.connected:
            assert time.monotonic() < deadline
        assert works(pool)
        assert pool.stats()["connect_attempts"] == attempts + 1


def test_another_host_takes_over_when_one_ends() -> None:
    with Peer() as second:
        with Peer() as first:
            pool = ChannelPool([first.url, second.url], recovery_deadline=DEADLINE)
            assert works(pool)
            assert len(second.sessions) == 0
            first.sessions[-1].reset()
        with pool:
            deadline = time.monotonic() + DEADLINE
            while pool.connected:
                assert time.monotonic() < deadline
            assert works(pool)
            assert len(second.sessions) == 1


def test_when_nobody_is_there_one_error_names_each_host_and_its_reason(
    refusing: str, silent: str, swallowing: str
) -> None:
    with ChannelPool([refusing, silent, swallowing], recovery_deadline=SHORT) as pool:
        started = time.monotonic()
        with pytest.raises(RecoveryFailed) as caught:
            pool.acquire(DEADLINE)
        assert time.monotonic() - started < DEADLINE
        text = str(caught.value)
        assert "\n" not in text
        assert "secret" not in text
        shown = [each.replace(":secret@", "@") for each in (refusing, silent, swallowing)]
        for name, reason in zip(
            shown, ["Connection refused", "did not open the connection", "timed out"], strict=True
        ):
            assert reason in text.split(f"{name}: ")[1].split(";")[0]


def test_an_acquire_that_is_over_before_the_recovery_says_what_it_waited_for(
    swallowing: str,
) -> None:
    with ChannelPool(swallowing, recovery_deadline=DEADLINE, connect_timeout=DEADLINE) as pool:
        with pytest.raises(AcquireTimeout, match="there is no connection, attempt 1"):
            pool.acquire(0.2)
        assert pool.close(2) is True


def test_the_addresses_of_a_name_share_its_time(
    swallowing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(swallowing.rsplit(":", 1)[1].rstrip("/"))
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 5)
    connection = SharedConnection(f"a-name:{port}", connect_timeout=SHORT)
    started = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out"):
        connection.connect()
    # py-amqp takes five times as long.
    assert time.monotonic() - started < 3 * SHORT
