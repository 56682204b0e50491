"""What the benchmarks report: the rules by which runs add up, and what a broken client costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asv._stats import is_different
from asv_runner.statistics import compute_stats

from benchmarks import recovery, stability, throughput
from benchmarks.clients.loader import ClientError
from benchmarks.harness import label, suite
from benchmarks.harness.brokers import Broker, BrokerChoice
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.kinds import RABBITMQ, VARIABLE
from benchmarks.harness.label import NotHere
from benchmarks.harness.request import Request
from benchmarks.harness.result import INVALID, UNKNOWN, VALID, TrialResult
from benchmarks.harness.scenarios import MAIN, SCENARIOS
from benchmarks.harness.suite import Measured, SeededRun


@pytest.fixture(autouse=True)
def _embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the one who runs the tests has in the environment."""
    monkeypatch.delenv(VARIABLE, raising=False)


def measure(scenario: str) -> Measured:
    """What is measured on a broker that can be had."""
    measured = suite.measure(scenario)
    assert isinstance(measured, Measured)
    return measured


def run(verdict: str = VALID, seed: int = 1, **counts: int | None) -> SeededRun:
    """A run of one second in which every invariant held but those that are named."""
    violations: dict[str, int | None] = {**dict.fromkeys(INVARIANTS, 0), **counts}
    return SeededRun(seed, verdict, violations, 1.0, [], {}, "replay")


# -- violations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([], None, id="no run at all proves nothing"),
        pytest.param([run(), run(), run()], 0, id="every planned run looked"),
        pytest.param([run(), run()], None, id="a zero of fewer runs than planned"),
        pytest.param(
            [run(INVALID, deadlocks=2), run(), run(INVALID, deadlocks=3)], 5, id="the sum"
        ),
        pytest.param([run(INVALID, deadlocks=1)], 1, id="what was found counts, even in one run"),
        pytest.param(
            [run(), run(INVALID, deadlocks=None, crashes=1), run()], None, id="one did not judge it"
        ),
        pytest.param(
            [run(INVALID, deadlocks=4), run(UNKNOWN, deadlocks=None), run()],
            4,
            id="found in one, not judged in another",
        ),
        pytest.param([run(), run(UNKNOWN), run()], None, id="the zero of an unknown run"),
        pytest.param(
            [run(), run(INVALID, lost_frames=7), run()], 0, id="invalid by another keeps its zero"
        ),
    ],
)
def test_total(runs: list[SeededRun], expected: int | None) -> None:
    assert suite.total(runs, 3, "deadlocks") == expected


def test_an_invariant_that_the_runs_do_not_know_is_not_zero() -> None:
    assert suite.total([run(), run(), run()], 3, "not built yet") is None


# -- durations and percentiles -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([], None, id="no run"),
        pytest.param([run(), run()], {"samples": [1.0, 1.0], "number": 1}, id="all valid"),
        pytest.param([run()], None, id="fewer than planned"),
        pytest.param([run(), run(INVALID)], None, id="one was violated"),
        pytest.param([run(), run(UNKNOWN)], None, id="one proves nothing"),
        pytest.param(
            [run(), dataclasses.replace(run(), duration_s=None)], None, id="one has no ends"
        ),
    ],
)
def test_durations(runs: list[SeededRun], expected: dict[str, Any] | None) -> None:
    assert suite.durations(runs, 2) == expected


def test_percentiles_are_those_of_the_blocks_in_order() -> None:
    cycles = dataclasses.replace(run(), recoveries_ms=[1.0, 3.0, 10.0, 30.0, 5.0, 5.0])
    assert suite.percentiles(cycles, 50, blocks=3) == {"samples": [2.0, 20.0, 5.0], "number": 1}


@pytest.mark.parametrize("verdict", [INVALID, UNKNOWN])
def test_no_percentile_of_a_run_that_is_not_valid(verdict: str) -> None:
    cycles = dataclasses.replace(run(verdict), recoveries_ms=[1.0] * 100)
    assert suite.percentiles(cycles, 50) is None


def test_no_percentile_of_fewer_cycles_than_blocks() -> None:
    assert suite.percentiles(dataclasses.replace(run(), recoveries_ms=[1.0] * 5), 50) is None


def test_drift_between_two_commits_is_never_significant_to_asv() -> None:
    """Not even where all samples of one side are twice those of the other."""

    def differ(number: int) -> bool:
        fast, slow = [1.0 + n / 100 for n in range(number)], [2.0 + n / 100 for n in range(number)]
        stats = [compute_stats(samples, 1)[1] for samples in (fast, slow)]
        return bool(is_different(fast, slow, *stats))

    assert {number: differ(number) for number in (5, 6, 7)} == {5: True, 6: False, 7: True}
    assert (len(suite.SEEDS), suite.BLOCKS) == (6, 6)


# -- running -----------------------------------------------------------------------------------


def result_of(request: Request, verdict: str, **counts: int | None) -> TrialResult:
    document = {
        "verdict": verdict,
        "violations": {**dict.fromkeys(INVARIANTS, 0), **counts},
        "not_judged": {},
        "unknown_because": [],
        "witnesses": [
            {"invariant": name, "detail": f"witness of seed {request.seed}", "stack": "a\nb\n"}
            for name, count in counts.items()
            if count
        ],
        "metrics": {"duration_s": 0.5},
        "replay": f"replay {request.seed}",
    }
    return TrialResult(document, [])


@pytest.mark.parametrize("stopper", suite.STOPPERS)
def test_a_hang_or_a_crash_ends_the_seeds_of_its_load(
    monkeypatch: pytest.MonkeyPatch, stopper: str
) -> None:
    def run_trial(request: Request, broker: Broker | None) -> TrialResult:
        broken = request.load == "10x100" and request.seed == 2
        return result_of(request, INVALID if broken else VALID, **{stopper: int(broken)})

    monkeypatch.setattr(suite, "run_trial", run_trial)
    measured = measure("chaos_no_deadlock")
    assert {load: [r.seed for r in runs] for load, runs in measured.runs.items()} == {
        "10x100": [1, 2],
        "50x100": list(suite.SEEDS),
    }


def test_other_violations_do_not_end_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        suite, "run_trial", lambda request, broker: result_of(request, INVALID, lost_frames=1)
    )
    measured = measure("repeated_recovery_stress")
    assert suite.total(measured.runs["1000"], measured.planned, "lost_frames") == len(suite.SEEDS)


def test_each_variant_is_read_from_its_own_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_trial(request: Request, broker: Broker | None) -> TrialResult:
        return result_of(request, INVALID, leaks=len(request.scenario))

    monkeypatch.setattr(suite, "run_trial", run_trial)
    measured = suite.measure_variants()
    assert isinstance(measured, dict)
    found = {label: suite.report_variant(measured, label, "leaks") for label in suite.variants()}
    seeds = len(suite.VARIANT_SEEDS)
    assert found == {label: seeds * len(label.split()[0]) for label in suite.variants()}
    assert set(measured) == set(SCENARIOS) - set(MAIN)


def test_under_a_label_all_trials_of_a_cache_run_on_one_broker_of_that_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, Broker | None]] = []
    kept: list[Broker] = []

    def run_trial(request: Request, broker: Broker | None) -> TrialResult:
        asked.append((request.broker, broker))
        return result_of(request, VALID)

    @contextmanager
    def kept_broker(choice: BrokerChoice) -> Iterator[Broker]:
        kept.append(Broker(choice))
        yield kept[-1]

    monkeypatch.setattr(suite, "run_trial", run_trial)
    monkeypatch.setattr(label, "kept_broker", kept_broker)
    monkeypatch.setattr(label, "missing", lambda kind: None)
    monkeypatch.setenv(VARIABLE, RABBITMQ)
    suite.measure("chaos_no_deadlock")
    assert asked == [(RABBITMQ, kept[0])] * 2 * len(suite.SEEDS)
    asked.clear()
    suite.measure_variants()
    assert asked == [(RABBITMQ, kept[1])] * len(suite.variants()) * len(suite.VARIANT_SEEDS)
    assert len(kept) == 2


def test_without_its_broker_nothing_is_measured_timed_or_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(VARIABLE, RABBITMQ)
    monkeypatch.setattr(suite, "run_trial", lambda request, broker: pytest.fail("a trial was run"))
    for kind in (stability.ChaosNoDeadlock, stability.Variants, recovery.RepeatedRecovery):
        found = kind().setup_cache()
        assert isinstance(found, NotHere)
        with pytest.raises(NotImplementedError, match="install RabbitMQ"):
            kind().setup(found, "10x100", "deadlocks")
    for timed in (throughput.Publish, throughput.Chaos, throughput.Work, recovery.RecoveryCycle):
        benchmark = timed()
        with pytest.raises(NotImplementedError, match="install RabbitMQ"):
            benchmark.setup(timed.params[0][0])
        benchmark.teardown(timed.params[0][0])


def test_a_client_that_cannot_be_imported_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_trial(request: Request, broker: Broker | None) -> TrialResult:
        raise ClientError("no module named amqpool")

    monkeypatch.setattr(suite, "run_trial", run_trial)
    measured = measure("chaos_no_deadlock")
    runs = measured.runs["10x100"]
    counts = {name: suite.total(runs, measured.planned, name) for name in INVARIANTS}
    assert counts == {**dict.fromkeys(INVARIANTS, None), "crashes": 1}


def test_an_interrupted_trial_is_not_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_trial(request: Request, broker: Broker | None) -> TrialResult:
        return dataclasses.replace(result_of(request, UNKNOWN), interrupted=True)

    monkeypatch.setattr(suite, "run_trial", run_trial)
    with pytest.raises(KeyboardInterrupt):
        suite.measure("chaos_no_deadlock")


@pytest.mark.parametrize(("verdict", "sound"), [(VALID, True), (INVALID, False), (UNKNOWN, False)])
def test_only_a_valid_short_trial_lets_a_benchmark_be_timed(
    monkeypatch: pytest.MonkeyPatch, verdict: str, sound: bool
) -> None:
    trials: list[Request] = []

    def run_trial(request: Request, broker: Broker | None) -> TrialResult:
        trials.append(request)
        return result_of(request, verdict)

    monkeypatch.setattr(suite, "run_trial", run_trial)
    suite.passes.cache_clear()
    try:
        for _ in range(2):
            if sound:
                suite.require("chaos_no_deadlock", "10x10")
            else:
                with pytest.raises(NotImplementedError, match="chaos_no_deadlock 10x10"):
                    suite.require("chaos_no_deadlock", "10x10")
    finally:
        suite.passes.cache_clear()
    # Once in a process: asv sets a benchmark up again for every sample.
    assert trials == [Request("chaos_no_deadlock", "10x10", 1, "amqpool", None)]


# -- reading -------------------------------------------------------------------------------------

READERS = [
    (stability.ChaosNoDeadlock, "chaos_no_deadlock"),
    (stability.ChaosWithConnectionKills, "chaos_with_connection_kills"),
    (stability.HighContention, "high_contention_stress"),
    (stability.RepeatedRecovery, "repeated_recovery_stress"),
]


def measured_of(scenario: str, *runs: SeededRun) -> Measured:
    return Measured(scenario, len(runs), {load: list(runs) for load in SCENARIOS[scenario].loads})


@pytest.mark.parametrize(("reader", "scenario"), READERS)
def test_each_class_reads_its_own_scenario_and_no_other(reader: Any, scenario: str) -> None:
    load = SCENARIOS[scenario].loads[-1]
    own = measured_of(scenario, run(INVALID, leaks=3), run())
    assert reader().track_violations(own, load, "leaks") == 3
    assert reader().track_duration(measured_of(scenario, run()), load) is not None
    for _, other in READERS:
        if other != scenario:
            foreign = dataclasses.replace(own, scenario=other)
            with pytest.raises(AssertionError, match=other):
                reader().track_violations(foreign, load, "leaks")
            with pytest.raises(AssertionError, match=other):
                reader().track_duration(foreign, load)


def test_the_percentiles_read_their_own_scenario_and_no_other() -> None:
    cycles = dataclasses.replace(run(), recoveries_ms=[2.0] * 20)
    reader = recovery.RepeatedRecovery()
    own = measured_of("repeated_recovery_stress", cycles)
    assert reader.track_percentile(own, 99) == {"samples": [2.0] * 6, "number": 1}
    with pytest.raises(AssertionError, match="chaos_no_deadlock"):
        reader.track_percentile(measured_of("chaos_no_deadlock", cycles), 99)


def test_witnesses_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        suite, "run_trial", lambda request, broker: result_of(request, INVALID, deadlocks=2)
    )
    measured = measure("repeated_recovery_stress")
    value = suite.report_violations(measured, "repeated_recovery_stress", "1000", "deadlocks")
    assert (value, capsys.readouterr().err) == (
        2,
        "deadlocks (seed 1): witness of seed 1\n    a\n    b\n"
        "run it again: replay 1\n"
        "1 of 6 seeds were run\n",
    )


def test_nothing_is_said_of_a_zero(capsys: pytest.CaptureFixture[str]) -> None:
    measured = measured_of("chaos_no_deadlock", run())
    assert suite.report_violations(measured, "chaos_no_deadlock", "10x100", "deadlocks") == 0
    assert capsys.readouterr().err == ""
