"""The command line: ``python -m benchmarks.harness VERB``.

Exit status: 0 all judged invariants hold, 1 one was violated (this outranks the others), 2 usage
or environment, 3 unknown. What the user can mend is told in one line, without a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.clients.loader import CLIENTS, ClientError, load_client
from benchmarks.harness.brokers import (
    PASSWORD_VARIABLE,
    BrokerChoice,
    choose_broker,
    kept_broker,
)
from benchmarks.harness.checkers import INVARIANTS
from benchmarks.harness.compare_verb import add_compare, run_compare
from benchmarks.harness.explore_verb import add_explore, is_token, run_explore, run_token
from benchmarks.harness.faults import FAULTS
from benchmarks.harness.gate_verb import add_gate, run_gate
from benchmarks.harness.kinds import EMBEDDED, NAMED
from benchmarks.harness.plan import Plan
from benchmarks.harness.planfile import SavedPlan, load_plan, save_plan
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.harness.request import Request
from benchmarks.harness.result import INVALID, VALID, TrialResult
from benchmarks.harness.scenarios import SCENARIOS, ScenarioError, find_fault, find_scenario
from benchmarks.harness.supervise import run_trial
from benchmarks.harness.table import print_result

HOLDS, VIOLATED, USAGE, UNCLEAR = 0, 1, 2, 3
STATUS = {VALID: HOLDS, INVALID: VIOLATED}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; its subparsers are of this class too."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m benchmarks.harness",
        description="Put a threaded AMQP client on trial.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser("run", help="run one trial and judge it", allow_abbrev=False)
    run.add_argument("scenario", metavar="SCENARIO", help=", ".join(SCENARIOS))
    run.add_argument(
        "--client", default="amqpool", help="a name from `list`, or path/to/file.py:Class"
    )
    _add_broker(run, EMBEDDED)
    run.add_argument("--load", help="as `list` writes it, for example 50x30x5")
    for number in ("threads", "iterations", "kill-interval", "cycles"):
        run.add_argument(f"--{number}", type=int, metavar="N")
    run.add_argument("--seed", type=int, default=1, metavar="N", help="decides the plan (1)")
    run.add_argument(
        "--seconds", type=_seconds, metavar="S", help="end the trial after so long at most"
    )
    run.add_argument("--fault", metavar="KIND", help="instead of the scenario's own faults")
    _add_json(run)
    add_explore(verbs, _seconds)
    replay = verbs.add_parser(
        "replay", help="run a saved plan again, or the order of a token", allow_abbrev=False
    )
    replay.add_argument(
        "file",
        metavar="FILE|TOKEN",
        help="what a trial that was not valid has saved, or what explore printed",
    )
    replay.add_argument("--client", help="instead of the one that the plan was saved with")
    _add_broker(replay, None)
    _add_json(replay)
    listing = verbs.add_parser(
        "list", help="name scenarios, clients, faults and invariants", allow_abbrev=False
    )
    listing.add_argument("--json", metavar="FILE", help="write it there; - is standard output")
    add_gate(verbs)
    _add_broker(add_compare(verbs), EMBEDDED)
    return parser


def _add_broker(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--broker",
        default=default,
        metavar="KIND|URL[,URL...]",
        help=f"{', '.join(NAMED)}, or amqp:// URLs of nodes that run already; the password "
        f"may stand in {PASSWORD_VARIABLE}",
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="those nodes may be on other machines"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", metavar="FILE", help="write the result there; - is standard output"
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and 86400 seconds")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    options.words = words
    # A terminated command ends like an interrupted one: its processes stop, its report is partial.
    signal.signal(signal.SIGTERM, _interrupt)
    doing = {
        "run": _run,
        "explore": _explore,
        "replay": _replay,
        "list": _list,
        "gate": _gate,
        "compare": _compare,
    }
    verb: Callable[[argparse.Namespace], int] = doing[options.verb]
    try:
        return verb(options)
    except (ScenarioError, ClientError, EnvironmentProblem) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("error: interrupted before the trial had begun", file=sys.stderr)
        return UNCLEAR


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    scenario = find_scenario(options.scenario)
    load = scenario.load(
        options.load,
        threads=options.threads,
        iterations=options.iterations,
        kill_interval=options.kill_interval,
        cycles=options.cycles,
    )
    choice = choose_broker(options.broker, remote=options.allow_remote)
    if options.fault is not None:
        find_fault(options.fault, scenario, choice.kind)
    else:
        scenario.faults_on(choice.kind)
    request = Request(
        scenario.name,
        scenario.text(load),
        options.seed,
        options.client,
        options.fault,
        options.seconds,
        choice.label,
    )
    return _try(request, None, choice.able([options.fault]), options.json)


def _explore(options: argparse.Namespace) -> int:
    _check_writable(options.json)
    show = _show_progress if sys.stderr.isatty() else None
    return run_explore(options, lambda document: _write_json(options.json, document), show)


def _replay(options: argparse.Namespace) -> int:
    if is_token(options.file):
        return _replay_token(options)
    saved = load_plan(options.file)
    plan = saved.plan
    choice = choose_broker(options.broker or saved.broker, remote=options.allow_remote)
    plan.check_broker(choice.kind)
    request = Request(
        plan.scenario.name,
        plan.scenario.text(plan.load),
        plan.seed,
        options.client or saved.client,
        plan.fault,
        saved.seconds,
        choice.label,
    )
    choice = choice.able(step.kind for step in plan.faults)
    return _try(request, plan, choice, options.json)


def _replay_token(options: argparse.Namespace) -> int:
    if options.client is not None:
        raise EnvironmentProblem("a token holds for one client alone: leave --client out")
    _check_writable(options.json)
    return run_token(
        options.file,
        options.words,
        lambda document: _write_json(options.json, document),
        quiet=options.json == "-",
    )


def _try(request: Request, plan: Plan | None, choice: BrokerChoice, json_file: str | None) -> int:
    """Run one trial, show what came of it, and return the exit status."""
    load_client(request.client)  # a wrong name is told before anything is started
    _check_writable(json_file)
    terminal = sys.stderr.isatty()
    with kept_broker(choice) as broker:
        result = run_trial(request, _show_progress if terminal else None, plan, broker)
    if terminal:
        _show_progress("")
    if result.verdict != VALID and not result.interrupted:
        _keep_plan(request, result)
    if json_file != "-":
        print_result(result)
    status = STATUS.get(result.verdict, UNCLEAR)
    try:
        _write_json(json_file, result.document)
    except EnvironmentProblem as error:
        print(f"error: {error}", file=sys.stderr)
        return status if status == VIOLATED else USAGE
    return status


def _keep_plan(request: Request, result: TrialResult) -> None:
    """Save the plan for ``replay``. It decides nothing: where it cannot be kept, that is told."""
    assert result.plan is not None
    try:
        saved = SavedPlan(result.plan, request.client, request.seconds, request.broker)
        path = save_plan(saved)
    except OSError as error:
        print(f"the plan could not be saved below {os.getcwd()}: {error.strerror}", file=sys.stderr)
    else:
        result.document["plan_file"] = str(path)


def _show_progress(line: str) -> None:
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()


def _list(options: argparse.Namespace) -> int:
    _check_writable(options.json)
    document: dict[str, Any] = {
        "scenarios": [
            {"name": s.name, "loads": list(s.loads), "summary": s.summary}
            for s in SCENARIOS.values()
        ],
        "clients": sorted(CLIENTS),
        "faults": list(FAULTS),
        "invariants": list(INVARIANTS),
    }
    if options.json is None:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:30} {', '.join(scenario.loads):18} {scenario.summary}")
        print(f"clients:    {', '.join(document['clients'])}, or path/to/file.py:Class")
        for fault in FAULTS.values():
            print(f"fault {fault.name:24} {fault.side:18} {fault.summary}")
        print(f"invariants: {', '.join(document['invariants'])}")
    _write_json(options.json, document)
    return HOLDS


def _gate(options: argparse.Namespace) -> int:
    _check_writable(options.json)
    return run_gate(options, lambda document: _write_json(options.json, document))


def _compare(options: argparse.Namespace) -> int:
    return run_compare(options, _show_progress if sys.stderr.isatty() else None)


def _check_writable(path: str | None) -> None:
    """Find out before the trial, not after it, that its result could not be kept."""
    if path is None or path == "-":
        return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise EnvironmentProblem(f"--json {path}: there is no folder {target.parent}")
    special = target.exists() and not target.is_file()
    if target.is_dir() or not os.access(target if special else target.parent, os.W_OK):
        raise EnvironmentProblem(f"--json {path}: cannot be written")


def _write_json(path: str | None, document: dict[str, Any]) -> None:
    if path is None:
        return
    text = json.dumps(document, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            target.write_text(text)  # a device or a pipe: there is nothing to put in its place
            return
        temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        temporary.write_text(text)
        os.replace(temporary, target)
    except OSError as error:
        raise EnvironmentProblem(f"--json {path}: {error.strerror}") from error
