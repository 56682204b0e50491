"""A hunt: one search as plain data, to be written down, sent to a process and repeated.

Owns the names that can be searched: `publish+kill.1` is a scenario on the pool,
`CLIENT:publish+kill.1` the same on another client, `model:lost-wakeup` one of the small models;
`@line` behind any of them asks for another granularity than `access`. A hunt with a seed and a
bound in schedules is the durable form of a finding: it survives a change of the source, which a
token does not. It decides nothing about what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from . import models
from .explore import Report, explore, strategy
from .program import Program
from .scenarios import find
from .story import story
from .tracing import GRANULARITIES

#: Adapters below it are found from any working directory.
ROOT: Final = Path(__file__).resolve().parents[2]
MODEL: Final = "model:"


@dataclass(frozen=True, slots=True)
class Hunt:
    """What is searched, how, and for how long; see `explore.strategy` for the words."""

    program: str
    strategy: str = "pct"
    depth: int = 3
    seed: int = 1
    #: None: no bound.
    schedules: int | None = None
    #: Of real time; None: no bound.
    seconds: float | None = None

    @property
    def how(self) -> str:
        """For a table."""
        return self.strategy if self.strategy == "random" else f"{self.strategy} {self.depth}"


def find_program(name: str) -> Program:
    """The program of any name. Raises KeyError, ClientError."""
    plain, at, granularity = name.rpartition("@")
    if at:
        if granularity not in GRANULARITIES:
            raise KeyError(name)
        # Under the name that was asked for: it stands in the token.
        return replace(find_program(plain), name=name, granularity=granularity)
    if name.startswith(MODEL):
        return models.BROKEN[name.removeprefix(MODEL)]
    client, colon, scenario = name.rpartition(":")
    return replace(find(f"{found_from_anywhere(client)}{colon}{scenario}"), name=name)


def found_from_anywhere(client: str) -> str:
    """The client's name for its loader: an adapter below `ROOT` is found from any folder."""
    path, colon, adapter = client.rpartition(":")
    if path.endswith(".py") and not Path(path).exists() and (ROOT / path).exists():
        return f"{ROOT / path}{colon}{adapter}"
    return client


def pursue(
    hunt: Hunt,
    *,
    tokens: Iterable[str] = (),
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Search. Raises KeyError, ClientError, SchedulerFailure."""
    program = find_program(hunt.program)
    return explore(
        program,
        strategy(hunt.strategy, seed=hunt.seed, depth=hunt.depth, early=program.early),
        schedules=hunt.schedules,
        seconds=hunt.seconds,
        progress=progress,
        tokens=tokens,
    )


def document(hunt: Hunt, report: Report) -> dict[str, Any]:
    """What it came to, for JSON. `races` is 0 or 1: a search ends at its first finding."""
    finding = None
    if report.found is not None and report.found.finding is not None:
        of = report.found.finding
        finding = {
            "invariant": of.invariant,
            "kind": of.kind,
            "detail": of.detail,
            "story": story(report.found),
            "token": report.token,
        }
    return {
        "hunt": asdict(hunt),
        "schedules": report.schedules,
        "exhausted": report.exhausted,
        "races": int(finding is not None),
        "seconds": round(report.seconds, 3),
        "steps": report.steps,
        "finding": finding,
    }
