"""Run the public suites against the embedded broker: py-amqp's, aiormq's and rabbitpy's own tests.

A suite that somebody else wrote for RabbitMQ says whether the broker can stand in for it. What
cannot pass stands in a list with its reason (``tools/suites/rows.py``), and is held to it: it must
fail. ``make conformance`` runs the same as tests.

    python -m tools.conformance [SUITE ...] [--broker HOST:PORT]

``--broker`` runs the tests against another broker, to compare; everything must pass there but
what needs TLS, so the exceptions show as new passes. Exit status: 0 all as expected, 1 not, 2 a
suite could not be fetched or run.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext

from benchmarks.harness.processes import EnvironmentProblem
from tools.suites.rows import SUITES
from tools.suites.run import embedded_broker, outcomes
from tools.suites.verdict import FAILED, PASSED, SKIPPED, counts, problems


def main(arguments: list[str] | None = None) -> int:
    """Run the suites; returns the exit status."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__.splitlines()[0])
    parser.add_argument("suite", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all")
    parser.add_argument("--broker", type=_address, metavar="HOST:PORT", help="another broker")
    options = parser.parse_args(arguments)
    for name in options.suite:
        if name not in SUITES:
            parser.error(f"there is no suite {name!r}; there are {', '.join(SUITES)}")
    try:
        found = [line for name in options.suite or SUITES for line in run(name, options.broker)]
    except EnvironmentProblem as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    return 1 if found else 0


def run(name: str, broker: tuple[str, int] | None = None) -> list[str]:
    """Run one suite, print its figures and its problems, and return these.

    Raises EnvironmentProblem.
    """
    suite, started = SUITES[name], time.monotonic()
    with nullcontext(broker) if broker else embedded_broker() as address:
        seen = outcomes(suite, *address)
    found = problems(seen, suite.expected, suite.passed)
    count = counts(seen)
    print(
        f"{suite.source}: {count[PASSED]} passed, {count[FAILED]} failed, {count[SKIPPED]} skipped"
        f" in {time.monotonic() - started:.0f} s; left out: {suite.left_out}",
        *(f"  {line}" for line in found),
        sep="\n",
        flush=True,
    )
    return found


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not an address like 127.0.0.1:5672")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main())
