"""A malformed result file is reported by asv and passed over, whatever is wrong with it.

asv reports a file with a missing field or cut-off JSON and goes on, but ends ``asv publish`` with
a traceback on one whose fields have the wrong type. Every way of being malformed is turned into
the error that asv reports.
"""

from __future__ import annotations

from typing import Any

from asv.results import Results
from asv.util import UserError

from benchmarks.harness.gate_results import MALFORMED, check


def report_unreadable() -> None:
    """Put the check behind ``Results.load``, once."""
    stock = Results.load.__func__
    if getattr(stock, "checks", False):
        return

    def load(cls: type[Results], path: str, machine_name: str | None = None) -> Any:
        try:
            result = stock(cls, path, machine_name)
            check(result)
        except MALFORMED as error:
            raise UserError(f"Error loading results file '{path}': {error!r}") from error
        return result

    load.checks = True  # type: ignore[attr-defined]
    Results.load = classmethod(load)
