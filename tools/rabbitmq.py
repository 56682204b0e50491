"""``make rabbitmq``: the pool on RabbitMQ itself, one node and a cluster of three.

Every scenario on one private node, and each fault that only such a node has; then the scenarios of
confirms, consumers and failing nodes on a cluster, each of the cluster's faults, and the partition
where network namespaces can be made. One node, and one cluster, serves all of its trials. In the
end nothing may be left: no process, no folder.

    python -m tools.rabbitmq [--seed 1] [--only rabbitmq|rabbitmq-cluster] [--client NAME]

Exit status: 0 every invariant 0 and nothing left behind, 1 a violation, 2 RabbitMQ is not
installed, 3 a trial gave no verdict or something was left behind, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.brokers import Broker, BrokerChoice, kept_broker
from benchmarks.harness.faults import FAULTS, KEPT, possible
from benchmarks.harness.kinds import CLUSTER, RABBITMQ
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.harness.request import Request
from benchmarks.harness.result import INVALID, VALID, TrialResult
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.harness.supervise import run_trial
from benchmarks.rabbitmq.children import marked
from benchmarks.rabbitmq.faults import RABBIT_FAULTS
from benchmarks.rabbitmq.leftovers import PREFIX
from benchmarks.wire.client import WireClient, WireError, WireTimeout
from benchmarks.wire.url import Endpoint

HOLDS, VIOLATED, USAGE, UNCLEAR, INTERRUPTED = 0, 1, 2, 3, 130
#: What runs on a cluster: what is confirmed, what is consumed, and nodes that go away.
ON_CLUSTER = ("confirms_under_kills", "consumers_under_kills", "node_failures")
#: The scenario in which each fault is tried by itself.
TRIED_IN = "node_failures"
#: Seconds for a broker to answer at a port that should be free.
ANSWERS = 1.0


class Trial(NamedTuple):
    """One line of the table: what is to be run."""

    scenario: str
    load: str
    fault: str | None = None


def trials(kind: str, *, isolated: bool) -> Iterator[Trial]:
    """All trials on one node or cluster, in order. Pure."""
    if not isolated:
        for row in SCENARIOS.values():
            if kind == RABBITMQ or row.name in ON_CLUSTER:
                yield Trial(row.name, row.loads[0])
    for fault in FAULTS.values():
        if fault.side in KEPT and possible(fault.name, kind):
            # A fault that one node is enough for is tried there, and not again in the cluster,
            # unless it may be aimed at a leader.
            aimed = "queue" in RABBIT_FAULTS[fault.name].options
            here = aimed or kind == RABBITMQ
            if here and RABBIT_FAULTS[fault.name].isolated == isolated:
                yield Trial(TRIED_IN, SCENARIOS[TRIED_IN].loads[0], fault.name)


class Tally:
    """What came of all trials."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.kills = 0
        self.leader_changes = 0

    def take(self, trial: Trial, result: TrialResult, seconds: float) -> None:
        """Enter one result and print its line; what is not valid with reasons and command."""
        document, metrics = result.document, result.metrics
        self.verdicts[result.verdict] += 1
        self.kills += metrics["kills"]
        broken = {name: count for name, count in result.violations.items() if count}
        counts = ", ".join(f"{count} {name}" for name, count in broken.items()) or "0 violations"
        name = trial.scenario + (f" --fault {trial.fault}" if trial.fault else "")
        print(
            f"{document['broker']:17} {name:41} {result.verdict:8} {counts}, "
            f"faults {metrics['kills']} of {metrics['kills_planned']}, in doubt "
            f"{document['in_doubt']}, duplicates {document['duplicates']}, {seconds:.0f} s",
            flush=True,
        )
        if result.verdict != VALID:
            print(f"    run it again: {document['replay']}")
            for reason in document["unknown_because"]:
                print(f"    unknown because {reason}")
            for witness in document["witnesses"]:
                print(f"    {witness['invariant']}: {witness['detail']}")

    def status(self) -> int:
        if self.verdicts[INVALID]:
            return VIOLATED
        return HOLDS if set(self.verdicts) == {VALID} else UNCLEAR


def run_on(choice: BrokerChoice, options: argparse.Namespace, tally: Tally) -> list[str]:
    """Start the node or cluster, run its trials, say what became of it, end it.

    Returns a line for each thing that it left behind.
    """
    before = folders()
    with kept_broker(choice) as broker:
        assert broker is not None
        made, endpoints = folders() - before, broker.endpoints
        facts = broker.facts() or {}
        print(
            f"\n{choice.label}{' (isolated)' if choice.isolated else ''}: RabbitMQ "
            f"{facts['version']}, started in {facts['start_seconds']:.1f} s, "
            f"memory {_megabytes(facts['memory'])} MB"
        )
        for trial in trials(choice.kind, isolated=choice.isolated):
            request = Request(*trial[:2], options.seed, options.client, trial.fault)
            started = time.monotonic()
            result = run_trial(replace(request, broker=choice.label), broker=broker)
            tally.take(trial, result, time.monotonic() - started)
            if result.interrupted:
                raise KeyboardInterrupt
        _tell(broker, tally)
    return left_behind(made, endpoints)


def run_partitions(options: argparse.Namespace, tally: Tally) -> list[str]:
    """What takes a network for each node, where there can be one: else say why there is none."""
    try:
        return run_on(BrokerChoice(CLUSTER, isolated=True), options, tally)
    except EnvironmentProblem as error:
        print(f"\nno partition was tried: {error}")
        return []


def _tell(broker: Broker, tally: Tally) -> None:
    facts = broker.facts() or {}
    tally.leader_changes += facts["leader_changes"]
    print(
        f"    nodes started again {facts['restarts']} times, leaders changed "
        f"{facts['leader_changes']} times, memory {_megabytes(facts['memory'])} MB"
    )


def _megabytes(memory: list[int]) -> str:
    return " + ".join(f"{size / 1e6:.0f}" for size in memory)


def folders() -> set[Path]:
    """The folders of nodes that there are just now."""
    return set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def left_behind(made: set[Path], endpoints: Sequence[Endpoint]) -> list[str]:
    """What is still there of nodes that have ended: folders, processes, ports."""
    lines = [f"the folder {folder}" for folder in sorted(made) if folder.exists()]
    lines += [f"process {number} of {folder}" for folder in made for number in marked(folder)]
    for endpoint in endpoints:
        try:
            WireClient.to(endpoint, ANSWERS).close()
        except (WireError, WireTimeout):
            continue  # no broker answers, as it should be
        lines.append(f"somebody answers at {endpoint.safe}")
    return lines


def main() -> int:
    """Run it all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rabbitmq", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--client", default="amqpool")
    parser.add_argument("--only", choices=[RABBITMQ, CLUSTER])
    options = parser.parse_args()
    started, tally = time.monotonic(), Tally()
    left: list[str] = []
    try:
        for choice in (BrokerChoice(RABBITMQ), BrokerChoice(CLUSTER)):
            if options.only in (None, choice.kind):
                left += run_on(choice, options, tally)
        if options.only != RABBITMQ:
            left += run_partitions(options, tally)
    except EnvironmentProblem as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"interrupted after {sum(tally.verdicts.values())} trials", file=sys.stderr)
        return INTERRUPTED
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(tally.verdicts.items()))
    print(
        f"\n{sum(tally.verdicts.values())} trials in {time.monotonic() - started:.0f} s: {counts}; "
        f"{tally.kills} faults, {tally.leader_changes} leader changes; "
        f"{len(left) or 'nothing'} left behind"
    )
    for line in left:
        print(f"left behind: {line}")
    return tally.status() or (UNCLEAR if left else HOLDS)


if __name__ == "__main__":
    sys.exit(main())
