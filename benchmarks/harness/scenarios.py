"""The scenarios, as data: what differs between them stands in this table and nowhere else.

A load is written with the numbers in the order of ``Scenario.shape``: ``10x100`` is 10 threads
times 100 iterations, ``20x50x10`` adds a kill interval of 10, ``1000`` is a number of cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


class ScenarioError(ValueError):
    """No such scenario, or numbers that make no load; the text says which ones do."""


@dataclass(frozen=True, slots=True)
class Load:
    """The numbers of one trial. ``kill_interval`` and ``cycles`` are 0 where they mean nothing."""

    threads: int = 1
    iterations: int = 0
    kill_interval: int = 0
    cycles: int = 0

    @property
    def operations(self) -> int:
        """Operations that must have succeeded when the load is over."""
        return self.cycles or self.threads * self.iterations

    @property
    def consumers(self) -> int:
        """One consumer for every ten workers, and never none."""
        return max(1, self.threads // 10)

    @property
    def kills(self) -> int:
        """Kills that are planned: at interval, 2 * interval, ... strictly below the iterations."""
        if self.cycles:
            return self.cycles
        return (self.iterations - 1) // self.kill_interval if self.kill_interval else 0


#: Weights of the operations of one iteration. Publishing weighs double: it is what brings
#: confirms, returns and deliveries in, without which a drain has nothing to lose.
CHAOS_MIX: Mapping[str, int] = MappingProxyType(
    {"drain": 1, "connected": 1, "acquire_release": 1, "publish": 2}
)
#: Contention is about the pool: no drains, which would only make threads wait elsewhere.
CONTENTION_MIX: Mapping[str, int] = MappingProxyType({"acquire_release": 2, "publish": 1})
#: A cycle ends in an operation that the broker confirmed.
RECOVERY_MIX: Mapping[str, int] = MappingProxyType({"publish_confirmed": 1})


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table."""

    name: str
    summary: str
    shape: tuple[str, ...]
    loads: tuple[str, ...]
    mix: Mapping[str, int]
    #: Channels for the workers: threads // divisor, at least two. Consumers have theirs beside it.
    workers_per_channel: int = 4
    channels_at_most: int = 32
    #: The fault that the nemesis injects, if any.
    fault: str | None = None
    #: Share of publishes that are mandatory to a key that nothing is bound to.
    unroutable: float = 0.2
    #: Seconds after which a trial is ended; several times what the load takes on two busy cores.
    seconds: float = 60.0

    def channels(self, load: Load) -> int:
        """Size of the pool: what the workers share, and one channel for each consumer."""
        shared = min(self.channels_at_most, max(2, load.threads // self.workers_per_channel))
        return shared + load.consumers

    def load(self, text: str | None = None, **numbers: int | None) -> Load:
        """Parse ``text`` (the first load when None), then replace single numbers.

        Raises ScenarioError.
        """
        text = self.loads[0] if text is None else text
        parts = text.split("x")
        if len(parts) != len(self.shape) or not all(map(_is_number, parts)):
            raise ScenarioError(
                f"load {text!r} of {self.name}: write {'x'.join(self.shape)}, "
                f"for example {self.loads[0]}"
            )
        load = Load(**dict(zip(self.shape, map(int, parts), strict=True)))
        given = {key: value for key, value in numbers.items() if value is not None}
        for key in given:
            if key not in self.shape:
                raise ScenarioError(
                    f"{self.name} has no {key.replace('_', ' ')}: "
                    f"its numbers are {', '.join(self.shape)}"
                )
        load = replace(load, **given)
        for key in self.shape:
            if not 1 <= getattr(load, key) <= LIMITS[key]:
                raise ScenarioError(
                    f"{key.replace('_', ' ')} of {self.name} must be between 1 and {LIMITS[key]}, "
                    f"not {getattr(load, key)}"
                )
        if load.operations > OPERATIONS_AT_MOST:
            raise ScenarioError(
                f"{self.name} with {self.text(load)} would be {load.operations} operations: "
                f"at most {OPERATIONS_AT_MOST}"
            )
        if self.fault and not load.kills:
            raise ScenarioError(
                f"{self.name} with {load.iterations} iterations and kill interval "
                f"{load.kill_interval} would kill nothing: make the interval smaller"
            )
        return load

    def text(self, load: Load) -> str:
        """The load as it is written."""
        return "x".join(str(getattr(load, key)) for key in self.shape)


def _is_number(text: str) -> bool:
    # Nine digits are above every limit, and below what int() refuses to parse.
    return text.isascii() and text.isdigit() and len(text) <= 9


#: A million steps are some 300 MB of plan, history and ledger, and a quarter of an hour.
OPERATIONS_AT_MOST = 1_000_000
#: Bounds on what may be asked for: load goes to loopback only and stays bounded. 2,000 threads is
#: what a default Debian user may start several times over; the rest is minutes of work.
LIMITS = {"threads": 2000, "iterations": 100_000, "kill_interval": 100_000, "cycles": 100_000}

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="chaos_no_deadlock",
            summary="random operations on many threads, no faults",
            shape=("threads", "iterations"),
            loads=("10x100", "50x100"),
            mix=CHAOS_MIX,
        ),
        Scenario(
            name="chaos_with_connection_kills",
            summary="the same operations while the connection is killed again and again",
            shape=("threads", "iterations", "kill_interval"),
            loads=("20x50x10", "50x30x5"),
            mix=CHAOS_MIX,
            fault="rst",
        ),
        Scenario(
            name="high_contention_stress",
            summary="all threads start at one barrier and fight for a much smaller pool",
            shape=("threads", "iterations"),
            loads=("100x10", "500x10"),
            mix=CONTENTION_MIX,
            workers_per_channel=25,
            channels_at_most=8,
        ),
        Scenario(
            name="repeated_recovery_stress",
            summary="kill, then time until the next operation confirmed by the broker",
            shape=("cycles",),
            loads=("1000",),
            mix=RECOVERY_MIX,
            fault="rst",
            unroutable=0.1,
            seconds=150.0,
        ),
    )
}


def find_scenario(name: str) -> Scenario:
    """The scenario of that name. Raises ScenarioError."""
    try:
        return SCENARIOS[name]
    except KeyError:
        raise ScenarioError(
            f"unknown scenario {name!r}: one of {', '.join(sorted(SCENARIOS))}"
        ) from None
