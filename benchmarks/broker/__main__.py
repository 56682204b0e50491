"""The broker as a program: ``python benchmarks/broker/__main__.py --port 0``.

Prints one line of JSON, ``{"port": …, "pid": …}``, when it listens on 127.0.0.1. With a token in
the environment, where other users cannot read it, it has a control port for faults (``"control"``
in that line). Ends when its standard input does (a pipe that the parent holds, so that no broker
outlives whoever started it), or on SIGTERM or SIGINT. The exit status is 0, or 1 when a bug of the
broker ended a connection.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Started by file path: this folder must not be searched, its parent's parent must.
    sys.path[0] = str(Path(__file__).resolve().parents[2])


TOKEN_VARIABLE = "AMQPOOL_BROKER_TOKEN"


def main(arguments: list[str] | None = None) -> int:
    """Run a broker until its lifeline ends."""
    from benchmarks.broker.core import Settings
    from benchmarks.broker.server import Server

    options = _parse(arguments)
    password = "guest"
    if options.password_env is not None:
        password = os.environ.get(options.password_env, "")
        if not password:
            print(f"broker: {options.password_env} is not set or empty", file=sys.stderr)
            return 2
    settings = Settings(
        user=options.user,
        password=password,
        heartbeat=options.heartbeat,
        frame_max=options.frame_max,
        channel_max=options.channel_max,
        coalesce_confirms=options.coalesce_confirms,
        memory_limit=options.memory_limit,
    )
    try:
        server = Server(settings, options.port, os.environ.pop(TOKEN_VARIABLE, ""))
    except OSError as error:
        print(f"broker: cannot listen on port {options.port}: {error}", file=sys.stderr)
        return 2
    if options.lifeline:
        try:
            server.stop_at_end_of(0)
        except OSError:
            print(
                "broker: standard input is no lifeline; hold a pipe open or use --no-lifeline",
                file=sys.stderr,
            )
            return 2
    server.stop_on_signals()
    ready = {"port": server.port, "control": server.control_port, "pid": os.getpid()}
    print(json.dumps({name: value for name, value in ready.items() if value}), flush=True)
    server.run()
    if options.stats is not None:
        options.stats.write_text(json.dumps(server.broker.stats()) + "\n")
    return 1 if server.broker.counts["internal_errors"] else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="broker", description="The embedded AMQP 0-9-1 broker.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--user", default="guest")
    parser.add_argument(
        "--password-env", metavar="NAME", help="environment variable with the password"
    )
    parser.add_argument(
        "--heartbeat", type=_number(0, 65535), default=60, help="seconds, offered in tune"
    )
    parser.add_argument("--frame-max", type=_number(4096, 1 << 24), default=131072, help="bytes")
    parser.add_argument("--channel-max", type=_number(1, 65535), default=2047)
    parser.add_argument(
        "--memory-limit",
        type=_number(1, 1 << 40),
        default=1 << 29,
        help="bytes of stored messages above which publishers are blocked",
    )
    parser.add_argument(
        "--coalesce-confirms",
        action="store_true",
        help="confirm all publishes of one read with one multiple ack",
    )
    parser.add_argument(
        "--stats", type=Path, metavar="FILE", help="write counters there at the end, as JSON"
    )
    parser.add_argument(
        "--no-lifeline",
        dest="lifeline",
        action="store_false",
        help="do not end with standard input (to run it by hand)",
    )
    return parser.parse_args(arguments)


def _number(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: an integer between two bounds, both included."""

    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not between {low} and {high}")
        return value

    return parse


if __name__ == "__main__":
    sys.exit(main())
