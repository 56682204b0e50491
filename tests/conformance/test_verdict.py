"""The judge of the public suites: exceptions are checked both ways."""

from __future__ import annotations

from tools.suites.rows import SUITES
from tools.suites.verdict import FAILED, PASSED, SKIPPED, Expected, Outcome, counts, problems, read

FINE = {"a::one": Outcome(PASSED), "a::two": Outcome(SKIPPED, "no unicode")}
BROKEN = {**FINE, "b::tx[1]": Outcome(FAILED, "540"), "b::tx[2]": Outcome(FAILED, "540")}
TX = Expected("b::tx[*]", "no transactions")


def test_all_as_expected() -> None:
    assert problems(FINE, [], 1) == []
    assert problems(BROKEN, [TX], 1) == []
    assert problems(BROKEN, [Expected("b::tx[1]", "one"), Expected("b::tx[2]", "two")], 1) == []


def test_a_failure_that_nobody_expects() -> None:
    assert problems(BROKEN, [Expected("b::tx[1]", "no transactions")], 1) == [
        "b::tx[2] failed: 540"
    ]


def test_a_new_pass_is_a_problem_too() -> None:
    half = {**BROKEN, "b::tx[2]": Outcome(PASSED)}
    assert problems(half, [TX], 1) == [
        "b::tx[2] is a new pass: take it off the list (no transactions)"
    ]


def test_a_row_that_means_nothing_any_more() -> None:
    assert problems(FINE, [TX], 1) == ["no test is called 'b::tx[*]': take it off the list"]


def test_a_suite_that_ran_too_little_is_not_green() -> None:
    assert problems({}, [], 1) == ["0 tests passed, at least 1 must"]
    assert problems(FINE, [], 2) == ["1 tests passed, at least 2 must"]


def test_a_row_can_mean_a_class_and_brackets_are_brackets() -> None:
    assert Expected("m.Class::*", "").covers("m.Class::test")
    assert not Expected("m.Class::*", "").covers("m.Classes::test")
    assert Expected("m::test[a-1]", "").covers("m::test[a-1]")
    assert not Expected("m::test[a-1]", "").covers("m::testa")


def test_reading_a_report() -> None:
    report = """<testsuites><testsuite>
        <testcase classname="m" name="fine"/>
        <testcase classname="m.C" name="bad"><failure message="E: no&#10;more"/></testcase>
        <testcase classname="m" name="setup"><error message="x"/></testcase>
        <testcase classname="m" name="late"/>
        <testcase classname="m" name="late"><error message="teardown"/></testcase>
        <testcase classname="m" name="left"><skipped message="why"/></testcase>
    </testsuite></testsuites>"""
    outcomes = read(report)
    assert outcomes == {
        "m::fine": Outcome(PASSED),
        "m.C::bad": Outcome(FAILED, "E: no"),
        "m::setup": Outcome(FAILED, "x"),
        "m::late": Outcome(FAILED, "teardown"),
        "m::left": Outcome(SKIPPED, "why"),
    }
    assert counts(outcomes) == {PASSED: 1, FAILED: 3, SKIPPED: 1}


def test_every_suite_is_pinned_and_every_exception_has_its_reason() -> None:
    for suite in SUITES.values():
        assert all("==" in one for one in (suite.source, *suite.requirements))
        assert suite.passed
        assert all(row.reason for row in suite.expected)
