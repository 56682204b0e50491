"""Rules: at which frame, or at which time, an armed fault fires.

It owns what a rule may say, which rules are armed, how many frames each has seen and what came
of those that fired. It is pure: no sockets, no clock. A rule counts the frames that it names over
all connections that it may hit, in the order in which they were read, the handshake's included,
and fires once, on the connection of the frame. A frame that was named but died with its
connection before the rule could fire leaves the rule armed: the next such frame is its frame.
That prevents a plan's fault from getting lost silently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pamqp.commands

from benchmarks.proxy.channel import TO_BROKER, TO_CLIENT
from benchmarks.proxy.fields import LONG
from benchmarks.proxy.stream import PROTOCOL
from benchmarks.wire.frames import BODY, HEADER, HEARTBEAT, METHOD, Frame

if TYPE_CHECKING:
    from benchmarks.proxy.faults.base import Fault

#: Rules that may be armed at a time. Each looks at every frame of its direction.
ARMED_LIMIT: Final = 1000
#: Outcomes that are kept for whoever asks late; the oldest go first.
FIRED_LIMIT: Final = 10 * ARMED_LIMIT
#: Longest time from arming to firing, in seconds: a day, beyond any soak.
AT_LIMIT: Final = 86_400.0

DIRECTIONS: Final = {"to_broker": TO_BROKER, "to_client": TO_CLIENT}
_TYPES: Final = {"method": METHOD, "header": HEADER, "body": BODY, "heartbeat": HEARTBEAT}
#: Method numbers by the specification's names, as ``channel.open-ok``.
METHODS: Final[Mapping[str, int]] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower(): key
    for key, name in (
        (key, str(vars(command)["name"])) for key, command in pamqp.commands.INDEX_MAPPING.items()
    )
}
_KEYS: Final = {"direction", "frame", "nth", "where"}


@dataclass(frozen=True)
class Rule:
    """One rule. ``at`` (seconds after arming) stands alone; without it the frame decides."""

    direction: int = TO_BROKER
    #: A frame type, None for any; or a method.
    type: int | None = None
    method: int | None = None
    nth: int = 1
    #: Bytes of the frame that still go out; None: all of them.
    keep: int | None = None
    at: float | None = None

    def matches(self, frame: Frame) -> bool:
        """Whether this is a frame of the kind that the rule counts."""
        if self.method is not None:
            raw = frame.raw
            return (
                frame.type == METHOD
                and len(raw) >= 7 + LONG.size
                and LONG.unpack_from(raw, 7)[0] == self.method
            )
        if self.type is None:
            return frame.type != PROTOCOL
        return frame.type == self.type

    def point(self, size: int) -> int:
        """How many bytes of its frame, which has ``size``, go out before the rule fires."""
        return size if self.keep is None else min(self.keep, size - 1)


def parse(document: object) -> Rule:
    """Return the rule that a request describes. Raises ValueError that says what is wrong."""
    if not isinstance(document, dict):
        raise ValueError("a rule is an object with direction, frame, nth and where, or with at")
    if "at" in document:
        at = document["at"]
        if len(document) > 1:
            raise ValueError("a rule with 'at' says nothing else")
        if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= AT_LIMIT:
            raise ValueError(f"'at' is a number of seconds from 0 to {AT_LIMIT:.0f}")
        return Rule(at=float(at))
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        raise ValueError(f"a rule has no {unknown[0]!r}")
    direction = document.get("direction")
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise ValueError(f"a rule's direction is one of {', '.join(DIRECTIONS)}")
    name = document.get("frame")
    if not isinstance(name, str) or not (name == "any" or name in _TYPES or name in METHODS):
        raise ValueError(
            f"a rule's frame is any, {', '.join(_TYPES)} or a method like basic.publish; "
            f"not {name!r}"
        )
    nth = document.get("nth", 1)
    if isinstance(nth, bool) or not isinstance(nth, int) or nth < 1:
        raise ValueError("a rule's nth is a whole number from 1 on")
    return Rule(
        direction=DIRECTIONS[direction],
        type=_TYPES.get(name),
        method=METHODS.get(name),
        nth=nth,
        keep=_keep(document.get("where", "before")),
    )


def _keep(where: object) -> int | None:
    if where == "before":
        return 0
    if where == "after":
        return None
    if isinstance(where, bool) or not isinstance(where, int) or where < 0:
        raise ValueError("a rule's where is before, after or a number of bytes from 0 on")
    return where


@dataclass(eq=False)
class Armed:
    """A rule that waits, the fault behind it, and how many of its frames it has seen."""

    number: int
    fault: Fault
    rule: Rule
    #: Generations that it may hit; None: any.
    generations: frozenset[int] | None
    seen: int = 0
    #: Its frame was read, and what stands in front of the point is still going out.
    held: bool = False
    #: Neither fired nor taken back.
    live: bool = field(default=True)

    def names(self, generation: int, frame: Frame) -> bool:
        """Count the frame if it is of the kind; say whether it is the one."""
        if self.held or not self.rule.matches(frame):
            return False
        if self.generations is not None and generation not in self.generations:
            return False
        self.seen += 1
        self.held = self.seen >= self.rule.nth
        return self.held


class Rules:
    """The rules that are armed, and the outcomes of those that fired."""

    def __init__(self) -> None:
        #: Armed rules that look at frames, by direction. Empty lists keep forwarding cheap.
        self.of: tuple[list[Armed], list[Armed]] = ([], [])
        self._armed: dict[int, Armed] = {}
        self._outcomes: dict[int, dict[str, Any]] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._armed)

    def arm(self, fault: Fault, rule: Rule, generations: frozenset[int] | None) -> Armed:
        """Add a rule. Raises ValueError when there are too many."""
        if len(self._armed) >= ARMED_LIMIT:
            raise ValueError(f"at most {ARMED_LIMIT} rules can be armed: disarm some, or heal")
        self._last += 1
        armed = self._armed[self._last] = Armed(self._last, fault, rule, generations)
        if rule.at is None:
            self.of[rule.direction].append(armed)
        return armed

    def disarm(self, number: int) -> bool:
        """Take a rule back. False when it fired already. Raises ValueError on an unknown one."""
        armed = self._armed.get(number)
        if armed is None:
            self.outcome(number)
            return False
        self._remove(armed)
        return True

    def disarm_all(self) -> None:
        """Take back all that is armed."""
        for armed in list(self._armed.values()):
            self._remove(armed)

    def fired(self, armed: Armed, outcome: dict[str, Any]) -> None:
        """Note what came of a rule; it is no longer armed."""
        self._remove(armed)
        self._outcomes[armed.number] = outcome
        if len(self._outcomes) > FIRED_LIMIT:
            del self._outcomes[next(iter(self._outcomes))]

    def outcome(self, number: int) -> dict[str, Any]:
        """What came of the rule so far. Raises ValueError when there is no such rule."""
        if number in self._outcomes:
            return self._outcomes[number]
        armed = self._armed.get(number)
        if armed is None:
            raise ValueError(f"no rule {number}: it was never armed, or taken back")
        if armed.rule.at is not None:
            return {"fired": False, "why": "its time has not come, or nothing was there to hit"}
        if armed.held:
            return {"fired": False, "why": "what stands in front of its frame has not gone out"}
        why = f"it has seen {armed.seen} of the {armed.rule.nth} frames that it counts"
        return {"fired": False, "why": why}

    def _remove(self, armed: Armed) -> None:
        armed.live = False
        del self._armed[armed.number]
        if armed.rule.at is None:
            self.of[armed.rule.direction].remove(armed)
