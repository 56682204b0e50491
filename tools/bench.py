"""``make bench``: asv over HEAD, its pages, a summary, and an exit status that means something.

It measures and sums up under one label, the embedded broker's unless ``--broker`` names another.

Exit status: 0 everything was measured and every violation is 0; 1 a violation or a failed
benchmark; 2 something was not measured, or asv could not run here; 130 interrupted. Repeated, it
measures again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

from benchmarks.harness.kinds import EMBEDDED
from benchmarks.harness.processes import EnvironmentProblem
from tools import bench_summary
from tools.label import require, selection

ROOT = Path(__file__).resolve().parents[1]
HOLDS, BROKEN, USAGE, INTERRUPTED = 0, 1, 2, 130
#: What `asv run` exits with when it ran: 2 means that a benchmark raised or timed out.
RAN = (0, 2)
#: Seconds for asv to end its own children after an interrupt, before it is killed.
PATIENCE = 20.0


def main() -> int:
    """Run it all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--broker", default=EMBEDDED, metavar="LABEL", help=f"({EMBEDDED})")
    label: str = parser.parse_args().broker
    # Whoever ends this process ends asv first, in order.
    signal.signal(signal.SIGTERM, _interrupt)
    os.chdir(ROOT)
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return USAGE
    if _git("status", "--porcelain", "--", "src", "pyproject.toml"):
        print("note: src/ has changes that are not committed: measured is HEAD without them")
    give_home(ROOT / ".asv" / "home")
    try:
        require(label)
        return _measure(commit, label)
    except EnvironmentProblem as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _measure(commit: str, label: str) -> int:
    started = time.monotonic()
    chosen = selection(label)
    if _asv("machine", "--yes", quiet=True) != 0:
        return USAGE
    # With --show-stderr the witnesses of violations are shown where they were found.
    status = _asv("run", *chosen, "--show-stderr", f"{commit}^!")
    if status not in RAN:
        print(f"error: asv run ended with status {status}: see above", file=sys.stderr)
        return USAGE
    published = _asv("publish", "--no-pull", quiet=True)
    stored = bench_summary.read(ROOT, commit, label)
    print()
    bench_summary.show(stored)
    wrong = bench_summary.problems(stored, label)
    for line in wrong:
        print(f"wrong: {line}")
    values = sum(len(sheet.cells) for sheet in stored.sheets)
    seconds = time.monotonic() - started
    measured = f"{values} values of {commit[:8]} on {label}"
    print(f"\n{measured} in {seconds:.0f} s, {len(wrong)} of them wrong")
    if published != 0:
        print("error: asv publish failed", file=sys.stderr)
        return USAGE
    pages = ROOT / ".asv" / "html"
    if not (pages / "vendor").is_dir():
        print("note: the pages need the internet, because npm could not fetch their libraries")
    print(f"pages: {pages / 'index.html'}#/invariants")
    print(f"to look at them: {sys.executable} -m asv preview")
    return bench_summary.status(stored, label) or (BROKEN if status != 0 else HOLDS)


def _asv(*arguments: str, quiet: bool = False) -> int:
    """Run one asv command; its output is shown, or only when it failed."""
    sys.stdout.flush()
    process = subprocess.Popen(
        [sys.executable, "-m", "asv", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        # A group of its own: an interrupt reaches this process alone, which passes it on once.
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except KeyboardInterrupt:
        _end(process)
        raise
    if process.returncode != 0 and quiet:
        sys.stderr.write(output.decode(errors="replace"))
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """asv ends its benchmark when it is interrupted, and that ends its broker and proxy."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt


def _git(*arguments: str) -> str | None:
    """What git says, or None after telling why it cannot."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        print("error: git is not installed, and asv measures commits", file=sys.stderr)
        return None
    if done.returncode != 0:
        print(f"error: git: {done.stderr.strip()}", file=sys.stderr)
        return None
    return done.stdout.strip()


def give_home(folder: Path) -> None:
    """asv keeps the machine's description in the home folder; some users have none to write in."""
    if not os.access(os.path.expanduser("~"), os.W_OK):
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["HOME"] = str(folder)


if __name__ == "__main__":
    sys.exit(main())
