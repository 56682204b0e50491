"""Start the proxy: ``python benchmarks/proxy/__main__.py --upstream 127.0.0.1:5672 --port 0``.

By file path (asv's environments import nothing but ``benchmarks`` itself) or by
``-m benchmarks.proxy``. It prints one JSON line, ``{"port", "control", "pid"}``, once it listens,
and ends with status 0 when standard input reaches its end. The control token comes in the
environment, where other users cannot read it, unlike in the arguments.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import sys
from pathlib import Path

TOKEN_VARIABLE = "AMQPOOL_PROXY_TOKEN"


def _address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT, where HOST is a loopback IPv4 address."""
    host, _, port = text.rpartition(":")
    try:
        if not ipaddress.IPv4Address(host).is_loopback or not 0 < int(port) < 65536:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a loopback address like 127.0.0.1:5672"
        ) from None
    return host, int(port)


def main() -> int:
    """Run the proxy until its lifeline closes. Returns the exit status."""
    if not __package__:
        # Started by path, the first entry is our own folder, whose names are not meant to be
        # imported from outside; what is needed is the parent of `benchmarks`.
        sys.path[0] = str(Path(__file__).resolve().parents[2])
    from benchmarks.proxy.server import Proxy

    parser = argparse.ArgumentParser(prog="proxy", description="frame-aware AMQP fault proxy")
    parser.add_argument("--upstream", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--no-ledger",
        action="store_true",
        help="book no messages, to measure what booking them costs; there is nothing to judge then",
    )
    arguments = parser.parse_args()
    token = os.environ.pop(TOKEN_VARIABLE, "")
    if not token:
        parser.error(f"set {TOKEN_VARIABLE} to the control token")
    try:
        booking = not arguments.no_ledger
        proxy = Proxy(arguments.upstream, arguments.port, token, booking=booking)
    except (OSError, OverflowError) as error:
        parser.error(f"cannot listen on 127.0.0.1:{arguments.port}: {error}")
    ready = {"port": proxy.port, "control": proxy.control_port, "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    try:
        proxy.run(sys.stdin.fileno())
    except PermissionError:
        parser.error("standard input must be a pipe that the parent holds open")
    return 0


if __name__ == "__main__":
    sys.exit(main())
