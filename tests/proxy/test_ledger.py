"""What the ledger books: kinds, fields, sequences, incarnations, and what it must not book."""

from __future__ import annotations

import zlib
from typing import Any

import pamqp.commands as c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.proxy import fields as f
from benchmarks.wire.frames import BODY, frame
from tests.proxy.stage import Book, body_facts, content, deliver, method, opened, publish

QUEUE = {"exchange": "", "routing_key": "q", "mandatory": False}


def confirming(*channels: int) -> Book:
    book = opened(*channels)
    for channel in channels:
        book.client(method(channel, c.Confirm.Select()))
    book.take()
    return book


def confirms(book: Book) -> list[tuple[Any, ...]]:
    """The confirms booked since the last take: sequence, identity, and whether it is an ack."""
    return [
        (fields["seq"], fields["id"], fields["ack"], fields.get("unknown", False))
        for kind, _, _, fields in book.take()
        if kind == "confirm"
    ]


def settled(book: Book) -> list[tuple[Any, ...]]:
    """The acks, nacks and rejects booked since the last take: kind, tag, identity, unknown."""
    return [
        (kind, fields["tag"], fields["id"], fields.get("unknown", False))
        for kind, _, _, fields in book.take()
        if kind in ("ack", "nack", "reject")
    ]


# -- publishes and confirms ---------------------------------------------------------------------


def test_a_publish_is_booked_with_all_its_fields() -> None:
    book = confirming(7)
    command = c.Basic.Publish(exchange="amq.topic", routing_key="a.b", mandatory=True)
    body = b"run/3/9\nthe rest"
    book.client(content(7, command, body, "run/3/9"))
    assert book.generation.events == [
        (
            4.0,
            "publish",
            7,
            1,
            {
                "seq": 1,
                "id": "run/3/9",
                "body_id": "run/3/9",
                "size": len(body),
                "crc": zlib.crc32(body),
                "exchange": "amq.topic",
                "routing_key": "a.b",
                "mandatory": True,
            },
        )
    ]


def test_a_publish_without_confirm_mode_has_no_sequence() -> None:
    book = opened(1).client(publish(1, "a"))
    assert book.take() == [("publish", 1, 1, {"seq": None, **body_facts("a"), **QUEUE})]


def test_an_empty_body_is_complete_with_its_header() -> None:
    book = opened(1).client(content(1, c.Basic.Publish(), b""))
    (event,) = book.take()
    assert event[3] == {
        "seq": None,
        "id": None,
        "body_id": None,
        "size": 0,
        "crc": 0,
        "exchange": "",
        "routing_key": "",
        "mandatory": False,
    }


def test_the_sequence_counts_from_the_first_select() -> None:
    book = opened(1).client(publish(1, "before"), method(1, c.Confirm.Select()))
    book.client(publish(1, "a"), method(1, c.Confirm.Select()), publish(1, "b"))
    seen = [(kind, e["seq"]) for kind, _, _, e in book.take() if kind == "publish"]
    assert seen == [("publish", None), ("publish", 1), ("publish", 2)]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (c.Basic.Ack(2), [(2, "b", True, False)]),
        (c.Basic.Nack(2), [(2, "b", False, False)]),
        (c.Basic.Ack(2, True), [(1, "a", True, False), (2, "b", True, False)]),
        (c.Basic.Nack(2, True), [(1, "a", False, False), (2, "b", False, False)]),
        (
            c.Basic.Ack(0, True),
            [(1, "a", True, False), (2, "b", True, False), (3, "c", True, False)],
        ),
        (c.Basic.Ack(0), [(0, None, True, True)]),
        (c.Basic.Ack(4), [(4, None, True, True)]),
    ],
)
def test_confirms_are_expanded(command: Any, expected: list[Any]) -> None:
    book = confirming(1).client(publish(1, "a"), publish(1, "b"), publish(1, "c"))
    book.take()
    assert confirms(book.broker(method(1, command))) == expected


def test_a_second_confirm_of_the_same_publish_is_unknown() -> None:
    book = confirming(1).client(publish(1, "a"))
    book.broker(method(1, c.Basic.Ack(1)), method(1, c.Basic.Ack(1, True)))
    assert confirms(book) == [(1, "a", True, False), (1, None, True, True)]


def test_a_confirm_carries_the_body_s_identity_too() -> None:
    command = c.Basic.Publish(routing_key="q")
    book = confirming(1).client(content(1, command, b"r/1/1\n")).broker(method(1, c.Basic.Ack(1)))
    assert book.take()[1] == (
        "confirm",
        1,
        1,
        {"seq": 1, "id": None, "body_id": "r/1/1", "ack": True},
    )


def test_a_return_names_its_message() -> None:
    command = c.Basic.Return(312, "NO_ROUTE", "", "nowhere")
    book = opened(1).broker(content(1, command, b"a\n", "a"))
    assert book.take() == [("return", 1, 1, {"id": "a", "body_id": "a", "code": 312})]


# -- incarnations -------------------------------------------------------------------------------


def test_each_open_starts_a_new_incarnation() -> None:
    book = confirming(1, 2).client(publish(1, "old"), publish(2, "other"))
    book.client(method(1, c.Channel.Close(200, "bye", 0, 0)))
    book.broker(method(1, c.Channel.CloseOk()))
    book.client(method(1, c.Channel.Open())).broker(method(1, c.Channel.OpenOk()))
    book.client(method(1, c.Confirm.Select()), publish(1, "new"))
    book.broker(method(1, c.Basic.Ack(0, True)), method(2, c.Basic.Ack(0, True)))
    assert book.take() == [
        ("publish", 1, 1, {"seq": 1, **body_facts("old"), **QUEUE}),
        ("publish", 2, 1, {"seq": 1, **body_facts("other"), **QUEUE}),
        ("close", 1, 1, {"code": 200}),
        ("close_ok", 1, 1, {}),
        ("open", 1, 2, {}),
        ("open_ok", 1, 2, {}),
        ("confirm_select", 1, 2, {}),
        ("publish", 1, 2, {"seq": 1, **body_facts("new"), **QUEUE}),
        ("confirm", 1, 2, {"seq": 1, "id": "new", "body_id": "new", "ack": True}),
        ("confirm", 2, 1, {"seq": 1, "id": "other", "body_id": "other", "ack": True}),
    ]


def test_deliveries_of_an_earlier_incarnation_cannot_be_acked() -> None:
    book = opened(1).broker(deliver(1, 1, "old"))
    book.broker(method(1, c.Channel.Close(404, "NOT_FOUND", 0, 0)))
    book.client(method(1, c.Channel.CloseOk()), method(1, c.Channel.Open()))
    events = book.take()
    assert events[1:] == [
        ("server_close", 1, 1, {"code": 404, "text": "NOT_FOUND"}),
        ("closed_ok", 1, 1, {}),
        ("open", 1, 2, {}),
    ]
    assert settled(book.client(method(1, c.Basic.Ack(1)))) == [("ack", 1, None, True)]


def test_a_channel_that_was_never_opened_is_incarnation_0() -> None:
    assert Book().client(publish(3, "a")).take()[0][:3] == ("publish", 3, 0)


# -- deliveries, gets and their acks ------------------------------------------------------------


def test_a_delivery_and_its_ack() -> None:
    book = opened(1).client(method(1, c.Basic.Consume(0, "q", "ctag")))
    book.broker(method(1, c.Basic.ConsumeOk("ctag")), deliver(1, 5, "a"))
    book.client(method(1, c.Basic.Ack(5)), method(1, c.Basic.Cancel("ctag")))
    book.broker(method(1, c.Basic.CancelOk("ctag")))
    assert book.take() == [
        ("consume", 1, 1, {"tag": "ctag", "queue": "q", "no_ack": False}),
        ("consume_ok", 1, 1, {"tag": "ctag"}),
        (
            "deliver",
            1,
            1,
            {
                "consumer": "ctag",
                "tag": 5,
                "redelivered": False,
                **body_facts("a"),
                "no_ack": False,
            },
        ),
        ("ack", 1, 1, {"tag": 5, "id": "a", "consumer": "ctag", "multiple": False}),
        ("cancel", 1, 1, {"tag": "ctag"}),
        ("cancel_ok", 1, 1, {"tag": "ctag"}),
    ]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (c.Basic.Ack(2), [("ack", 2, "b", False)]),
        (c.Basic.Ack(2, True), [("ack", 1, "a", False), ("ack", 2, "b", False)]),
        (
            c.Basic.Ack(0, True),
            [("ack", 1, "a", False), ("ack", 2, "b", False), ("ack", 3, "c", False)],
        ),
        (c.Basic.Nack(2, True), [("nack", 1, "a", False), ("nack", 2, "b", False)]),
        (c.Basic.Reject(3), [("reject", 3, "c", False)]),
        (c.Basic.Ack(0), [("ack", 0, None, True)]),
        (c.Basic.Ack(9), [("ack", 9, None, True)]),
        (c.Basic.Reject(9), [("reject", 9, None, True)]),
    ],
)
def test_acks_are_expanded(command: Any, expected: list[Any]) -> None:
    book = opened(1).broker(deliver(1, 1, "a"), deliver(1, 2, "b"), deliver(1, 3, "c"))
    book.take()
    assert settled(book.client(method(1, command))) == expected


def test_nack_and_reject_say_whether_to_requeue() -> None:
    book = opened(1).broker(deliver(1, 1, "a"), deliver(1, 2, "b"), deliver(1, 3, "c"))
    book.take()
    book.client(method(1, c.Basic.Nack(1, False, True)), method(1, c.Basic.Nack(2, False, False)))
    book.client(method(1, c.Basic.Reject(3, True)), method(1, c.Basic.Reject(4, False)))
    common = {"consumer": "ctag", "multiple": False}
    assert book.take() == [
        ("nack", 1, 1, {"tag": 1, "id": "a", **common, "requeue": True}),
        ("nack", 1, 1, {"tag": 2, "id": "b", **common, "requeue": False}),
        ("reject", 1, 1, {"tag": 3, "id": "c", **common, "requeue": True}),
        (
            "reject",
            1,
            1,
            {
                "tag": 4,
                "id": None,
                "consumer": None,
                "multiple": False,
                "requeue": False,
                "unknown": True,
            },
        ),
    ]


def test_no_ack_deliveries_are_never_outstanding() -> None:
    book = opened(1).client(method(1, c.Basic.Consume(0, "q", "mine", no_ack=True)))
    book.client(method(1, c.Basic.Consume(0, "q", "", no_ack=True)))
    book.client(method(1, c.Basic.Consume(0, "q", "", no_ack=False)))
    for name in ("mine", "amq.ctag-1", "amq.ctag-2"):
        book.broker(method(1, c.Basic.ConsumeOk(name)))
    book.take()
    book.broker(deliver(1, 1, "a", "mine"), deliver(1, 2, "b", "amq.ctag-1"))
    book.broker(deliver(1, 3, "c", "amq.ctag-2"))
    assert [fields["no_ack"] for _, _, _, fields in book.take()] == [True, True, False]
    assert settled(book.client(method(1, c.Basic.Ack(0, True)))) == [("ack", 3, "c", False)]


def test_a_consumer_without_an_answer_counts_at_once() -> None:
    book = opened(1).client(method(1, c.Basic.Consume(0, "q", "t", no_ack=True, nowait=True)))
    book.client(method(1, c.Basic.Consume(0, "q", "")))
    book.broker(method(1, c.Basic.ConsumeOk("named")), deliver(1, 1, "a", "t"))
    book.broker(deliver(1, 2, "b", "named"))
    assert [e["no_ack"] for kind, _, _, e in book.take() if kind == "deliver"] == [True, False]


def test_gets_are_answered_in_their_order() -> None:
    book = opened(1)
    book.client(method(1, c.Basic.Get(0, "q", True)), method(1, c.Basic.Get(0, "q", True)))
    book.client(method(1, c.Basic.Get(0, "q", False)))
    book.broker(content(1, c.Basic.GetOk(1, True, "", "q", 0), b"a\n", "a"))
    book.broker(method(1, c.Basic.GetEmpty()))
    book.broker(content(1, c.Basic.GetOk(2, False, "", "q", 0), b"b\n", "b"))
    book.client(method(1, c.Basic.Ack(0, True)))
    assert book.take() == [
        ("get", 1, 1, {"queue": "q", "no_ack": True}),
        ("get", 1, 1, {"queue": "q", "no_ack": True}),
        ("get", 1, 1, {"queue": "q", "no_ack": False}),
        ("get_ok", 1, 1, {"tag": 1, "redelivered": True, **body_facts("a")}),
        ("get_empty", 1, 1, {}),
        ("get_ok", 1, 1, {"tag": 2, "redelivered": False, **body_facts("b")}),
        ("ack", 1, 1, {"tag": 2, "id": "b", "consumer": None, "multiple": True}),
    ]


def test_recover_leaves_nothing_outstanding() -> None:
    book = opened(1).broker(deliver(1, 1, "a")).client(method(1, c.Basic.Recover(True)))
    book.take()
    assert settled(book.client(method(1, c.Basic.Ack(1)))) == [("ack", 1, None, True)]


# -- content ------------------------------------------------------------------------------------


def test_partial_content_is_not_booked() -> None:
    raws = content(1, c.Basic.Publish(), b"a\n" + b"x" * 998, "a", piece=100)
    book = opened(1).client(raws[:-1])
    assert book.take() == []
    book.client(raws[-1])
    (event,) = book.take()
    assert event[3] == {
        "seq": None,
        "id": "a",
        "body_id": "a",
        "size": 1000,
        "crc": zlib.crc32(b"a\n" + b"x" * 998),
        "exchange": "",
        "routing_key": "",
        "mandatory": False,
    }


def test_contents_of_several_channels_and_directions_interleave() -> None:
    outbound = [
        content(n, c.Basic.Publish(), f"p{n}\n".encode() * 50, f"p{n}", piece=30) for n in (1, 2, 3)
    ]
    inbound = [
        content(n, c.Basic.Return(312, "", "", "q"), f"r{n}\n".encode() * 50, f"r{n}", piece=30)
        for n in (1, 2, 3)
    ]
    book = opened(1, 2, 3)
    for column in zip(*outbound, *inbound, strict=True):
        book.client(*column[:3]).broker(*column[3:])
    seen = [(kind, channel, e["id"], e["body_id"]) for kind, channel, _, e in book.take()]
    assert seen == [
        *(("publish", n, f"p{n}", f"p{n}") for n in (1, 2, 3)),
        *(("return", n, f"r{n}", f"r{n}") for n in (1, 2, 3)),
    ]


def test_the_identity_is_a_first_line_of_at_most_120_bytes() -> None:
    def body_id(body: bytes, piece: int = 7) -> Any:
        book = opened(1).client(content(1, c.Basic.Publish(), body, piece=piece))
        return book.take()[0][3]["body_id"]

    assert body_id(b"x" * 119 + b"\nrest") == "x" * 119
    assert body_id(b"x" * 120 + b"\nrest") is None
    assert body_id(b"no newline") is None
    assert body_id(b"\n") == ""
    assert body_id(b"\xff\n", piece=1) == "\xff"


def test_content_that_is_cut_short_or_makes_no_sense_is_not_booked() -> None:
    whole = publish(1, "a")
    book = opened(1)
    book.client(whole[:2], publish(1, "b"))  # another method in the middle
    book.client(whole[2])  # a body without its method
    book.client(whole[1])  # a header without its method
    book.client(whole[0], whole[2])  # a body without its header
    book.client(publish(1, "c"))
    book.client(whole[:2], frame(BODY, 1, b"longer than the header said"))
    book.client(whole[:2], whole[1], whole[2])  # two headers
    book.client(whole[:2], method(1, c.Channel.Flow(True)), whole[2])  # a method before its body
    assert [fields["id"] for _, _, _, fields in book.take()] == ["b", "c"]


@given(
    st.builds(
        c.Basic.Properties,
        content_type=st.none() | st.text(max_size=20),
        content_encoding=st.none() | st.just("utf-8"),
        headers=st.none() | st.dictionaries(st.text("abc", min_size=1), st.text(max_size=9)),
        delivery_mode=st.none() | st.sampled_from([1, 2]),
        priority=st.none() | st.integers(0, 9),
        correlation_id=st.none() | st.text(max_size=20),
        reply_to=st.none() | st.just("here"),
        expiration=st.none() | st.just("1000"),
        message_id=st.none() | st.text(min_size=1, max_size=40),
        message_type=st.none() | st.just("type"),
        app_id=st.none() | st.just("app"),
    )
)
def test_the_message_id_is_found_among_all_properties(properties: c.Basic.Properties) -> None:
    import pamqp.header

    raw = pamqp.header.ContentHeader(body_size=5, properties=properties).marshal()
    # pamqp leaves out what is empty, and so an empty string counts as absent.
    assert f.header(raw) == (5, properties.message_id or None)


def test_the_message_id_stands_behind_all_words_of_flags() -> None:
    raw = f.CONTENT.pack(60, 0, 9, 1 << 7 | 1) + f.SHORT.pack(1) + f.SHORT.pack(0) + b"\x02id"
    assert f.header(raw) == (9, "id")
