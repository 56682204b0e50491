"""A made-up report of a sane trial, to which a test adds what went wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

from benchmarks.harness.books import Verdict as Books
from benchmarks.harness.checkers import Evidence

#: The recovery deadline that the made-up client declares, in seconds.
RECOVERY = 5.0
#: What the made-up plan holds.
PLANNED = Counter(publish=4, drain=2, unroutable=1)


def slot(name: str, kind: str = "worker", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "operation": None,
        "advanced": 0.0,
        "done": True,
        "attempted": {},
        "succeeded": {},
        "gave_up": None,
        **more,
    }


def report(**more: Any) -> dict[str, Any]:
    done = {"publish": 4, "drain": 2}
    probed = {"publish_confirmed": 1}
    return {
        "partial": None,
        "client": {
            "name": "made-up",
            "version": "1.0",
            "cannot": [],
            "recoverable": ["Lost"],
            "recovery_seconds": RECOVERY,
        },
        "plan": "0123456789ab",
        "phase": "end",
        "phases": {"open": [0.0, 1.0], "load": [1.0, 3.0], "close": [3.0, 4.0]},
        "operations": 6,
        "slots": [
            slot("worker-0", attempted=dict(done), succeeded=dict(done)),
            slot("probe", "probe", attempted=dict(probed), succeeded=dict(probed)),
            slot("closer", "closer", attempted={"close": 1}, succeeded={"close": 1}),
        ],
        "stall_window": 7.5,
        "stalls": [],
        "stacks": [],
        "overran": False,
        "open_failed": False,
        "exceptions": {"signatures": [], "events": []},
        "leases": {"leases": 4, "doubles": [], "held": []},
        "at_rest": None,
        "closed": {"returned": True, "seconds": 0.25},
        "recoveries": [],
        "nemesis": None,
        "history": {},
        **more,
    }


def add_error(
    document: dict[str, Any],
    *,
    times: int = 1,
    at: float = 50.0,
    thread: str = "worker-0",
    **more: Any,
) -> None:
    """Enter an exception that came ``times`` times."""
    exceptions = document["exceptions"]
    number = len(exceptions["signatures"])
    exceptions["signatures"].append(
        {
            "number": number,
            "where": "operation",
            "operation": "publish",
            "kind": "unexpected",
            "type": "builtins.ValueError",
            "text": "bad",
            "keyerror_none": False,
            "traceback": "Traceback ...",
            **more,
        }
    )
    exceptions["events"] += [[at, thread, number]] * times


def books(
    *, confirm: int = 3, deliver: int = 2, bounce: int = 1, judged: int = 10, **more: Any
) -> Books:
    compared = Counter({"confirm": confirm, "deliver": deliver, "return": bounce, "publish": 4})
    return Books(compared=compared, judged=judged, **more)


SANE = books()


def evidence(
    document: dict[str, Any] | None = None, *, books: Books | None = SANE, **more: Any
) -> Evidence:
    return Evidence(document or report(), "status 0", books=books, **more)
