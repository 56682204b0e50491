"""The scenarios, as data: what differs between them stands in this table and nowhere else.

Operations and their weights, faults, conditions and loads are all there is to a scenario; the code
that runs one knows none of them by name. It prevents two scenarios from differing in more than the
table says.

A load is written with the numbers in the order of ``Scenario.shape``: ``10x100`` is 10 threads
times 100 iterations, ``20x50x10`` adds a kill interval of 10, ``1000`` is a number of cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from benchmarks.harness.faults import AT_ONCE, FAULTS, Fault, possible
from benchmarks.harness.kinds import CLUSTER, EMBEDDED, EXTERNAL, RABBITMQ


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
        """Operations that must have succeeded when the load is over (closing: rounds)."""
        return self.cycles or self.threads * self.iterations

    @property
    def consumers(self) -> int:
        """One consumer for every ten workers, and never none."""
        return max(1, self.threads // 10)

    @property
    def kills(self) -> int:
        """Faults that are planned: at interval, 2 * interval, ... strictly below the iterations."""
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
#: Everything that brings messages in by another way than the shared consumers.
CONSUMERS_MIX: Mapping[str, int] = MappingProxyType(
    {
        "get": 2,
        "get_no_ack": 1,
        "get_empty": 1,
        "consume_ack": 2,
        "consume_cancel": 1,
        "publish_batch": 2,
    }
)
CONFIRMS_MIX: Mapping[str, int] = MappingProxyType(
    {"publish_confirmed": 2, "publish_batch": 2, "publish_returned": 1, "publish_large": 1}
)
CLOSING_MIX: Mapping[str, int] = MappingProxyType(
    {
        "drain": 2,
        "connected": 1,
        "acquire_release": 2,
        "publish": 3,
        "publish_confirmed": 1,
        "get": 1,
    }
)
PARKED_MIX: Mapping[str, int] = MappingProxyType({"publish_confirmed": 3, "publish": 1})
GONE_MIX: Mapping[str, int] = MappingProxyType({**CHAOS_MIX, "publish_confirmed": 1})
#: What is kept must be there when the node is back.
NODE_MIX: Mapping[str, int] = MappingProxyType(
    {**GONE_MIX, "publish_kept": 1, "get": 1, "consume_ack": 1}
)
SLOW_MIX: Mapping[str, int] = MappingProxyType(
    {
        **CHAOS_MIX,
        "publish_confirmed": 2,
        "publish_large": 1,
        "get": 1,
        "declare": 1,
    }
)
#: Every channel error that a client's user can cause, amid all that such an error must not hurt.
POISONED_MIX: Mapping[str, int] = MappingProxyType(
    {
        **CHAOS_MIX,
        "poison_404": 1,
        "poison_406": 1,
        "publish_confirmed": 1,
        "get": 1,
        "declare": 1,
        "declare_passive": 1,
        "release_twice": 1,
        "release_elsewhere": 1,
        "acquire_short": 1,
    }
)
BLOCKED_MIX: Mapping[str, int] = MappingProxyType(
    {**CHAOS_MIX, "publish_confirmed": 2, "declare": 1}
)

#: How the load of a scenario goes. ``load``: every worker through its steps, faults at marks.
#: ``cycles``: one worker, a fault before every step. ``closing``: in every cycle a fresh client,
#: closed while the workers are busy. ``parked``: blocks of steps, by turns with and without
#: threads that sit in long drains.
Style = Literal["load", "cycles", "closing", "parked"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table."""

    name: str
    summary: str
    shape: tuple[str, ...]
    loads: tuple[str, ...]
    mix: Mapping[str, int]
    style: Style = "load"
    #: Channels for the workers: threads // divisor, at least two. Consumers have theirs beside it.
    workers_per_channel: int = 4
    channels_at_most: int = 32
    #: The faults of which the seed draws one for each mark; none: no faults.
    faults: tuple[str, ...] = ()
    #: The faults instead of those, by kind of broker: what only that one can do.
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: What holds from the start of the load to its end: of each group the seed draws one.
    conditions: tuple[tuple[str, ...], ...] = ()
    #: Seconds between the heartbeats that the client is told to ask for; 0: none.
    heartbeat: int = 0
    #: Threads that sit in long drains.
    parked: int = 0
    #: Steps of a worker in one round (``closing``) or block (``parked``).
    steps_a_round: int = 0
    #: Share of publishes that are mandatory to a key that nothing is bound to.
    unroutable: float = 0.2
    #: Seconds after which a trial is ended; several times what the load takes on two busy cores.
    seconds: float = 60.0

    def faults_on(self, broker: str) -> tuple[str, ...]:
        """The faults that a seed draws from on that kind of broker. Raises ScenarioError."""
        faults = self.instead.get(broker, self.faults)
        drawn = tuple(kind for kind in faults if possible(kind, broker))
        if faults and not drawn:
            sides = " or ".join(sorted({FAULTS[kind].side for kind in faults}))
            raise ScenarioError(
                f"{self.name} needs {', '.join(faults)}, which is the {sides}'s to do and cannot "
                f"be asked of an {broker} broker: leave --broker out, or name another fault"
            )
        return drawn

    def conditions_on(self, broker: str) -> tuple[tuple[str, ...], ...]:
        """The groups of conditions, with what that kind of broker can do; empty ones left out."""
        groups = (
            tuple(kind for kind in group if possible(kind, broker)) for group in self.conditions
        )
        return tuple(group for group in groups if group)

    def channels(self, load: Load) -> int:
        """Size of the pool: what the workers share, and one for each consumer or parked thread."""
        shared = min(self.channels_at_most, max(2, load.threads // self.workers_per_channel))
        return shared + load.consumers + self.parked

    def steps(self, load: Load) -> int:
        """Steps that are planned for each worker."""
        if self.style == "closing":
            return load.cycles * self.steps_a_round
        return load.cycles or load.iterations

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
        planned = load.threads * self.steps(load)
        if planned > OPERATIONS_AT_MOST:
            raise ScenarioError(
                f"{self.name} with {self.text(load)} would be {planned} operations: "
                f"at most {OPERATIONS_AT_MOST}"
            )
        if self.faults and not load.kills:
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

#: The four that have a benchmark class each, durations included; the others are variants.
MAIN = (
    "chaos_no_deadlock",
    "chaos_with_connection_kills",
    "high_contention_stress",
    "repeated_recovery_stress",
)

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
            faults=("rst",),
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
            style="cycles",
            faults=("rst",),
            unroutable=0.1,
            seconds=150.0,
        ),
        Scenario(
            name="consumers_under_kills",
            summary="gets and consumers of their own on many threads while connections end",
            shape=("threads", "iterations", "kill_interval"),
            loads=("10x80x16",),
            mix=CONSUMERS_MIX,
            workers_per_channel=2,
            faults=("rst", "fin", "cut"),
        ),
        Scenario(
            name="confirms_under_kills",
            summary="confirmed, returned and large publishes while connections end and the broker "
            "delays, reorders, joins or refuses confirms",
            shape=("threads", "iterations", "kill_interval"),
            loads=("10x50x12",),
            mix=CONFIRMS_MIX,
            workers_per_channel=2,
            faults=("rst", "fin", "cut"),
            conditions=(("confirm_coalesce", "confirm_reorder", "confirm_delay", "confirm_nack"),),
        ),
        Scenario(
            name="close_while_busy",
            summary="a fresh client in each cycle, closed while drains, publishes and acquires "
            "are in flight",
            shape=("threads", "cycles"),
            loads=("8x6",),
            mix=CLOSING_MIX,
            style="closing",
            parked=1,
            steps_a_round=60,
        ),
        Scenario(
            name="parked_consumer",
            summary="publish latency while other threads sit in long drains, and while none does",
            shape=("threads", "iterations"),
            loads=("4x400",),
            mix=PARKED_MIX,
            style="parked",
            workers_per_channel=1,
            parked=3,
            steps_a_round=50,
        ),
        Scenario(
            name="broker_gone",
            summary="connections are refused for about a second, then the broker is back",
            shape=("threads", "iterations", "kill_interval"),
            loads=("8x45x15",),
            mix=GONE_MIX,
            faults=("refuse",),
        ),
        Scenario(
            name="slow_network",
            summary="every frame comes late and in small pieces",
            shape=("threads", "iterations"),
            loads=("8x25",),
            mix=SLOW_MIX,
            conditions=(("latency",), ("slice",)),
        ),
        Scenario(
            name="poisoned_channel",
            summary="channels die of errors of their own (404, 406) while other threads work",
            shape=("threads", "iterations"),
            loads=("12x150",),
            mix=POISONED_MIX,
            workers_per_channel=6,
        ),
        Scenario(
            name="blocked_connection",
            summary="the broker blocks publishers for some tenths of a second, again and again",
            shape=("threads", "iterations", "kill_interval"),
            loads=("8x60x15",),
            mix=BLOCKED_MIX,
            faults=("blocked",),
            instead=MappingProxyType({RABBITMQ: ("alarm",), CLUSTER: ("alarm",)}),
        ),
        Scenario(
            name="node_failures",
            summary="the broker itself goes away and comes back, by kill, by stop, by an operator",
            shape=("threads", "iterations", "kill_interval"),
            # An order to a node takes a second to arrive: the load has to be busy still.
            loads=("8x600x200",),
            mix=NODE_MIX,
            faults=("refuse", "connection_close"),
            instead=MappingProxyType(
                {
                    RABBITMQ: ("node_kill", "node_stop", "app_stop", "operator_close"),
                    CLUSTER: ("leader_kill", "follower_kill", "node_pause", "app_stop"),
                    EXTERNAL: ("refuse",),
                }
            ),
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


def find_fault(name: str, scenario: Scenario, broker: str = EMBEDDED) -> Fault:
    """The fault that is to stand in for those of ``scenario``, on that kind of broker.

    Raises ScenarioError.
    """
    if not scenario.faults:
        raise ScenarioError(f"{scenario.name} injects no faults: leave --fault out")
    if name not in FAULTS:
        raise ScenarioError(f"unknown fault {name!r}: one of {', '.join(FAULTS)}")
    if scenario.style == "cycles" and name not in AT_ONCE:
        raise ScenarioError(
            f"{scenario.name} times recoveries from faults that end the connection at once, "
            f"{name} does not: one of {', '.join(AT_ONCE)}"
        )
    check_possible(name, broker)
    return FAULTS[name]


def check_possible(fault: str, broker: str) -> None:
    """Raises ScenarioError where that kind of broker cannot do that fault."""
    if not possible(fault, broker):
        able = ", ".join(kind for kind in FAULTS if possible(kind, broker))
        raise ScenarioError(f"{fault} cannot be done on {broker}: one of {able}")
