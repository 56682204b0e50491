"""The table of a deadlock: who waits for what, held by whom, and where.

Reads the tasks as they stand and changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from .task import Place, Task, place_of


class Row(NamedTuple):
    """One task that cannot go on."""

    thread: str
    waits_for: str
    held_by: str
    place: Place | None


def rows(tasks: list[Task], wanted: Callable[[str], bool]) -> list[Row]:
    """One row for each task that has not ended, in order of birth."""
    frames = sys._current_frames()
    idents = {task: ident for t in tasks for ident, task in t.scheduler.by_ident.items()}
    found = []
    for task in tasks:
        wait = task.wait
        holder = None if wait is None else wait.holder()
        found.append(
            Row(
                task.name,
                "nothing" if wait is None else wait.describe(task),
                "" if holder is None else f"{holder.name}{' (ended)' if holder.done else ''}",
                place_of(frames.get(idents.get(task, 0)), wanted),
            )
        )
    return found


def circle(task: Task) -> bool:
    """Whether the task waits, without a timer, for one that waits for ... the task itself.

    That is a deadlock whatever others do meanwhile: background threads with timers would else hide
    it for ever. A lock that is waited for by its own holder is a signal, which another will give.
    """
    seen = [task]
    while True:
        last = seen[-1]
        holder = None if last.wait is None or last.deadline is not None else last.wait.holder()
        if holder is None or holder is last or holder.done:
            return False
        if holder is task:
            return True
        if holder in seen:
            return False
        seen.append(holder)


def text(table: list[Row]) -> str:
    """The table, one task a line."""
    lines = []
    for row in table:
        where = ""
        if row.place is not None:
            where = f" at {os.path.basename(row.place.file)}:{row.place.line}"
        held = f", held by {row.held_by}" if row.held_by else ""
        lines.append(f"{row.thread} waits for {row.waits_for}{held}{where}")
    return "\n".join(f"  {line}" for line in lines)


def kind(table: list[Row]) -> str:
    """What tells one deadlock from another: who waits where."""
    return "; ".join(
        f"{row.thread}@{row.place.function if row.place else '?'}" for row in sorted(table)
    )
