"""The application's ledger: a list per thread, and what is written down of a message."""

from __future__ import annotations

import zlib

import pytest

from benchmarks.clients.base import Delivery
from benchmarks.harness.history import FIELDS, History, Log, body_identity, published, seen
from benchmarks.harness.plan import body_of


def test_an_empty_history() -> None:
    assert History().snapshot() == {}


def test_each_thread_has_a_list_of_its_own_and_a_snapshot_stays_still() -> None:
    history = History()
    history.log("one").add(["op", 1.0, 2.0, "drain", "ok"])
    assert history.log("one") is not history.log("two")
    taken = history.snapshot()
    taken["one"][0][4] = "error"
    taken = history.snapshot()
    history.log("one").begin(["op", 3.0, None, "drain", "invoked"])
    assert taken == {"one": [["op", 1.0, 2.0, "drain", "ok"]], "two": []}


@pytest.mark.parametrize("size", [0, 64, 300_000])
def test_the_crc_of_a_publish_is_that_of_its_body(size: int) -> None:
    history, body = History(), body_of("t/1", size)
    entry = history.log("one").begin(published(1.0, "t/1", 4, "q", len(body)))
    expected = ["publish", 1.0, None, "t/1", 4, "q", "invoked", len(body), zlib.crc32(body)]
    assert history.snapshot() == {"one": [expected]} == history.snapshot()
    entry[2], entry[6] = 2.0, "ok"
    history.log("one").end(entry)
    expected[2], expected[6] = 2.0, "ok"
    assert history.snapshot() == {"one": [expected]} == history.snapshot()


def test_entries_come_whole_and_in_the_order_in_which_they_were_entered() -> None:
    log, rows = Log(), []
    for number, (kind, fields) in enumerate(FIELDS.items()):
        rows.append([kind, float(number), None, *range(fields - 3)])
    outer = log.begin(["cancel", 100.0, None, "tag", "invoked"])
    for row in reversed(rows):
        log.end(log.begin(row))
    assert log.entries() == [*rows, outer]
    log.add(["op", 1.0, 200.0, "consume_cancel", "ok"])
    outer[2], outer[4] = 101.0, "ok"
    assert log.entries() == [*rows, log.entries()[-1]], "it is about to be laid down"
    log.end(outer)
    assert log.entries()[-2:] == [outer, ["op", 1.0, 200.0, "consume_cancel", "ok"]]


@pytest.mark.parametrize(
    ("body", "identity"),
    [
        (b"", None),
        (b"no line", None),
        (b"t/1\nrest", "t/1"),
        (b"\n", ""),
        (b"\xff\n", "\xff"),
        (b"x" * 120 + b"\n", "x" * 120),
        (b"x" * 121 + b"\n", None),
    ],
)
def test_the_identity_in_a_body(body: bytes, identity: str | None) -> None:
    assert body_identity(body) == identity


def test_what_is_written_down_of_a_message() -> None:
    body = b"t/1\n" + b"." * 100
    crc = zlib.crc32(body)
    assert seen(Delivery("t/2", body, "tag", 7, True)) == [7, "t/2", "t/1", 104, crc, True]
