"""asv in the environments of one label: those of the matrix with that broker, and no others.

asv selects environments by their whole names, which hold the Python that runs it and every
requirement; here the label is enough.

    python -m tools.label embedded continuous --show-stderr main HEAD
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from benchmarks.harness.kinds import EMBEDDED, VARIABLE
from benchmarks.harness.label import missing
from benchmarks.harness.processes import EnvironmentProblem

CONFIGURATION = Path(__file__).resolve().parents[1] / "asv.conf.json"
USAGE = 2


def selection(label: str, configuration: Path = CONFIGURATION) -> list[str]:
    """Arguments for ``asv run`` and ``asv continuous`` that select the environments of a label.

    Raises EnvironmentProblem where the matrix has none.
    """
    from asv.config import Config
    from asv.environment import get_environments

    environments = list(get_environments(Config.load(str(configuration)), None, verbose=False))
    labels = {each.name: each.env_vars.get(VARIABLE) or EMBEDDED for each in environments}
    names = [name for name, found in labels.items() if found == label]
    if not names:
        # What was asked for is not repeated: it may be a URL with a password in it.
        known = " or ".join(dict.fromkeys(labels.values()))
        raise EnvironmentProblem(f"{VARIABLE} is {known} in asv's matrix, and nothing else")
    return [word for name in names for word in ("-E", name)]


def require(label: str) -> None:
    """Raises EnvironmentProblem where that broker cannot be had on this machine."""
    lacking = missing(label)
    if lacking is not None:
        raise EnvironmentProblem(lacking.reason)


def main() -> None:
    """Become asv; exit status 2 where that makes no sense."""
    if len(sys.argv) < 3:
        _refuse("usage: python -m tools.label LABEL COMMAND [ARGUMENT ...]")
    label, command, *rest = sys.argv[1:]
    try:
        chosen = selection(label)
        require(label)
    except EnvironmentProblem as error:
        _refuse(f"error: {error}")
    os.chdir(CONFIGURATION.parent)
    os.execv(sys.executable, [sys.executable, "-m", "asv", command, *chosen, *rest])


def _refuse(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(USAGE)


if __name__ == "__main__":
    main()
