"""Try the mutants: does every counter rise on a client that is broken on purpose?

``python -m tools.mutants --seeds 10`` tries each mutant with ten seeds and prints one line for each
as it goes: how often the counters that it stands for rose, how long a trial took until its verdict,
and what else rose. ``--write docs/mutants.md`` keeps the table there. ``--broker rabbitmq`` tries
those whose faults a node of RabbitMQ can do, all on one node, and names the others.

It fails (exit status 1) when a mutant was caught in fewer than nine of ten seeds, for then the
workload is too weak, and when anything rose that the mutant does not name, for then a counter
counts what is another's. It judges the instrument, never the pool.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.harness.brokers import Broker, choose_broker, kept_broker
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.kinds import EMBEDDED, NAMED
from benchmarks.harness.plan import make_plan
from benchmarks.harness.request import Request
from benchmarks.harness.scenarios import ScenarioError, find_scenario
from benchmarks.harness.supervise import run_trial

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "mutants"
#: The share of seeds in which a mutant must be caught. Fewer than ten seeds say nothing about a
#: tenth: then it must be all of them.
SHARE = 0.9
SEEDS_FOR_A_SHARE = 10
#: The marks in the document between which the table stands.
BEGIN, END = "<!-- the table, by tools/mutants.py -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Tried:
    """One mutant, one seed: what rose and how long the trial took until its verdict."""

    mutant: Any
    seed: int
    risen: frozenset[str]
    seconds: float
    verdict: str
    document: dict[str, Any]

    @property
    def caught(self) -> bool:
        return set(self.mutant.rises) <= self.risen

    @property
    def strangers(self) -> frozenset[str]:
        """What rose and may not."""
        return self.risen - set(self.mutant.rises) - self.mutant.may_rise


def _family(invariant: str) -> ModuleType:
    """The module of one invariant's mutants; it stands beside ``mutating``, which it imports."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    name = f"mutants_of_{invariant}"
    if name not in sys.modules:
        specification = importlib.util.spec_from_file_location(name, FOLDER / f"{invariant}.py")
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        specification.loader.exec_module(module)
    return sys.modules[name]


def catalogue(unwidened: bool = False) -> dict[str, tuple[Any, ...]]:
    """Invariant -> its mutants. Classes alone: nothing is patched before one makes its pool."""
    attribute = "UNWIDENED" if unwidened else "MUTANTS"
    return {invariant: getattr(_family(invariant), attribute) for invariant in INVARIANTS}


def try_mutant(mutant: Any, seed: int, broker: Broker | None = None) -> Tried:
    """One trial of one mutant, in processes of its own."""
    client = f"{FOLDER / mutant.rises[0]}.py:{mutant.__name__}"
    label = EMBEDDED if broker is None else broker.choice.label
    request = Request(mutant.scenario, mutant.load, seed, client, fault=mutant.fault, broker=label)
    started = time.monotonic()
    result = run_trial(request, broker=broker)
    seconds = time.monotonic() - started
    risen = frozenset(name for name, count in result.violations.items() if count)
    return Tried(mutant, seed, risen, seconds, result.verdict, result.document)


def why_not(mutant: Any, kind: str) -> str | None:
    """Why that kind of broker cannot give it its trial; None where it can."""
    scenario = find_scenario(mutant.scenario)
    if scenario.conditions_on(kind) != scenario.conditions:
        return f"{scenario.name} without its conditions is another trial"
    try:
        make_plan(scenario.name, scenario.load(mutant.load), 1, mutant.fault, kind)
    except ScenarioError as error:
        return str(error)
    return None


def enough(caught: int, seeds: int) -> bool:
    """Was it caught often enough?"""
    return caught >= (SHARE * seeds if seeds >= SEEDS_FOR_A_SHARE else seeds)


HEAD = ("mutant", "invariant", "widened", "caught", "seconds", "what else rose")


def row(tried: Sequence[Tried]) -> tuple[str, ...]:
    """One line of the table: all seeds of one mutant."""
    mutant, seeds = tried[0].mutant, len(tried)
    caught = sum(each.caught for each in tried)
    others = Counter(name for each in tried for name in each.risen - {mutant.rises[0]})
    return (
        mutant.__name__,
        mutant.rises[0],
        "widened" if mutant.pause else "",
        f"{caught} of {seeds}",
        f"{statistics.median(each.seconds for each in tried):.1f}",
        ", ".join(f"{name} {count} of {seeds}" for name, count in sorted(others.items())),
    )


def complaints(tried: Sequence[Tried]) -> list[str]:
    """Why the instrument is not good enough for this mutant; empty when it is."""
    name = tried[0].mutant.__name__
    found = []
    if not enough(sum(each.caught for each in tried), len(tried)):
        missed = [each.seed for each in tried if not each.caught]
        found.append(f"{name}: not caught with the seeds {', '.join(map(str, missed))}")
    for each in tried:
        if each.strangers:
            rose = ", ".join(sorted(each.strangers))
            found.append(f"{name}: {rose} rose with seed {each.seed}, which it does not name")
    return found


def explain(each: Tried) -> str:
    """What one trial that surprised saw; for whoever strengthens the workload."""
    lines = [f"  seed {each.seed}: {each.verdict}, rose: {', '.join(sorted(each.risen)) or 'none'}"]
    lines += [f"    unknown because {reason}" for reason in each.document["unknown_because"][:5]]
    for invariant in sorted(each.strangers or each.risen):
        of_it = [w for w in each.document["witnesses"] if w["invariant"] == invariant]
        lines += [f"    {invariant}: {str(witness)[:600]}" for witness in of_it[:2]]
    return "\n".join([*lines, f"    {each.document['replay']}"])


def markdown(rows: Iterable[Sequence[str]], seeds: int, jobs: int) -> str:
    """The table as it is kept, with how it was made."""
    lines = [
        f"Seeds 1 to {seeds}, {jobs} at a time, Python {platform.python_version()}, "
        f"{os.cpu_count()} processors.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
    ]
    lines += ["| " + " | ".join((f"`{cells[0]}`", *cells[1:])) + " |" for cells in rows]
    return "\n".join(lines)


def keep(path: Path, table: str) -> None:
    """Put the table into the document, between its marks."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{path} has no place for the table: write {BEGIN} and {END} into it")
    path.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="try seeds 1 to N (default 1)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of these mutants, or invariants")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (default 2)")
    parser.add_argument("--broker", choices=NAMED, default=EMBEDDED)
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table in FILE")
    arguments = parser.parse_args(words)
    if arguments.seeds < 1 or arguments.jobs < 1:
        parser.error("--seeds and --jobs are at least 1")
    if arguments.write and arguments.only:
        parser.error("--write keeps the whole table: leave --only out")
    if arguments.write and arguments.broker != EMBEDDED:
        parser.error("--write keeps the table of the embedded broker: leave --broker out")
    return arguments


def _chosen(only: list[str] | None) -> list[Any]:
    families = catalogue()
    everybody = [mutant for mutants in families.values() for mutant in mutants]
    unknown = set(only or ()) - set(families) - {mutant.__name__ for mutant in everybody}
    if unknown:
        sys.exit(f"no such mutant or invariant: {', '.join(sorted(unknown))}")
    return [m for m in everybody if not only or {m.__name__, m.rises[0]} & set(only)]


def main(words: Sequence[str] | None = None) -> int:
    """Try, print as it goes, judge."""
    arguments = _arguments(words)
    with kept_broker(choose_broker(arguments.broker)) as broker:
        return _try_all(arguments, broker)


def _able(mutants: Iterable[Any], kind: str) -> Iterator[Any]:
    """Those that can be tried there; of the others it is told why not."""
    for mutant in mutants:
        if why := why_not(mutant, kind):
            print(f"not tried: {mutant.__name__}: {why}")
        else:
            yield mutant


def _try_all(arguments: argparse.Namespace, broker: Broker | None) -> int:
    mutants = list(_able(_chosen(arguments.only), arguments.broker))
    rows, complained = [], []
    shape = "{:<30} {:<18} {:<8} {:<9} {:>7}  {}"
    print(shape.format(*HEAD), flush=True)
    with ThreadPoolExecutor(arguments.jobs, thread_name_prefix="trial") as pool:
        seeds = range(1, arguments.seeds + 1)
        jobs: list[list[Future[Tried]]] = [
            [pool.submit(try_mutant, mutant, seed, broker) for seed in seeds] for mutant in mutants
        ]
        try:
            for futures in jobs:
                tried = [future.result() for future in futures]
                rows.append(row(tried))
                print(shape.format(*rows[-1]).rstrip(), flush=True)
                found = complaints(tried)
                complained += found
                for each in tried if found else ():
                    if not each.caught or each.strangers:
                        print(explain(each), flush=True)
        except BaseException:
            # What runs still ends by itself; nothing else is begun.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if arguments.write:
        keep(arguments.write, markdown(rows, arguments.seeds, arguments.jobs))
    for line in complained:
        print(line)
    return 1 if complained else 0


if __name__ == "__main__":
    sys.exit(main())
