"""Threads and file descriptors of this process: what a closed client has left behind.

It looks into ``/proc/self`` and changes nothing. Threads are taken from the system and not from
``threading``, which does not know those that an extension or ``_thread`` started. What the harness
itself holds is there before the client is opened, or is named by whoever asks. It prevents a
client that leaks a thread or a socket with every close from looking clean because it closed.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Resources:
    """One look. ``threads`` by the system's id; ``descriptors`` by what they link to."""

    threads: dict[int, str]
    descriptors: Counter[str]

    def as_json(self) -> dict[str, Any]:
        return {
            "threads": sorted(self.threads.values()),
            "fds": sorted(self.descriptors.elements()),
        }


def look(folder: Path) -> Resources:
    """Threads and descriptors now. Files in ``folder`` are the trial's own: report and progress."""
    return Resources(_threads(), _descriptors(folder))


def new_since(
    before: Resources, now: Resources, own: Collection[int] = ()
) -> tuple[list[str], list[str]]:
    """Names of threads and targets of descriptors that were not there before. Pure.

    ``own``: ids of threads that the harness started meanwhile. Many descriptors share a target
    (``anon_inode:[eventfd]``), so they are counted.
    """
    threads = [
        name for number, name in now.threads.items() if number not in {*before.threads, *own}
    ]
    return sorted(threads), sorted((now.descriptors - before.descriptors).elements())


def _threads() -> dict[int, str]:
    known = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {}
    for entry in os.listdir("/proc/self/task"):
        number = int(entry)
        try:
            found[number] = known.get(number) or Path(f"/proc/self/task/{entry}/comm").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return {number: name.strip() for number, name in found.items()}


def _descriptors(folder: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    own = f"{folder.resolve()}{os.sep}"
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            continue  # closed meanwhile: the listing's own, or a thread at work
        if not target.startswith(own):
            found[target] += 1
    return found


class Baseline:
    """What was there before the client, and what it has left behind since."""

    def __init__(self, folder: Path, own: Callable[[], Collection[int]]) -> None:
        self._folder = folder
        self._own = own
        self.before = look(folder)
        self._known = self.before
        self._new: tuple[list[str], list[str]] = ([], [])

    def clean(self) -> bool:
        """Is nothing there that was not there before (what was taken down before set aside)?"""
        return new_since(self._known, look(self._folder), self._own()) == ([], [])

    def take_down(self) -> None:
        """Write down what is new now; it counts once, however often one looks again."""
        now = look(self._folder)
        threads, descriptors = new_since(self._known, now, self._own())
        self._new = (self._new[0] + threads, self._new[1] + descriptors)
        self._known = Resources(
            {**self._known.threads, **now.threads}, self._known.descriptors | now.descriptors
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "before": self.before.as_json(),
            "after": look(self._folder).as_json(),
            "new_threads": self._new[0],
            "new_fds": self._new[1],
        }
