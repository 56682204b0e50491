"""The tables: every cell that was asked for stands in them, also one that failed."""

from __future__ import annotations

import json

import pytest

from benchmarks.harness.compare_verb import LACKING, VIOLATED, WHOLE, status_of
from benchmarks.harness.speed.bench import Sample
from benchmarks.harness.speed.compare import CANNOT, FAILED, MEASURED, MISSING, Cell
from benchmarks.harness.speed.report import MarkersError, document, inserted, markdown, number
from benchmarks.harness.speed.verdicts import LOADS, Verdict

FACTS = {
    "when": "2026-01-02",
    "commit": "abc",
    "machine": "2 cores",
    "broker": "embedded",
    "repeats": 7,
    "quick": False,
    "partial": None,
}
MINE = Cell("publish_50", "amqpool", MEASURED, "", "0.1", 100, [Sample(100, 0.01, 0.005)])
CELLS = [
    MINE,
    Cell("publish_50", "pyamqp", MEASURED, "", "5.4.2", 100, [Sample(100, 0.04, 0.02)]),
    Cell("publish_50", "amqpstorm", FAILED, "did not finish in 20 s"),
    Cell("publish_50", "kombu_threadsafe", MISSING, "no index | at all\nand more"),
    Cell("mix_50", "pyamqp", CANNOT, "has no way to do it"),
]


def verdicts(client: str, verdict: str, **violations: int) -> list[Verdict]:
    return [Verdict(client, name, "1x1", verdict, "", dict(violations)) for name in LOADS]


def test_both_tables_hold_everything() -> None:
    trials = [
        *verdicts("amqpool", "valid"),
        *verdicts("kombu_threadsafe", "invalid", deadlocks=3),
        *(Verdict("kombu_threadsafe_drainer", name, "1x1", why="no index") for name in LOADS),
    ]
    found = document(FACTS, CELLS, trials)
    json.dumps(found)
    text = markdown(found)
    assert "| kombu-pyamqp-threadsafe | **invalid**: `deadlocks` 3 |" in text
    assert "not judged: no index" in text
    assert "| publish, 50 threads | amqpool 0.1 | 10,000 /s | 10,000 – 10,000 | 50.0 |  |" in text
    assert "py-amqp, a connection per thread 5.4.2 | 2,500 /s" in text
    assert "| amqpstorm | failed: did not finish in 20 s |" in text
    assert "missing: no index \\| at all and more" in text
    # The aim of four times py-amqp, met exactly.
    assert "| ≥ 4 | **4.00** | 4.00 – 4.00 | yes | 4.00 |" in text
    # What it has no way to do is no row; the document still says so.
    assert "random operations, 50 x 100 | py-amqp" not in text
    assert {cell["state"] for cell in found["speed"]} == {MEASURED, FAILED, MISSING, CANNOT}


def test_the_report_says_what_an_earlier_run_agrees_with() -> None:
    found = document(FACTS, CELLS, [])
    assert "### The same command before" not in markdown(found)
    counts = {"same": 3, "changed": 2, "clear once": 1, "reversed": 1}
    turned = [["publish_50", "amqpool", "pyamqp"]]
    earlier = {"when": "2026-01-01", "commit": "abb", "works": {"publish_50": counts}}
    text = markdown({**found, "agreement": {**earlier, "reversed": turned}})
    assert "On 2026-01-01, amqpool at abb: 3 of 7 pairs of clients" in text
    assert (
        "was that of 1: publish, 50 threads: amqpool 0.1 and py-amqp, a connection per "
        "thread 5.4.2."
    ) in text
    assert "| publish, 50 threads | 3 | 2 | 1 | 1 |" in text


def test_a_partial_report_says_so() -> None:
    text = markdown(document({**FACTS, "partial": "interrupted"}, CELLS, []))
    assert "**Partial: interrupted.**" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.2345, "1.23"), (12.345, "12.3"), (123456.7, "123,457")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_page_keeps_what_stands_around_the_markers() -> None:
    page = "head\n<!-- compare:embedded -->\nold\n<!-- /compare:embedded -->\ntail\n"
    assert inserted(page, "embedded", "new\n") == (
        "head\n<!-- compare:embedded -->\n\nnew\n\n<!-- /compare:embedded -->\ntail\n"
    )
    with pytest.raises(MarkersError, match="compare:rabbitmq"):
        inserted(page, "rabbitmq", "new\n")


def test_the_status_is_amqpool_s_own() -> None:
    good, bad = verdicts("amqpool", "valid"), verdicts("amqpool", "invalid", leaks=1)
    peer = verdicts("kombu_threadsafe", "invalid", leaks=1)
    assert status_of(CELLS, [*good, *peer], partial=False) == WHOLE
    assert status_of(CELLS, [*bad, *peer], partial=True) == VIOLATED
    assert status_of(CELLS, good, partial=True) == LACKING
    assert status_of([Cell("publish_1", "amqpool", FAILED)], good, partial=False) == LACKING
    assert status_of(CELLS, verdicts("amqpool", "unknown"), partial=False) == LACKING
