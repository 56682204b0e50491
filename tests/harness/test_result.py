"""The result: verdicts, the JSON of a trial, and one line for every kind of witness."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from benchmarks.harness.checkers import INVARIANTS, Evidence, Finding, judge
from benchmarks.harness.plan import make_plan
from benchmarks.harness.request import Request, replay_command
from benchmarks.harness.result import (
    INVALID,
    UNKNOWN,
    VALID,
    describe,
    make_result,
    percentile,
    verdict_of,
)
from benchmarks.harness.scenarios import find_scenario
from tests.harness.reports import add_error, books, evidence, report

REQUEST = Request("chaos_with_connection_kills", "4x6x2", 7, "here/a client.py:Mine", "rst", 30.0)
PLAN = make_plan("chaos_with_connection_kills", find_scenario(REQUEST.scenario).load("4x6x2"), 7)

ZERO, ONE, NOT_JUDGED = Finding(0), Finding(1), Finding(None, reason="why")


@pytest.mark.parametrize(
    ("findings", "reasons", "verdict"),
    [
        ([ZERO, ZERO], [], VALID),
        ([ZERO, ZERO], ["doubt"], UNKNOWN),
        ([ZERO, NOT_JUDGED], [], UNKNOWN),
        ([ZERO, ONE], [], INVALID),
        ([NOT_JUDGED, ONE], ["doubt"], INVALID),
        ([NOT_JUDGED, NOT_JUDGED], ["doubt"], UNKNOWN),
    ],
)
def test_verdicts(findings: list[Finding], reasons: list[str], verdict: str) -> None:
    assert verdict_of({str(n): f for n, f in enumerate(findings)}, reasons) == verdict


def test_percentiles_of_nothing_are_none() -> None:
    assert percentile([], 50) is None
    assert percentile([1.0, 2.0, 4.0], 50) == 2.0


def result_of(evidence: Evidence, reasons: list[str], reconnects: int | None = 2) -> dict[str, Any]:
    result = make_result(REQUEST, PLAN, evidence, judge(evidence), reasons, reconnects)
    # Whatever stands in it must be JSON, and strict JSON at that.
    parsed: dict[str, Any] = json.loads(json.dumps(result.document, allow_nan=False))
    assert parsed == result.document
    return parsed


def test_the_document_of_a_sane_trial() -> None:
    fired = [{"asked": 1.0, "t": 1.0, "healed": None, "ends": True, "excuses": ["recoverable"]}] * 2
    sane = report(
        recoveries=[[1.0, 1.001], [2.0, 2.003]],
        nemesis={"planned": 2, "fired": fired, "missed": []},
    )
    assert result_of(evidence(sane, books=books(in_doubt=3, discarded=1, duplicates=2)), []) == {
        "scenario": "chaos_with_connection_kills",
        "load": "4x6x2",
        "params": {"threads": 4, "iterations": 6, "kill_interval": 2, "channels": 3},
        "seed": 7,
        "plan": PLAN.digest,
        "client": "made-up",
        "client_version": "1.0",
        "recoverable": ["Lost"],
        "cannot": [],
        "broker": "embedded",
        "verdict": "valid",
        "unknown_because": [],
        "partial": False,
        "violations": dict.fromkeys(INVARIANTS, 0),
        "in_doubt": 3,
        "discarded": 1,
        "duplicates": 2,
        "compared": {"confirm": 3, "deliver": 2, "return": 1, "publish": 4},
        "not_judged": {},
        "nodes": None,
        "witnesses": [],
        "stacks": [],
        "metrics": {
            "duration_s": 2.0,
            "operations": 6,
            "operations_per_s": 3.0,
            "succeeded": {"publish": 4, "drain": 2},
            "kills": 2,
            "kills_planned": 2,
            "reconnects": 2,
            "recovery_p50_ms": pytest.approx(2.0),
            "recovery_p99_ms": pytest.approx(2.98),
            "publish_p50_ms": None,
            "publish_p99_ms": None,
            "publish_p99_parked_ms": None,
            "close_s": 0.25,
            "leases": 4,
        },
        "replay": replay_command(REQUEST),
        "plan_file": None,
    }


def test_the_document_of_a_crash_has_nulls_with_reasons() -> None:
    document = result_of(Evidence(None, "status 1", stderr="boom"), ["status 1"], None)
    assert (document["verdict"], document["partial"]) == ("invalid", True)
    assert document["violations"] == {**dict.fromkeys(INVARIANTS), "crashes": 1}
    assert set(document["not_judged"]) == set(INVARIANTS) - {"crashes"}
    assert all(document["not_judged"].values())
    assert (document["client"], document["client_version"]) == (REQUEST.client, None)
    assert [document[name] for name in ("in_doubt", "discarded", "duplicates", "compared")] == [
        None
    ] * 4
    assert document["metrics"] == {
        "duration_s": None,
        "operations": None,
        "operations_per_s": None,
        "succeeded": {},
        "kills": 0,
        "kills_planned": 0,
        "reconnects": None,
        "recovery_p50_ms": None,
        "recovery_p99_ms": None,
        "publish_p50_ms": None,
        "publish_p99_ms": None,
        "publish_p99_parked_ms": None,
        "close_s": None,
        "leases": None,
    }
    assert document["witnesses"] == [
        {"invariant": "crashes", "ended": "status 1", "stderr": "boom", "detail": "status 1"}
    ]


def test_a_witness_keeps_its_facts_beside_its_one_line() -> None:
    broken = report(closed={"returned": False, "seconds": 1.0})
    add_error(broken, times=2)
    document = result_of(evidence(broken), [])
    assert [(w["invariant"], w["detail"]) for w in document["witnesses"]] == [
        ("unexpected_errors", "2 x builtins.ValueError('bad') in publish, first in worker-0"),
        ("unavailable", "close: did not return in peace"),
    ]
    assert document["witnesses"][0]["traceback"] == "Traceback ..."


def test_latencies_are_told_apart_by_who_was_parked() -> None:
    latency = {"free_ms": [1.0, 3.0], "parked_ms": [5.0], "threads": 3, "drains": 9}
    metrics = result_of(evidence(report(latency=latency)), [])["metrics"]
    assert [metrics[name] for name in metrics if name.startswith("publish_")] == [
        pytest.approx(2.0),
        pytest.approx(2.98),
        5.0,
    ]


def test_a_load_that_took_no_time_has_no_rate() -> None:
    document = result_of(evidence(report(phases={"load": [1.0, 1.0], "close": [1.0, 1.0]})), [])
    assert document["metrics"]["operations_per_s"] is None


def test_the_replay_command_asks_for_the_same_trial() -> None:
    words = shlex.split(replay_command(REQUEST))
    assert words == [
        *("python", "-m", "benchmarks.harness", "run", "chaos_with_connection_kills"),
        *("--load", "4x6x2", "--seed", "7", "--client", "here/a client.py:Mine"),
        *("--fault", "rst", "--seconds", "30"),
    ]


@pytest.mark.parametrize(
    ("witness", "line"),
    [
        ({"operation": "get", "detail": "never succeeded"}, "get: never succeeded"),
        ({"thread": "all", "detail": "nothing answered", "stack": "s"}, "nothing answered"),
        (
            {"channel": "(1, 2)", "holders": ["worker-0", "worker-1"], "leases": [4, 9]},
            "channel (1, 2) in the hands of worker-0 and worker-1 (leases #4 and #9)",
        ),
        (
            {"channel": "(1, 2)", "idle": "twice"},
            "channel (1, 2) stands twice in the free list",
        ),
        (
            {"direction": "inbound", "event": "confirm", "identity": "x", "generation": 2},
            "confirm of x (generation 2) never reached the application",
        ),
        (
            {"direction": "outbound", "event": "ack", "identity": "x", "generation": 1},
            "ack of x (generation 1) was reported as sent and never crossed the wire",
        ),
        (
            {"direction": "outbound", "event": "publish", "identity": "x", "lease": 3},
            "publish of x (the wire) was reported as sent and never crossed the wire",
        ),
        (
            {"event": "confirm", "identity": "x", "generation": 2, "why": "nobody sent it"},
            "confirm of x (generation 2): nobody sent it",
        ),
        (
            {"event": "declare", "identity": None, "why": "asked for a, told of b"},
            "declare of None: asked for a, told of b",
        ),
        (
            {
                "times": 2,
                "type": "builtins.KeyError",
                "text": "None",
                "operation": "drain",
                "thread": "worker-1",
                "traceback": "...",
            },
            "2 x builtins.KeyError('None') in drain, first in worker-1",
        ),
        (
            {"thread": "worker-3", "operation": "publish", "seconds": 7.5, "stack": "..."},
            "worker-3 made no progress for 7.5 s in publish",
        ),
        ({"ended": "status -11 and no report", "stderr": ""}, "status -11 and no report"),
    ],
)
def test_one_line_for_every_kind_of_witness(witness: dict[str, Any], line: str) -> None:
    assert describe(witness) == line
