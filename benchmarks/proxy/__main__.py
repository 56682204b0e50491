"""Start the proxy: ``python benchmarks/proxy/__main__.py --upstream 127.0.0.1:5672 --port 0``.

By file path (asv's environments import nothing but ``benchmarks`` itself) or by
``-m benchmarks.proxy``. Each ``--upstream`` gets a port of its own; ledger, faults and control port
are one for all. It prints one JSON line, ``{"port", "ports", "control", "pid"}``, once it listens
(``ports`` in the order of the upstreams, ``port`` the first of them), and ends with status 0 when
standard input reaches its end. The control token comes in the environment, where other users cannot
read it, unlike in the arguments.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import socket
import sys
from pathlib import Path

TOKEN_VARIABLE = "AMQPOOL_PROXY_TOKEN"


def _address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address like 127.0.0.1:5672")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _upstreams(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> list[tuple[str, int]]:
    """The addresses to connect to, as numbers; a name is looked up here, once."""
    found = []
    for host, port in arguments.upstream:
        if not _is_loopback(host) and not arguments.allow_remote:
            parser.error(
                f"{host}:{port} is not a loopback address like 127.0.0.1:5672; "
                "--allow-remote lets the proxy connect to it"
            )
        try:
            found.append((socket.gethostbyname(host), port))
        except (OSError, UnicodeError) as error:
            parser.error(f"no IPv4 address is known for {host!r}: {error}")
    return found


def main() -> int:
    """Run the proxy until its lifeline closes. Returns the exit status."""
    if not __package__:
        # Started by path, the first entry is our own folder, whose names are not meant to be
        # imported from outside; what is needed is the parent of `benchmarks`.
        sys.path[0] = str(Path(__file__).resolve().parents[2])
    from benchmarks.proxy.server import Proxy

    parser = argparse.ArgumentParser(prog="proxy", description="frame-aware AMQP fault proxy")
    parser.add_argument(
        "--upstream",
        type=_address,
        required=True,
        action="append",
        metavar="HOST:PORT",
        help="a broker; give it once for each node of a cluster",
    )
    parser.add_argument(
        "--port",
        type=int,
        action="append",
        default=[],
        help="where to listen for the upstream at the same place; 0, the default, is any free port",
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="connect to upstreams that are not on loopback; it still listens there alone",
    )
    parser.add_argument(
        "--no-ledger",
        action="store_true",
        help="book no messages, to measure what booking them costs; there is nothing to judge then",
    )
    arguments = parser.parse_args()
    if len(arguments.port) > len(arguments.upstream):
        parser.error("there are more --port than --upstream")
    upstreams = _upstreams(parser, arguments)
    token = os.environ.pop(TOKEN_VARIABLE, "")
    if not token:
        parser.error(f"set {TOKEN_VARIABLE} to the control token")
    try:
        proxy = Proxy(upstreams, arguments.port, token, booking=not arguments.no_ledger)
    except (OSError, OverflowError) as error:
        wanted = ", ".join(map(str, arguments.port)) or "any port"
        parser.error(f"cannot listen on 127.0.0.1:{wanted}: {error}")
    ports = proxy.ports
    ready = {"port": ports[0], "ports": ports, "control": proxy.control_port, "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    try:
        proxy.run(sys.stdin.fileno())
    except PermissionError:
        parser.error("standard input must be a pipe that the parent holds open")
    return 0


if __name__ == "__main__":
    sys.exit(main())
