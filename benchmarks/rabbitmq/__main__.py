"""Start private RabbitMQ nodes: ``python benchmarks/rabbitmq/__main__.py --nodes 1``.

Prints one JSON line once every node answers: ``{"ports", "addresses", "control", "version",
"start_seconds", "memory", "pid"}``, where ``memory`` is bytes of each node. The control token
comes in the environment, where other users cannot read it. Ends when standard input does (a pipe
that the parent holds), or on SIGTERM or SIGINT, and leaves nothing behind; what a keeper that was
killed has left, the next one removes at its start. The exit status is 0, 1 when the nodes could
not be started, and 2 when RabbitMQ is not installed or an argument is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Started by file path: this folder must not be searched, its parent's parent must.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

TOKEN_VARIABLE = "AMQPOOL_KEEPER_TOKEN"


def main(arguments: list[str] | None = None) -> int:
    """Keep nodes until the lifeline ends."""
    from benchmarks.rabbitmq.keeper import Keeper
    from benchmarks.rabbitmq.leftovers import sweep
    from benchmarks.rabbitmq.namespaces import NoNamespaces
    from benchmarks.rabbitmq.programs import Missing, find
    from benchmarks.rabbitmq.service import Service
    from benchmarks.rabbitmq.waiting import Ended, KeeperError, Lifeline

    options = _parse(arguments)
    token = os.environ.pop(TOKEN_VARIABLE, "")
    if not token:
        return _refuse(f"set {TOKEN_VARIABLE} to the control token", 2)
    try:
        programs = find()
        lifeline = Lifeline(sys.stdin.fileno() if options.lifeline else None)
    except Missing as error:
        return _refuse(str(error), 2)
    except OSError:
        return _refuse("standard input is no lifeline; hold a pipe open or use --no-lifeline", 2)
    sweep()
    keeper = Keeper(programs, lifeline, options.nodes, options.isolated)
    try:
        keeper.start()
        service = Service(keeper, lifeline, token)
        ready = {
            "ports": [node.place.port for node in keeper.nodes],
            "addresses": [node.place.address for node in keeper.nodes],
            "control": service.port,
            "version": programs.version,
            "start_seconds": round(keeper.start_seconds, 3),
            "memory": [node.memory for node in keeper.nodes],
            "pid": os.getpid(),
        }
        print(json.dumps(ready), flush=True)
        service.run()
    except Ended:
        pass
    except NoNamespaces as error:
        return _refuse(str(error), 2)
    except KeeperError as error:
        return _refuse(str(error), 1)
    finally:
        keeper.close()
    return 0


def _refuse(why: str, status: int) -> int:
    print(f"rabbitmq: {why}", file=sys.stderr)
    return status


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rabbitmq", description="Private RabbitMQ nodes.")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    parser.add_argument(
        "--isolated",
        action="store_true",
        help="each node in a network namespace of its own, for partitions; takes root",
    )
    parser.add_argument(
        "--no-lifeline",
        dest="lifeline",
        action="store_false",
        help="do not end with standard input (to run it by hand)",
    )
    options = parser.parse_args(arguments)
    if options.isolated and options.nodes == 1:
        parser.error("--isolated takes --nodes 3: one node has nobody to be parted from")
    return options


if __name__ == "__main__":
    sys.exit(main())
