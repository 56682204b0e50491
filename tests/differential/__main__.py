"""Play one sequence to both brokers: ``python -m tests.differential TOKEN``.

Prints each step with what was seen of it; exit status 1 when the brokers differ by mistake, 2 when
there is no RabbitMQ or the token is none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.rabbitmq.programs import Missing

from .brokers import embedded, rabbitmq
from .comparing import Comparison, Differ
from .driver import Driver
from .steps import from_token


def main(arguments: list[str] | None = None) -> int:
    """Play the sequence, and say whether the brokers are alike."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("token", help="a sequence, as a failed test prints it")
    try:
        steps = from_token(parser.parse_args(arguments).token)
    except ValueError as error:
        return _refuse(str(error))
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            embedded() as mine,
            rabbitmq(Path(folder)) as other,
        ):
            comparison = Comparison(Driver(mine), Driver(other))
            for step in steps:
                print(step)
                for line in comparison.rabbitmq.perform(step):
                    print(f"    {line}")
            comparison.rabbitmq.clean()
            comparison.hold(steps)
    except Missing as missing:
        return _refuse(str(missing))
    except Differ as differ:
        print(differ)
        return 1
    print(f"alike: {comparison}")
    return 0


def _refuse(why: str) -> int:
    print(f"differential: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
