"""What a client does, as data: a sequence is a list of steps, and a step is a small tuple.

A step names what is sent and where; it holds no state of a run, so any step may be left out of a
sequence and the rest still means something. That is what lets hypothesis shrink one. A sequence
is written as a token, one word for a command line.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

#: What a step may be beside a method by its pamqp name (``"Queue.Declare"``).
PUBLISH, RAW, LOGIN = "publish", "raw", "login"


class Step(NamedTuple):
    """One thing that a client sends.

    ``what`` is a method's name; ``publish`` (a whole message); ``raw`` (frames of the table in
    ``malformed``, by ``kind``); or ``login`` (a connection of its own that says something odd in
    the handshake, by ``kind`` of ``logins``). A connection that is not there is made, and unless
    the step is ``bare`` its channel is opened first: a bare step sends its frames and nothing else.

    A delivery tag counts the deliveries of its channel in the order of ``observing``; -1 stands for
    the oldest that is not settled yet, -2 for the next. Where there is none, nothing is sent.
    """

    what: str
    connection: int = 0
    channel: int = 1
    fields: dict[str, Any] = {}  # noqa: RUF012 - never changed
    bare: bool = False

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        bare = " bare" if self.bare else ""
        return f"{self.connection}.{self.channel}{bare} {self.what}({fields})"


def token(steps: Iterable[Step]) -> str:
    """A sequence as one word."""
    data = json.dumps([list(step) for step in steps], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode().rstrip("=")


def from_token(text: str) -> list[Step]:
    """The sequence of a token. Raises ValueError when it is none."""
    try:
        data = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return [Step(*fields) for fields in json.loads(data)]
    except (ValueError, TypeError, zlib.error) as error:
        raise ValueError("this is not the token of a sequence") from error
