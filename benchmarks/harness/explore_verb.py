"""The verb ``explore`` of the command line, and ``replay`` for a token.

It asks for searches, shows what they came to and says so by exit status: 0 nothing was found in the
budget, 1 something was (this outranks the others), 2 usage or environment, 3 the scheduler itself
failed, or nothing was searched to its bound. A budget that ran out is called "not exhausted" and
never "holds". It decides nothing about orders or findings; `benchmarks.schedules` does.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.harness.supervise import python_of
from benchmarks.schedules.corpus import of_program
from benchmarks.schedules.explore import STRATEGIES, Report, replay
from benchmarks.schedules.hunts import (
    MODEL,
    ROOT,
    Hunt,
    document,
    find_program,
    found_from_anywhere,
    pursue,
)
from benchmarks.schedules.outcome import SchedulerFailure
from benchmarks.schedules.scenarios import DEFAULT_CLIENT, catalogue
from benchmarks.schedules.story import story
from benchmarks.schedules.tokens import BadToken, decode

CLEAN, FOUND, FAILED = 0, 1, 3
#: Schedules for each scenario when no bound is given; all of them then take some minutes.
SCHEDULES = 100
#: How often a token is run.
TIMES = 10
#: Seconds between two lines of progress: a person reads no faster.
PROGRESS = 0.2

Write = Callable[[dict[str, Any]], None]
Show = Callable[[str], None]


def add_explore(verbs: Any, seconds: Callable[[str], float]) -> None:
    """Add the verb to the parser of the command line."""
    explore = verbs.add_parser(
        "explore", help="search thread schedules for races", allow_abbrev=False
    )
    explore.add_argument(
        "scenario",
        nargs="*",
        metavar="SCENARIO",
        help="for example publish+kill.1; without one, every pair and mix with pools of 1 and 2",
    )
    explore.add_argument(
        "--client", default=DEFAULT_CLIENT, help="a name from `list`, or path/to/file.py:Class"
    )
    explore.add_argument("--strategy", default="pct", choices=STRATEGIES, help="(pct)")
    explore.add_argument(
        "--depth", type=_positive, metavar="D", help="PCT's (3); interruptions of dfs (2)"
    )
    explore.add_argument(
        "--schedules",
        type=_positive,
        metavar="N",
        help=f"for each scenario at most ({SCHEDULES}, if no other bound is given; dfs: all)",
    )
    explore.add_argument("--seed", type=int, default=1, metavar="N", help="(1)")
    explore.add_argument(
        "--seconds", type=seconds, metavar="S", help="for all scenarios together at most"
    )
    explore.add_argument("--json", metavar="FILE", help="write it there; - is standard output")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


# -- exploring -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Searched:
    """One row of the table: what a search came to, or why it came to nothing."""

    hunt: Hunt
    document: dict[str, Any]

    @property
    def races(self) -> int:
        return int(self.document.get("races", 0))

    @property
    def failed(self) -> bool:
        return "failure" in self.document


def run_explore(options: argparse.Namespace, write: Write, show: Show | None) -> int:
    """Search, print and hand the document to ``write``; returns the exit status.

    ``show`` replaces the line of progress; None where nobody looks. Raises EnvironmentProblem,
    ClientError.
    """
    hunts = _hunts(options)
    quiet = options.json == "-"
    searched: list[_Searched] = []
    interrupted = False
    deadline = None if options.seconds is None else time.monotonic() + options.seconds
    try:
        for number, hunt in enumerate(hunts, 1):
            shared = _share(hunt, deadline, len(hunts) - number + 1)
            progress = None if show is None else _progress(show, number, len(hunts))
            searched.append(_search(shared, progress))
            if show is not None:
                show("")
            if not quiet:
                _tell(searched[-1])
    except KeyboardInterrupt:
        interrupted = True
    if not quiet:
        _summary(searched, len(hunts), interrupted)
    write(
        {
            "client": options.client,
            "python": platform.python_version(),
            "planned": len(hunts),
            "interrupted": interrupted,
            "searches": [{"scenario": s.hunt.program, **s.document} for s in searched],
        }
    )
    if any(each.races for each in searched):
        return FOUND
    whole = len(searched) == len(hunts) and not any(each.failed for each in searched)
    return CLEAN if whole else FAILED


def _hunts(options: argparse.Namespace) -> list[Hunt]:
    """What is asked for. Raises EnvironmentProblem, ClientError."""
    _go_where_it_is(options.client, options.words)
    bound = options.schedules
    if bound is None and options.seconds is None and options.strategy != "dfs":
        bound = SCHEDULES
    depth = options.depth or (2 if options.strategy == "dfs" else 3)
    prefix = "" if options.client == DEFAULT_CLIENT else f"{options.client}:"
    hunts = []
    for name in options.scenario or catalogue():
        hunt = Hunt(f"{prefix}{name}", options.strategy, depth, options.seed, bound)
        try:
            find_program(hunt.program)
        except KeyError:
            raise EnvironmentProblem(
                f"unknown scenario {name!r}: write operations and the size of the pool, for example"
                " publish+kill.1 (docs/schedules.md has the operations)"
            ) from None
        hunts.append(hunt)
    return hunts


def _go_where_it_is(client: str, words: Sequence[str]) -> None:
    """Become the same command under the Python of the client's environment, if that is another.

    Raises EnvironmentProblem, and ClientError for a wrong name.
    """
    python = python_of(client)
    if python != Path(sys.executable):
        sys.stdout.flush()
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONHOME"}
        environment["PYTHONPATH"] = str(ROOT)
        os.execve(python, [str(python), "-m", "benchmarks.harness", *words], environment)


def _share(hunt: Hunt, deadline: float | None, left: int) -> Hunt:
    """The hunt with its part of the time that is left."""
    if deadline is None:
        return hunt
    return replace(hunt, seconds=max(0.0, deadline - time.monotonic()) / left)


def _search(hunt: Hunt, progress: Callable[[Report], None] | None) -> _Searched:
    """What was found there before, first; then the search. Raises ClientError.

    A token that is stale is not run: the search that found it is.
    """
    known = of_program(hunt.program)
    stale = [entry for entry in known if entry.stale]
    tokens = [entry.token for entry in known if entry.token and entry not in stale]

    def searched(of: Hunt, report: Report) -> _Searched:
        return _Searched(of, {**document(of, report), "stale_tokens": len(stale)})

    try:
        for entry in known:
            if entry.mended or entry in stale:
                report = pursue(replace(entry.hunt, seconds=hunt.seconds), progress=progress)
                if report.found is not None:
                    return searched(entry.hunt, report)
        report = pursue(hunt, tokens=tokens, progress=progress)
    except SchedulerFailure as error:
        return _Searched(hunt, {"failure": str(error)})
    return searched(hunt, report)


def _progress(show: Show, number: int, of: int) -> Callable[[Report], None]:
    shown = 0.0

    def progress(report: Report) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= PROGRESS:
            shown = now
            show(f"{number} of {of}: {report.program}, {report.schedules} schedules")

    return progress


# -- telling ---------------------------------------------------------------------------------


def _tell(searched: _Searched) -> None:
    """One line, and behind it what was found."""
    hunt, found = searched.hunt, searched.document
    if searched.failed:
        print(f"{hunt.program:28} {hunt.how:7} the scheduler failed: {found['failure']}")
        return
    how = "exhausted" if found["exhausted"] else "not exhausted"
    print(
        f"{hunt.program:28} {hunt.how:7} {found['schedules']:7,} schedules  {how:13}"
        f"  {found['races']} races",
        flush=True,
    )
    stale = found["stale_tokens"]
    if stale:
        what = "a known token is" if stale == 1 else f"{stale} known tokens are"
        print(f"    {what} of another source or Python, and was searched for again instead")
    finding = found["finding"]
    if finding is not None:
        print(f"\n{finding['story']}\n")
        print(f"token: {finding['token']}")
        print(f"run it again: {replay_command(finding['token'])}\n")


def replay_command(token: str) -> str:
    """What runs a token again; it has no character that a shell would read."""
    return f"python -m benchmarks.harness replay {token}"


def _summary(searched: Sequence[_Searched], planned: int, interrupted: bool) -> None:
    of = [each.document for each in searched if not each.failed]
    schedules = sum(each["schedules"] for each in of)
    exhausted = sum(each["exhausted"] for each in of)
    races = sum(each["races"] for each in of)
    failed = len(searched) - len(of)
    parts = [
        f"{len(searched)} of {planned} scenarios",
        f"{schedules:,} schedules",
        f"{exhausted} exhausted",
        f"{races} races" if races else "nothing found",
    ]
    if failed:
        parts.append(f"the scheduler failed in {failed}")
    if interrupted:
        parts.append("interrupted")
    print("\n" + ", ".join(parts))
    if not races and exhausted < planned:
        print("nothing is proven where a search was not exhausted: its budget ran out")


# -- replaying -------------------------------------------------------------------------------


def is_token(text: str) -> bool:
    """Whether this is meant as a token: it looks like one, and there is no such file."""
    return text.count("~") >= 2 and not Path(text).exists()


def run_token(text: str, words: Sequence[str], write: Write, *, quiet: bool) -> int:
    """Run a token's order ten times and print its story; returns the exit status.

    Raises EnvironmentProblem for one that is not for what is there, ClientError.
    """
    try:
        program = decode(text).name
        client, colon, _scenario = program.rpartition(":")
        if colon and not program.startswith(MODEL):
            _go_where_it_is(found_from_anywhere(client), words)
        outcomes = replay(text, find_program, TIMES)
    except BadToken as error:
        raise EnvironmentProblem(str(error)) from error
    except SchedulerFailure as error:
        print(f"error: the scheduler failed: {error}", file=sys.stderr)
        return FAILED
    first = outcomes[0]
    alike = [
        each
        for each in outcomes
        if not each.diverged and (each.finding, each.steps) == (first.finding, first.steps)
    ]
    finding = first.finding
    if not quiet:
        print(f"{program}: {story(first)}\n")
        what = "nothing found" if finding is None else finding.invariant
        print(f"{len(alike)} of {TIMES} runs alike: {what}")
    write(
        {
            "scenario": program,
            "token": text,
            "runs": TIMES,
            "alike": len(alike),
            "invariant": None if finding is None else finding.invariant,
            "detail": None if finding is None else finding.detail,
            "story": story(first),
        }
    )
    if len(alike) < TIMES:
        return FAILED
    return CLEAN if finding is None else FOUND
