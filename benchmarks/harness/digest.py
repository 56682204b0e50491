"""The digest of the instrument, which every benchmark carries as its ``version``.

asv's own default hashes the benchmark function alone: a change in the harness would keep the
version and mix old numbers with new ones in one graph, even as a false regression. The digest
covers every source file that decides what is measured or judged, and nothing of the client.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
#: What only shows results and decides none: a new column must not re-measure the history.
_PRESENTATION = frozenset(
    (
        "harness/__main__.py",
        "harness/cli.py",
        "harness/compare_verb.py",
        "harness/explore_verb.py",
        "harness/gate.py",
        "harness/gate_report.py",
        "harness/gate_results.py",
        "harness/gate_verb.py",
        "harness/records.py",
        "harness/speed/aims.py",
        "harness/speed/report.py",
        "harness/speed/summary.py",
        "harness/speed/verdicts.py",
        "harness/table.py",
    )
)


@cache
def instrument_digest() -> str:
    """Sixteen hex digits over the names and texts of the instrument's files."""
    digest = hashlib.sha256()
    for path in sorted(_ROOT.rglob("*.py")):
        name = path.relative_to(_ROOT).as_posix()
        if name not in _PRESENTATION:
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
