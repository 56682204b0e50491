"""A program: what is run again and again in different orders.

Owns the pairing of a body with what of its code is explored. `Runner` runs a program any number of
times in one patched world and is the only thing that opens one; `Program.digest` binds what is
found to the very source it was found in.
"""

from __future__ import annotations

import ast
import functools
import gc
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from .namespaces import Namespaces
from .outcome import Outcome, SchedulerFailure
from .patches import patched
from .scheduler import MAX_STEPS, Scheduler
from .strategies import Replay, Strategy
from .tracing import tracer

#: Runs between two collections of garbage. A run leaves some hundred objects in cycles; the
#: collector itself is off while one runs.
RUNS_PER_COLLECTION: Final = 50
#: Bytes of the digest in a token: a change of source goes unnoticed once in a billion.
DIGEST_BYTES: Final = 4


@dataclass(frozen=True)
class Program:
    """A body to explore."""

    #: Without spaces; it stands in tokens.
    name: str
    #: Runs as the first task of a fresh world. It raises `Violation`, or anything, when it finds
    #: something broken.
    body: Callable[[], object]
    #: Files and folders of the code that is explored; all of it must be importable by then.
    sources: tuple[str, ...]
    #: See `tracing.GRANULARITIES`.
    granularity: str = "access"
    #: Probability with which a short timed wait runs out early.
    early: float = 0.0
    max_steps: int = MAX_STEPS
    #: Virtual seconds that only a run in which nobody gets on reaches; None for no such bound.
    horizon: float | None = None
    summary: str = ""

    def wanted(self, file: str) -> bool:
        """Whether code of this file is explored."""
        return file.startswith(self.sources)

    def digest(self) -> bytes:
        """Names source, interpreter and granularity: a token holds for this alone.

        Of the source only what decides where a thread can be interrupted: comments, layout and
        docstrings do not, but at each line layout does.
        """
        text = bytes if self.granularity == "line" else _structure
        total = hashlib.sha256()
        total.update(f"{sys.implementation.cache_tag} {self.granularity} {self.name}".encode())
        for source in self.sources:
            path = Path(source)
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                total.update(file.name.encode() + b"\0" + text(file.read_bytes()) + b"\0")
        return total.digest()[:DIGEST_BYTES]


class Runner:
    """`with Runner(program) as runner:` one patched world for many runs."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._tracer = tracer(program.wanted, program.granularity)
        self._world = patched()
        self._runs = 0

    def __enter__(self) -> Runner:
        self._patches = self._world.__enter__()
        try:
            self._names = Namespaces(self.program.wanted)
            self._tracer.open()
        except BaseException:
            self._world.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._tracer.close()
            self._names.restore()
        finally:
            self._world.__exit__(kind, error, trace)

    def run(self, strategy: Strategy, *, recording: bool = False) -> Outcome:
        """One run. Raises SchedulerFailure."""
        self._runs += 1
        if self._runs % RUNS_PER_COLLECTION == 0:
            gc.collect()
        self._patches.before_run()
        self._names.restore()
        program = self.program
        scheduler = Scheduler(
            strategy,
            tracer=self._tracer,
            wanted=program.wanted,
            max_steps=program.max_steps,
            horizon=program.horizon,
            recording=recording,
        )
        outcome = scheduler.run(program.body)
        if outcome.leaked:
            raise SchedulerFailure(
                f"{program.name}: {outcome.leaked} threads swallowed their end and stay; code that"
                " catches BaseException and goes on cannot be explored"
            )
        if isinstance(strategy, Replay):
            outcome.diverged = strategy.diverged or strategy.left_over
        return outcome


@functools.cache
def _structure(source: bytes) -> bytes:
    """The syntax tree without docstrings and places."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                del node.body[0]
    return ast.dump(tree).encode()


def folder(module_file: str) -> str:
    """The source folder of a package, from its `__file__`."""
    return os.path.dirname(os.path.abspath(module_file)) + os.sep
