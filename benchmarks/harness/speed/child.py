"""The process that is measured. Launched by file path: ``python child.py SPEC.json``.

It runs under the Python of the client's own environment. For each line of its standard input it
does one round of that many operations and answers with one line of JSON on its standard output.
Standard input is also its lifeline: when it closes, the process ends, whatever it is doing.
Whatever the client prints goes to standard error.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

#: Seconds for a round that is under way to end by itself when the lifeline has closed.
GRACE = 1.0


def main(path: str) -> None:
    # As in the trial's process: of that folder only `benchmarks`, and this one not at all.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != folder]
    sys.path.append(str(folder.parents[2]))
    # Answers alone go out; a client that prints must not be taken for one.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    faulthandler.enable(all_threads=True)

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")

    from benchmarks.clients.speed.table import load_speed
    from benchmarks.harness.speed.bench import Bench
    from benchmarks.harness.speed.works import WORKS
    from benchmarks.proxy.control import Control
    from benchmarks.wire.url import parse_amqp_url

    spec = json.loads(Path(path).read_text())
    work = WORKS[spec["work"]]
    kind = load_speed(spec["client"])
    endpoint, broker = parse_amqp_url(spec["url"]), parse_amqp_url(spec["broker"])
    proxy = None
    if spec["proxy"] is not None:
        proxy = Control(spec["proxy"]["port"], spec["proxy"]["token"], timeout=10.0)
    bench = Bench(kind, endpoint, broker, spec["prefix"], proxy)
    answer({"version": kind(endpoint, 1).version})
    orders: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), name="lifeline", daemon=True).start()
    while (count := orders.get()) is not None:
        try:
            answer(asdict(work.run(bench, work.threads, count)))
        except Exception as error:  # noqa: BLE001 - a row of the table says so
            answer({"failed": f"{type(error).__name__}: {error}"})
    bench.close()
    # A client may leave threads that no ordinary exit would outlive.
    os._exit(0)


def _listen(orders: queue.SimpleQueue[int | None]) -> None:
    for line in sys.stdin:
        orders.put(int(line))
    orders.put(None)
    time.sleep(GRACE)
    # It hangs in the client: where, is in its standard error.
    faulthandler.dump_traceback(all_threads=True)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
