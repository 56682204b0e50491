"""The verb ``gate`` of the command line: its arguments, and what it does with them.

asv reads and prints on its own account; what belongs on standard output here is the report alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.harness.gate import EMBEDDED, judge
from benchmarks.harness.processes import EnvironmentProblem


def add_gate(verbs: Any) -> None:
    """Add the verb to the parser of the command line."""
    from benchmarks.harness.gate_report import FORMATS

    gate = verbs.add_parser("gate", help="judge what asv stored of a commit", allow_abbrev=False)
    gate.add_argument("commit", nargs="?", default="HEAD", metavar="COMMIT", help="(HEAD)")
    gate.add_argument(
        "--require",
        type=_labels,
        default=(EMBEDDED,),
        metavar="LABEL[,LABEL]",
        help=f"brokers that must have been measured ({EMBEDDED})",
    )
    gate.add_argument("--base", metavar="COMMIT", help="say also what is slower or faster than it")
    gate.add_argument("--format", choices=list(FORMATS), default="text")
    gate.add_argument("--json", metavar="FILE", help="write the verdict there as well, as JSON")
    gate.add_argument(
        "--config", default="asv.conf.json", metavar="FILE", help="asv's (asv.conf.json)"
    )


def run_gate(options: argparse.Namespace, write: Callable[[dict[str, Any]], None]) -> int:
    """Judge and print, and hand the document to ``write``; returns the exit status.

    Raises EnvironmentProblem: no such commit, nothing stored, no asv.
    """
    from benchmarks.harness.gate_report import FORMATS, document

    try:
        from benchmarks.harness.gate_results import Store

        store = Store(options.config)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("asv", "asv_runner"):
            raise
        raise EnvironmentProblem(
            "the gate reads asv's results: install asv, or use .venv"
        ) from None
    commit = store.commit(options.commit)
    base = None if options.base is None else store.commit(options.base)
    changes = [] if base is None else store.changes(base, commit)
    verdict = judge(store.stored(commit), options.require, base, changes)
    if options.json != "-":
        sys.stdout.write(FORMATS[options.format](verdict))
    write(document(verdict))
    return verdict.status


def _labels(text: str) -> tuple[str, ...]:
    labels = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not labels:
        raise argparse.ArgumentTypeError("name at least one label")
    return labels
