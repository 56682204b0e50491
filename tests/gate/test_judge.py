"""The judge on plain data: nothing, a sound commit, and everything that can be wrong with one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.harness.gate import (
    BROKEN,
    EMBEDDED,
    HOLDS,
    INCOMPLETE,
    Cell,
    Change,
    Planned,
    Sheet,
    Stored,
    judge,
)

COMMIT = "c" * 40
PLANNED = Planned(EMBEDDED, "(amqp)", True)


def cell(value: float | None = 0.0, unit: str = "violations", **more: Any) -> Cell:
    fields: dict[str, Any] = {
        "machine": "m",
        "environment": "e",
        "label": EMBEDDED,
        "benchmark": "stability.X.track_violations",
        "parameters": (("load", "10x100"), ("invariant", "deadlocks")),
        "unit": unit,
        "value": value,
        "reason": "skipped" if value is not None and math.isnan(value) else "",
    }
    return Cell(**{**fields, **more})


def timed(value: float | None) -> Cell:
    parameters = (("threads", "1"),)
    return cell(value, "seconds", benchmark="t.time_x", parameters=parameters)


def stored(
    *cells: Cell,
    label: str = EMBEDDED,
    planned: tuple[Planned, ...] = (PLANNED,),
    problems: tuple[str, ...] = (),
) -> Stored:
    return Stored(COMMIT, (Sheet("m", "e", label, True, cells),), planned, problems)


def rabbit(measured: bool) -> Planned:
    return Planned("rabbitmq", "(amqp, BROKER=rabbitmq)", measured)


@pytest.mark.parametrize(
    ("known", "required", "status"),
    [
        pytest.param(Stored(COMMIT, (), ()), [EMBEDDED], INCOMPLETE, id="nothing at all"),
        pytest.param(stored(cell()), [EMBEDDED], HOLDS, id="one zero"),
        pytest.param(stored(cell(), timed(0.3)), [EMBEDDED], HOLDS, id="a time is not judged"),
        pytest.param(stored(cell(1)), [EMBEDDED], BROKEN, id="one violation"),
        pytest.param(stored(cell(0.5)), [EMBEDDED], BROKEN, id="a mean that hides one"),
        pytest.param(stored(cell(-1)), [EMBEDDED], BROKEN, id="a count below zero"),
        pytest.param(stored(cell(math.inf)), [EMBEDDED], BROKEN, id="a count without end"),
        pytest.param(stored(cell(None)), [EMBEDDED], BROKEN, id="no verdict"),
        pytest.param(stored(cell(), timed(None)), [EMBEDDED], BROKEN, id="a time that failed"),
        pytest.param(stored(cell(), timed(math.nan)), [EMBEDDED], HOLDS, id="a time skipped"),
        pytest.param(stored(cell(math.nan)), [EMBEDDED], INCOMPLETE, id="one parameter missing"),
        pytest.param(
            stored(cell(math.nan), cell(2)), [EMBEDDED], BROKEN, id="a violation outranks a gap"
        ),
        pytest.param(stored(timed(0.3)), [EMBEDDED], INCOMPLETE, id="nothing that is judged"),
        pytest.param(
            stored(cell(), problems=("a file",)), [EMBEDDED], INCOMPLETE, id="a file unreadable"
        ),
        pytest.param(stored(cell()), [EMBEDDED, "rabbitmq"], INCOMPLETE, id="a label unknown"),
        pytest.param(
            stored(cell(), planned=(PLANNED, rabbit(False))),
            [EMBEDDED],
            HOLDS,
            id="a label not measured and not required",
        ),
        pytest.param(
            stored(cell(), planned=(PLANNED, rabbit(False))),
            ["rabbitmq"],
            INCOMPLETE,
            id="a whole environment missing",
        ),
        pytest.param(
            stored(cell(1, label="other"), label="other"),
            ["other"],
            BROKEN,
            id="a violation under another label",
        ),
        pytest.param(
            Stored(
                COMMIT,
                (
                    Sheet("m", "e", EMBEDDED, True, (cell(),)),
                    Sheet("m", "r", "rabbitmq", True, (cell(math.nan, label="rabbitmq"),)),
                ),
                (PLANNED, rabbit(True)),
            ),
            [EMBEDDED],
            HOLDS,
            id="a gap under a label that is not required",
        ),
        pytest.param(
            Stored(
                COMMIT,
                (
                    Sheet("m", "e", EMBEDDED, True, (cell(),)),
                    Sheet("m", "old", EMBEDDED, False, (cell(math.nan),)),
                ),
                (PLANNED,),
            ),
            [EMBEDDED],
            HOLDS,
            id="a gap in an environment that is no longer in the matrix",
        ),
        pytest.param(
            Stored(
                COMMIT,
                (
                    Sheet("m", "e", EMBEDDED, True, (cell(),)),
                    Sheet("m", "old", EMBEDDED, False, (cell(1),)),
                ),
                (PLANNED,),
            ),
            [EMBEDDED],
            BROKEN,
            id="a violation in one",
        ),
    ],
)
def test_the_status(known: Stored, required: list[str], status: int) -> None:
    assert judge(known, required).status == status


def test_what_is_named() -> None:
    verdict = judge(stored(cell(3), cell(None), cell(math.nan), timed(math.nan)), [EMBEDDED])
    assert [found.value for found in verdict.violated] == [3]
    assert [found.value for found in verdict.failed] == [None]
    name = "stability.X.track_violations(10x100, deadlocks)"
    assert verdict.gaps == (f"embedded, m, e: {name}: skipped",)
    assert verdict.others == ("embedded, m, e: t.time_x(1): skipped",)
    assert verdict.labels == {EMBEDDED: "1 violated, 1 failed, 1 not measured"}
    assert verdict.zeros == 0


def test_labels_that_are_not_required_are_listed() -> None:
    known = stored(cell(), planned=(PLANNED, rabbit(False)))
    verdict = judge(known, [EMBEDDED])
    assert verdict.labels == {EMBEDDED: "1 measured and 0", "rabbitmq": "not measured"}
    assert verdict.others == ("rabbitmq: the whole environment (amqp, BROKER=rabbitmq)",)


def test_the_slowest_comes_first() -> None:
    changes = [Change(timed(1), 1, ratio, ratio, None) for ratio in (0.5, 3.0, 1.5)]
    verdict = judge(stored(cell()), [EMBEDDED], "b" * 40, changes)
    assert [(c.ratio, c.slower) for c in verdict.changes] == [
        (3.0, True),
        (1.5, True),
        (0.5, False),
    ]
    assert verdict.status == HOLDS, "slower is not broken"
