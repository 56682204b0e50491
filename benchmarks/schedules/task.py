"""A task: one real thread that runs only when it is given its turn.

Owns what the scheduler knows of one thread: its number (in order of birth, hence the same in each
run), what it waits for and until when, where it was when it last gave up its turn. It decides
nothing. A thread that is not a task is never scheduled: whatever it calls is the real thing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from . import real

if TYPE_CHECKING:
    from types import FrameType

    from .scheduler import Scheduler

#: Waits and interruptions that a task may still run into after it was told to end. Clean-up code
#: needs a handful; one that swallows the end and goes on would otherwise never stop.
PATIENCE: Final = 10_000


class Abandoned(BaseException):
    """Raised in a task whose run is over, at the place where it waits; ends its thread."""


class Waitable(Protocol):
    """Something that a task may wait for."""

    def ready(self) -> bool:
        """Whether the wait may end now. Cheap, without side effects: asked at each step."""

    def describe(self, task: Task) -> str:
        """What it is, for a table of who waits for what."""

    def holder(self) -> Task | None:
        """The task that stands in the way, where it is known."""


class Place(NamedTuple):
    """A line of source."""

    file: str
    line: int
    function: str


class Task:
    """See the module's text."""

    __slots__ = (
        "abandoned",
        "deadline",
        "decisions",
        "done",
        "eager",
        "ended",
        "error",
        "gate",
        "name",
        "number",
        "patience",
        "place",
        "priority",
        "scheduler",
        "thread",
        "wait",
    )

    def __init__(self, scheduler: Scheduler, number: int, name: str) -> None:
        self.scheduler = scheduler
        self.number = number
        self.name = name
        #: The `threading.Thread`, if it is one.
        self.thread: Any = None
        #: Released by whoever hands over the turn.
        self.gate = real.allocate_lock()
        self.gate.acquire()
        #: Released when the thread has left the scheduler for good.
        self.ended = real.allocate_lock()
        self.ended.acquire()
        self.wait: Waitable | None = None
        #: When the wait ends by itself, in virtual seconds; None for never.
        self.deadline: float | None = None
        #: The wait may end by its timer although others could still run.
        self.eager = False
        self.done = False
        self.abandoned = False
        self.patience = PATIENCE
        self.error: BaseException | None = None
        #: Decisions made at this task's own points: a choice is known by task and this number.
        self.decisions = 0
        #: For strategies that give each task one.
        self.priority = 0.0
        self.place: Place | None = None

    def is_ready(self, now: float) -> bool:
        """Whether it could go on now (its timer may have run out)."""
        wait = self.wait
        return wait is None or wait.ready() or (self.deadline is not None and self.deadline <= now)

    def __repr__(self) -> str:
        return f"<Task {self.number} {self.name}>"


#: The scheduler that runs now, in a list so that every module sees the same; at most one.
active: list[Scheduler] = []


def current() -> Task | None:
    """The task that the calling thread is, or None: then everything is the real thing."""
    return active[0].by_ident.get(real.get_ident()) if active else None


class Never:
    """Waiting for nothing: only time ends it."""

    def ready(self) -> bool:
        return False

    def describe(self, task: Task) -> str:
        return "time to pass"

    def holder(self) -> Task | None:
        return None


NEVER: Final = Never()


class Until:
    """Waiting until something holds."""

    def __init__(self, holds: Callable[[], bool], what: str) -> None:
        self.ready = holds  # type: ignore[method-assign]
        self._what = what

    def ready(self) -> bool:
        raise NotImplementedError

    def describe(self, task: Task) -> str:
        return self._what

    def holder(self) -> Task | None:
        return None


def place_of(frame: FrameType | None, wanted: Callable[[str], bool]) -> Place | None:
    """The innermost line that is wanted, else the innermost that is neither ours nor threading's.

    `wanted` is asked with a file name.
    """
    fallback: Place | None = None
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        if wanted(file):
            return Place(file, frame.f_lineno, code.co_qualname)
        if fallback is None and not file.startswith(_PLUMBING):
            fallback = Place(file, frame.f_lineno, code.co_qualname)
        frame = frame.f_back
    return fallback


def here(wanted: Callable[[str], bool]) -> Place | None:
    """The calling thread's place."""
    return place_of(sys._getframe(1), wanted)


_STDLIB: Final = os.path.dirname(os.__file__)
_PLUMBING: Final = (
    os.path.dirname(__file__),
    *(
        f"{_STDLIB}/{name}"
        for name in ("threading.py", "queue.py", "contextlib.py", "concurrent/", "<frozen")
    ),
)
