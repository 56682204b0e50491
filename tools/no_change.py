"""How often does `asv continuous` find a difference where there is none?

Compares a commit with another that changes no code, again and again, in a scratch clone, and says
how often it exited 0. A script and no test: what it measures is also the machine's own noise.

    python -m tools.no_change [--times 10] [--bench REGEX]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tools.scratch import Scratch

#: Seconds for one comparison: twice the suite, and an environment.
_SECONDS = 1800.0
#: What stands in the first column of asv's table of changes, for what changed.
_MARKS = ("+", "-", "!", "*", "x")


def main() -> int:
    """Exit status 0 when every comparison exited 0."""
    parser = argparse.ArgumentParser(prog="no_change", description=__doc__, allow_abbrev=False)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--bench", action="append", default=[], metavar="REGEX")
    options = parser.parse_args()
    chosen = [word for regex in options.bench for word in ("--bench", regex)]
    quiet = 0
    with tempfile.TemporaryDirectory(prefix="amqpool-no-change-") as folder:
        scratch = Scratch(Path(folder) / "repository")
        same = scratch.commit("no change")
        chosen += scratch.selection()
        scratch.asv("machine", "--yes", timeout=_SECONDS)
        for number in range(1, options.times + 1):
            started = time.monotonic()
            done = scratch.asv("continuous", *chosen, scratch.base, same, timeout=_SECONDS)
            seconds = time.monotonic() - started
            quiet += done.returncode == 0
            print(f"{number}: exit {done.returncode} after {seconds:.0f} s", flush=True)
            for line in changes(done.stdout):
                print(f"    {line}", flush=True)
            if done.returncode not in (0, 1):
                print(done.stdout[-3000:], flush=True)
    print(f"{quiet} of {options.times} exited 0")
    return 0 if quiet == options.times else 1


def changes(output: str) -> list[str]:
    """The rows of asv's table of changes."""
    rows = [line.strip() for line in output.splitlines() if line.lstrip().startswith("|")]
    return [row for row in rows if row.strip("|").partition("|")[0].strip() in _MARKS]


if __name__ == "__main__":
    sys.exit(main())
