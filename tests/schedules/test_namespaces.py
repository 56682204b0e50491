"""Each run of a program finds the names of its code as the first one did."""

from __future__ import annotations

import threading

from benchmarks.schedules.namespaces import Namespaces
from benchmarks.schedules.outcome import Violation
from benchmarks.schedules.program import Program, Runner
from benchmarks.schedules.strategies import Default

RUNS = 0


class Client:
    opened = False
    lock = threading.Lock()

    def work(self) -> str:
        return "as it was"


def wanted(file: str) -> bool:
    return file == __file__


def patched(self: Client) -> str:
    return "patched"


def test_what_was_changed_added_and_taken_away_is_put_back() -> None:
    names = Namespaces(wanted)
    work, space = Client.work, globals()
    Client.opened = True
    Client.work = patched  # type: ignore[method-assign]
    Client.added = 1  # type: ignore[attr-defined]
    space["RUNS"] = 7
    space["ADDED"] = 1
    del space["patched"]
    names.restore()
    assert (Client.opened, Client.work, hasattr(Client, "added")) == (False, work, False)
    assert (RUNS, "ADDED" in space, "patched" in space) == (0, False, True)


def test_nothing_changed_is_nothing_done() -> None:
    names = Namespaces(wanted)
    before = dict(vars(Client))
    names.restore()
    assert dict(vars(Client)) == before


def test_code_that_is_not_explored_keeps_what_was_done_to_it() -> None:
    names = Namespaces(lambda _file: False)
    Client.opened = True
    try:
        names.restore()
        assert Client.opened
    finally:
        Client.opened = False


def opens_once() -> None:
    """As a client does that patches something when it is first opened, in this process."""
    global RUNS
    RUNS += 1
    if Client.opened:
        raise Violation("unexpected_errors", "a run sees what another one did")
    Client.opened = True


def test_a_run_sees_nothing_of_the_runs_before_it_and_leaves_nothing() -> None:
    with Runner(Program("opens-once", opens_once, (__file__,))) as runner:
        for _ in range(3):
            assert runner.run(Default()).finding is None
    assert not Client.opened
    assert RUNS == 0
