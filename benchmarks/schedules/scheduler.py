"""The scheduler: exactly one task runs; it decides which, at each point where it is asked.

It owns the turn, the virtual clock and the verdict of one run. A task gives up its turn at a
*point* (it could go on) or in a *block* (it cannot, until something is ready or its time is up).
Then a strategy chooses among those that could go on, and the turn is handed over by a private
lock: the operating system has nothing to choose. Time passes only when nobody could go on without
it, or when a timer was chosen to run out early.

A deadlock is exact: nobody can go on and no timer is left, or threads wait for each other in a
circle; a program may also give a horizon of virtual time that only idle timers ever reach. Whatever
happens, `run` ends every task
before it returns; one that cannot be ended is counted. A task that blocks outside the scheduler's
sight is a failure of the scheduler, told as such with all stacks: never a deadlock of the client.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from . import deadlock, real
from .outcome import Choice, Finding, Outcome, SchedulerFailure, Switch, from_error
from .task import NEVER, Abandoned, Task, Waitable, active, current, here

#: Real seconds without a single step after which a task must be blocked for real.
STALL: Final = 10.0
#: Real seconds that an abandoned thread is given to end; it needs microseconds.
LEAVE: Final = 5.0
#: What a reading of the clock costs, in virtual seconds: a loop that only reads it must end.
READING: Final = 1e-6
#: Each wait that an abandoned task still begins costs this much of its patience.
PATIENCE_OF_A_WAIT: Final = 100
#: Points of one run after which it is called a livelock.
MAX_STEPS: Final = 50_000


class Chooser(Protocol):
    """What the scheduler asks of a strategy."""

    def choose(self, task: Task, runnable: bool, ready: list[Task], timed: list[Task]) -> Task:
        """Who goes on after `task`; choosing one of `timed` makes its timer run out."""

    def eager(self, task: Task, seconds: float) -> bool:
        """Whether the timed wait that begins may run out while others could go on."""


class Tracer(Protocol):
    """What makes points inside a task's code."""

    def start(self) -> None:
        """The calling thread is a task from now on."""

    def stop(self) -> None:
        """It is none any more."""

    def explore(self, on: bool) -> None:
        """From now on points are wanted, or are not."""


class Scheduler:
    """Runs one program once; see the module's text."""

    def __init__(
        self,
        strategy: Chooser,
        *,
        tracer: Tracer | None = None,
        wanted: Callable[[str], bool] = lambda _file: False,
        max_steps: int = MAX_STEPS,
        horizon: float | None = None,
        recording: bool = False,
    ) -> None:
        self._strategy = strategy
        self._tracer = tracer
        self._max_steps = max_steps
        self._horizon = horizon
        self._recording = recording
        self._alive: list[Task] = []
        # Who can go on, as last looked up, and whether it must be looked up again: only what passes
        # through this class can change it, so points inside plain code need not ask.
        self._ready: list[Task] = []
        self._timed: list[Task] = []
        self._stale = True
        # Decisions made so far, explored or not.
        self._turns = 0
        self._over = False
        self._finished = real.allocate_lock()
        self._finished.acquire()
        self.wanted = wanted
        self.tasks: list[Task] = []
        self.by_ident: dict[int, Task] = {}
        self.by_thread: dict[Any, Task] = {}
        #: Virtual seconds since the start.
        self.now = 0.0
        #: Whether points are decided by the strategy; off, a task runs until it blocks.
        self.exploring = False
        self.outcome = Outcome()

    # -- the controller: a thread that is no task ----------------------------------------------

    def run(self, body: Callable[[], object]) -> Outcome:
        """Run `body` as the first task, and all that it starts. Raises SchedulerFailure."""
        if active:
            raise SchedulerFailure("a scheduler is running already: they cannot be nested")
        active.append(self)
        try:
            root = self.spawn(body, (), "main")
            _wake(root)
            self._watch()
        finally:
            self._over = True
            self.explore(False)
            try:
                self._end_all()
            finally:
                active.clear()
        return self.outcome

    def explore(self, on: bool) -> None:
        """Decide at points from now on, or let each task run until it blocks."""
        self.exploring = on
        if self._tracer is not None:
            self._tracer.explore(on)

    def _watch(self) -> None:
        seen = -1
        while not self._finished.acquire(timeout=STALL):
            if self._turns == seen:
                raise SchedulerFailure(
                    f"no step for {STALL:.0f} s: a task blocks outside the scheduler, or computes "
                    f"without an end\n{self._stacks()}"
                )
            seen = self._turns

    def _stacks(self) -> str:
        frames = sys._current_frames()
        names = {ident: task.name for ident, task in list(self.by_ident.items())}
        return "\n".join(
            f"{name}:\n{''.join(traceback.format_stack(frames[ident])[-6:])}"
            for ident, name in names.items()
            if ident in frames
        )

    def _end_all(self) -> None:
        # Newest first: what a thread started is gone before its own clean-up looks for it.
        for task in reversed(self.tasks):
            if not task.done:
                task.abandoned = True
                _wake(task)
            if not task.ended.acquire(timeout=LEAVE):
                self.outcome.leaked += 1

    # -- tasks ---------------------------------------------------------------------------------

    def spawn(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...],
        name: str,
        start: Callable[[Callable[[], None]], object] | None = None,
    ) -> Task:
        """Make a task; it runs when it is chosen. `start` starts its thread, if it is special."""
        if self._over:
            raise RuntimeError("can't start new thread: the run is over")
        task = Task(self, len(self.tasks), name)
        self.tasks.append(task)
        self._alive.append(task)
        (start or _start)(lambda: self._main(task, function, args))
        return task

    def _main(self, task: Task, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        task.gate.acquire()
        self.by_ident[real.get_ident()] = task
        try:
            if not task.abandoned:
                if self._tracer is not None:
                    self._tracer.start()
                function(*args)
        except Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 - any uncaught exception is a finding
            self.uncaught(task, error)
        finally:
            if self._tracer is not None:
                self._tracer.stop()
            self._leave(task)

    def uncaught(self, task: Task, error: BaseException) -> None:
        """An exception left a thread."""
        if isinstance(error, Abandoned) or task.abandoned:
            return
        task.error = error
        if self.outcome.finding is None:
            self.outcome.finding = from_error(error, task.name)

    def _leave(self, task: Task) -> None:
        task.done = True
        if task.thread is None:
            # Whoever asked for the current thread got a dummy, which would outlive this one.
            threading._active.pop(real.get_ident(), None)  # type: ignore[attr-defined]
        self._alive.remove(task)
        self._stale = True
        del self.by_ident[real.get_ident()]
        if not self._over:
            following = None if task.number == 0 else self._decide(task, runnable=False)
            if following is None:
                self._finish()
            else:
                self._record(task, following, "ended")
                _wake(following)
        task.ended.release()

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self._finished.release()

    # -- points and blocks, called by the running task -------------------------------------------

    def point(self, task: Task) -> None:
        """The task could be interrupted here; what others wait for may have changed, or will."""
        self._stale = True
        self.trace_point(task)
        self._stale = True

    def trace_point(self, task: Task) -> None:
        """The task could be interrupted here; nothing that others wait for has changed."""
        if self.exploring:
            if not task.abandoned:
                self._give_turn(task, runnable=True)
        elif task.abandoned:
            task.patience -= 1
            if task.patience < 0:
                raise Abandoned

    def block(self, task: Task, wait: Waitable, seconds: float | None) -> bool:
        """Wait until `wait` is ready, `seconds` at most; whether it is."""
        if task.abandoned:
            self._refuse(task)
        task.wait = wait
        if seconds is not None:
            task.deadline = self.now + max(0.0, seconds)
            task.eager = self.exploring and self._strategy.eager(task, seconds)
        self._stale = True
        try:
            self._give_turn(task, runnable=task.is_ready(self.now))
            return wait.ready()
        finally:
            task.wait = None
            task.deadline = None
            task.eager = False
            self._stale = True

    def _refuse(self, task: Task) -> None:
        task.patience -= PATIENCE_OF_A_WAIT
        if task.patience < 0:
            # It swallows its end again and again: it is left here for good, and counted.
            task.gate.acquire()
        raise Abandoned

    def sleep(self, task: Task, seconds: float) -> None:
        """Let virtual time pass."""
        self.block(task, NEVER, seconds)

    def read_clock(self) -> float:
        """The virtual time, in seconds."""
        self.now += READING
        return self.now

    def _give_turn(self, task: Task, *, runnable: bool) -> None:
        following = self._decide(task, runnable=runnable)
        if following is task:
            return
        if following is None:
            self._finish()
        else:
            if self._recording:
                wait = task.wait
                why = "interrupted" if wait is None else f"waits for {wait.describe(task)}"
                task.place = here(self.wanted)
                self._record(task, following, why)
            _wake(following)
        task.gate.acquire()
        if task.abandoned:
            raise Abandoned

    def _record(self, left: Task, entered: Task, why: str) -> None:
        if self._recording and self.exploring:
            place = None if left.done else left.place
            self.outcome.switches.append(
                Switch(self.outcome.steps, left.name, place, why, entered.name)
            )

    # -- deciding --------------------------------------------------------------------------------

    def _decide(self, task: Task, *, runnable: bool) -> Task | None:
        """Who goes on; None when the run is over."""
        outcome = self.outcome
        self._turns += 1
        if self.exploring:
            outcome.steps += 1
            task.decisions += 1
            if outcome.steps > self._max_steps:
                self._found("livelocks", f"no end after {self._max_steps} steps", "")
                return None
        if task.wait is not None and not runnable and deadlock.circle(task):
            self._deadlocked("threads wait for each other")
            return None
        if self._stale and not self._look_up():
            return None
        ready, timed = self._ready, self._timed
        default = task if runnable else ready[0]
        if not self.exploring or len(ready) + len(timed) == 1:
            return default
        chosen = self._strategy.choose(task, runnable, ready, timed)
        if chosen is not default:
            outcome.choices.append(Choice(task.number, task.decisions, chosen.number))
        if chosen in timed and chosen.deadline is not None:
            self.now = max(self.now, chosen.deadline)
        return chosen

    def _look_up(self) -> bool:
        """Find out who can go on; False when nobody ever can again."""
        now = self.now
        ready: list[Task] = []
        timed: list[Task] = []
        for each in self._alive:
            if each.is_ready(now):
                ready.append(each)
            elif each.eager:
                timed.append(each)
        if not ready:
            ready = self._let_time_pass()
            if not ready:
                return self._deadlocked("no thread can go on")
            if self._horizon is not None and self.now > self._horizon:
                return self._deadlocked(
                    f"only background timers run out any more, for {self._horizon:.0f} s"
                )
            timed = [each for each in timed if each not in ready]
        self._ready, self._timed, self._stale = ready, timed, False
        return True

    def _deadlocked(self, what: str) -> bool:
        rows = deadlock.rows(self._alive, self.wanted)
        self._found("deadlocks", f"{what}:\n{deadlock.text(rows)}", deadlock.kind(rows))
        return False

    def _let_time_pass(self) -> list[Task]:
        """Nobody can go on: the clock jumps to the next timer."""
        deadlines = [each.deadline for each in self._alive if each.deadline is not None]
        if not deadlines:
            return []
        self.now = now = max(self.now, min(deadlines))
        return [each for each in self._alive if each.is_ready(now)]

    def _found(self, invariant: str, detail: str, kind: str) -> None:
        if self.outcome.finding is None:
            self.outcome.finding = Finding(invariant, detail, kind)


def _wake(task: Task) -> None:
    try:
        task.gate.release()
    except RuntimeError:
        pass  # interrupted in the midst of a run: it has its turn already, and will see its end


def _start(main: Callable[[], None]) -> None:
    real.start_new_thread(main, ())


@contextmanager
def exploring(on: bool) -> Iterator[None]:
    """Within, points of all tasks are decided by the strategy, or not at all."""
    task = current()
    assert task is not None, "only a task can say what is explored"
    scheduler = task.scheduler
    before = scheduler.exploring
    scheduler.explore(on)
    try:
        yield
    finally:
        if not task.abandoned:
            scheduler.explore(before)
