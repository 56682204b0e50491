"""The socket of a connection: short sends that let no other thread run, and their way back."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

import pytest

from amqpool import wire
from amqpool.wire import SHORT, TlsWire, Wire

#: Where there is no send(2) of the C library to call, Python's own does all of it.
needs_c_send = pytest.mark.skipif(wire._SEND is None, reason="no C library to send with")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, peers = socket.socketpair()
    with ours, peers:
        peers.settimeout(5)
        yield ours, peers


class Counted:
    """In place of the C library's function."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, descriptor: int, data: bytes, size: int, flags: int) -> int:
        self.calls += 1
        assert wire._SEND is not None
        return SEND(descriptor, data, size, flags)


SEND = wire._SEND or (lambda *_args: -1)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    count = Counted()
    monkeypatch.setattr(wire, "_SEND", count)
    return count


@needs_c_send
def test_a_short_piece_arrives_whole_and_in_one_call(
    pair: tuple[socket.socket, socket.socket], counted: Counted
) -> None:
    ours, peers = pair
    data = b"\0\xce" * (SHORT // 2)
    assert Wire(ours).send_short(data) == len(data)
    assert peers.recv(2 * SHORT) == data
    assert counted.calls == 1


@needs_c_send
@pytest.mark.parametrize("data", [b"x" * (SHORT + 1), memoryview(b"rest")])
def test_what_is_long_or_left_over_goes_the_ordinary_way(
    pair: tuple[socket.socket, socket.socket], counted: Counted, data: bytes | memoryview
) -> None:
    ours, peers = pair
    assert Wire(ours).send_short(data) == len(data)
    assert peers.recv(2 * SHORT) == bytes(data)
    assert counted.calls == 0


def test_a_full_kernel_takes_nothing_and_blocks_nobody(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    mine = Wire(ours)
    sent = 1
    for _ in range(100_000):
        sent = mine.send_short(b"x" * 1000)
        if not sent:
            break
    assert sent == 0


def test_a_peer_that_is_gone_is_an_error_and_no_signal(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, peers = pair
    mine = Wire(ours)
    peers.close()
    with pytest.raises(BrokenPipeError):
        mine.send_short(b"x")


def test_a_closed_wire_never_writes_to_whoever_has_its_number_now(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, peers = pair
    number = ours.fileno()
    mine = Wire(ours)
    mine.close()
    stranger, other = socket.socketpair()
    with stranger, other:
        assert number in (stranger.fileno(), other.fileno()), "the number is in use again"
        with pytest.raises(OSError, match="Bad file descriptor"):
            mine.send_short(b"x")
        for end in (stranger, other):
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                end.recv(1)
    assert peers.recv(1) == b""


def test_where_there_is_no_c_library_pythons_own_send_does_it(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_SEND", None)
    ours, peers = pair
    assert Wire(ours).send_short(b"short") == 5
    assert peers.recv(10) == b"short"


def test_nothing_is_written_past_tls(
    pair: tuple[socket.socket, socket.socket], counted: Counted
) -> None:
    ours, peers = pair
    context = ssl.create_default_context()
    secret = TlsWire(context.wrap_socket(ours, server_hostname="x", do_handshake_on_connect=False))
    with secret._tls:
        try:
            secret.send_short(b"password")
        except OSError:
            pass  # it wants its handshake first
        assert counted.calls == 0
        assert b"password" not in peers.recv(4096)


@needs_c_send
def test_a_knock_is_one_byte_by_the_c_library(
    pair: tuple[socket.socket, socket.socket], counted: Counted
) -> None:
    ours, peers = pair
    wire.knock(ours)
    assert peers.recv(16) == b"\0"
    assert counted.calls == 1


@pytest.mark.parametrize("c_library", [True, False])
def test_a_knock_at_a_full_or_closed_door_is_an_error(
    pair: tuple[socket.socket, socket.socket], c_library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not c_library:
        monkeypatch.setattr(wire, "_SEND", None)
    ours, peers = pair
    ours.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            ours.send(b"\0" * 4096)
    with pytest.raises(BlockingIOError):
        wire.knock(ours)
    assert set(peers.recv(1 << 20)) == {0}
    # The number of a closed socket may be a stranger's by now.
    ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        wire.knock(ours)
