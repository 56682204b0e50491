"""Plays a sequence to both brokers and finds the first step after which they are not alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .differences import DIFFERENCES, VERSION, Difference
from .driver import Driver
from .observing import Observation
from .steps import Step, token

#: Stands for what comes after the last step: what remains when all connections are closed.
END = Step("the end")
#: How often RabbitMQ is asked again where the two differ, before it counts: what RabbitMQ itself
#: does now so and now otherwise is no difference.
AGAIN = 5


class Found(NamedTuple):
    """Where two brokers differ and how, and the named difference that says why."""

    index: int
    step: Step
    embedded: Observation
    rabbitmq: Observation
    difference: Difference | None


class Differ(AssertionError):
    """The brokers differ, and no named difference says why."""


@dataclass
class Comparison:
    """Two brokers side by side, and counts of what was compared so far."""

    embedded: Driver
    rabbitmq: Driver
    differences: Sequence[Difference] = DIFFERENCES
    sequences: int = 0
    #: Steps after which the two were compared, by what was sent.
    steps: Counter[str] = field(default_factory=Counter)
    #: Named differences that were met.
    named: Counter[str] = field(default_factory=Counter)
    races: int = 0
    #: Set where something differs: what hypothesis plays from then on is not counted.
    shrinking: bool = False
    #: What was said where the two differed and it was no race: not to be asked again and again
    #: while hypothesis shrinks.
    _proven: set[tuple[str, str]] = field(default_factory=set)

    def __str__(self) -> str:
        named = ", ".join(f"{name} {count}" for name, count in sorted(self.named.items()))
        return (
            f"{self.steps.total()} steps in {self.sequences} sequences against RabbitMQ"
            f" {self.rabbitmq.version}, {self.races} races; named differences met:"
            f" {named or 'none'}"
        )

    def hold(self, steps: Sequence[Step]) -> None:
        """Raise Differ when the brokers differ by mistake."""
        found = self.play(steps)
        if found is None or found.difference is not None:
            return
        said = (repr(found.embedded), repr(found.rabbitmq))
        if said not in self._proven and self._is_a_race(steps, found):
            self.races += 1
            return
        self._proven.add(said)
        self.shrinking = True
        raise Differ(
            f"RabbitMQ {self.rabbitmq.version} (held against: {VERSION}): {story(steps, found)}"
        )

    def play(self, steps: Sequence[Step]) -> Found | None:
        """Play a sequence to both, until they differ in a way that parts them."""
        self.sequences += not self.shrinking
        try:
            for index, step in enumerate((*steps, END)):
                mine, other = (
                    driver.finish() if step is END else driver.perform(step)
                    for driver in (self.embedded, self.rabbitmq)
                )
                if step is not END and self.embedded.sent and not self.shrinking:
                    self.steps[step.what] += 1
                if mine == other:
                    continue
                why = next((d for d in self.differences if d.holds(step, mine, other)), None)
                if why is not None and not self.shrinking:
                    self.named[why.name] += 1
                if why is None or why.parts:
                    return Found(index, step, mine, other, why)
        finally:
            self.embedded.clean()
            self.rabbitmq.clean()
        return None

    def _is_a_race(self, steps: Sequence[Step], found: Found) -> bool:
        """Whether RabbitMQ, asked again, answers as the embedded broker did."""
        for _ in range(AGAIN):
            try:
                for step in steps[: found.index + 1]:
                    seen = self.rabbitmq.perform(step)
                if found.step is END:
                    seen = self.rabbitmq.finish()
            finally:
                self.rabbitmq.clean()
            if seen == found.embedded:
                return True
        return False


def story(steps: Sequence[Step], found: Found) -> str:
    """What was sent, where the brokers differ, and the command that plays it again."""
    played = steps[: found.index + 1]
    lines = ["the embedded broker and RabbitMQ differ after"]
    lines += [f"  {number:2} {step}" for number, step in enumerate(played, 1)]
    if found.step is END:
        lines.append("     the end")
    for name, mine, other in (
        ("embedded", found.embedded, found.rabbitmq),
        ("RabbitMQ", found.rabbitmq, found.embedded),
    ):
        only = Counter(map(repr, mine)) - Counter(map(repr, other))
        lines.append(f"only {name}:")
        lines += [f"  {line}" for line in only] or ["  nothing"]
    if Counter(map(repr, found.embedded)) == Counter(map(repr, found.rabbitmq)):
        lines += [f"in order: {found.embedded}", f"RabbitMQ: {found.rabbitmq}"]
    lines.append(f"again: python -m tests.differential {token(played)}")
    return "\n".join(lines)
