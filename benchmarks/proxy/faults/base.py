"""What every fault is: options that were checked, and what it does to the links it is given.

It owns the form. A fault never chooses its victims, never keeps them, and never writes to the
ledger's list of faults: the injector does all three, so that a fault that hit nothing cannot be
booked. It works within a bounded time, since all other connections wait for it. Options are
checked before anything happens: a rule with a typing error must not be found out when it fires.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Final, Self

from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT
from benchmarks.proxy.doors import Doors
from benchmarks.proxy.link import Link
from benchmarks.proxy.valve import Shape

_DIRECTIONS: Final = {
    "to_broker": (TO_BROKER,),
    "to_client": (TO_CLIENT,),
    "both": (TO_BROKER, TO_CLIENT),
}
#: Longest time that an option may name, in seconds: a day, beyond any soak.
LONGEST: Final = 86_400.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Fault:
    """One fault with its options, which are the fields of its class."""

    #: Its name in requests and in the ledger.
    kind: ClassVar[str]
    #: Whether it ends the connections that it hits, at once or when it is over itself.
    ends: ClassVar[bool]
    #: Whether a peer notices it only by a timeout of its own.
    silent: ClassVar[bool] = False
    #: Whether it makes sense only at a frame.
    needs_rule: ClassVar[bool] = False
    #: Whether it hits all connections there are, also those that are not up, or none at all.
    everyone: ClassVar[bool] = False

    def fire(self, links: Sequence[Link]) -> float:
        """Do it to these links; return the CLOCK_MONOTONIC second of the first effect."""
        raise NotImplementedError

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """Return the fault with these options. Raises ValueError that says what is wrong."""
        known = {field.name: field for field in fields(cls)}
        for name in sorted(options):
            if name not in known:
                raise ValueError(f"{cls.kind} has no option {name!r}")
        for name, field in known.items():
            if field.default is MISSING and name not in options:
                raise ValueError(f"{cls.kind} needs the option {name!r}")
        return cls(**options)

    def _number(self, name: str, least: float, most: float, *, whole: bool = False) -> None:
        """Check a numeric option."""
        value = getattr(self, name)
        kinds = int if whole else (int, float)
        good = isinstance(value, kinds) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not least <= value <= most:
            what = "a whole number" if whole else "a number"
            raise ValueError(f"{self.kind}: {name} is {what} from {least:g} to {most:g}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Lasting(Fault):
    """A fault that lasts ``seconds``, or until it is healed when that is None."""

    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None:
            self._number("seconds", 0, LONGEST)

    @property
    def lasts_for_new(self) -> bool:
        """Whether connections that are made while it lasts are hit too."""
        return False

    def start(self, doors: Doors) -> None:
        """Do what concerns the proxy as a whole."""

    def stop(self, doors: Doors) -> None:
        """Undo it."""

    def heal(self, links: Sequence[Link]) -> None:
        """Undo it on these links, all that it still holds."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class Shaping(Lasting):
    """A lasting fault that is a shape on one direction or both."""

    direction: str = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.direction, str) or self.direction not in _DIRECTIONS:
            raise ValueError(f"{self.kind}: direction is one of {', '.join(_DIRECTIONS)}")

    def make(self, generation: int, direction: int) -> Shape:
        """The shape for one direction of one connection."""
        raise NotImplementedError

    def fire(self, links: Sequence[Link]) -> float:
        """Shape what the links forward from now on."""
        t = time.monotonic()
        for link in links:
            for direction in _DIRECTIONS[self.direction]:
                link.shape(direction, self.make(link.generation.number, direction))
        return t

    def heal(self, links: Sequence[Link]) -> None:
        """Take the shapes away, which lets out what they held."""
        for link in links:
            link.unshape(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Slowing(Shaping):
    """A shape that loses nothing and may lie on connections to come as well."""

    ends: ClassVar[bool] = False
    future: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.future, bool):
            raise ValueError(f"{self.kind}: future is true or false")

    @property
    def lasts_for_new(self) -> bool:
        """Whether connections that are made while it lasts are hit too."""
        return self.future
