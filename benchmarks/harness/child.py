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
from pathlib import Path

#: Exit statuses, for the supervisor only.
DONE, BAD_CLIENT, ABANDONED = 0, 2, 4
#: Seconds between two progress lines.
PROGRESS_PERIOD = 0.25


def main(path: str) -> None:
    # Only `benchmarks` is wanted from there; behind everything else, so that it hides nothing.
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from benchmarks.clients.loader import ClientError
    from benchmarks.harness.trial import Trial

    # SIGABRT, which the supervisor sends before it kills, prints every stack to standard error.
    faulthandler.enable(all_threads=True)
    spec = json.loads(Path(path).read_text())
    report, progress = Path(spec["report"]), Path(spec["progress"])
    try:
        trial = Trial(spec)
    except ClientError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(BAD_CLIENT)

    def lifeline() -> None:
        while os.read(0, 4096):
            pass
        trial.write_report(report, partial="the parent process went away or gave the trial up")
        os._exit(ABANDONED)

    def show_progress() -> None:
        while True:
            progress.write_text(trial.progress_line())
            time.sleep(PROGRESS_PERIOD)

    threading.Thread(target=lifeline, name="lifeline", daemon=True).start()
    threading.Thread(target=show_progress, name="progress", daemon=True).start()
    trial.run()
    trial.write_report(report)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(DONE)


if __name__ == "__main__":
    main(sys.argv[1])
