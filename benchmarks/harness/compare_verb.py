"""The verb ``compare`` of the command line: its arguments, its files, and what becomes of Ctrl-C.

Exit status: 0 all of it was measured, 1 amqpool violated an invariant, 3 something of amqpool's is
missing, or the comparison was interrupted. A peer that fails is a row, and no status.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.clients.speed.table import SPEEDS, SUBJECT, load_speed
from benchmarks.harness.brokers import (
    Broker,
    BrokerChoice,
    choose_broker,
    kept_broker,
    start_broker,
)
from benchmarks.harness.environments import peer_python
from benchmarks.harness.kinds import EMBEDDED, RABBITMQ
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.harness.speed.access import name_of, place_at
from benchmarks.harness.speed.compare import FULL, MEASURED, QUICK, Cell, Comparison, Effort
from benchmarks.harness.speed.ranking import agreement
from benchmarks.harness.speed.report import MarkersError, document, inserted, markdown
from benchmarks.harness.speed.runner import Place
from benchmarks.harness.speed.verdicts import (
    Trials,
    Verdict,
    has_adapter,
    planned_verdicts,
    try_clients,
)
from benchmarks.harness.speed.works import WORKS

WHOLE, VIOLATED, LACKING = 0, 1, 3
#: Rounds that may be asked for.
REPEATS = range(1, 101)
OUT = "reports/compare"
SEED = 1


def add_compare(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb to the parser of the command line, all but its broker; returns its parser."""
    compare: argparse.ArgumentParser = verbs.add_parser(
        "compare",
        help="measure amqpool beside its peers: invariants and speed, as two tables",
        allow_abbrev=False,
    )
    compare.add_argument(
        "--clients",
        type=_clients,
        metavar="A,B",
        help=f"{', '.join(SPEEDS)}, or path/to/file.py:Class",
    )
    compare.add_argument("--work", type=_among(WORKS), metavar="A,B", help=", ".join(WORKS))
    compare.add_argument("--repeats", type=_repeats, metavar="N", help="rounds (7; quick: 3)")
    compare.add_argument("--quick", action="store_true", help="short rounds and trials: minutes")
    compare.add_argument("--no-trials", action="store_true", help="speed alone")
    compare.add_argument("--no-speed", action="store_true", help="the invariants alone")
    compare.add_argument("--out", default=OUT, metavar="FOLDER", help=f"for the files ({OUT})")
    compare.add_argument(
        "--write", metavar="FILE", help="put the tables between the markers of that page as well"
    )
    compare.add_argument(
        "--against",
        metavar="FILE",
        help="the JSON of an earlier run: say whether both rank the clients alike",
    )
    return compare


def run_compare(options: argparse.Namespace, show: Callable[[str], None] | None) -> int:
    """Measure, write the files, print the markdown. Raises EnvironmentProblem."""
    out, page = Path(options.out), None if options.write is None else Path(options.write)
    choice = choose_broker(options.broker, remote=options.allow_remote)
    label = EMBEDDED if choice.kind == EMBEDDED else RABBITMQ
    _check_files(out, page, label)
    before = None if options.against is None else _earlier(Path(options.against))
    half = "--no-trials" if options.no_trials else "--no-speed" if options.no_speed else None
    if page is not None and half is not None:
        raise EnvironmentProblem(f"--write {page}: a page has both tables; leave out {half}")
    tell = show or _Lines()
    clients = options.clients or list(SPEEDS)
    for client in clients:
        load_speed(client)  # a wrong name is told before anything is started
    effort = _effort(options)
    partial = None
    run = _Run(options, choice, clients, effort, tell)
    try:
        run.run()
    except KeyboardInterrupt:
        partial = "interrupted"
    tell("")
    found = document({**run.facts, "partial": partial}, run.cells, run.verdicts)
    if before is not None:
        found["agreement"] = agreement(before, found)
    text = markdown(found)
    (out / f"{label}.json").write_text(json.dumps(found, indent=2) + "\n")
    (out / f"{label}.md").write_text(text)
    sys.stdout.write(text)
    if page is not None:
        if partial is None:
            page.write_text(inserted(page.read_text(), label, text))
        else:
            print(f"{page} was left as it is: the comparison is partial", file=sys.stderr)
    return status_of(run.cells, run.verdicts, partial is not None)


def status_of(cells: Sequence[Cell], verdicts: Sequence[Verdict], partial: bool) -> int:
    """The exit status. Pure."""
    if any(each.client == SUBJECT and each.violations for each in verdicts):
        return VIOLATED
    lacking = any(cell.client == SUBJECT and cell.state != MEASURED for cell in cells) or any(
        each.client == SUBJECT and each.verdict != "valid" for each in verdicts
    )
    return LACKING if lacking or partial else WHOLE


class _Run:
    """What is measured, and what of it is there when it ends early."""

    def __init__(
        self,
        options: argparse.Namespace,
        choice: BrokerChoice,
        clients: Sequence[str],
        effort: Effort,
        show: Callable[[str], None],
    ) -> None:
        self._options = options
        self._choice = choice
        self._clients = clients
        self._effort = effort
        self._show = show
        self.cells: list[Cell] = []
        self.verdicts: list[Verdict] = []
        self.facts = {
            "when": datetime.date.today().isoformat(),
            "commit": _commit(),
            "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
            "broker": "the embedded broker" if choice.kind == EMBEDDED else choice.label,
            "repeats": effort.repeats,
            "quick": options.quick,
        }

    def run(self) -> None:
        """All of it, on one broker; the embedded one is every trial's own."""
        with kept_broker(self._choice) as kept:
            if kept is not None:
                self.facts["broker"] = name_of(kept.endpoints[0])
            self._run(kept)

    def _run(self, kept: Broker | None) -> None:
        options = self._options
        pythons = {client: self._python(client) for client in self._clients}
        if not options.no_trials:
            problems = {
                client: python if isinstance(python, str) else None
                for client, python in pythons.items()
                if has_adapter(client)
            }
            self.verdicts = planned_verdicts(problems, options.quick)
            requests = Trials(self._choice.label, kept, options.quick, SEED)
            try_clients(self.verdicts, problems, requests, self._show)
        if options.no_speed:
            return
        with tempfile.TemporaryDirectory(prefix="amqpool-compare-") as name:
            folder = Path(name)
            broker = kept or start_broker(self._choice, folder)
            try:
                with place_at(broker, folder) as place:
                    self._measure(pythons, place, folder)
            finally:
                if broker is not kept:
                    broker.stop()

    def _measure(self, pythons: Mapping[str, Path | str], place: Place, folder: Path) -> None:
        comparison = Comparison(
            pythons,
            self._options.work or list(WORKS),
            place,
            folder,
            f"amqpool.compare-{secrets.token_hex(3)}",
            self._effort,
            self._show,
        )
        self.cells = comparison.cells
        comparison.run()

    def _python(self, client: str) -> Path | str:
        """The interpreter of its environment, or in one line why there is none."""
        requirements = load_speed(client).requirements
        if not requirements:
            return Path(sys.executable)
        self._show(f"environment with {', '.join(requirements)}")
        try:
            return peer_python(requirements)
        except EnvironmentProblem as problem:
            return str(problem)


class _Lines:
    """Progress where there is no terminal: a line for each work or trial, not for each round."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, line: str) -> None:
        what = line.partition(":")[0]
        if line and what != self._last:
            print(line, file=sys.stderr, flush=True)
            self._last = what


def _effort(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else FULL
    return replace(effort, repeats=options.repeats or effort.repeats)


def _check_files(out: Path, page: Path | None, label: str) -> None:
    """Find out before the comparison that its tables could not be kept."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise EnvironmentProblem(f"--out {out}: cannot be written")
        if page is not None:
            inserted(page.read_text(), label, "")
            if not os.access(page, os.W_OK):
                raise EnvironmentProblem(f"--write {page}: cannot be written")
    except OSError as error:
        raise EnvironmentProblem(f"{error.filename}: {error.strerror}") from error
    except MarkersError as error:
        raise EnvironmentProblem(f"--write {page}: {error}") from error


def _earlier(file: Path) -> dict[str, Any]:
    """What an earlier run wrote. Read before this one starts: it may write the same file."""
    try:
        found = json.loads(file.read_text())
    except OSError as error:
        raise EnvironmentProblem(f"--against {file}: {error.strerror}") from error
    except ValueError as error:
        raise EnvironmentProblem(f"--against {file}: no JSON: {error}") from error
    try:
        # What would be found out after all was measured is found out now.
        agreement(found, found)
    except (KeyError, TypeError) as error:
        raise EnvironmentProblem(f"--against {file}: not written by compare") from error
    if not found["speed"]:
        raise EnvironmentProblem(f"--against {file}: it has no speeds")
    return dict(found)


def _commit() -> str:
    """Of the source that is measured; with a plus where it was edited. That a page was written
    between two runs is no edit."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        edited = _git("status", "--porcelain", "--", "src", "benchmarks", "pyproject.toml")
    except (OSError, subprocess.SubprocessError):
        return "an unknown commit"
    return f"{commit}+" if edited else commit


def _git(*words: str) -> str:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["git", *words], cwd=root, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def _clients(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _among(known: Sequence[str] | dict[str, Any]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
        wrong = [name for name in names if name not in known]
        if wrong or not names:
            raise argparse.ArgumentTypeError(
                f"{', '.join(wrong) or 'nothing'} is none of {', '.join(known)}"
            )
        return names

    return parse


def _repeats(text: str) -> int:
    if not text.isdigit() or int(text) not in REPEATS:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and {REPEATS[-1]}")
    return int(text)
