"""The rst fault: a reset and not an end of file, exactly behind what the ledger has booked."""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
import time
from pathlib import Path
from typing import cast

import pamqp.commands as c
import pytest

from benchmarks.proxy.faults import rst
from benchmarks.proxy.link import Link
from benchmarks.wire.control import ControlError
from benchmarks.wire.frames import PROTOCOL_HEADER
from tests.proxy.stage import (
    DEADLINE,
    ProxyProcess,
    content,
    deliver,
    identities,
    method,
    publish,
    to_end,
)

RESET = (b"", ConnectionResetError)


def test_both_sides_are_reset(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    before = time.monotonic()
    answer = proxy.control.fault("rst")
    after = time.monotonic()
    t = answer["t"]
    assert before < t < after
    assert answer == {"fired": True, "t": t, "generations": [1]}
    assert to_end(pair.client) == RESET
    assert to_end(pair.broker) == RESET
    ledger = proxy.ledger(tmp_path)
    (generation,) = ledger["generations"]
    assert (generation["end"], generation["faulted"]) == ("fault:rst", True)
    assert generation["closed"] == t
    assert ledger["faults"] == [{"t": t, "kind": "rst", "generations": [1], "until": t}]
    assert generation["faults"] == [{"kind": "rst", "t": t, "until": t}]
    assert (generation["injected"], generation["thrown"]) == (True, 0)
    status = proxy.control.status()
    counts = {"generations": 1, "ready": 1, "up": [], "links": 0, "faults": 1}
    assert status == {**status, **counts, "lasting": [], "armed": 0}
    assert [one["up"] for one in status["upstreams"]] == [[]]


def test_only_what_is_up_is_hit(proxy: ProxyProcess, tmp_path: Path) -> None:
    nothing = {"fired": False, "why": "no connection that is ready"}
    assert proxy.control.fault("rst") == nothing
    young = proxy.pair()
    young.client.sendall(PROTOCOL_HEADER)  # in the middle of its handshake
    assert proxy.control.fault("rst") == nothing
    young.close()
    proxy.ended(tmp_path)
    assert proxy.control.fault("rst") == nothing
    assert proxy.ledger(tmp_path)["faults"] == []


def test_only_the_chosen_generations_are_hit(proxy: ProxyProcess, tmp_path: Path) -> None:
    pairs = [proxy.pair().begin() for _ in range(4)]
    assert proxy.control.fault("rst", generations=[9])["fired"] is False
    assert proxy.control.fault("rst", generations=[2, 4, 9])["generations"] == [2, 4]
    assert to_end(pairs[1].client) == to_end(pairs[3].client) == RESET
    assert proxy.control.status()["up"] == [1, 3]
    pairs[0].to_broker(method(1, c.Channel.Open()))
    assert proxy.control.fault("rst")["generations"] == [1, 3]
    ends = [generation["end"] for generation in proxy.ledger(tmp_path)["generations"]]
    assert ends == ["fault:rst"] * 4


def test_a_wrong_request_hits_nothing(proxy: ProxyProcess) -> None:
    proxy.pair().begin()
    with pytest.raises(
        ControlError, match="refused 'fault': no such fault; there are blackhole, cut"
    ):
        proxy.control.fault("nuke")
    with pytest.raises(ControlError, match="refused 'fault': rst has no option 'after'"):
        proxy.control.fault("rst", after=3)
    assert proxy.control.status()["up"] == [1]


@pytest.mark.parametrize("seed", range(8))
def test_what_was_booked_arrives_and_nothing_else_does(
    proxy: ProxyProcess, tmp_path: Path, seed: int
) -> None:
    """Both peers read late, so that all of it is on its way when the reset comes."""
    random_ = random.Random(seed)
    for number in range(1, 6):
        pair = proxy.pair().begin()
        ids = [f"m{n}" for n in range(random_.randint(1, 400))]
        outbound = [b"".join(publish(1, one)) for one in ids]
        inbound = [b"".join(deliver(1, n, one)) for n, one in enumerate(ids)]
        for to_broker, to_client in zip(outbound, inbound, strict=True):
            pair.client.sendall(to_broker)
            pair.broker.sendall(to_client)
        # Ends in the middle of a message: what has come of it must not be booked.
        pair.client.sendall(outbound[0][: random_.randrange(1, len(outbound[0]))])
        pair.broker.sendall(inbound[0][: random_.randrange(1, len(inbound[0]))])
        assert proxy.control.fault("rst")["generations"] == [number]
        ledger = proxy.ledger(tmp_path)
        for side, kind, messages in (
            (pair.client, "deliver", inbound),
            (pair.broker, "publish", outbound),
        ):
            booked = identities(ledger, number, kind)
            assert booked == ids[: len(booked)]
            received, error = to_end(side)
            assert error is ConnectionResetError
            # All that was booked, and behind it at most a part of the next message.
            messages.append(messages[0])
            assert received == b"".join(messages)[: len(received)]
            least = sum(map(len, messages[: len(booked)]))
            assert least <= len(received) < least + len(messages[len(booked)])


class TwoSockets:
    """As much of a link as a fault touches."""

    def __init__(self, client: socket.socket, upstream: socket.socket) -> None:
        self.client = client
        self.upstream = upstream
        self.closed = threading.Event()

    def reset(self, end: str, t: float) -> None:
        for sock in (self.client, self.upstream):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed.set()
        self.client.close()
        self.upstream.close()


def _connection(small: int) -> tuple[socket.socket, socket.socket]:
    """A TCP connection on loopback whose buffers hold little, so that they fill up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, small)
        near = socket.create_connection(listener.getsockname(), DEADLINE)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, small)
        far, _ = listener.accept()
    far.settimeout(DEADLINE)
    near.setblocking(False)
    return near, far


def _fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more; return how many bytes it took."""
    taken = 0
    while True:
        try:
            taken += sock.send(b"x" * 65536)
        except BlockingIOError:
            return taken


def test_bytes_that_the_kernel_holds_leave_before_the_reset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rst, "FLUSH_DEADLINE", DEADLINE)  # however busy the machine is
    (near, far), (other, other_far) = _connection(32768), _connection(32768)
    with far, other_far:
        taken = _fill(near)
        link = TwoSockets(near, other)
        fault = threading.Thread(
            target=rst.reset, args=([cast(Link, link)], "rst"), name="fault", daemon=True
        )
        fault.start()
        assert not link.closed.wait(0.1), "reset while the kernel still held bytes"
        received, error = to_end(far)
        fault.join(DEADLINE)
        assert not fault.is_alive()
        assert (len(received), error) == (taken, ConnectionResetError)
        assert to_end(other_far) == RESET


def test_what_is_in_our_buffer_is_thrown_away_and_not_booked(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    pair = proxy.pair().begin()
    message = b"".join(content(1, c.Basic.Return(312, "", "", "q"), b"m\n" + b"x" * 50_000, "m"))
    pair.broker.setblocking(False)
    sent = 0
    while True:
        # The client does not read: kernel and proxy fill up, then the broker is stopped.
        try:
            sent += pair.broker.send(message[sent % len(message) :])
        except BlockingIOError:
            if not select.select([], [pair.broker], [], 0.5)[1]:
                break
    before = time.monotonic()
    assert proxy.control.fault("rst")["fired"]
    assert time.monotonic() - before < 1.0  # bounded, although the client's window is full
    booked = len(identities(proxy.ledger(tmp_path), 1, "return"))
    received, error = to_end(pair.client)
    assert error is ConnectionResetError
    assert 0 < len(received) // len(message) <= booked < sent // len(message)
    assert received == (message * (booked + 1))[: len(received)]
