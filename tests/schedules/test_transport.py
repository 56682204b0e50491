"""The network in memory and the broker behind it: each way to end is what TCP makes of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.schedules import sockets
from benchmarks.schedules.brokering import HOST, PORT, BrokerTask
from benchmarks.schedules.world import rest, together
from tests.schedules.running import often, once

#: The first bytes of a client, and how the broker's answer begins: a method on channel 0.
HEADER = b"AMQP\x00\x00\x09\x01"
START = b"\x01\x00\x00"


def dialled() -> tuple[BrokerTask, socket.socket]:
    broker = BrokerTask()
    client = socket.create_connection((HOST, PORT), 5)
    return broker, client


def clean(body: Callable[[], None]) -> None:
    outcome = once(body)
    assert (outcome.finding, outcome.leaked) == (None, 0)


def test_the_broker_answers() -> None:
    def body() -> None:
        broker, client = dialled()
        client.sendall(HEADER)
        assert client.recv(1000).startswith(START)
        assert (broker.accepted, broker.connections) == (1, 1)
        client.close()
        rest()
        assert broker.connections == 0

    clean(body)
    often(body, __file__, runs=5)


def test_nobody_listens_elsewhere_nor_while_the_broker_refuses() -> None:
    def body() -> None:
        broker, _client = dialled()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("elsewhere", PORT))
        broker.refuse(True)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, PORT))
        broker.refuse(False)
        socket.create_connection((HOST, PORT))

    clean(body)


def test_after_a_kill_what_had_come_is_read_then_a_reset_once_then_the_end() -> None:
    def body() -> None:
        broker, client = dialled()
        client.sendall(HEADER)
        rest()
        assert broker.kill() == 1
        assert client.recv(3) == START
        while client.recv(1) != b"\xce":
            pass
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert client.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            client.send(HEADER)
        assert (broker.connections, broker.kill()) == (0, 0)

    clean(body)


def test_a_write_after_a_kill_is_told_of_the_reset() -> None:
    def body() -> None:
        broker, client = dialled()
        broker.kill()
        with pytest.raises(ConnectionResetError):
            client.send(HEADER)
        with pytest.raises(BrokenPipeError):
            client.send(HEADER)

    clean(body)


def test_an_end_in_order_is_an_end_of_file_and_no_error() -> None:
    def body() -> None:
        broker, client = dialled()
        assert broker.end() == 1
        assert client.recv(1) == b""
        assert client.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            client.send(HEADER)

    clean(body)


def test_a_stalled_broker_answers_nothing_and_takes_what_fits() -> None:
    def body() -> None:
        broker, client = dialled()
        broker.stall(True)
        client.sendall(HEADER)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert 5 <= time.monotonic() - began < 6
        client.setblocking(False)
        assert client.send(bytes(2 * sockets.CAPACITY)) == sockets.CAPACITY - len(HEADER)
        with pytest.raises(BlockingIOError):
            client.send(b"x")
        broker.stall(False)

    clean(body)


def test_a_shutdown_ends_both_directions_at_once() -> None:
    def body() -> None:
        broker, client = dialled()

        def wait() -> bytes:
            return client.recv(1)

        assert together(wait, lambda: client.shutdown(socket.SHUT_RDWR))[0] == b""
        rest()
        assert broker.connections == 0

    often(body, __file__, runs=5)


def test_a_closed_socket_is_a_bad_descriptor() -> None:
    def body() -> None:
        _broker, client = dialled()
        client.close()
        assert client.fileno() == -1
        for call in (lambda: client.recv(1), lambda: client.send(b"x")):
            with pytest.raises(OSError, match="Bad file descriptor"):
                call()

    clean(body)


def test_the_rest_of_a_sockets_face() -> None:
    def body() -> None:
        _broker, client = dialled()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert client.getpeername() == (HOST, PORT)
        assert client.gettimeout() == 5
        one, other = socket.socketpair()
        view: Any = bytearray(5)
        one.sendmsg([b"ab", b"cde"])
        assert other.recv(2, socket.MSG_PEEK) == b"ab"
        assert other.recv_into(view, 4) == 4
        assert bytes(view) == b"abcd\0"

    clean(body)
