"""Bytes to frames and frames to the kernel: how the stream is cut must never show."""

from __future__ import annotations

import socket
from itertools import pairwise
from typing import Any

import pamqp.commands as c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.proxy.channel import TO_BROKER
from benchmarks.proxy.ledger import Generation
from benchmarks.proxy.outbox import BATCH, Outbox
from benchmarks.proxy.stream import LARGEST_FRAME_MAX, PROTOCOL, Stream, negotiated
from benchmarks.wire.frames import (
    BODY,
    DEFAULT_FRAME_MAX,
    HEARTBEAT_FRAME,
    PROTOCOL_HEADER,
    Frame,
    FrameError,
    frame,
)
from tests.proxy.stage import content, frames, method, publish

SESSION = b"".join(
    [
        PROTOCOL_HEADER,
        method(0, c.Connection.TuneOk(2047, 4096, 60)),
        method(1, c.Channel.Open()),
        method(2, c.Channel.Open()),
        method(1, c.Confirm.Select()),
        *publish(1, "a"),
        HEARTBEAT_FRAME,
        *(
            raw
            for pair in zip(
                content(1, c.Basic.Publish(), b"b\n" * 90, "b", piece=50),
                content(2, c.Basic.Publish(), b"c\n" * 90, "c", piece=50),
                strict=True,
            )
            for raw in pair
        ),
        *publish(1, "d"),
        method(1, c.Basic.Ack(0, True)),
    ]
)


def booked(chunks: list[bytes]) -> list[Any]:
    stream, generation = Stream(header_required=True), Generation(1, 0.0)
    for chunk in chunks:
        for one in stream.feed(chunk):
            generation.feed(TO_BROKER, one, 1.0)
    return generation.events


@given(st.lists(st.integers(0, len(SESSION)), max_size=40))
def test_chunking_never_changes_the_ledger(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SESSION)]
    chunks = [SESSION[a:b] for a, b in pairwise(edges)]
    whole = booked([SESSION])
    assert [event[1] for event in whole].count("publish") == 4
    assert booked(chunks) == whole


def test_byte_by_byte() -> None:
    assert booked([SESSION[at : at + 1] for at in range(len(SESSION))]) == booked([SESSION])


def test_the_protocol_header_is_a_frame_of_its_own() -> None:
    stream = Stream(header_required=True)
    assert stream.feed(PROTOCOL_HEADER + HEARTBEAT_FRAME) == [
        Frame(PROTOCOL, 0, PROTOCOL_HEADER),
        Frame(8, 0, HEARTBEAT_FRAME),
    ]


def test_a_broker_may_answer_with_a_header_or_at_once_with_frames() -> None:
    assert Stream(header_required=False).feed(b"AMQP\0\0\x09\x01")[0].type == PROTOCOL
    assert Stream(header_required=False).feed(HEARTBEAT_FRAME)[0].type == 8


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"A?", HEARTBEAT_FRAME, b"\0"])
def test_a_client_must_begin_with_the_header(data: bytes) -> None:
    with pytest.raises(FrameError):
        Stream(header_required=True).feed(data)


def test_the_limit_on_frames_follows_the_negotiation() -> None:
    def accepts(stream: Stream, size: int) -> bool:
        try:
            stream.feed(frame(BODY, 1, b"x" * size)[:7])
        except FrameError:
            return False
        return True

    for frame_max, largest in (
        (4096, 4096),
        (0, LARGEST_FRAME_MAX),
        (2**32 - 1, LARGEST_FRAME_MAX),
    ):
        for extra, accepted in ((0, True), (1, False)):
            stream = Stream(header_required=False)
            stream.feed(HEARTBEAT_FRAME)
            stream.limit(frame_max)
            assert accepts(stream, largest + extra) is accepted
    assert accepts(Stream(header_required=False), DEFAULT_FRAME_MAX)
    assert not accepts(Stream(header_required=False), DEFAULT_FRAME_MAX + 1)


def test_tune_ok_is_recognised() -> None:
    tune_ok = method(0, c.Connection.TuneOk(2047, 8192, 60))
    assert negotiated(frames(method(0, c.Connection.Open()) + tune_ok)) == 8192
    assert negotiated(frames(method(0, c.Connection.Open()))) is None
    assert negotiated(frames(frame(1, 0, tune_ok[7:-2]))) is None
    assert negotiated(frames(frame(1, 1, tune_ok[7:-1]))) is None


def test_frames_in_front_of_garbage_are_not_lost() -> None:
    stream = Stream(header_required=True)
    with pytest.raises(FrameError) as caught:
        stream.feed(PROTOCOL_HEADER + HEARTBEAT_FRAME + b"garbage")
    assert [one.raw for one in caught.value.frames] == [PROTOCOL_HEADER, HEARTBEAT_FRAME]


# -- the outbox ---------------------------------------------------------------------------------


class Sink(socket.socket):
    """A socket whose ``send`` takes so many bytes per call."""

    def __init__(self, takes: list[int]) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.takes = takes
        self.taken = b""

    def send(self, data: Any, flags: int = 0) -> int:
        size = min(len(data), self.takes.pop(0) if self.takes else len(data))
        if size == 0:
            raise BlockingIOError
        self.taken += bytes(data[:size])
        return size


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.lists(st.integers(0, 200), max_size=30),
)
def test_a_frame_is_forwarded_when_its_last_byte_went(sizes: list[int], takes: list[int]) -> None:
    queued = frames(b"".join(frame(BODY, 1, b"x" * size) for size in sizes))
    stream = b"".join(one.raw for one in queued)
    ends = [sum(len(one.raw) for one in queued[: n + 1]) for n in range(len(queued))]
    outbox, done = Outbox(), []
    with Sink(list(takes)) as sink:
        outbox.put(queued[:3])
        rest = queued[3:]
        while outbox.pending:
            try:
                done += outbox.send(sink)
            except BlockingIOError:
                outbox.put(rest)
                rest = []
            assert sink.taken == stream[: len(sink.taken)]
            assert len(done) == sum(end <= len(sink.taken) for end in ends)
            put = len(queued) - len(rest)
            assert outbox.pending == ends[put - 1] - len(sink.taken)
        assert done == queued[: len(queued) - len(rest)]


def test_one_send_is_bounded() -> None:
    outbox = Outbox()
    outbox.put(frames(frame(BODY, 1, b"x" * 100_000)) * 20)
    with Sink([]) as sink:
        outbox.send(sink)
        assert BATCH <= len(sink.taken) < BATCH + 100_008


def test_what_is_cleared_is_counted() -> None:
    outbox = Outbox()
    outbox.put(frames(HEARTBEAT_FRAME * 3))
    with Sink([10]) as sink:
        assert len(outbox.send(sink)) == 1
    assert outbox.clear() == 2 * len(HEARTBEAT_FRAME) - 2
    assert outbox.pending == 0
