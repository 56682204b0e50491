"""What all mutants have in common: how the real pool is broken on purpose.

A mutant is an adapter like any other (``--client tests/mutants/leaks.py:ThreadLeaked``). It patches
the classes of the real pool, in its trial's own process and just before the pool is made, and
brings back one realistic bug. It never touches the instrument: a detector that fires on a mutant
fires on a client. One family, that is one invariant, to a file.

Each class says, beside what is broken (its docstring) and where it is tried:

- ``rises``: the counters that rise each time, the one that it stands for first;
- ``may_rise``: what a race decides besides; its docstring says why. No other counter may rise.
- ``pause``: a race that seldom happens may be widened, by a pause at the racy line alone. The
  docstring then says "Widened", and the same race at its natural width stands in ``UNWIDENED``.

The trial's seed decides what a mutant draws: which calls go wrong, and how long a pause lasts.
"""

from __future__ import annotations

import importlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from benchmarks.clients.amqpool import AmqpoolClient
from benchmarks.clients.base import Bounds

#: What a mutant answers when the real method is to go on.
GO_ON: Any = object()

#: For mutants that hang or run into every timeout: the stall window is then five seconds, and a
#: sound operation is still hundreds of times faster than two.
HASTY = Bounds(operation=2.0, heartbeat=0.0, recovery=2.0, close=2.0)

#: For mutants that starve the pool, so that acquire after acquire waits for its time out.
STARVING = Bounds(operation=0.5, heartbeat=0.0, recovery=0.5, close=2.0)

#: For mutants that starve the pool by confirms that never come: its channels are given up after
#: half an operation, and what the client closes a second behind a confirm is no longer the tail
#: of anything (benchmarks.harness.books.TAIL).
PATIENT = Bounds(operation=3.0, heartbeat=0.0, recovery=0.5, close=2.0)

PUBLISH = "amqpool:SharedChannel.basic_publish"
DRAIN = "amqpool:ChannelPool.drain_events"
DELIVER = "amqpool:SharedChannel._on_basic_deliver"
CLOSE = "amqpool:ChannelPool.close"


class Mutant(AmqpoolClient):
    """Base: breaks the pool just before it is made."""

    scenario: ClassVar[str] = "chaos_no_deadlock"
    load: ClassVar[str] = "10x100"
    #: Takes the place of the scenario's own faults.
    fault: ClassVar[str | None] = None
    rises: ClassVar[tuple[str, ...]]
    may_rise: ClassVar[frozenset[str]] = frozenset()
    #: Mean of the pause at the racy line (seconds); 0: the race has its natural width.
    pause: ClassVar[float] = 0.0

    #: A scenario may open several clients, one after the other; the classes are patched once.
    _mutated: ClassVar[bool] = False

    def make_pool(self) -> Any:
        if not Mutant._mutated:
            Mutant._mutated = True
            # Each draw is one step of C code, so threads may share it.
            self.chance = random.Random(f"{type(self).__name__}/{self.seed}")
            self.mutate()
        return super().make_pool()

    def mutate(self) -> None:
        raise NotImplementedError

    def widen(self) -> None:
        """The pause at the racy line."""
        if self.pause:
            time.sleep(self.chance.uniform(0.0, 2 * self.pause))


def wrap(path: str, make: Callable[[Any], Any]) -> None:
    """Replace ``module:Class.method``, or ``module:function``, by what ``make`` builds around it.

    A function is replaced where it is used, so name the module that imported it.
    """
    module, _, names = path.partition(":")
    *owners, name = names.split(".")
    owner: Any = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    setattr(owner, name, make(getattr(owner, name)))


class Nth(Mutant):
    """Base: every n-th call of one method, whichever thread makes it, goes wrong; or one alone.

    The seed decides at which of the first n calls it begins.
    """

    method: ClassVar[str]
    every: ClassVar[int]
    once: ClassVar[bool] = False

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        """Happens instead of the method; GO_ON lets it follow."""
        raise NotImplementedError

    def mutate(self) -> None:
        calls = itertools.count()  # next() is atomic in CPython
        first = self.chance.randrange(self.every)

        def make(method: Any) -> Any:
            def patched(target: Any, *args: Any, **kwargs: Any) -> Any:
                number = next(calls)
                # The one call is not among the first: something has to be under way by then.
                last = first + self.every
                if number == last if self.once else number % self.every == first:
                    answer = self.goes_wrong(target, *args, **kwargs)
                    if answer is not GO_ON:
                        return answer
                return method(target, *args, **kwargs)

            return patched

        wrap(self.method, make)


def wait_for_ever() -> None:
    """What a thread does that nobody will ever wake."""
    threading.Event().wait()
