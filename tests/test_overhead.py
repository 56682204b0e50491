"""The tool that measures what the ledgers cost: both sides do the same, and one writes nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from benchmarks.harness.plan import Step
from benchmarks.harness.progress import Slot
from benchmarks.harness.workload import OPERATIONS, Worker
from tests.harness.pretender import Pretender, context_of
from tools import overhead
from tools.unrecorded import NoHistory, UnrecordedWorker

NOTHING = f"{Path(overhead.__file__).parent}/null_client.py:Nothing"


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_with_the_history_off_the_same_calls_are_made(operation: str) -> None:
    called = []
    for kind in (Worker, UnrecordedWorker):
        client = Pretender()
        context = context_of(client, **({} if kind is Worker else {"history": NoHistory()}))
        worker = kind(context, Slot("worker-0", "worker"), (Step(operation, size=64, count=3),))
        worker.run(threading.Barrier(1), cycles=False)
        assert context.recorder.snapshot()["events"] == []
        assert context.leases.snapshot()["leases"] == client.handles
        assert any(context.history.snapshot().values()) == (kind is Worker)
        called.append(client.called)
    assert called[0] == called[1] != []


def test_every_load_is_made_of_operations() -> None:
    for load in overhead.LOADS:
        assert set(load.operations) <= set(OPERATIONS)
        assert len(load.steps()) == load.iterations


def test_the_table_goes_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{overhead.START}old\n{overhead.END}after\n")
    words = ["--repeats", "2", "--load", "get", "--what", "history", "--client", NOTHING]
    monkeypatch.setattr("sys.argv", ["overhead", *words, "--write", str(page)])
    assert overhead.main() in (0, 1)
    head, _, rest = page.read_text().partition(overhead.START)
    table, _, tail = rest.partition(overhead.END)
    assert (head, tail) == ("before\n", "after\n")
    assert "| history | get |" in table
    assert "old" not in table
    assert table.strip() in capsys.readouterr().out


@pytest.mark.parametrize(("on", "status"), [(1.0, 0), (1.04, 0), (1.2, 1)])
def test_the_exit_status_says_when_the_history_costs_too_much(
    monkeypatch: pytest.MonkeyPatch, on: float, status: int
) -> None:
    def side(seconds: float) -> overhead.Side:
        return overhead.Side(Pretender(), True, lambda: 0.0, [seconds] * 2, [1.0] * 2)

    monkeypatch.setattr(overhead, "measure", lambda *_: (side(on), side(1.0)))
    monkeypatch.setattr("sys.argv", ["overhead", "--what", "history"])
    assert overhead.main() == status
