"""The keeper's folder, and what a keeper that was killed has left behind.

Each keeper holds a lock on its folder, which the kernel gives back when the keeper ends, however
it does. So whoever gets the lock of such a folder knows that its keeper is gone: no process id
that another program may carry by now is trusted. Removed are that folder and the processes that
are marked with it, and nothing else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from .children import kill_marked, marked

PREFIX: Final = "amqpool-rabbitmq-"
#: Seconds for killed processes to be gone; measured: 0.05-0.2.
GONE_SECONDS: Final = 10.0


class Folder:
    """A folder of our own, locked as long as this object or its process lives."""

    def __init__(self) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
            self._lock = _locked(self.path)
            if self._lock is not None:
                return
            # A sweep came between the two steps and has removed it: take another.

    def remove(self) -> None:
        """End every process that is marked with it, then remove it. Safe to call twice."""
        if self._lock is None:
            return
        _remove(self.path)
        os.close(self._lock)
        self._lock = None


def sweep(parent: Path | None = None) -> list[Path]:
    """Remove what dead keepers of this user have left; returns their folders.

    ``parent``: where their folders are, by default the system's temporary folder.
    """
    swept = []
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    for path in sorted(parent.resolve().glob(f"{PREFIX}*")):
        try:
            if path.is_symlink() or path.stat().st_uid != os.geteuid():
                continue
        except FileNotFoundError:
            continue
        lock = _locked(path)
        if lock is None:
            continue
        _remove(path)
        os.close(lock)
        swept.append(path)
    return swept


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock of that folder; None when another has it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except OSError:
        pass  # another has it, or has removed it after we opened it
    os.close(descriptor)
    return None


def _remove(path: Path) -> None:
    """Kill what is marked with it, and remove it. Raises OSError when it does not go."""
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        killed = kill_marked(path)
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass
        except OSError:
            # A process that is being killed may write a last file while we remove the others.
            if time.monotonic() > deadline:
                raise
        if not killed and not path.exists():
            return
        if time.monotonic() > deadline:
            raise OSError(f"processes {list(marked(path))} of {path} do not end")
        time.sleep(0.01)
