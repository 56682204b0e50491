"""A made-up report of a sane trial, to which a test adds what went wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

from benchmarks.harness.books import Verdict as Books
from benchmarks.harness.checkers import Evidence

#: The recovery deadline that the made-up client declares, in seconds.
RECOVERY = 5.0
#: Channels that the made-up client may keep at rest, and when it rested.
IDLE = 2
REST = 2.9
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
            "connections": 1,
            "idle_channels": IDLE,
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
        "rest_at": REST,
        "resources": {"before": {}, "after": {}, "new_threads": [], "new_fds": []},
        "closed": {"returned": True, "seconds": 0.25},
        "recoveries": [],
        "nemesis": None,
        "history": {},
        **more,
    }


def killed(*asked: float, planned: int | None = None, **more: Any) -> dict[str, Any]:
    fired = [
        {"asked": t, "t": t + 0.001, "kind": "rst", "healed": None, "ends": True} for t in asked
    ]
    planned = len(asked) if planned is None else planned
    return report(nemesis={"planned": planned, "fired": fired, "missed": []}, **more)


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


def generation(
    number: int = 1,
    *events: tuple[float, str, int, int],
    opened: float = 0.5,
    closed: float | None = 3.5,
) -> dict[str, Any]:
    return {
        "generation": number,
        "opened": opened,
        "ready": opened + 0.1,
        "closed": closed,
        "end": "close",
        "faulted": False,
        "injected": False,
        "faults": [],
        "thrown": 0,
        "events": [[*event, {}] for event in events],
    }


def ledger(*generations: dict[str, Any]) -> dict[str, Any]:
    """Of one connection with two channels open, when no other is given."""
    sane = generation(1, (0.7, "open", 1, 1), (0.8, "open", 2, 1), (1.0, "publish", 1, 1))
    return {"generations": list(generations) or [sane], "faults": []}


def evidence(
    document: dict[str, Any] | None = None, *, books: Books | None = SANE, **more: Any
) -> Evidence:
    known: dict[str, Any] = {"ledger": ledger(), "links_left": 0}
    return Evidence(document or report(), "status 0", books=books, **(known | more))
