"""Who is chosen: a strategy is one small class.

A strategy is asked at each point of a run whom to let go on, and between runs whether there is
another one to try. All chance comes from its seed. `early` is the probability with which a timed
wait of at most `EARLY_LIMIT` seconds may run out although others could go on: as on a machine so
slow that they did not.

PCT is after Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding
Bugs" (ASPLOS 2010): random priorities, and d - 1 random points at which the running task's
priority drops below all others. With n tasks and k points, a bug of depth d is found with a
probability of at least 1 / (n k^(d-1)).
"""

from __future__ import annotations

from typing import Final, Protocol

from . import real
from .outcome import Choice, SchedulerFailure
from .task import Task

#: Timed waits that may run out early: seconds. Longer ones are safety nets that no healthy run
#: reaches; letting them run out would only show that they exist.
EARLY_LIMIT: Final = 1.0
#: Decisions that PCT expects of the first run; from then on it knows.
FIRST_LENGTH: Final = 100


class Strategy(Protocol):
    """A way through the orders that are possible."""

    #: Whether all orders that it could choose were chosen.
    exhausted: bool

    def begin(self) -> bool:
        """Prepare the next run; False when there is none."""

    def choose(self, task: Task, runnable: bool, ready: list[Task], timed: list[Task]) -> Task:
        """Who goes on; `task` is at the point. `ready` has one at least."""

    def eager(self, task: Task, seconds: float) -> bool:
        """Whether this timed wait may run out early."""

    def end(self, steps: int) -> None:
        """The run took so many steps. Raises SchedulerFailure when it was not the one meant."""


class Default:
    """Nobody is interrupted; the oldest goes on when somebody cannot."""

    exhausted = False

    def begin(self) -> bool:
        return True

    def choose(self, task: Task, runnable: bool, ready: list[Task], timed: list[Task]) -> Task:
        return task if runnable else ready[0]

    def eager(self, task: Task, seconds: float) -> bool:
        return False

    def end(self, steps: int) -> None:
        """Nothing is learned."""


class _Seeded(Default):
    def __init__(self, seed: int, early: float = 0.0) -> None:
        self._seed = seed
        self._early = early
        self._number = 0
        self._rng = real.Random(seed)

    def begin(self) -> bool:
        # One seed for each run, so that the n-th is the same however many went before.
        self._number += 1
        self._rng = real.Random(self._seed * 1_000_003 + self._number)
        return True

    def eager(self, task: Task, seconds: float) -> bool:
        return self._early > 0 and seconds <= EARLY_LIMIT and self._rng.random() < self._early


class RandomWalk(_Seeded):
    """At each point, with some probability, somebody else; all alike."""

    def __init__(self, seed: int, early: float = 0.0, switch: float = 0.1) -> None:
        super().__init__(seed, early)
        self._switch = switch

    def choose(self, task: Task, runnable: bool, ready: list[Task], timed: list[Task]) -> Task:
        if runnable and self._rng.random() >= self._switch:
            return task
        return self._rng.choice(ready + timed)


class Pct(_Seeded):
    """Random priorities and `depth` - 1 points at which the running task's drops."""

    def __init__(self, seed: int, early: float = 0.0, depth: int = 3) -> None:
        super().__init__(seed, early)
        self._depth = depth
        self._length = FIRST_LENGTH
        self._longest = 0
        self._step = 0
        self._drops: dict[int, int] = {}

    def begin(self) -> bool:
        super().begin()
        self._step = 0
        points = range(1, max(self._length, self._depth) + 1)
        self._drops = {
            step: level
            for level, step in enumerate(self._rng.sample(points, self._depth - 1), start=1)
        }
        return True

    def choose(self, task: Task, runnable: bool, ready: list[Task], timed: list[Task]) -> Task:
        self._step += 1
        level = self._drops.get(self._step)
        if level is not None and runnable:
            # Below every start priority (those are above 0), the later points the lower.
            task.priority = -level
        best: Task | None = None
        for each in (*ready, *timed):
            if not each.priority:
                each.priority = self._rng.random() + 1e-9
            if best is None or each.priority > best.priority:
                best = each
        assert best is not None
        return best

    def end(self, steps: int) -> None:
        # Of decisions with an alternative, not of all steps: only there can priorities matter.
        self._longest = max(self._longest, self._step)
        self._length = self._longest


class Exhaustive(Default):
    """Every order with at most so many interruptions, one after the other, depth first.

    Going on with the running task is free, and so is any choice where it cannot go on. With
    `timers`, an early timer costs what an interruption costs.
    """

    def __init__(self, preemptions: int = 2, *, timers: bool = False) -> None:
        self._limit = preemptions
        self._timers = timers
        self._path: list[tuple[int, int]] = []
        self._position = 0
        self._spent = 0
        self._started = False
        self._lost = False
        self.exhausted = False

    def begin(self) -> bool:
        if self._started:
            while self._path and self._path[-1][0] + 1 >= self._path[-1][1]:
                self._path.pop()
            if not self._path:
                self.exhausted = True
                return False
            taken, options = self._path[-1]
            self._path[-1] = (taken + 1, options)
        self._started = True
        self._position = self._spent = 0
        return True

    def choose(self, task: Task, runnable: bool, ready: list[Task], timed: list[Task]) -> Task:
        free = [task] if runnable else ready
        options = list(free)
        if self._spent < self._limit:
            options += [each for each in (*ready, *timed) if each not in free]
        if len(options) == 1:
            return options[0]
        if self._position == len(self._path):
            self._path.append((0, len(options)))
        taken, known = self._path[self._position]
        if known != len(options):
            self._lost = True
            return options[0]
        self._position += 1
        if taken >= len(free):
            self._spent += 1
        return options[taken]

    def end(self, steps: int) -> None:
        if self._lost or self._position < len(self._path):
            raise SchedulerFailure(
                "the program is not deterministic: a way that was gone before has other branches"
                " now, so no search of it could ever be called exhausted"
            )

    def eager(self, task: Task, seconds: float) -> bool:
        return self._timers and seconds <= EARLY_LIMIT


class Replay(Default):
    """Exactly these choices, and the default everywhere else."""

    def __init__(self, choices: list[Choice]) -> None:
        self._wanted = {(choice.task, choice.decision): choice.chosen for choice in choices}
        #: Whether a choice could not be made as it was asked for.
        self.diverged = False

    def choose(self, task: Task, runnable: bool, ready: list[Task], timed: list[Task]) -> Task:
        number = self._wanted.pop((task.number, task.decisions), None)
        if number is not None:
            for candidate in (*ready, *timed):
                if candidate.number == number:
                    return candidate
            self.diverged = True
        return super().choose(task, runnable, ready, timed)

    @property
    def left_over(self) -> bool:
        """Whether some choices were never asked for."""
        return bool(self._wanted)

    def eager(self, task: Task, seconds: float) -> bool:
        # Whether it is taken is for the choices to say.
        return seconds <= EARLY_LIMIT
