"""The plan: all that a seed decides, before a single thread starts.

Operations, payloads and the points at which the nemesis strikes come from here and from nowhere
else. Two plans of one seed are equal, which the digest proves; the interleaving of real threads is
not in the plan and is not replayed.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from benchmarks.harness.scenarios import Load, Scenario, find_scenario

#: Bodies that fit one frame beside their identity line; sizes that real small messages have.
BODY_BYTES = (64, 1024)


class Step(NamedTuple):
    """One iteration of one worker: the operation and, for a publish, what to send."""

    operation: str
    unroutable: bool = False
    size: int = 0


@dataclass(frozen=True)
class Plan:
    """The steps of each worker, by its number."""

    scenario: Scenario
    load: Load
    seed: int
    steps: tuple[tuple[Step, ...], ...]

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that differ when anything in the plan does."""
        return hashlib.sha256(json.dumps(self.as_json()).encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario.name,
            "load": self.scenario.text(self.load),
            "seed": self.seed,
            "kills": self.kill_points(),
            "steps": [[list(step) for step in worker] for worker in self.steps],
        }

    def kill_points(self) -> list[int]:
        """Sums of finished iterations, over all workers, at which the connection is killed."""
        if self.load.cycles:
            return list(range(self.load.cycles))
        stride = self.load.kill_interval * self.load.threads
        return [stride * (number + 1) for number in range(self.load.kills)]


def make_plan(scenario_name: str, load: Load, seed: int) -> Plan:
    """Decide everything that ``seed`` decides. Pure: same arguments, same plan."""
    scenario = find_scenario(scenario_name)
    names, weights = list(scenario.mix), list(scenario.mix.values())
    workers = []
    for number in range(load.threads):
        # A source per worker, so that one worker's plan does not depend on how many others run.
        source = random.Random(f"{scenario_name}/{seed}/{number}")
        count = load.cycles or load.iterations
        steps = []
        for operation in source.choices(names, weights, k=count):
            if operation.startswith("publish"):
                unroutable = source.random() < scenario.unroutable
                steps.append(Step(operation, unroutable, source.randint(*BODY_BYTES)))
            else:
                steps.append(Step(operation))
        workers.append(tuple(steps))
    return Plan(scenario, load, seed, tuple(workers))


def body_of(identity: str, size: int) -> bytes:
    """The body of a message: its identity, a newline, and filler up to ``size`` bytes."""
    head = f"{identity}\n".encode("ascii")
    return head + b"." * max(0, size - len(head))
