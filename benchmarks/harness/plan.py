"""The plan: all that a seed decides, before a single thread starts.

Operations, payloads, the faults with their options and rules, and the points at which they strike
come from here and from nowhere else. Two plans of one seed are equal, which the digest proves; the
interleaving of real threads is not in the plan and is not replayed. A plan can be written down and
read again (``planfile``), and what is read is the same plan. It prevents a run that nobody can
ask for again.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from benchmarks.harness.faults import CLOSE, FAULTS, KINDS
from benchmarks.harness.kinds import EMBEDDED
from benchmarks.harness.scenarios import (
    Load,
    Scenario,
    check_possible,
    find_fault,
    find_scenario,
)

#: Bodies that fit one frame beside their identity line; sizes that real small messages have.
BODY_BYTES = (64, 1024)
#: Bodies of two frames and more: the frame buffer of the broker's frame_max holds 128 KiB.
LARGE_BYTES = (132_000, 300_000)
#: Messages of one ``publish_batch``, ``consume_ack`` or ``consume_cancel``.
BATCH = (2, 8)
#: What is sent at random to a key that nothing is bound to.
SOMETIMES_UNROUTABLE = frozenset(("publish", "publish_confirmed", "publish_batch"))
#: Operations that send a small message, and those that send a number of them.
SENDS = SOMETIMES_UNROUTABLE | {
    "publish_returned",
    "publish_kept",
    "get",
    "get_no_ack",
    "consume_ack",
    "consume_cancel",
}
SENDS_MANY = frozenset(("publish_batch", "consume_ack", "consume_cancel"))
#: Seconds between two heartbeats where a silent fault is planned: AMQP counts in whole ones.
SILENT_HEARTBEAT = 1


class Step(NamedTuple):
    """One iteration of one worker: the operation and, where it sends, what."""

    operation: str
    unroutable: bool = False
    size: int = 0
    #: Hides tuple.count, which nobody wants of a step.
    count: int = 1  # type: ignore[assignment]


class FaultStep(NamedTuple):
    """One fault. ``mark``: finished iterations, over all workers, at which it is due."""

    mark: int
    kind: str
    options: dict[str, Any]
    rule: dict[str, Any] | None


@dataclass(frozen=True)
class Plan:
    """The steps of each worker, by its number; the faults in their order; what holds all along.

    ``fault`` is the kind that was asked for instead of the scenario's own, if any. ``heartbeat``
    is in seconds, 0 for none.
    """

    scenario: Scenario
    load: Load
    seed: int
    steps: tuple[tuple[Step, ...], ...]
    faults: tuple[FaultStep, ...] = ()
    conditions: tuple[FaultStep, ...] = ()
    fault: str | None = None
    heartbeat: int = 0

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that differ when anything in the plan does."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        """The whole plan; ``planfile.plan_from_json`` is the way back."""
        return {
            "scenario": self.scenario.name,
            "load": self.scenario.text(self.load),
            "seed": self.seed,
            "fault": self.fault,
            "heartbeat": self.heartbeat,
            "faults": [list(step) for step in self.faults],
            "conditions": [list(step) for step in self.conditions],
            "steps": [[list(step) for step in worker] for worker in self.steps],
        }

    @classmethod
    def from_json(cls, document: object) -> Plan:
        """The plan that ``as_json`` wrote down. Raises ScenarioError on anything else."""
        from benchmarks.harness.planfile import plan_from_json

        return plan_from_json(document)

    @property
    def seconds(self) -> float:
        """Seconds after which a trial of it is ended: the scenario's, and what its faults take."""
        return self.scenario.seconds + sum(KINDS[step.kind].takes for step in self.faults)

    def check_broker(self, broker: str) -> None:
        """Raises ScenarioError where that kind of broker cannot do what is planned."""
        for step in (*self.faults, *self.conditions):
            if step.kind in FAULTS:
                check_possible(step.kind, broker)

    def marks(self) -> list[int]:
        """When the faults are due."""
        return [step.mark for step in self.faults]

    def planned(self) -> Counter[str]:
        """Steps by operation, with ``unroutable`` beside them."""
        steps = [step for worker in self.steps for step in worker]
        counts = Counter(step.operation for step in steps)
        counts["unroutable"] = sum(step.unroutable for step in steps)
        return counts

    def round(self, number: int) -> list[tuple[Step, ...]]:
        """What each worker does in that round or block (from 0)."""
        size = self.scenario.steps_a_round
        return [worker[number * size : (number + 1) * size] for worker in self.steps]

    def rounds(self) -> int:
        """Rounds or blocks in which the steps are done."""
        return -(-self.scenario.steps(self.load) // self.scenario.steps_a_round)


def fault_marks(scenario: Scenario, load: Load) -> list[int]:
    """Sums of finished iterations, over all workers, at which a fault is due."""
    if scenario.style == "cycles":
        return list(range(load.cycles))
    stride = load.kill_interval * load.threads
    return [stride * (number + 1) for number in range(load.kills)]


def make_plan(
    scenario_name: str,
    load: Load,
    seed: int,
    fault: str | None = None,
    broker: str = EMBEDDED,
) -> Plan:
    """Decide everything that ``seed`` decides. Pure: same arguments, same plan.

    ``fault`` stands in for the scenario's own kinds; ``broker`` is the kind of broker, which
    decides what faults there are and nothing else. Raises ScenarioError.
    """
    scenario = find_scenario(scenario_name)
    if fault is None:
        kinds = scenario.faults_on(broker)
    else:
        kinds = (find_fault(fault, scenario, broker).name,)
    names, weights = list(scenario.mix), list(scenario.mix.values())
    workers = []
    for number in range(load.threads):
        # A source per worker, so that one worker's plan does not depend on how many others run.
        source = random.Random(f"{scenario_name}/{seed}/{number}")
        operations = source.choices(names, weights, k=scenario.steps(load))
        workers.append(tuple(_step(operation, scenario, source) for operation in operations))
    # One more for the faults: another fault must not make another load.
    source = random.Random(f"{scenario_name}/{seed}/faults")
    groups = scenario.conditions_on(broker)
    conditions = tuple(_condition(source.choice(group), source) for group in groups)
    if scenario.style == "closing":
        faults = _closings(scenario, load, source)
    else:
        marks = fault_marks(scenario, load)
        faults = tuple(_fault(mark, source.choice(kinds), source) for mark in marks)
    if scenario.style == "cycles":
        faults = tuple(_in_cycle(step, source) for step in faults)
    silent = any(FAULTS[kind].silent for kind in kinds)
    heartbeat = SILENT_HEARTBEAT if silent else scenario.heartbeat
    return Plan(scenario, load, seed, tuple(workers), faults, conditions, fault, heartbeat)


def _step(operation: str, scenario: Scenario, source: random.Random) -> Step:
    unroutable, size, count = operation == "publish_returned", 0, 1
    if operation in SOMETIMES_UNROUTABLE:
        unroutable = source.random() < scenario.unroutable
    if operation in SENDS:
        size = source.randint(*BODY_BYTES)
    elif operation == "publish_large":
        size = source.randint(*LARGE_BYTES)
    if operation in SENDS_MANY:
        count = source.randint(*BATCH)
    return Step(operation, unroutable, size, count)


def _fault(mark: int, kind: str, source: random.Random) -> FaultStep:
    options, rule = FAULTS[kind].draw(source)
    return FaultStep(mark, kind, options, rule)


def _in_cycle(step: FaultStep, source: random.Random) -> FaultStep:
    """In a cycle there is one publish: a rule that waited for another frame would never fire."""
    if step.rule is None:
        return step
    frame = source.choice(("basic.publish", "header", "body"))
    return step._replace(rule={**step.rule, "direction": "to_broker", "frame": frame, "nth": 1})


def _condition(kind: str, source: random.Random) -> FaultStep:
    """What holds from the start of the load to its end, also for connections made meanwhile."""
    options, rule = FAULTS[kind].draw(source)
    options.pop("seconds", None)
    if FAULTS[kind].side == "proxy":
        options["future"] = True
    return FaultStep(0, kind, options, rule)


def _closings(scenario: Scenario, load: Load, source: random.Random) -> tuple[FaultStep, ...]:
    """One close for each cycle: in the middle of its steps, when most threads are at work."""
    steps = load.threads * scenario.steps_a_round
    low, high = steps // 4, max(steps // 4, steps * 6 // 10)
    return tuple(
        FaultStep(source.randint(low, high), CLOSE.name, {}, None) for _ in range(load.cycles)
    )


def body_of(identity: str, size: int) -> bytes:
    """The body of a message: its identity, a newline, and filler up to ``size`` bytes."""
    head = f"{identity}\n".encode("ascii")
    return head + b"." * max(0, size - len(head))
