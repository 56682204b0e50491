"""Hunts in a child process with a deadline: who hangs or crashes costs its own hunts alone.

Owns the child. A hunt that has no result by the end gets one that says why, so that the answer is
as long as the question and nothing is taken for "nothing found" that was never looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.environments import peer_python
from benchmarks.harness.processes import EnvironmentProblem

from .control import REQUIREMENTS
from .hunts import Hunt

WORKER: Final = Path(__file__).with_name("worker.py")
#: Seconds for a process to start and import everything; 0.5 s on an idle machine.
START: Final = 20.0


def pursue_all(hunts: Iterable[Hunt], seconds: float) -> list[dict[str, Any]]:
    """Each hunt's document (`hunts.document`), or `{"hunt", "refused" | "failure"}`, in order.

    `seconds` for all of them together, beside the start of the process; then it is killed.
    """
    return _supervise([{"hunt": asdict(hunt)} for hunt in hunts], seconds)


def control_of(seed: int, seconds: float) -> dict[str, Any]:
    """What `control.searched` says, or `{"refused" | "failure"}`.

    Under the Python of an environment with the control's library, which is made at the first call.
    Where that cannot be, for want of a package index as a rule, the search is refused with the
    reason.
    """
    try:
        python = peer_python(REQUIREMENTS)
    except EnvironmentProblem as error:
        return {"refused": str(error)}
    (result,) = _supervise([{"control": seed}], seconds, python)
    return result


def replay_of(token: str, times: int, seconds: float) -> dict[str, Any]:
    """`{"token", "shown", "invariant", "detail"}`, or `{"token", "refused" | "failure"}`.

    `shown`: how many of the runs made all its choices and came to the same finding as the first.
    """
    (result,) = _supervise([{"token": token, "times": times}], seconds)
    return result


def _supervise(
    entries: list[dict[str, Any]], seconds: float, python: Path | None = None
) -> list[dict[str, Any]]:
    """What the worker says of each."""
    with tempfile.TemporaryDirectory(prefix="schedules-") as name:
        folder = Path(name)
        results = folder / "results.jsonl"
        spec = folder / "spec.json"
        spec.write_text(json.dumps({"results": str(results), "entries": entries}))
        began = time.monotonic()
        with (folder / "errors.log").open("wb") as log:
            # Files of its own: whoever inherits a pipe of asv's keeps asv waiting.
            process = subprocess.Popen(
                [str(python or sys.executable), str(WORKER), str(spec)],
                env=None if python is None else _clean(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        why = _wait(process, START + seconds)
        took = time.monotonic() - began
        found = _read(results)
        words = (folder / "errors.log").read_text(errors="replace")[-2000:].strip()
    reason = f"no result: {why} after {took:.0f} s{f': {words}' if words else ''}"
    return found + [{**entry, "failure": reason} for entry in entries[len(found) :]]


def _clean() -> dict[str, str]:
    """The environment's variables for another Python: what this one is pointed at is not for it."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def _wait(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Wait for its end; kill it when that does not come. How it ended."""
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"the search was ended by its deadline of {seconds:.0f} s"
    finally:
        # On any way out, Ctrl-C as well: by its pid, and never left behind.
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()
    return f"the process ended with status {status}"


def _read(results: Path) -> list[dict[str, Any]]:
    """The whole lines; one that was being written when the process ended is none."""
    if not results.exists():
        return []
    text = results.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
