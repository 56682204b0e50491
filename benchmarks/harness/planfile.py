"""Plans on disk: written down whole, checked whole when they are read.

``plan_from_json`` is the way back from ``Plan.as_json``. A saved plan stands in an envelope with
the client that it was made for. Nothing here runs a plan; it prevents a file that was cut short,
edited by hand or written by another version from being run as something it does not say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.harness.faults import FAULTS, KINDS
from benchmarks.harness.kinds import EMBEDDED
from benchmarks.harness.plan import FaultStep, Plan, Step
from benchmarks.harness.scenarios import SCENARIOS, ScenarioError, find_scenario

T = TypeVar("T")

#: The form of the envelope; another one is not read.
FORMAT = 1
#: Where plans that are worth a second look are kept, below the current folder.
FOLDER = Path("reports")
#: Bytes of the largest plan that is read: a million steps are some 40 MB.
PLAN_AT_MOST = 256 * 1024 * 1024
#: Seconds between heartbeats that a plan may ask for.
HEARTBEAT_AT_MOST = 60
#: Bytes of a body, and messages of one step: what may be asked for stays bounded.
SIZE_AT_MOST, COUNT_AT_MOST = 16 * 1024 * 1024, 1000
OPERATIONS = frozenset(name for row in SCENARIOS.values() for name in row.mix)


class PlanError(ScenarioError):
    """No such plan, or not one that can be run; the text says what is wrong with it."""


@dataclass(frozen=True)
class SavedPlan:
    """What stands in the file: the plan, who was tried, the trial's own bound in seconds, and the
    label of the broker."""

    plan: Plan
    client: str
    seconds: float | None
    broker: str = EMBEDDED


def plan_from_json(document: object) -> Plan:
    """The plan that ``Plan.as_json`` wrote down. Raises PlanError on anything else."""
    wanted = {"scenario", "load", "seed", "fault", "heartbeat", "faults", "conditions", "steps"}
    if not isinstance(document, dict) or set(document) != wanted:
        raise PlanError(f"a plan has the keys {', '.join(sorted(wanted))} and no others")
    if not isinstance(document["scenario"], str) or not isinstance(document["load"], str):
        raise PlanError("scenario and load of a plan are texts")
    scenario = find_scenario(document["scenario"])
    load = scenario.load(document["load"])
    seed, fault = document["seed"], document["fault"]
    if not _whole(seed):
        raise PlanError(f"the seed of a plan is a whole number, not {seed!r}")
    if fault is not None and fault not in FAULTS:
        raise PlanError(f"unknown fault {fault!r}")
    heartbeat = document["heartbeat"]
    if not _whole(heartbeat, 0, HEARTBEAT_AT_MOST):
        raise PlanError(f"the heartbeat of a plan is 0 to {HEARTBEAT_AT_MOST} s, not {heartbeat!r}")
    workers = _listed(document["steps"], "steps", _worker)
    lengths = {len(worker) for worker in workers}
    if len(workers) != load.threads or lengths != {scenario.steps(load)}:
        raise PlanError(
            f"the steps do not fill the load: {scenario.text(load)} needs {load.threads} workers "
            f"with {scenario.steps(load)} steps each"
        )
    faults = _listed(document["faults"], "faults", _fault)
    conditions = _listed(document["conditions"], "conditions", _fault)
    marks = [step.mark for step in faults]
    if scenario.style != "closing" and marks != sorted(marks):
        raise PlanError("the faults of a plan stand in the order of their marks")
    if len(faults) != load.kills:
        raise PlanError(f"{scenario.text(load)} needs {load.kills} faults, not {len(faults)}")
    return Plan(scenario, load, seed, workers, faults, conditions, fault, heartbeat)


def _whole(value: object, low: int | None = None, high: int | None = None) -> bool:
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and (low is None or value >= low)
        and (high is None or value <= high)
    )


def _listed(value: object, what: str, make: Callable[[object], T]) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise PlanError(f"the {what} of a plan are a list")
    return tuple(map(make, value))


def _worker(value: object) -> tuple[Step, ...]:
    return _listed(value, "steps of a worker", _step)


def _step(value: object) -> Step:
    match value:
        case [str(operation), bool(unroutable), int(size), int(count)] if (
            operation in OPERATIONS and 0 <= size <= SIZE_AT_MOST and 1 <= count <= COUNT_AT_MOST
        ):
            return Step(operation, unroutable, size, count)
    raise PlanError(f"not a step of a plan: {_short(value)}")


def _fault(value: object) -> FaultStep:
    match value:
        case [int(mark), str(kind), dict(options), rule] if (
            mark >= 0 and kind in KINDS and (rule is None or isinstance(rule, dict))
        ):
            return FaultStep(mark, kind, options, rule)
    raise PlanError(f"not a fault of a plan: {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


# -- files -----------------------------------------------------------------------------------


def save_plan(saved: SavedPlan, folder: Path = FOLDER) -> Path:
    """Write it below the current folder; returns the file. Raises OSError."""
    plan = saved.plan
    target = folder / f"plan-{plan.scenario.name}-{plan.digest}.json"
    document = {
        "format": FORMAT,
        "client": saved.client,
        "seconds": saved.seconds,
        "broker": saved.broker,
        "plan": plan.as_json(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(document) + "\n")
    os.replace(temporary, target)
    return target


def load_plan(path: str) -> SavedPlan:
    """Read what ``save_plan`` wrote. Raises PlanError, in one line."""
    try:
        if os.path.getsize(path) > PLAN_AT_MOST:
            raise PlanError(f"{path} is too large for a plan")
        document = json.loads(Path(path).read_text())
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path} is no plan: it is not JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PlanError(f"{path} is no plan of format {FORMAT}")
    client, seconds = document.get("client"), document.get("seconds")
    if not isinstance(client, str):
        raise PlanError(f"{path} names no client")
    if seconds is not None and not (_number(seconds) and 1 <= seconds <= 86400):
        raise PlanError(f"{path}: the trial's seconds are {_short(seconds)}")
    broker = document.get("broker", EMBEDDED)
    if not isinstance(broker, str):
        raise PlanError(f"{path} names no broker")
    try:
        plan = plan_from_json(document.get("plan"))
    except ScenarioError as error:
        raise PlanError(f"{path}: {error}") from error
    return SavedPlan(plan, client, seconds, broker)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
