"""What asv does not keep: the witnesses and the single cycles behind its numbers.

asv stores one number for each cell and drops what a benchmark writes to standard error. Each
``setup_cache`` therefore leaves a record of its runs in ``.asv/records`` beside asv's results, by
machine, commit and environment; the published pages link to it. Outside asv nothing is written.

A record decides nothing: a number without one is as good as with it, so one that cannot be written
is told on standard error and costs no measurement. It holds what a trial's report holds, which
never has a password in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Below the folder of asv.conf.json, whose ``.asv`` git ignores.
FOLDER = Path(".asv", "records")
#: The form of a record; another one is not read.
FORMAT = 1


def record_folder(root: Path, machine: str, commit: str, environment: str) -> Path:
    """Where the records of one commit in one environment are.

    Long names of environments make longer ones than a file system takes: their digest stands in.
    """
    digest = hashlib.sha256(environment.encode()).hexdigest()[:12]
    safe = re.sub(r"[^\w.-]", "_", machine).lstrip(".") or "machine"
    return root / FOLDER / safe / f"{commit[:16]}-{digest}"


def keep(scenario: str, planned: int, runs: Mapping[str, Any]) -> Path | None:
    """Write what ``planned`` seeded runs of each load found; returns the file, or None.

    Where to is what asv tells a benchmark in its environment. Two benchmarks may run one scenario
    with different numbers of seeds: each has a file of its own.
    """
    folder, environment = map(os.environ.get, ("ASV_CONF_DIR", "ASV_ENV_NAME"))
    commit = _installed() or os.environ.get("ASV_COMMIT")
    if not folder or not commit or not environment:
        return None
    place = record_folder(Path(folder), platform.node(), commit, environment)
    target = place / f"{scenario}-{planned}.json"
    document = {
        "format": FORMAT,
        "commit": commit,
        "environment": environment,
        "scenario": scenario,
        "planned": planned,
        "runs": dict(runs),
    }
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        place.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(document))
        os.replace(temporary, target)
    except OSError as error:
        print(f"the record {target} could not be written: {error.strerror}", file=sys.stderr)
        return None
    return target


def _installed() -> str | None:
    """The commit that is installed, by asv's own note of it.

    Environments that differ in the broker alone share one installation, and asv tells the commit
    rightly to that one of them for which it installed it.
    """
    try:
        noted = json.loads(Path(os.environ["ASV_ENV_DIR"], "asv-install-status.json").read_text())
    except (KeyError, OSError, ValueError):
        return None
    commit = noted.get("commit_hash") if isinstance(noted, dict) else None
    return commit if isinstance(commit, str) else None
