"""What asv finds below ``benchmarks/``, in an environment that holds numpy and pamqp alone."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asv_runner.benchmarks import benchmark_types
from asv_runner.benchmarks._base import get_setup_cache_key

import benchmarks
from benchmarks import races, recovery, stability, throughput
from benchmarks.harness.brokers import NODE_SECONDS
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.digest import instrument_digest
from benchmarks.harness.kinds import EMBEDDED, RABBITMQ
from benchmarks.harness.label import NotHere
from benchmarks.harness.plan import make_plan
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.harness.speed.workbench import COUNTS
from benchmarks.harness.suite import SEEDS, VARIANT_SEEDS, variants
from benchmarks.harness.supervise import GRACE
from benchmarks.schedules.measured import SCENARIOS as EXPLORED
from benchmarks.schedules.races import RACES

ROOT = Path(__file__).resolve().parents[2]

#: All that asv's environments hold; asv brings its runner along.
ALLOWED = ("numpy", "pamqp", "benchmarks", "asv_runner")

#: Imports everything as asv does and prints what it would list.
LIST = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {allowed!r}:
            raise ModuleNotFoundError(f"not in an asv environment: {{name}}", name=name)
        return None

sys.meta_path.insert(0, Nothing())
from asv_runner.discovery import list_benchmarks
list_benchmarks({folder!r}, sys.stdout)
"""

STABILITY = {
    "ChaosNoDeadlock": "chaos_no_deadlock",
    "ChaosWithConnectionKills": "chaos_with_connection_kills",
    "HighContention": "high_contention_stress",
    "RepeatedRecovery": "repeated_recovery_stress",
}
CACHED = [
    *(getattr(stability, name) for name in STABILITY),
    stability.Variants,
    recovery.RepeatedRecovery,
    races.Explore,
]


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, Any]]:
    script = LIST.format(allowed=ALLOWED, folder=str(ROOT / "benchmarks"))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    by_name = {benchmark["name"]: benchmark for benchmark in found}
    assert len(by_name) == len(found), "a benchmark is found twice"
    return by_name


def reprs(*values: Any) -> list[str]:
    return [repr(value) for value in values]


def test_every_benchmark_with_its_parameters_and_its_unit(
    listed: dict[str, dict[str, Any]],
) -> None:
    expected: dict[str, Any] = {
        "recovery.RecoveryCycle.time_recovery": (
            ["fault"],
            [reprs("cut", "fin", "rst")],
            "seconds",
        ),
        "recovery.RepeatedRecovery.track_percentile": (["percentile"], [["50", "99"]], "ms"),
        "races.Explore.track_violations": (["scenario"], [reprs(*EXPLORED)], "violations"),
        "races.Explore.track_mutants_survived": ([], [], "searches"),
        "races.Explore.track_schedules_to_find": (
            ["mutant"],
            [reprs(*(race.name for race in RACES))],
            "schedules",
        ),
        "races.Explore.track_control_missed": ([], [], "searches"),
        "races.Explore.time_schedule": ([], [], "seconds"),
        "throughput.Chaos.time_operations": (["load"], [reprs("10x100", "50x100")], "seconds"),
        "throughput.Publish.time_publish": (["threads"], [["1", "10", "50"]], "seconds"),
        "throughput.Work.time_work": (["work"], [reprs(*COUNTS)], "seconds"),
    }
    for name, scenario in STABILITY.items():
        loads, invariants = reprs(*SCENARIOS[scenario].loads), reprs(*INVARIANTS)
        expected[f"stability.{name}.track_violations"] = (
            ["load", "invariant"],
            [loads, invariants],
            "violations",
        )
        expected[f"stability.{name}.track_duration"] = (["load"], [loads], "seconds")
    variants = [
        f"{name} {load}"
        for name, scenario in SCENARIOS.items()
        if name not in STABILITY.values()
        for load in scenario.loads
    ]
    assert len(variants) == 9
    expected["stability.Variants.track_violations"] = (
        ["load", "invariant"],
        [reprs(*variants), reprs(*INVARIANTS)],
        "violations",
    )
    found = {n: (b["param_names"], b["params"], b["unit"]) for n, b in listed.items()}
    assert found == expected


def test_every_version_is_the_digest_of_the_instrument(listed: dict[str, dict[str, Any]]) -> None:
    assert {b["version"] for b in listed.values()} == {instrument_digest()}


def test_every_cache_is_its_own(listed: dict[str, dict[str, Any]]) -> None:
    """asv keys a cache by module and line: an inherited or generated one would be shared."""
    assert all("setup_cache" in vars(kind) for kind in CACHED)
    keys = [get_setup_cache_key(kind().setup_cache) for kind in CACHED]
    assert len(set(keys)) == len(CACHED)
    users: dict[str, set[str]] = {}
    for name, benchmark in listed.items():
        if "setup_cache_key" in benchmark:
            users.setdefault(benchmark["setup_cache_key"], set()).add(name.rpartition(".")[0])
    assert sorted(map(sorted, users.values())) == sorted(
        [f"{kind.__module__.partition('.')[2]}.{kind.__name__}"] for kind in CACHED
    )


def test_every_reader_of_a_cache_skips_what_could_not_be_measured() -> None:
    for kind in CACHED:
        with pytest.raises(NotImplementedError, match="no such program"):
            kind().setup(NotHere("no such program"), "a parameter", "another")


def test_no_broker_takes_part_in_the_search_and_in_nothing_else(
    listed: dict[str, dict[str, Any]],
) -> None:
    without = {name for name, benchmark in listed.items() if benchmark.get("without_broker")}
    assert without == {name for name in listed if name.startswith("races.")}
    assert len(without) == 5


def test_every_wait_of_asv_is_longer_than_the_trials_own_deadlines(
    listed: dict[str, dict[str, Any]],
) -> None:
    timeouts = {
        b["setup_cache_key"]: b["setup_cache_timeout"]
        for b in listed.values()
        if "setup_cache_key" in b
    }
    assert len(timeouts) == len(CACHED)
    assert min(timeouts.values()) > NODE_SECONDS + max(s.seconds for s in SCENARIOS.values())
    assert all(b["timeout"] >= 60 for b in listed.values())
    timed = [b["timeout"] for name, b in listed.items() if ".time_" in name and "races" not in name]
    assert len(timed) == 4
    assert min(timed) > NODE_SECONDS + 60
    for kind in (EMBEDDED, RABBITMQ):
        for name, scenario in STABILITY.items():
            row = SCENARIOS[scenario]
            plans = [
                make_plan(scenario, row.load(load), seed, broker=kind)
                for load in row.loads
                for seed in SEEDS
            ]
            bound = timeouts[listed[f"stability.{name}.track_duration"]["setup_cache_key"]]
            assert bound > sum(plan.seconds + GRACE for plan in plans)
        plans = [
            make_plan(name, SCENARIOS[name].load(load), seed, broker=kind)
            for name, load in variants().values()
            for seed in VARIANT_SEEDS
        ]
        bound = timeouts[listed["stability.Variants.track_violations"]["setup_cache_key"]]
        assert bound > sum(plan.seconds + GRACE for plan in plans)


def modules() -> list[Any]:
    found = [benchmarks]
    for entry in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
        found.append(importlib.import_module(entry.name))
    return found


def named_for_asv(name: str) -> bool:
    return any(kind.name_regex.match(name) for kind in benchmark_types)


def test_nothing_but_the_benchmark_classes_carries_a_name_that_asv_would_run() -> None:
    allowed = {
        kind
        for module in (races, recovery, stability, throughput)
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
    }
    found: list[str] = []
    for module in modules():
        for name, value in vars(module).items():
            if named_for_asv(name):
                found.append(f"{module.__name__}.{name}")
            if inspect.isclass(value) and value.__module__.startswith("benchmarks"):
                if value in allowed:
                    # A class that is imported into a second module runs twice.
                    if module.__name__ != value.__module__:
                        found.append(f"{module.__name__}.{name} is imported")
                else:
                    found += [
                        f"{module.__name__}.{name}.{m}" for m in dir(value) if named_for_asv(m)
                    ]
    assert found == []


@pytest.mark.parametrize(
    "name", ["time_until", "track_it", "mem_x", "peakmem_x", "timeraw_x", "TimeIt", "TrackIt"]
)
def test_a_forbidden_name_is_seen(name: str) -> None:
    assert named_for_asv(name)
