"""A scratch repository of twelve commits, and results of them that asv's own classes wrote.

No benchmark runs: what a suite would have found is planted. The names, parameters and units are
those of the real suite, so that what reads them is tried on what it will meet.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asv import util
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.environment import get_env_name
from asv.machine import Machine
from asv.results import Results
from asv.runner import BenchmarkResult

from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.records import FORMAT, record_folder
from benchmarks.harness.scenarios import SCENARIOS

COMMITS = 12
VERSION = "0123456789abcdef"
MACHINE = "bench1"
#: A name, the load, the invariant.
Key = tuple[str, str, str]
CLASSES = {
    "ChaosNoDeadlock": "chaos_no_deadlock",
    "ChaosWithConnectionKills": "chaos_with_connection_kills",
    "HighContention": "high_contention_stress",
    "RepeatedRecovery": "repeated_recovery_stress",
}
#: Noon of the first of June: a commit a day.
FIRST_DAY = datetime(2026, 6, 1, 12, tzinfo=UTC)
CONFIGURATION = """{
    "version": 1, "project": "planted", "project_url": "#", "show_commit_url": "#",
    "repo": ".", "dvcs": "git", "branches": ["main"], "environment_type": "virtualenv",
    "matrix": MATRIX, "plugins": PLUGINS,
    "results_dir": ".asv/results", "html_dir": ".asv/html", "env_dir": ".asv/env"
}
"""
#: What git needs to work alike everywhere.
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "planted",
    "GIT_AUTHOR_EMAIL": "planted@localhost",
    "GIT_COMMITTER_NAME": "planted",
    "GIT_COMMITTER_EMAIL": "planted@localhost",
}


@dataclass(frozen=True)
class History:
    """What happens to one column, commit by commit; None is a failure, NaN not measured.

    ``beside`` is what the other invariants of that load are while the value is ``when``.
    """

    name: str
    key: Key
    values: tuple[float | None, ...]
    when: float | None = None
    beside: float | None = 0.0


HISTORIES = {
    history.name: history
    for history in (
        History("new", ("ChaosNoDeadlock", "10x100", "deadlocks"), (0,) * 11 + (1,)),
        History("blip", ("ChaosNoDeadlock", "50x100", "lost_frames"), (0,) * 4 + (3,) + (0,) * 7),
        History(
            "flaky",
            ("ChaosWithConnectionKills", "20x50x10", "unexpected_errors"),
            (0, 0, 1, 0, 1, 0, 0, 2, 0, 0, 1, 0),
        ),
        History("constant", ("HighContention", "500x10", "double_releases"), (5,) * 12),
        History(
            "crash",
            ("RepeatedRecovery", "1000", "crashes"),
            (0,) * 6 + (1,) + (0,) * 5,
            when=1,
            beside=None,
        ),
        History(
            "hang",
            ("ChaosWithConnectionKills", "50x30x5", "deadlocks"),
            (0,) * 8 + (50,) + (0,) * 3,
            when=50,
            beside=None,
        ),
    )
}


def benchmark(name: str, unit: str, params: Mapping[str, Iterable[Any]], **more: Any) -> Any:
    """A row of benchmarks.json, as asv's discovery writes it."""
    return {
        "name": name,
        "unit": unit,
        "code": f"def {name.rpartition('.')[2]}(): ...",
        "param_names": list(params),
        "params": [[repr(value) for value in values] for values in params.values()],
        "type": "time" if ".time_" in name else "track",
        "version": VERSION,
        "timeout": 60.0,
        **more,
    }


#: Loads of the four classes, and the cells that must be 0: one for each load and invariant.
LOADS = sum(len(SCENARIOS[scenario].loads) for scenario in CLASSES.values())
ZEROS = LOADS * len(INVARIANTS)


def suite() -> list[Any]:
    """The suite's benchmarks."""
    rows = []
    for name, scenario in CLASSES.items():
        loads = SCENARIOS[scenario].loads
        both = {"load": loads, "invariant": INVARIANTS}
        rows.append(benchmark(f"stability.{name}.track_violations", "violations", both))
        rows.append(benchmark(f"stability.{name}.track_duration", "seconds", {"load": loads}))
    rows.append(benchmark("recovery.RecoveryCycle.time_recovery", "seconds", {"fault": ["rst"]}))
    name = "recovery.RepeatedRecovery.track_percentile"
    rows.append(benchmark(name, "ms", {"percentile": [50, 99]}))
    loads = SCENARIOS["chaos_no_deadlock"].loads
    rows.append(benchmark("throughput.Chaos.time_operations", "seconds", {"load": loads}))
    rows.append(benchmark("throughput.Publish.time_publish", "seconds", {"threads": [1, 10, 50]}))
    return rows


@dataclass
class Planted:
    """The repository in ``folder``, its commits from the first to HEAD, and its results."""

    folder: Path
    commits: list[str]
    suite: list[Any] = field(default_factory=suite)
    matrix: dict[str, Any] = field(default_factory=lambda: {"req": {"amqp": [""]}})

    @property
    def results(self) -> Path:
        return self.folder / ".asv" / "results"

    @property
    def html(self) -> Path:
        return self.folder / ".asv" / "html"

    def git(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **GIT, **environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.strip()

    def commit(self, message: str, day: int) -> str:
        stamp = f"{int(FIRST_DAY.timestamp()) + day * 86400} +0000"
        dates = {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
        self.git("commit", "--quiet", "--allow-empty", "--message", message, **dates)
        self.commits.append(self.git("rev-parse", "HEAD"))
        return self.commits[-1]

    def configure(self, *plugins: str) -> None:
        """Write asv.conf.json and benchmarks.json."""
        text = CONFIGURATION.replace("MATRIX", json.dumps(self.matrix))
        (self.folder / "asv.conf.json").write_text(text.replace("PLUGINS", json.dumps(plugins)))
        conf = Config.load(str(self.folder / "asv.conf.json"))
        conf.results_dir = str(self.results)
        Benchmarks(conf, self.suite).save()

    def plant(
        self,
        number: int,
        value: Callable[[str, tuple[str, ...]], Any],
        *,
        machine: str = MACHINE,
        variables: Mapping[str, str] | None = None,
        python: str = "3.11",
        version: str = VERSION,
        skip: Iterable[str] = (),
    ) -> Path:
        """Store what one commit's run would have; ``value`` is asked for each cell.

        A list is samples; anything else the value. ``skip`` names benchmarks that did not run.
        """
        variables = dict(variables or {})
        tagged = {("nobuild", key): value for key, value in variables.items()}
        environment = get_env_name("virtualenv", python, {"amqp": ""}, tagged)
        facts = {"machine": machine, "os": "Linux", "arch": "x86_64", "cpu": "", "ram": "8GB"}
        path = self.results / machine / "machine.json"
        if not path.exists():
            util.write_json(str(path), {**facts, "num_cpu": "2"}, Machine.api_version)
        day = int(FIRST_DAY.timestamp()) + number * 86400
        params = {**facts, "num_cpu": "2", "python": python, "amqp": ""}
        result = Results(
            params,
            {"amqp": ""},
            self.commits[number],
            day * 1000,
            python,
            environment,
            variables,
        )
        for row in self.suite:
            if row["name"] in skip:
                continue
            values, samples = [], []
            for combination in itertools.product(*row["params"]):
                found = value(row["name"], tuple(_plain(part) for part in combination))
                samples.append(found if isinstance(found, list) else None)
                values.append(None if isinstance(found, list) else found)
            result.add_result(
                {**row, "version": version},
                BenchmarkResult(
                    result=[v if s is None else 0.0 for v, s in zip(values, samples, strict=True)],
                    samples=samples,
                    number=[None if s is None else 1 for s in samples],
                    errcode=0,
                    stderr="",
                    profile=None,
                ),
                started_at=datetime.fromtimestamp(day + 3600, UTC),
                duration=1.0,
                record_samples=True,
            )
        result.save(str(self.results))
        [stored] = (self.results / machine).glob(f"{self.commits[number][:8]}-{environment}.json")
        return stored


def keep_record(
    planted: Planted, number: int, history: History | None, cycles: Iterable[float] = ()
) -> Path:
    """What the suite would have left beside that commit's results: witnesses, or single cycles."""
    scenario = CLASSES[history.key[0]] if history else CLASSES["RepeatedRecovery"]
    load = history.key[1] if history else "1000"
    counts: dict[str, float | None] = dict.fromkeys(INVARIANTS, 0)
    witnesses: dict[str, list[str]] = {}
    if history:
        counts[history.key[2]] = history.values[number]
        witnesses[history.key[2]] = [f"<b>witness</b> of {history.name} at commit {number}"]
    run = {
        "seed": 1,
        "verdict": "invalid" if history else "valid",
        "violations": counts,
        "duration_s": 1.0,
        "recoveries_ms": list(cycles),
        "witnesses": witnesses,
        "replay": f"python -m benchmarks.harness run {scenario} --load {load} --seed 1",
    }
    planned = 6 if history else 1
    commit = planted.commits[number]
    folder = record_folder(planted.folder, MACHINE, commit, "virtualenv-py3.11-amqp")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{scenario}-{planned}.json"
    document = {
        "format": FORMAT,
        "commit": commit,
        "environment": "virtualenv-py3.11-amqp",
        "scenario": scenario,
        "planned": planned,
        "runs": {load: [run]},
    }
    path.write_text(json.dumps(document))
    return path


def found(number: int, histories: Iterable[History]) -> Callable[[str, tuple[str, ...]], Any]:
    """What the suite finds at that commit: zeros and steady times, and the planted histories."""
    planted = list(histories)
    noise = random.Random(number)

    def value(name: str, parameters: tuple[str, ...]) -> Any:
        if not name.endswith("track_violations"):
            base = {"50": 4.0, "99": 9.0}[parameters[0]] if "percentile" in name else 0.25
            return [base * noise.uniform(0.97, 1.03) for _ in range(8)]
        key = (name.split(".")[1], *parameters)
        for history in planted:
            happened = history.values[number]
            if key == history.key:
                return happened
            if key[:2] == history.key[:2] and happened == history.when:
                return history.beside
        return 0

    return value


def new_repository(folder: Path, commits: int = COMMITS) -> Planted:
    """An empty repository with that many commits and no results."""
    folder.mkdir(parents=True)
    made = Planted(folder, [])
    made.git("init", "--quiet", "--initial-branch", "main")
    for day in range(commits):
        made.commit(f"commit {day}", day)
    return made


def six_histories(folder: Path, names: Iterable[str] = HISTORIES) -> Planted:
    """The repository whose twelve commits hold the histories of those names."""
    made = new_repository(folder)
    made.configure()
    histories = [HISTORIES[name] for name in names]
    for number in range(COMMITS):
        made.plant(number, found(number, histories))
    return made


def _plain(text: str) -> str:
    return text.strip("'")
