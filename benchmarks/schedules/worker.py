"""Hunts in a process of their own. Launched by file path: ``python worker.py SPEC.json``.

Also a token's order, and the control's search. It writes one line of JSON for each as soon as it
has ended, so that what was found before a crash is not lost. Its standard input is a lifeline: when
the parent goes away it closes, and this process ends. It always ends by ``os._exit``: a client may
leave threads that no exit outlives.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any


def _control(seed: int) -> dict[str, Any]:
    from benchmarks.schedules.control import searched, unavailable
    from benchmarks.schedules.outcome import SchedulerFailure

    why = unavailable()
    if why is not None:
        return {"refused": why}
    try:
        return searched(seed)
    except SchedulerFailure as error:
        return {"failure": str(error)}


def _replay(entry: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.clients.loader import ClientError
    from benchmarks.schedules.explore import replay
    from benchmarks.schedules.hunts import find_program
    from benchmarks.schedules.outcome import SchedulerFailure
    from benchmarks.schedules.tokens import BadToken

    try:
        outcomes = replay(entry["token"], find_program, entry["times"])
    except (BadToken, ClientError) as error:
        return {**entry, "refused": str(error)}
    except SchedulerFailure as error:
        return {**entry, "failure": str(error)}
    finding = outcomes[0].finding
    return {
        **entry,
        "shown": sum(
            not each.diverged and each.finding is not None and each.finding == finding
            for each in outcomes
        ),
        "invariant": finding and finding.invariant,
        "detail": finding and finding.detail,
    }


def _result(entry: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.clients.loader import ClientError
    from benchmarks.schedules.hunts import Hunt, document, pursue
    from benchmarks.schedules.outcome import SchedulerFailure

    if "control" in entry:
        return _control(entry["control"])
    if "token" in entry:
        return _replay(entry)
    hunt = Hunt(**entry["hunt"])
    try:
        return document(hunt, pursue(hunt))
    except KeyError:
        return {"hunt": entry["hunt"], "refused": f"there is no scenario {hunt.program!r}"}
    except ClientError as error:
        return {"hunt": entry["hunt"], "refused": str(error)}
    except SchedulerFailure as error:
        return {"hunt": entry["hunt"], "failure": str(error)}


def main(path: str) -> None:
    # Only `benchmarks` is wanted from there; the folder of this file, which Python put first, would
    # hide modules of the standard library's names.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != folder]
    sys.path.append(str(folder.parents[1]))
    faulthandler.enable(all_threads=True)
    spec = json.loads(Path(path).read_text())

    def lifeline() -> None:
        while os.read(0, 4096):
            pass
        os._exit(4)

    threading.Thread(target=lifeline, name="lifeline", daemon=True).start()
    with open(spec["results"], "w", buffering=1) as results:
        for entry in spec["entries"]:
            results.write(json.dumps(_result(entry)) + "\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
