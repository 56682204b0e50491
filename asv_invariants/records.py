"""The records that the suite left beside asv's results, as the page needs them.

A record may be missing (results that came from another machine without them) or malformed: the
page then has no witnesses or single cycles to show, which it says. Nothing is judged from them.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.records import FOLDER, FORMAT, record_folder

#: The scenario whose single cycles make the distribution.
RECOVERY = "repeated_recovery_stress"
#: Characters of one text; a stack of five hundred threads is of no use to a browser.
TEXT_AT_MOST = 20_000


@dataclass(frozen=True)
class Run:
    """One seeded run, as far as the page shows it."""

    load: str
    seed: int
    verdict: str
    violations: dict[str, Any]
    recoveries_ms: list[float]
    witnesses: dict[str, list[str]]
    replay: str


@dataclass(frozen=True)
class Record:
    """All runs of one scenario; ``planned`` is the number of seeds of each load."""

    scenario: str
    planned: int
    runs: list[Run]


def read(
    root: Path, machine: str, commit: str, environment: str, problems: list[str]
) -> list[Record]:
    """All sound records of one commit in one environment, by name."""
    folder = record_folder(root, machine, commit, environment)
    if not folder.is_dir():
        # asv's name of a machine need not be that of its host: one record leaves no doubt.
        others = list((root / FOLDER).glob(f"*/{folder.name}"))
        if len(others) != 1:
            return []
        [folder] = others
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(_parse(json.loads(path.read_text(encoding="utf-8")), commit))
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            problems.append(f"{path}: no sound record: {type(error).__name__}: {error}")
    return found


def _parse(document: Any, commit: str) -> Record:
    """Raises ValueError, TypeError, LookupError or AttributeError when it is none of ours."""
    if document["format"] != FORMAT or document["commit"] != commit:
        raise ValueError("of another form or commit")
    runs = [
        Run(
            load=load,
            seed=int(run["seed"]),
            verdict=str(run["verdict"]),
            violations=dict(run["violations"]),
            recoveries_ms=[float(ms) for ms in run["recoveries_ms"]],
            witnesses={name: [str(text) for text in m] for name, m in run["witnesses"].items()},
            replay=str(run["replay"]),
        )
        for load, several in document["runs"].items()
        for run in several
    ]
    if not isinstance(document["scenario"], str):
        raise TypeError("the scenario has no name")
    if not all(math.isfinite(ms) for run in runs for ms in run.recoveries_ms):
        raise ValueError("a recovery that took no number of milliseconds")
    return Record(document["scenario"], int(document["planned"]), runs)


def witnesses(records: list[Record], scenario: str, load: str, invariant: str) -> list[str]:
    """The texts of the runs in which that invariant was not 0, and how to run them again.

    ``scenario`` is the benchmark's class; a scenario's name is that in small letters, sometimes
    with a word behind it. A load that names its scenario itself, as those of ``Variants`` do, is
    looked up under that name.
    """
    named, _, load = load.rpartition(" ")
    stem = named or re.sub(r"(?<!^)(?=[A-Z])", "_", scenario).lower()
    found: list[str] = []
    for run in (r for record in records if record.scenario.startswith(stem) for r in record.runs):
        held = run.violations.get(invariant) == 0 and run.verdict != "unknown"
        if run.load != load or held:
            continue
        texts = [
            f"seed {run.seed}, {run.verdict}: {text}"
            for name in (invariant, "unknown")
            for text in run.witnesses.get(name, ())
        ]
        if texts:
            found += [*texts, f"run it again: {run.replay}"]
    return list(dict.fromkeys(text[:TEXT_AT_MOST] for text in found))


def cycles(records: list[Record]) -> list[float]:
    """The milliseconds of each recovery, from the record with the fewest seeds.

    That is the one behind the percentiles.
    """
    fitting = [record for record in records if record.scenario == RECOVERY]
    if not fitting:
        return []
    return [ms for run in min(fitting, key=_planned).runs for ms in run.recoveries_ms]


def _planned(record: Record) -> int:
    return record.planned
