"""Processes that the keeper starts: none of them outlives it, whatever ends it.

The kernel kills a child when the thread that started it ends (PR_SET_PDEATHSIG); the keeper has
but one. Each child is marked in its environment with the keeper's folder, by which the next
keeper knows what is left of one that was killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

#: The variable with which every child is marked.
MARK: Final = "AMQPOOL_KEEPER_FOLDER"
_PR_SET_PDEATHSIG: Final = 1
#: Loaded before any fork: a child between fork and exec must not load anything.
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def spawn(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C reaches the keeper alone."""
    keeper = os.getpid()

    def die_with_the_keeper() -> None:
        if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) or os.getppid() != keeper:
            os._exit(1)  # it is gone already, and would never signal

    return subprocess.Popen(
        list(arguments),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={**environment, MARK: str(folder)},
        start_new_session=True,
        preexec_fn=die_with_the_keeper,
    )


def marked(folder: Path) -> Iterator[int]:
    """The processes that carry the mark of that folder, of those that we may look into."""
    mark = f"{MARK}={folder}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            environment = Path("/proc", entry, "environ").read_bytes()
        except OSError:  # gone meanwhile, or another user's
            continue
        if mark in environment.split(b"\0"):
            yield int(entry)


def kill_marked(folder: Path) -> int:
    """Kill them; returns how many there were."""
    count = 0
    for pid in marked(folder):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        count += 1
    return count


def resident(pid: int) -> int:
    """Bytes of memory that a process holds, 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
