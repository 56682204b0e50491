"""What is to be seen of a step, in a form in which two brokers can be compared.

Names that the broker made are numbered in the order in which they came up. Confirms become the set
of what they confirm, since a broker may confirm one by one or many at once. Deliveries stand beside
the replies, in order for each consumer: two queues that deliver to one channel do so in any order,
and with it come the delivery tags. So a delivery tag, here and in the steps, is counted in the
order of consumer tags within a step; ``Books`` knows the broker's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .link import Event

_MADE = re.compile(r"amq\.(gen|ctag)-[-\w]+")


class Observation(tuple[Any, ...]):
    """What was seen, one line for each entry."""

    __slots__ = ()

    def __new__(cls, lines: tuple[Any, ...]) -> Observation:
        """Make one of lines."""
        return super().__new__(cls, lines)


@dataclass
class ChannelBook:
    """One channel, from its opening on."""

    #: The broker's delivery tags, in our order.
    tags: list[int] = field(default_factory=list)
    #: Our tags that only stand for their group when taken together: the last one of the group.
    groups: dict[int, int] = field(default_factory=dict)
    #: Those of our tags that no step has settled.
    outstanding: list[int] = field(default_factory=list)
    confirming: bool = False
    published: int = 0
    unconfirmed: set[int] = field(default_factory=set)

    def delivered(self, tag: int) -> int:
        """A message came with this tag; returns our own for it."""
        self.tags.append(tag)
        self.outstanding.append(len(self.tags))
        return len(self.tags)


class Books:
    """What came on one connection."""

    def __init__(self) -> None:
        self._channels: dict[int, ChannelBook] = {}
        #: Events so far, to see whether there were more.
        self.count = 0
        self.begin()

    def begin(self) -> None:
        """A step begins."""
        self._replies: dict[int, list[Event]] = {}
        self._deliveries: dict[int, list[Event]] = {}
        self._confirms: dict[int, set[Any]] = {}
        self.ended = False

    def end(self) -> None:
        """The broker has hung up."""
        self.ended = True

    def channel(self, number: int) -> ChannelBook:
        return self._channels.setdefault(number, ChannelBook())

    def book(self, event: Event) -> None:
        """Take one event."""
        self.count += 1
        number, name, *arguments = event
        if name == "Channel.OpenOk":
            self._channels[number] = ChannelBook()
            arguments = []
        elif name == "Confirm.SelectOk":
            self.channel(number).confirming = True
        if name in ("Basic.Ack", "Basic.Nack"):
            self._confirm(number, name, *arguments)
        elif name == "Basic.Deliver":
            self._deliveries.setdefault(number, []).append((name, *arguments))
        else:
            self._replies.setdefault(number, []).append((name, *arguments))
            if name == "Basic.GetOk":
                self.channel(number).delivered(arguments[0])

    def _confirm(self, number: int, name: str, tag: int, multiple: bool, *_: object) -> None:
        book = self.channel(number)
        done = {each for each in book.unconfirmed if each == tag or (multiple and each < tag)}
        book.unconfirmed -= done
        seen = self._confirms.setdefault(number, set())
        seen |= {(name, each) for each in done} or {(name, tag, "unexpected")}

    def confirming(self, number: int) -> None:
        """The channel is in confirm mode."""
        self.channel(number).confirming = True

    def published(self, number: int) -> None:
        """A whole message was sent."""
        book = self.channel(number)
        if book.confirming:
            book.published += 1
            book.unconfirmed.add(book.published)

    def unconfirmed(self, number: int) -> set[int]:
        """The publishes whose confirm has not come."""
        return self.channel(number).unconfirmed

    def settle(self, number: int, tag: int, multiple: bool) -> int | None:
        """The broker's own delivery tag for one of ours, which is settled now. None for none."""
        book = self.channel(number)
        if tag < 0:
            if len(book.outstanding) < -tag:
                return None
            tag = book.outstanding[-tag - 1]
        last = max(
            (each for each in book.groups if book.groups[each] == book.groups.get(tag)), default=tag
        )
        book.outstanding = [
            each
            for each in book.outstanding
            if (each > last and tag != 0 if multiple else each != tag)
        ]
        if multiple and tag in book.groups:
            return book.groups[tag]
        return book.tags[tag - 1] if 0 < tag <= len(book.tags) else tag

    def lines(self, connection: int) -> list[Any]:
        """What was seen on this connection in this step."""
        lines: list[Any] = []
        for number in sorted(
            self._replies.keys() | self._deliveries.keys() | self._confirms.keys()
        ):
            where = f"{connection}.{number}"
            lines += [(where, *reply) for reply in self._replies.get(number, ())]
            lines += [(where, *each) for each in self._in_order(number)]
            lines += [(where, *each) for each in sorted(self._confirms.get(number, ()))]
        if self.ended:
            lines.append((f"{connection}", "hung up"))
        return lines

    def _in_order(self, number: int) -> list[Event]:
        """The deliveries of this step, by consumer, with tags in that order."""
        deliveries = sorted(self._deliveries.get(number, ()), key=lambda event: event[1])
        book = self.channel(number)
        first = len(book.tags) + 1
        renumbered = []
        for name, consumer, tag, *rest in deliveries:
            renumbered.append((name, consumer, book.delivered(tag), *rest))
        if len({event[1] for event in deliveries}) > 1:
            last = max(event[2] for event in deliveries)
            book.groups |= dict.fromkeys(range(first, len(book.tags) + 1), last)
        return renumbered


class Names:
    """The names that a broker made, and its virtual host, replaced by what they are elsewhere."""

    def __init__(self, vhost: str) -> None:
        self._vhost = f"vhost '{vhost}'"
        self._made: dict[str, str] = {}

    def observation(self, books: dict[int, Books], states: list[Any]) -> Observation:
        """All that was seen in a step."""
        lines: list[Any] = []
        for connection in sorted(books):
            lines += books[connection].lines(connection)
        return self.replace(Observation((*lines, *states)))

    def replace(self, value: Any) -> Any:
        """The same with names replaced, however deep they are."""
        if isinstance(value, str):
            return _MADE.sub(self._number, value.replace(self._vhost, "vhost '/'"))
        if isinstance(value, Observation):
            return Observation(tuple(map(self.replace, value)))
        if isinstance(value, tuple):
            return tuple(map(self.replace, value))
        return value

    def _number(self, match: re.Match[str]) -> str:
        kind = match[1]
        return self._made.setdefault(
            match[0], f"amq.{kind}-#{1 + sum(f'amq.{kind}' in each for each in self._made)}"
        )
