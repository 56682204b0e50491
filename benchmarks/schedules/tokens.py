"""A token: everything that is needed to run one order again, in one short word.

    name~digest~choices

`digest` binds it to source, Python version and granularity: on anything else the same choices
would be another run, so it is refused instead. The choices are bytes in base64: who leaves, how
many of its decisions after its previous choice, who goes on. Pure functions.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from .outcome import Choice


class Token(NamedTuple):
    """A token taken apart."""

    name: str
    digest: bytes
    choices: list[Choice]


class BadToken(ValueError):
    """Not a token, or not one for what is there now; the text says which."""


def encode(token: Token) -> str:
    """The word for it."""
    data = bytearray()
    last: dict[int, int] = {}
    for task, decision, chosen in sorted(token.choices):
        step = decision - last.get(task, 0)
        last[task] = decision
        if max(task, chosen) < 15:
            data.append(task << 4 | chosen)
        else:
            data.append(0xFF)
            _put(data, task)
            _put(data, chosen)
        _put(data, step)
    return f"{token.name}~{_word(token.digest)}~{_word(bytes(data))}"


def decode(text: str) -> Token:
    """Take a token apart. Raises BadToken."""
    parts = text.strip().rsplit("~", 2)
    if len(parts) != 3 or not parts[0]:
        raise BadToken(f"{text!r} is no token: one looks like name~digest~choices")
    try:
        digest, data = (
            base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
            for part in parts[1:]
        )
        return Token(parts[0], digest, _choices(data))
    except (binascii.Error, IndexError, ValueError) as error:
        raise BadToken(f"{text!r} is no token: it was cut short or mistyped ({error})") from error


def _choices(data: bytes) -> list[Choice]:
    choices = []
    last: dict[int, int] = {}
    position = 0
    while position < len(data):
        pair = data[position]
        position += 1
        if pair == 0xFF:
            task, position = _get(data, position)
            chosen, position = _get(data, position)
        else:
            task, chosen = pair >> 4, pair & 15
        step, position = _get(data, position)
        last[task] = last.get(task, 0) + step
        choices.append(Choice(task, last[task], chosen))
    return choices


def _put(data: bytearray, number: int) -> None:
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)


def _get(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while data[position] & 128:
        number |= (data[position] & 127) << shift
        shift += 7
        position += 1
    return number | data[position] << shift, position + 1


def _word(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
