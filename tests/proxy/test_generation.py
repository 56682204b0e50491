"""A connection's own events, payloads that end early, how it ended, and the ledger as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pamqp.commands as c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.proxy import fields as f
from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT
from benchmarks.proxy.ledger import Generation, Ledger
from benchmarks.wire.frames import BODY, HEADER, METHOD, Frame, frame
from tests.proxy.stage import Book, frames, method, opened

# -- the connection -----------------------------------------------------------------------------


def test_connection_events_stand_on_channel_0() -> None:
    book = Book().broker(method(0, c.Connection.OpenOk()))
    book.broker(method(0, c.Connection.Blocked("memory")), method(0, c.Connection.Unblocked()))
    book.client(method(0, c.Connection.Close(200, "bye", 0, 0)))
    book.broker(method(0, c.Connection.CloseOk()))
    assert book.generation.ready == 1.0
    assert book.generation.close_ok
    assert book.take() == [
        ("blocked", 0, 0, {}),
        ("unblocked", 0, 0, {}),
        ("connection_close", 0, 0, {"by": "client", "code": 200, "text": "bye"}),
        ("connection_close_ok", 0, 0, {}),
    ]


def test_the_broker_can_close_too() -> None:
    book = Book().broker(method(0, c.Connection.Close(320, "CONNECTION_FORCED", 0, 0)))
    book.client(method(0, c.Connection.CloseOk()))
    assert book.take() == [
        ("connection_close", 0, 0, {"by": "broker", "code": 320, "text": "CONNECTION_FORCED"}),
        ("connection_close_ok", 0, 0, {}),
    ]


def test_a_close_ok_without_a_close_is_no_handshake() -> None:
    book = Book().client(method(0, c.Connection.CloseOk()))
    book.client(method(0, c.Connection.Close(200, "", 0, 0)), method(0, c.Connection.CloseOk()))
    assert not book.generation.close_ok
    assert book.broker(method(0, c.Connection.CloseOk())).generation.close_ok


def test_server_cancel_and_declare_ok() -> None:
    book = opened(1).broker(method(1, c.Basic.Cancel("t")), method(1, c.Queue.DeclareOk("q", 0, 0)))
    assert book.take() == [
        ("server_cancel", 1, 1, {"tag": "t"}),
        ("declare_ok", 1, 1, {"queue": "q"}),
    ]


def test_the_login_is_not_in_the_ledger() -> None:
    book = Book().client(method(0, c.Connection.StartOk({}, "PLAIN", "\0guest\0hunter2")))
    assert "hunter2" not in json.dumps(book.generation.document())


# -- bad payloads -------------------------------------------------------------------------------

READ_METHODS = [
    (TO_BROKER, c.Channel.Close(200, "text", 0, 0)),
    (TO_BROKER, c.Basic.Publish(exchange="e", routing_key="key")),
    (TO_BROKER, c.Basic.Consume(0, "queue", "tag")),
    (TO_BROKER, c.Basic.Cancel("tag")),
    (TO_BROKER, c.Queue.Declare(0, "queue")),
    (TO_BROKER, c.Basic.Get(0, "queue")),
    (TO_BROKER, c.Basic.Ack(1)),
    (TO_BROKER, c.Basic.Nack(1)),
    (TO_BROKER, c.Basic.Reject(1)),
    (TO_CLIENT, c.Channel.Close(404, "text", 0, 0)),
    (TO_CLIENT, c.Basic.Ack(1)),
    (TO_CLIENT, c.Basic.Nack(1)),
    (TO_CLIENT, c.Basic.Return(312, "text", "", "")),
    (TO_CLIENT, c.Basic.Deliver("consumer", 1, False, "", "q")),
    (TO_CLIENT, c.Basic.GetOk(1, False, "", "", 0)),
    (TO_CLIENT, c.Basic.ConsumeOk("tag")),
    (TO_CLIENT, c.Basic.CancelOk("tag")),
    (TO_CLIENT, c.Basic.Cancel("tag")),
    (TO_CLIENT, c.Queue.DeclareOk("queue", 0, 0)),
]


@pytest.mark.parametrize(
    ("direction", "command"), READ_METHODS, ids=lambda value: getattr(value, "name", str(value))
)
def test_a_method_that_ends_early_is_malformed(direction: int, command: Any) -> None:
    whole = Frame(METHOD, 1, method(1, command)).payload
    # All that is read ends with the last string or number that the ledger needs; cut before it.
    for size in (0, 3, 4, 5):
        generation = Generation(1, 0.0)
        with pytest.raises(f.Malformed):
            generation.feed(direction, Frame(METHOD, 1, frame(METHOD, 1, whole[:size])), 1.0)
        assert generation.events == []


@given(
    st.sampled_from([METHOD, HEADER, BODY]),
    st.sampled_from([TO_BROKER, TO_CLIENT]),
    st.sampled_from([key for key in vars(f).values() if isinstance(key, int)]),
    st.binary(max_size=40),
)
def test_any_payload_is_booked_or_malformed(kind: int, way: int, key: int, rest: bytes) -> None:
    generation = Generation(1, 0.0)
    for channel in (0, 1):
        raw = frame(kind, channel, f.LONG.pack(key & 0xFFFFFFFF) + rest)
        try:
            generation.feed(way, Frame(kind, channel, raw), 1.0)
        except f.Malformed:
            continue
    json.dumps(generation.document())


def test_strings_that_are_not_utf_8_can_be_written() -> None:
    book = opened(1).client(method(1, c.Basic.Cancel("tag")).replace(b"tag", b"t\xffg"))
    assert book.take() == [("cancel", 1, 1, {"tag": "t\\xffg"})]


# -- the whole ledger ---------------------------------------------------------------------------


def test_the_document_has_generations_and_faults(tmp_path: Path) -> None:
    ledger = Ledger()
    first, second, third = (ledger.open(float(t), t % 2) for t in (1, 2, 3))
    first.feed(TO_CLIENT, Frame(METHOD, 0, method(0, c.Connection.OpenOk())), 1.5)
    second.feed(TO_BROKER, Frame(METHOD, 4, method(4, c.Channel.Open())), 2.5)
    first.finish("fault:rst", 5.0)
    second.finish("close", 6.0)
    ledger.fault("rst", [first], 5.0, 5.0)
    entry, [theirs] = ledger.fault("stall", [third], 6.5, None)
    assert (entry["until"], theirs["until"]) == (None, None)
    nothing: dict[str, Any] = {"ready": None, "closed": None, "end": "open", "faulted": False}
    nothing |= {"injected": False, "thrown": 0}
    expected = {
        "generations": [
            {
                "generation": 1,
                "upstream": 1,
                "opened": 1.0,
                "ready": 1.5,
                "closed": 5.0,
                "end": "fault:rst",
                "faulted": True,
                "injected": True,
                "thrown": 0,
                "faults": [{"kind": "rst", "t": 5.0, "until": 5.0}],
                "events": [],
            },
            {
                "generation": 2,
                "upstream": 0,
                "opened": 2.0,
                "ready": None,
                "closed": 6.0,
                "end": "close",
                "faulted": False,
                "injected": False,
                "thrown": 0,
                "faults": [],
                "events": [[2.5, "open", 4, 1, {}]],
            },
            {
                "generation": third.number,
                "upstream": 1,
                "opened": 3.0,
                **nothing,
                "faults": [{"kind": "stall", "t": 6.5, "until": None}],
                "events": [],
            },
        ],
        "faults": [
            {"t": 5.0, "kind": "rst", "generations": [1], "until": 5.0},
            {"t": 6.5, "kind": "stall", "generations": [3], "until": None},
        ],
    }
    path = tmp_path / "ledger.json"
    assert ledger.write(path) == 1
    assert json.loads(path.read_text("ascii")) == expected
    assert list(tmp_path.iterdir()) == [path]


def test_a_ledger_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        Ledger().write(tmp_path / "taken")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("end", "kind", "until", "ending", "thrown", "injected"),
    [
        ("fault:rst", "rst", 5.0, None, 0, True),
        ("client", None, None, None, 0, False),
        ("client", "latency", None, None, 0, False),
        ("client", "stall", None, None, 0, True),  # it gave up
        ("broker", "blackhole", None, None, 0, True),
        ("client", None, None, None, 1, True),  # bytes were missing
        ("client", "stall", 8.9, None, 0, False),  # long after the stall
        ("client", "stall", 9.1, None, 0, True),  # right behind it
        ("client", "stall", 8.0, 8.5, 0, True),  # only the last socket took its time
        ("close", "stall", 5.0, None, 0, False),
        ("close", "stall", 5.0, None, 1, False),
        ("proxy", None, None, None, 0, False),
    ],
)
def test_whose_doing_the_end_was(
    end: str,
    kind: str | None,
    until: float | None,
    ending: float | None,
    thrown: int,
    injected: bool,
) -> None:
    generation = Generation(1, 0.0)
    if kind:
        generation.fault(kind, 4.0, until)
    generation.ending, generation.thrown = ending, thrown
    assert not generation.injected
    generation.finish(end, 10.0)
    assert generation.injected is injected
    assert generation.faulted is (end != "close" or thrown > 0)
    assert [fault["until"] for fault in generation.faults] == ([until or 10.0] if kind else [])


def test_without_booking_only_the_connection_itself_is_known() -> None:
    generation = Ledger(booking=False).open(0.0)
    for way, raw in (
        (TO_CLIENT, method(0, c.Connection.OpenOk())),
        (TO_BROKER, method(1, c.Channel.Open())),
        (TO_BROKER, method(1, c.Basic.Publish())),
        (TO_BROKER, method(0, c.Connection.Close(200, "", 0, 0))),
        (TO_CLIENT, method(0, c.Connection.CloseOk())),
    ):
        (one,) = frames(raw)
        generation.feed(way, one, 1.0)
    assert (generation.ready, generation.close_ok) == (1.0, True)
    assert {event[2] for event in generation.events} == {0}


@pytest.mark.parametrize(
    ("end", "faulted"),
    [
        ("close", False),
        ("fault:rst", True),
        ("client", True),
        ("broker", True),
        ("client-error", True),
        ("broker-error", True),
        ("proxy", True),
    ],
)
def test_only_the_handshake_faults_nothing(end: str, faulted: bool) -> None:
    generation = Generation(1, 0.0)
    assert not generation.faulted
    generation.finish(end, 1.0)
    assert generation.faulted is faulted
