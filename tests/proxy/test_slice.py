"""The slice fault: at most so many bytes at a time, a reader that keeps up sees it, all arrives."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import pamqp.commands as c
import pytest

from benchmarks.proxy.channel import TO_BROKER
from benchmarks.proxy.faults.slice import Slice
from benchmarks.proxy.outbox import Outbox
from benchmarks.wire.frames import PROTOCOL_HEADER
from tests.proxy.inside import Stage
from tests.proxy.stage import ProxyProcess, content, deliver, exactly, identities, publish

IDS = [f"m{n}" for n in range(20)]
OUTBOUND = b"".join(raw for one in IDS for raw in publish(1, one))
INBOUND = b"".join(raw for n, one in enumerate(IDS) for raw in deliver(1, n, one))
#: <linux/tcp.h>, struct tcp_info: where the count of segments with data that came in stands.
_DATA_SEGMENTS_IN = 152


def _segments(sock: socket.socket) -> int:
    """Segments with data that this socket has received."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    count: int = struct.unpack_from("I", info, _DATA_SEGMENTS_IN)[0]
    return count


@pytest.mark.parametrize("size", [1, 3, 64])
def test_segments_are_small(proxy: ProxyProcess, tmp_path: Path, size: int) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("slice", size=size)
    for writer, reader, stream in (
        (pair.client, pair.broker, OUTBOUND),
        (pair.broker, pair.client, INBOUND),
    ):
        before = _segments(reader)
        writer.sendall(stream)
        assert exactly(reader, len(stream)) == stream
        # Without the fault the whole stream is one.
        assert _segments(reader) - before == -(-len(stream) // size)
    ledger = proxy.ledger(tmp_path)
    assert identities(ledger, 1, "publish") == identities(ledger, 1, "deliver") == IDS
    assert ledger["generations"][0]["faulted"] is False
    proxy.control.heal()
    before = _segments(pair.client)
    pair.to_client(INBOUND)
    assert _segments(pair.client) - before <= 3


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_no_send_is_larger_and_each_has_a_turn_of_its_own(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    sizes: list[int] = []
    send = Outbox.send

    def counted(self: Outbox, sink: socket.socket, limit: int | None = None) -> Any:
        before = self.pending
        done = send(self, sink, limit)
        sizes.append(before - self.pending)
        return done

    monkeypatch.setattr(Outbox, "send", counted)
    large = content(1, c.Basic.Publish(), b"x" * 9000, "m")
    stream = b"".join([PROTOCOL_HEADER, OUTBOUND, *large])
    with Stage() as stage:
        stage.link.shape(TO_BROKER, Slice(size=size).make(1, TO_BROKER))
        stage.client.sendall(stream)
        while sum(sizes) < len(stream):
            before = len(sizes)
            assert stage.turn(5.0)
            assert len(sizes) <= before + 1
        assert stage.read(stage.broker) == stream
    assert set(sizes[:-1]) == {size}
    assert 0 < sizes[-1] <= size


def test_a_reader_that_keeps_up_sees_the_pieces(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("slice", size=5, direction="to_client")
    pair.broker.sendall(INBOUND * 10)
    sizes: list[int] = []
    while sum(sizes) < 10 * len(INBOUND):
        sizes.append(len(pair.client.recv(65536)))
    # A reader that is late finds several pieces at a time, but always whole ones.
    assert all(size % 5 == 0 for size in sizes[:-1])
    assert len(sizes) >= 10


@pytest.mark.parametrize("size", [0, 1.5, 65_537, None])
def test_a_wrong_size_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match="slice: size is a whole number from 1 to 65536"):
        Slice.parse({"size": size})
