"""What the asv benchmarks report: a scenario's loads with several seeds each, added up.

It runs trials and adds; it judges nothing itself. A benchmark must never raise because of the
client under test, so a client that cannot even be imported is a crash here, with its witness. Only
what our own environment fails at may raise.

A zero is given out only when every planned run looked and proved something; else the answer is
None, which asv shows as failed. It is never NaN, which asv takes for skipped and lets pass.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np

from benchmarks.clients.loader import ClientError
from benchmarks.harness.arena import BOUND
from benchmarks.harness.brokers import NODE_SECONDS, Broker
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.faults import FAULTS
from benchmarks.harness.kinds import EMBEDDED, RABBITMQ
from benchmarks.harness.label import (
    NotHere,
    end_in_order,
    label,
    measured_on_label,
    node,
    require_label,
)
from benchmarks.harness.processes import START_SECONDS
from benchmarks.harness.records import keep
from benchmarks.harness.request import Request, replay_command
from benchmarks.harness.result import INVALID, UNKNOWN, VALID, TrialResult
from benchmarks.harness.scenarios import MAIN, SCENARIOS, Load, Scenario, find_scenario
from benchmarks.harness.supervise import GRACE, run_trial

#: asv measures the pool of the commit and nothing else.
CLIENT = "amqpool"
#: Runs of each load. asv runs a `track_` once for each commit, minutes apart, so between two
#: commits the machine's drift is part of any difference (40 % were seen on two busy cores). With
#: six samples a side, and no other number, asv's test calls nothing significant: commits that
#: differ in drift alone compare as equal. What is slower is found by the `time_` benchmarks, whose
#: rounds asv interleaves, and by the steps in the published graphs.
SEEDS = (1, 2, 3, 4, 5, 6)
#: Runs of each further scenario: no samples are made of them, and together they take a minute.
VARIANT_SEEDS = SEEDS[:2]
#: Each of these costs every further run a stall window or more: the next seeds are not run.
STOPPERS = ("deadlocks", "crashes", "unavailable")
#: number, repeat, rounds and warm-up of the ``time_`` benchmarks: one sample in each of 8 rounds,
#: which ``asv continuous`` runs in turn for both commits. Samples of one round share the machine's
#: mood of that moment, and asv takes each for independent: with six of them in each of two rounds,
#: a commit without a change came out 1.7 times slower while other work had the second core.
ONE_A_ROUND = (1, 1, 8, 0)
#: Seconds of such a benchmark. asv counts silence: the start of a node, the trial before, the
#: opening and the work each have bounds of their own.
TIMED_SECONDS = NODE_SECONDS + 60.0 + 4 * BOUND
#: Blocks into which the cycles of a trial are cut: the samples of a recovery percentile. Six for
#: the same reason.
BLOCKS = 6
#: Lines of one witness that are shown; the replay command shows the rest.
WITNESS_LINES = 30

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class SeededRun:
    """What one trial contributes. ``duration_s`` is None when the load has no two ends."""

    seed: int
    verdict: str
    violations: dict[str, int | None]
    duration_s: float | None
    recoveries_ms: list[float]
    #: Texts by invariant, and under ``unknown`` why the run proves nothing.
    witnesses: dict[str, list[str]]
    replay: str


@dataclass(frozen=True)
class Measured:
    """All runs of one scenario, by load: what a ``setup_cache`` hands to its readers."""

    scenario: str
    planned: int
    runs: dict[str, list[SeededRun]]

    def of(self, scenario: str, load: str) -> list[SeededRun]:
        """The runs of that load.

        asv keys a cache by its line of code: the wrong scenario in it means that two benchmarks
        share one. That is our own bug, so it raises.
        """
        assert self.scenario == scenario, f"the cache of {self.scenario} was given to {scenario}"
        return self.runs[load]


# -- running ---------------------------------------------------------------------------------


def measure(scenario: str, seeds: Sequence[int] = SEEDS) -> Measured | NotHere:
    """Run every load of the scenario with every seed, on the broker of the label.

    Raises EnvironmentProblem.
    """
    return measured_on_label(partial(_measure, scenario, seeds))


def _measure(scenario: str, seeds: Sequence[int], kind: str, broker: Broker | None) -> Measured:
    runs: dict[str, list[SeededRun]] = {}
    for load in find_scenario(scenario).loads:
        runs[load] = []
        for seed in seeds:
            run = run_seed(Request(scenario, load, seed, CLIENT, broker=kind), broker)
            runs[load].append(run)
            if any(run.violations.get(name) for name in STOPPERS):
                break
    # asv keeps neither witnesses nor single cycles.
    keep(scenario, len(seeds), {load: [asdict(run) for run in of] for load, of in runs.items()})
    return Measured(scenario, len(seeds), runs)


def variants() -> dict[str, tuple[str, str]]:
    """``"scenario load"`` -> scenario and load, of every scenario beside the main ones."""
    return {
        f"{row.name} {load}": (row.name, load)
        for row in SCENARIOS.values()
        if row.name not in MAIN
        for load in row.loads
    }


def measure_variants() -> dict[str, Measured] | NotHere:
    """Run every further scenario with a few seeds. Raises EnvironmentProblem."""
    names = dict.fromkeys(name for name, _ in variants().values())

    def work(kind: str, broker: Broker | None) -> dict[str, Measured]:
        return {name: _measure(name, VARIANT_SEEDS, kind, broker) for name in names}

    return measured_on_label(work)


def run_seed(request: Request, broker: Broker | None = None) -> SeededRun:
    """Run one trial, on a broker that is kept or on one of its own.

    Raises EnvironmentProblem, and KeyboardInterrupt when it was interrupted.
    """
    end_in_order()
    try:
        result = run_trial(request, broker=broker)
    except ClientError as error:
        # asv installed the commit's own wheel: that it cannot be imported is the commit's doing.
        counts = {name: 1 if name == "crashes" else None for name in INVARIANTS}
        words = [f"the client could not be loaded: {error}"]
        replay = replay_command(request)
        return SeededRun(request.seed, INVALID, counts, None, [], {"crashes": words}, replay)
    if result.interrupted:
        raise KeyboardInterrupt
    return _reduce(request.seed, result)


def _reduce(seed: int, result: TrialResult) -> SeededRun:
    document = result.document
    witnesses: dict[str, list[str]] = {}
    for witness in document["witnesses"]:
        lines = [str(witness["detail"])]
        for key in ("stack", "traceback", "stderr"):
            lines += [f"    {line}" for line in str(witness.get(key) or "").splitlines()]
        if len(lines) > WITNESS_LINES:
            lines[1 : len(lines) - WITNESS_LINES + 1] = ["    ..."]
        witnesses.setdefault(witness["invariant"], []).append("\n".join(lines))
    for name, reason in document["not_judged"].items():
        witnesses[name] = [f"not judged: {reason}"]
    witnesses["unknown"] = [str(reason) for reason in document["unknown_because"]]
    return SeededRun(
        seed=seed,
        verdict=result.verdict,
        violations=result.violations,
        duration_s=result.metrics["duration_s"],
        recoveries_ms=list(result.recoveries_ms),
        witnesses=witnesses,
        replay=str(document["replay"]),
    )


@cache
def passes(scenario: str, load: str, fault: str | None = None) -> bool:
    """Does the client do this work soundly? One short trial, once in a process.

    Anything but a valid verdict is a no: a run that proved nothing is no ground to measure on.
    """
    run = run_seed(Request(scenario, load, 1, CLIENT, fault, broker=label()), node())
    if run.verdict != VALID:
        _tell(run, sorted(run.witnesses))
    return run.verdict == VALID


def require(scenario: str, load: str, fault: str | None = None) -> None:
    """Skip the benchmark that is being set up when the client fails a short supervised trial, or
    when the broker of the label cannot be had.

    Raises NotImplementedError, which asv takes for "skipped" in a ``setup``: what a broken client
    does fast is no number, and any other exception would cost the whole table of a comparison.
    """
    require_label()
    if not passes(scenario, load, fault):
        raise NotImplementedError(f"the client fails a short trial: {scenario} {load}")


# -- adding up: pure -------------------------------------------------------------------------


def total(runs: Sequence[SeededRun], planned: int, invariant: str) -> int | None:
    """The sum of violations over the runs; None where a sum of 0 would claim too much.

    What was found counts, however few runs there were. A zero needs every planned run: all of them
    judged the invariant, and none of them was ``unknown``, because the zero of such a run proves
    nothing. A run that violated *another* invariant keeps the zeros that it judged.
    """
    counts = [run.violations.get(invariant) for run in runs]
    found = sum(count for count in counts if count)
    if found:
        return found
    looked = len(runs) >= planned and all(count == 0 for count in counts)
    return 0 if looked and not any(run.verdict == UNKNOWN for run in runs) else None


def durations(runs: Sequence[SeededRun], planned: int) -> dict[str, Any] | None:
    """Seconds of each run's load as asv's samples; None unless all planned runs are valid.

    How long something took that did not do the work is no duration.
    """
    seconds = [run.duration_s for run in runs if run.verdict == VALID]
    if len(seconds) < planned or None in seconds:
        return None
    return {"samples": seconds, "number": 1}


def percentiles(run: SeededRun, percentile: float, blocks: int = BLOCKS) -> dict[str, Any] | None:
    """The percentile (ms) of each block of cycles as asv's samples; None unless the run is valid.

    The cycles are cut in the order in which they ran, so that a drift during the run widens the
    spread of the samples instead of hiding in it.
    """
    if run.verdict != VALID or len(run.recoveries_ms) < blocks:
        return None
    parts = np.array_split(np.asarray(run.recoveries_ms), blocks)
    # A microsecond is finer than any of this; asv prints every digit that it is given.
    samples = [round(float(np.percentile(part, percentile)), 3) for part in parts]
    return {"samples": samples, "number": 1}


# -- what a reader does ----------------------------------------------------------------------


def report_violations(measured: Measured, scenario: str, load: str, invariant: str) -> int | None:
    """The value of ``track_violations``; witnesses of what is not 0 go to standard error."""
    runs = measured.of(scenario, load)
    value = total(runs, measured.planned, invariant)
    if value != 0:
        for run in runs:
            if run.violations.get(invariant) != 0 or run.verdict == UNKNOWN:
                _tell(run, [invariant, "unknown"])
        if len(runs) < measured.planned:
            print(f"{len(runs)} of {measured.planned} seeds were run", file=sys.stderr)
    return value


def report_variant(measured: dict[str, Measured], label: str, invariant: str) -> int | None:
    """The value of ``Variants.track_violations``; ``label`` as in ``variants``."""
    scenario, load = variants()[label]
    return report_violations(measured[scenario], scenario, load, invariant)


def report_durations(measured: Measured, scenario: str, load: str) -> dict[str, Any] | None:
    """The value of ``track_duration``."""
    return durations(measured.of(scenario, load), measured.planned)


def _tell(run: SeededRun, names: Sequence[str]) -> None:
    for name in names:
        for text in run.witnesses.get(name, ()):
            print(f"{name} (seed {run.seed}): {text}", file=sys.stderr)
    print(f"run it again: {run.replay}", file=sys.stderr)


# -- attributes that asv reads from functions ------------------------------------------------


def per(*values: Iterable[Any], names: Sequence[str], unit: str) -> Callable[[F], F]:
    """Give one benchmark its own parameters and unit, beside those of its class."""

    def mark(function: F) -> F:
        vars(function).update(params=[list(v) for v in values], param_names=list(names), unit=unit)
        return function

    return mark


def lasting(seconds: float) -> Callable[[F], F]:
    """Give a ``setup_cache`` its own timeout in seconds: asv's default knows nothing of trials."""

    def mark(function: F) -> F:
        vars(function).update(timeout=seconds)
        return function

    return mark


def longest(scenario: str, runs: int = len(SEEDS)) -> float:
    """Seconds that ``runs`` trials of every load take at the very most, on whichever broker.

    Each trial is ended by its own deadline, long before; this is the bound behind the bound.
    """
    row = find_scenario(scenario)
    around = GRACE + 2 * START_SECONDS
    trials = sum(_deadline(row, row.load(load)) + around for load in row.loads)
    return NODE_SECONDS + runs * trials


def _deadline(row: Scenario, load: Load) -> float:
    """Of one trial: the longest that a seed may draw for it."""
    kinds = {kind for broker in (EMBEDDED, RABBITMQ) for kind in row.faults_on(broker)}
    return row.seconds + load.kills * max((FAULTS[kind].takes for kind in kinds), default=0.0)
