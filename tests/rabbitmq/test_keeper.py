"""What the keeper decides, without a node: what it heals, and when it gives a node up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from benchmarks.rabbitmq.keeper import Keeper, Wound
from benchmarks.rabbitmq.node import Node
from benchmarks.rabbitmq.programs import Programs
from benchmarks.rabbitmq.waiting import KeeperError, Lifeline, TookTooLong


@dataclass
class Pretender:
    """A node that finds back after so many waits, or is started anew."""

    late: int = 0
    name: str = "rabbit1"
    state: str = "running"
    memory: int = 0
    died: bool = False
    restarts: int = 0
    did: list[str] = field(default_factory=list)

    def wait_ready(self, seconds: float) -> None:
        self.did.append("wait")
        if self.late:
            self.late -= 1
            raise TookTooLong("it did not answer")

    def resume(self) -> None:
        self.did.append("resume")

    def sync(self) -> None:
        self.did.append("sync")

    def kill(self) -> None:
        self.did.append("kill")

    def restart(self) -> None:
        self.did.append("restart")
        self.restarts += 1


@pytest.fixture(name="keeper")
def _keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    keeper = Keeper(cast(Programs, None), cast(Lifeline, None), 1)
    yield keeper
    keeper.close()


def paused(keeper: Keeper, node: Pretender) -> Pretender:
    real = cast(Node, node)
    keeper.nodes.append(real)
    keeper._wound = Wound("node_pause", real, node.resume, None)
    return node


def test_a_node_that_finds_back_is_left_alone(keeper: Keeper) -> None:
    node = paused(keeper, Pretender())
    assert keeper.heal("node_pause")["healed"] == ["node_pause"]
    assert node.did == ["resume", "wait"]
    assert keeper.heal(None)["healed"] == []


def test_a_node_that_does_not_find_back_is_started_anew(keeper: Keeper) -> None:
    node = paused(keeper, Pretender(late=1))
    assert keeper.heal(None)["healed"] == ["node_pause"]
    assert node.did == ["resume", "wait", "kill", "restart", "wait"]


def test_a_node_that_was_started_anew_once_is_not_again(keeper: Keeper) -> None:
    node = paused(keeper, Pretender(late=2))
    with pytest.raises(TookTooLong):
        keeper.heal(None)
    assert node.restarts == 1
    assert keeper.status()["active"] == []
    # Whoever asks again is told whether it has come meanwhile.
    assert keeper.heal(None)["healed"] == []


def test_a_restart_is_given_its_time_and_not_repeated(keeper: Keeper) -> None:
    node = paused(keeper, Pretender(late=1))
    keeper._wound = Wound("node_kill", cast(Node, node), node.restart, None)
    with pytest.raises(TookTooLong):
        keeper.heal(None)
    assert node.did == ["restart", "wait"]


def test_every_node_is_told_to_write_what_was_declared(keeper: Keeper) -> None:
    nodes = [paused(keeper, Pretender(name=name)) for name in ("rabbit1", "rabbit2")]
    keeper.sync()
    assert [node.did for node in nodes] == [["sync"], ["sync"]]


def test_another_kind_is_not_healed(keeper: Keeper) -> None:
    node = paused(keeper, Pretender())
    assert keeper.heal("node_kill")["healed"] == []
    assert node.did == []


def test_a_dead_node_is_not_whole(keeper: Keeper) -> None:
    paused(keeper, Pretender(died=True))
    with pytest.raises(KeeperError, match="rabbit1 died without being asked to"):
        keeper.heal(None)
