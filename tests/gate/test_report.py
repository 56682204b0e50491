"""The verdict as text, markdown and JSON: whole texts of small verdicts."""

from __future__ import annotations

import json
import math
from typing import Any

from benchmarks.harness.gate import EMBEDDED, Cell, Change, Planned, Sheet, Stored, judge
from benchmarks.harness.gate_report import ROWS_AT_MOST, as_json, markdown, text

COMMIT, BASE = "c" * 40, "b" * 40


def cell(value: float | None, invariant: str, reason: str = "") -> Cell:
    parameters = (("load", "10x100"), ("invariant", invariant))
    name = "stability.X.track_violations"
    return Cell("m", "e", EMBEDDED, name, parameters, "violations", value, reason)


def timed(number: int, value: float) -> Cell:
    return Cell("m", "e", EMBEDDED, "t.X.time_x", (("threads", f"{number}"),), "seconds", value)


def broken() -> Any:
    cells = (
        cell(3, "deadlocks"),
        cell(1, "leaks|<b>"),
        cell(None, "crashes"),
        cell(math.nan, "phantoms", "skipped"),
        cell(0, "lost_frames"),
    )
    planned = (Planned(EMBEDDED, "(amqp)", True), Planned("rabbitmq", "(BROKER=rabbitmq)", False))
    known = Stored(COMMIT, (Sheet("m", "e", EMBEDDED, True, cells),), planned)
    changes = [
        Change(timed(1, 0.2), 0.1, 0.2, 2.0, (1.8, 2.2)),
        Change(timed(2, 0.1), 0.2, 0.1, 0.5, None),
    ]
    return judge(known, [EMBEDDED], BASE, changes)


def test_text() -> None:
    assert text(broken()).splitlines() == [
        "violated: embedded, m, e: stability.X.track_violations(10x100, deadlocks): 3 violations",
        "violated: embedded, m, e: stability.X.track_violations(10x100, leaks|<b>): 1 violation",
        "failed: embedded, m, e: stability.X.track_violations(10x100, crashes):"
        " failed, or no verdict",
        "slower: embedded, m, e: t.X.time_x(1): 0.1 -> 0.2 seconds, 2.00x (1.80 to 2.20)",
        "faster: embedded, m, e: t.X.time_x(2): 0.2 -> 0.1 seconds, 0.50x",
        "not measured: embedded, m, e: stability.X.track_violations(10x100, phantoms): skipped",
        "not measured, not required: rabbitmq: the whole environment (BROKER=rabbitmq)",
        "label embedded (required): 2 violated, 1 failed, 1 not measured, 1 measured and 0",
        "label rabbitmq (not required): not measured",
        "gate broken: cccccccc, 4 violations, 1 failed, 1 required and not measured,"
        " 1 measured and 0",
    ]


def test_markdown() -> None:
    name = "stability.X.track_violations"
    assert (
        markdown(broken())
        == f"""### ❌ Gate broken: `cccccccc`

4 violations, 1 failed, 1 required and not measured, 1 measured and 0.

#### Violations

| environment | benchmark | parameters | value |
| --- | --- | --- | --- |
| embedded, m, e | {name} | load 10x100, invariant deadlocks | **3 violations** |
| embedded, m, e | {name} | load 10x100, invariant leaks\\|&lt;b> | **1 violation** |
| embedded, m, e | {name} | load 10x100, invariant crashes | **failed, or no verdict** |

#### Slower or faster than `bbbbbbbb`

| environment | benchmark | parameters | before | after | ratio | 99 % |
| --- | --- | --- | --- | --- | --- | --- |
| embedded, m, e | t.X.time_x | threads 1 | 0.1 seconds | 0.2 seconds | **2.00** | 1.80 to 2.20 |
| embedded, m, e | t.X.time_x | threads 2 | 0.2 seconds | 0.1 seconds | 0.50 | unknown |

#### Not measured

- **required**: embedded, m, e: {name}(10x100, phantoms): skipped
- rabbitmq: the whole environment (BROKER=rabbitmq)

#### Labels

| label |  | violations |
| --- | --- | --- |
| embedded | required | 2 violated, 1 failed, 1 not measured, 1 measured and 0 |
| rabbitmq | not required | not measured |
"""
    )


def test_json_is_json() -> None:
    document = json.loads(as_json(broken()))
    assert (document["status"], document["verdict"]) == (1, "broken")
    assert [v["value"] for v in document["violations"]] == [3, 1]
    assert [f["parameters"]["invariant"] for f in document["failed"]] == ["crashes"]
    assert [(c["ratio"], c["interval"]) for c in document["changes"]] == [
        (2.0, [1.8, 2.2]),
        (0.5, None),
    ]


def test_a_count_without_end_is_still_json() -> None:
    cells = (cell(math.inf, "deadlocks"),)
    known = Stored(COMMIT, (Sheet("m", "e", EMBEDDED, True, cells),), ())
    document = json.loads(as_json(judge(known, [EMBEDDED])))
    assert [v["value"] for v in document["violations"]] == ["inf"]


def test_nothing_wrong() -> None:
    known = Stored(COMMIT, (Sheet("m", "e", EMBEDDED, True, (cell(0, "x"),)),), ())
    verdict = judge(known, [EMBEDDED], BASE)
    assert text(verdict).splitlines()[-1] == (
        "gate holds: cccccccc, 0 violations, 0 failed, 0 required and not measured,"
        " 1 measured and 0"
    )
    assert "✅ Gate holds" in markdown(verdict)
    assert "Nothing by more than noise." in markdown(verdict)


def test_a_comment_stays_short() -> None:
    cells = tuple(cell(1, f"invariant_{n}") for n in range(5000))
    known = Stored(COMMIT, (Sheet("m", "e", EMBEDDED, True, cells),), ())
    written = markdown(judge(known, [EMBEDDED]))
    assert len(written) < 65_536
    assert f"and {5000 - ROWS_AT_MOST} more" in written
