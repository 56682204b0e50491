"""The trial's process. Launched by file path: ``python child.py SPEC.json``.

Its standard input is a lifeline: when the parent goes away, for whatever reason, it closes, and
this process writes a partial report and ends. It always ends by ``os._exit``, because a client
under test may leave threads that no ordinary exit would outlive.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

#: Exit statuses, for whoever reads a process list: the supervisor reads the report alone.
DONE, BROKEN, REFUSED, ABANDONED = 0, 1, 2, 4
#: Seconds between two progress lines.
PROGRESS_PERIOD = 0.25


def main(path: str) -> None:
    # Only `benchmarks` is wanted from there; behind everything else, so that it hides nothing. The
    # folder of this file, which Python put first, would: `plan`, `table` and others are packages.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != folder]
    sys.path.append(str(folder.parents[1]))
    from benchmarks.clients.loader import ClientError
    from benchmarks.harness.trial import Trial
    from benchmarks.wire.client import WireError, WireTimeout
    from benchmarks.wire.control import ControlError

    # SIGABRT, which the supervisor sends before it kills, prints every stack to standard error.
    faulthandler.enable(all_threads=True)
    spec = json.loads(Path(path).read_text())
    report, progress = Path(spec["report"]), Path(spec["progress"])
    try:
        trial = Trial(spec)
    except ClientError as error:
        # In the report, and not by exit status: any client may end its process with any status.
        report.write_text(json.dumps({"refused": str(error)}))
        os._exit(REFUSED)

    def lifeline() -> None:
        while os.read(0, 4096):
            pass
        trial.write_report(report, partial="the parent process went away or gave the trial up")
        os._exit(ABANDONED)

    def show_progress() -> None:
        while True:
            try:
                progress.write_text(trial.progress_line())
            except OSError:
                return  # a full disk: the report will say so, the load goes on
            time.sleep(PROGRESS_PERIOD)

    threading.Thread(target=lifeline, name="lifeline", daemon=True).start()
    threading.Thread(target=show_progress, name="progress", daemon=True).start()
    status = DONE
    try:
        trial.run()
        trial.write_report(report)
    except (WireError, WireTimeout) as error:
        # The harness's own connection to the broker: no failure of the client.
        trial.write_report(report, partial=f"the broker did not answer the harness: {error}")
    except ControlError as error:
        trial.write_report(report, partial=f"no faults could be asked for: {error}")
    except BaseException:  # noqa: BLE001 - printed; the process must end, whatever threads it has
        traceback.print_exc()
        status = BROKEN
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1])
