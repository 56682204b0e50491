"""The scanner: any chunking gives the same frames, and nothing broken gets through."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.wire.frames import (
    BODY,
    DEFAULT_FRAME_MAX,
    HEADER,
    HEARTBEAT,
    HEARTBEAT_FRAME,
    METHOD,
    Frame,
    FrameError,
    Scanner,
    frame,
)

FRAMES = st.tuples(
    st.sampled_from([METHOD, HEADER, BODY, HEARTBEAT]),
    st.integers(0, 65535),
    st.binary(max_size=40),
)


def chunked(stream, cuts):
    edges = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def test_an_empty_stream_has_no_frames():
    scanner = Scanner()
    assert scanner.feed(b"") == []
    assert scanner.pending == 0


def test_one_frame():
    raw = frame(METHOD, 7, b"abc")
    assert raw == b"\x01\0\x07\0\0\0\x03abc\xce"
    assert Scanner().feed(raw) == [Frame(METHOD, 7, raw)]
    assert Frame(METHOD, 7, raw).payload == b"abc"
    assert Scanner().feed(HEARTBEAT_FRAME) == [Frame(HEARTBEAT, 0, HEARTBEAT_FRAME)]


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_chunking_gives_the_same_frames(parts, cuts):
    expected = [Frame(kind, channel, frame(kind, channel, data)) for kind, channel, data in parts]
    stream = b"".join(item.raw for item in expected)
    scanner = Scanner()
    got = [item for chunk in chunked(stream, cuts) for item in scanner.feed(chunk)]
    assert got == expected
    assert [item.payload for item in got] == [data for _, _, data in parts]
    assert scanner.pending == 0


@given(
    st.lists(FRAMES, max_size=5),
    st.lists(st.integers(0, 10_000), max_size=8),
    st.sampled_from(
        [
            b"\x05\0\0\0\0\0\0\xce",  # no such type
            b"\x01\0\0\0\0\0\x29",  # one byte above the limit: refused without its payload
            b"\x01\0\0\xff\xff\xff\xff",
            b"\x01\0\0\0\0\0\x01a\xcf",  # wrong end
        ]
    ),
)
def test_any_chunking_finds_the_same_break_after_the_same_frames(parts, cuts, broken):
    expected = [Frame(kind, channel, frame(kind, channel, data)) for kind, channel, data in parts]
    stream = b"".join(item.raw for item in expected) + broken
    scanner = Scanner(max_payload=40)
    got, error = [], None
    for chunk in chunked(stream, cuts):
        try:
            got += scanner.feed(chunk)
        except FrameError as found:
            got += found.frames
            error = found
            break
    assert got == expected
    assert error is not None


def test_a_huge_length_is_refused_from_seven_bytes_and_reserves_nothing():
    scanner = Scanner()
    with pytest.raises(FrameError, match="frame of 4294967295 bytes is above the limit of 131072"):
        scanner.feed(b"\x03\0\x01\xff\xff\xff\xff")
    assert scanner.pending == 0


def test_what_is_held_back_is_one_partial_frame():
    scanner = Scanner()
    raw = frame(BODY, 1, bytes(DEFAULT_FRAME_MAX))
    assert scanner.feed(raw * 3 + raw[:-1]) == [Frame(BODY, 1, raw)] * 3
    assert scanner.pending == len(raw) - 1
    assert scanner.feed(raw[-1:]) == [Frame(BODY, 1, raw)]
    assert scanner.pending == 0
