"""The comparison: clients that fail are cells that say so, and nobody else is the worse for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.clients.loader import ClientError
from benchmarks.clients.speed.table import load_speed
from benchmarks.harness.brokers import choose_broker, start_broker
from benchmarks.harness.speed.access import name_of, place_at
from benchmarks.harness.speed.compare import (
    CANNOT,
    FAILED,
    MEASURED,
    MISSING,
    PARTIAL,
    Cell,
    Comparison,
    Effort,
)
from benchmarks.harness.speed.runner import Place

HERE = Path(__file__).parent / "speeders.py"
EFFORT = Effort(repeats=2, target=0.05, bound=3.0, whole=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("broker")
    broker = start_broker(choose_broker("embedded"), folder)
    try:
        with place_at(broker, folder) as found:
            yield found
    finally:
        broker.stop()


def compared(place: Place, folder: Path, *names: str, works: list[str]) -> dict[str, Cell]:
    pythons: dict[str, Path | str] = {f"{HERE}:{name}": Path(sys.executable) for name in names}
    pythons["amqpool"] = Path(sys.executable)
    pythons["amqpstorm"] = "no index"
    lines: list[str] = []
    comparison = Comparison(pythons, works, place, folder, "test", EFFORT, lines.append)
    comparison.run()
    assert lines
    assert "0 of" in lines[0]
    return {cell.client.rpartition(":")[2]: cell for cell in comparison.cells}


def test_whoever_fails_is_a_cell_that_says_how(place: Place, tmp_path: Path) -> None:
    cells = compared(place, tmp_path, "Loses", "Hangs", "Dies", "Raises", works=["publish_1"])
    states = {name: (cell.state, cell.why, cell.failures) for name, cell in cells.items()}
    assert states == {
        "amqpool": (MEASURED, "", 0),
        "amqpstorm": (MISSING, "no index", 0),
        # What the broker does not hold is never done.
        "Loses": (FAILED, "did not finish in 3 s", 1),
        "Hangs": (FAILED, "did not finish in 3 s", 1),
        "Dies": (FAILED, "ended with status 7: these are my last words", 2),
        "Raises": (FAILED, "CrewError: LookupError: no channel", 2),
    }
    assert len(cells["amqpool"].samples) == EFFORT.repeats


def test_what_a_client_cannot_do_is_not_tried(place: Place, tmp_path: Path) -> None:
    assert compared(place, tmp_path, works=["lease_50"])["amqpstorm"].state == CANNOT


def test_what_was_not_run_is_partial(place: Place, tmp_path: Path) -> None:
    pythons: dict[str, Path | str] = {"amqpool": Path(sys.executable)}

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    comparison = Comparison(pythons, ["publish_1"], place, tmp_path, "test", EFFORT, stop)
    with pytest.raises(KeyboardInterrupt):
        comparison.run()
    assert [(cell.state, cell.why) for cell in comparison.cells] == [(PARTIAL, "not run")]


def test_a_broker_says_what_it_is(place: Place) -> None:
    assert name_of(place.broker)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody", "unknown client 'nobody': give one of amqpool, "),
        (f"{HERE}:Nobody", "defines no Nobody"),
        (f"{HERE}:_Session", "is not a subclass of benchmarks.clients.speed.base.Speed"),
    ],
)
def test_what_is_no_client_is_told(name: str, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        load_speed(name)
