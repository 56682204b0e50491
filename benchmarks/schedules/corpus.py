"""What was found before: replayed first, in each search of the same scenario.

Owns `corpus.json` beside it. An entry holds a finding in two forms. The *token* is one order and
is run again in no time, but it binds to source, interpreter and granularity: on any other it is
*stale* and counts for nothing. The *hunt* (scenario, strategy, depth, seed, and a bound within
which it was found) takes as long as it took, and holds for whatever the source has become: it
stands in for a stale token until `python -m tools.corpus --refresh` has written a new one. An entry
of a bug that was mended is kept by its hunt, which must find nothing any more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from .hunts import Hunt, find_program
from .tokens import decode

FILE: Final = Path(__file__).with_name("corpus.json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding."""

    #: Whose defect it is, in a phrase.
    of: str
    program: str
    strategy: str
    depth: int
    seed: int
    #: The search found it within so many.
    schedules: int
    invariant: str
    #: Its bug was mended since: the hunt must be clean.
    mended: bool = False
    token: str = ""
    #: The interpreter that the token is for, as in the names of compiled files.
    python: str = ""

    @property
    def hunt(self) -> Hunt:
        """The durable form."""
        return Hunt(self.program, self.strategy, self.depth, self.seed, self.schedules)

    @property
    def stale(self) -> bool:
        """Whether its token is for another source or Python. Raises BadToken, as `find_program`."""
        if not self.token:
            return False
        return decode(self.token).digest != find_program(self.program).digest()

    @classmethod
    def from_result(cls, result: Mapping[str, Any], of: str) -> Entry:
        """The entry of a search that found something (`hunts.document`)."""
        hunt, finding = Hunt(**result["hunt"]), result["finding"]
        return cls(
            of=of,
            program=hunt.program,
            strategy=hunt.strategy,
            depth=hunt.depth,
            seed=hunt.seed,
            schedules=result["schedules"],
            invariant=finding["invariant"],
            token=finding["token"],
            python=sys.implementation.cache_tag or "",
        )


def load(file: Path = FILE) -> list[Entry]:
    """All of them. Raises ValueError, TypeError for a file that is none."""
    return [Entry(**each) for each in json.loads(file.read_text())]


def save(entries: Iterable[Entry], file: Path = FILE) -> None:
    """Write them all, sorted, so that a change shows as what it is."""
    ordered = sorted(entries, key=lambda entry: (entry.of, entry.program))
    file.write_text(json.dumps([asdict(entry) for entry in ordered], indent=2) + "\n")


def of_program(name: str, file: Path = FILE) -> list[Entry]:
    """Those of one program."""
    return [entry for entry in load(file) if entry.program == name]
