"""The I/O thread over a socket pair: last words after a failed write, and a defect of its own."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pamqp.commands as c
import pamqp.frame
import pytest

from amqpool.errors import ConnectionLost
from amqpool.ioloop import IoLoop
from amqpool.outbox import Outbox
from amqpool.parser import Batch, FrameParser
from amqpool.wire import Wire
from tests.pool.peer import DEADLINE


class Ear:
    """Notes what the loop says, in order."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.lost = threading.Event()
        self.defect: Exception | None = None

    def on_batch(self, batch: Batch) -> None:
        if self.defect is not None:
            raise self.defect
        self.said += [event.sig for events in batch.values() for event in events]

    def on_lost(self, error: Callable[[], ConnectionLost]) -> None:
        self.said.append(str(error()))
        self.lost.set()


class Rig:
    def __init__(self) -> None:
        self.peer, ours = socket.socketpair()
        self.wire = Wire(ours)
        self.ear = Ear()
        self.outbox = Outbox(self.send, lambda: self.loop.wake(), lambda: ConnectionLost("x"), 1000)
        self.loop = IoLoop(self.ear, self.wire, self.outbox, FrameParser(4096, 1000, {1}))
        self.broken: OSError | None = None

    def send(self, data: bytes | memoryview) -> int:
        if self.broken is not None:
            raise self.broken
        return self.wire.send(data)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.loop.stop()
    assert rig.loop.join(5)
    rig.peer.close()


def test_what_the_peer_had_said_is_heard_before_a_failed_write_ends_it(rig: Rig) -> None:
    rig.peer.sendall(pamqp.frame.marshal(c.Basic.Ack(1, False), 1))
    rig.broken = BrokenPipeError(32, "Broken pipe")
    rig.outbox.push(b"x")
    with pytest.raises(ConnectionLost):
        rig.outbox.flush()
    rig.loop.start("amqpool-io-test")
    assert rig.ear.lost.wait(5)
    assert rig.ear.said == [(60, 80), "the connection broke: Broken pipe"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_ours_wakes_everybody_and_is_not_hidden(rig: Rig) -> None:
    rig.ear.defect = ZeroDivisionError("a defect")
    rig.loop.start("amqpool-io-test")
    rig.peer.sendall(pamqp.frame.marshal(c.Basic.Ack(1, False), 1))
    assert rig.ear.lost.wait(5)
    assert rig.ear.said == ["the I/O thread failed: ZeroDivisionError('a defect')"]


def test_who_made_it_may_serve_it_in_turns(rig: Rig) -> None:
    rig.peer.sendall(pamqp.frame.marshal(c.Basic.Ack(1, False), 1))
    rig.loop.serve(lambda: bool(rig.ear.said), time.monotonic() + DEADLINE)
    assert rig.ear.said == [(60, 80)]
    rig.peer.sendall(pamqp.frame.marshal(c.Basic.Nack(1), 1))
    rig.loop.serve(lambda: len(rig.ear.said) == 2, time.monotonic() + DEADLINE)
    assert rig.ear.said == [(60, 80), (60, 120)]
    rig.peer.close()
    rig.loop.serve()
    assert rig.ear.said[2:] == ["the broker ended the connection without a Close"]
    assert rig.wire.fileno() == -1, "the socket is closed"


@pytest.mark.parametrize("stuck", [False, True])
def test_a_deadline_ends_a_turn_also_where_a_beat_is_due_later(rig: Rig, stuck: bool) -> None:
    rig.loop.heartbeat = 600.0
    if stuck:
        # Bytes that nobody sends: the beat is put off.
        rig.outbox.push(b"x")
    began = time.monotonic()
    rig.loop.serve(lambda: False, began + 0.05)
    assert 0.05 <= time.monotonic() - began < DEADLINE
    assert rig.wire.fileno() != -1, "it may be served on"
    rig.outbox.close()
    rig.outbox.flush()
    rig.loop.stop()
    rig.loop.serve()
    assert rig.wire.fileno() == -1


def test_a_wake_after_the_end_is_harmless(rig: Rig) -> None:
    rig.loop.start("amqpool-io-test")
    rig.loop.stop()
    assert rig.loop.join(5)
    rig.loop.wake()
    rig.loop.stop()


def test_a_frame_that_trickles_in_is_looked_at_twice_and_not_at_each_byte(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a peer could make every byte cost as much as the frame is long."""
    looks: list[int] = []
    parse = rig.loop._parser.parse

    def counted(data: bytes, batch: Batch) -> int:
        looks.append(len(data))
        return parse(data, batch)

    monkeypatch.setattr(rig.loop._parser, "parse", counted)
    whole = struct.pack(">BHIHH", 1, 1, 3004, 60, 80) + bytes(3000) + b"\xce"
    after = pamqp.frame.marshal(c.Basic.Nack(1), 1)
    for at in range(0, len(whole) - 1, 10):
        rig.peer.sendall(whole[at : min(at + 10, len(whole) - 1)])
        assert rig.loop._read_once()
    assert (looks, rig.ear.said) == ([10], [])
    rig.peer.sendall(whole[-1:] + after[:3])
    assert rig.loop._read_once()
    assert rig.ear.said == [(60, 80)]
    rig.peer.sendall(after[3:])
    assert rig.loop._read_once()
    assert rig.ear.said == [(60, 80), (60, 120)]
    assert looks == [10, len(whole) + 3, len(after)]
    rig.loop.start("amqpool-io-test")
