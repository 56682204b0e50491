"""What is asked of the supervisor: one trial, and the command that asks for the same again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from benchmarks.harness.kinds import EMBEDDED


@dataclass(frozen=True)
class Request:
    """What is to be tried. ``load`` as it is written; ``seconds`` None: the plan's own.

    ``broker`` is a label (see ``BrokerChoice``), which holds no password.
    """

    scenario: str
    load: str
    seed: int = 1
    client: str = "amqpool"
    fault: str | None = None
    seconds: float | None = None
    broker: str = EMBEDDED


def replay_command(request: Request) -> str:
    """The command that runs the same plan again."""
    words = ["python", "-m", "benchmarks.harness", "run", request.scenario]
    words += ["--load", request.load, "--seed", str(request.seed), "--client", request.client]
    if request.broker != EMBEDDED:
        words += ["--broker", request.broker]
    if request.fault:
        words += ["--fault", request.fault]
    if request.seconds:
        words += ["--seconds", f"{request.seconds:g}"]
    return shlex.join(words)


def replay_file_command(path: str) -> str:
    """The command that runs the plan in that file, whatever a seed would decide today."""
    return shlex.join(["python", "-m", "benchmarks.harness", "replay", path])
