"""What the keeper's tests stand on: a keeper process, and what it may not leave behind."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rabbitmq.children import marked
from benchmarks.rabbitmq.control import KeeperControl
from benchmarks.wire.client import WireClient

MAIN = Path(__file__).resolve().parents[2] / "benchmarks" / "rabbitmq" / "__main__.py"
TOKEN = "a token of the tests"
#: Seconds for nodes to answer, on a machine that is busy with other tests.
START_SECONDS = 110.0
#: Seconds for a keeper to be gone with all that it had.
END_SECONDS = 15.0


class Unavailable(Exception):
    """The keeper says that what was asked for cannot be had on this machine."""


class KeeperProcess:
    """A keeper that was started by file path, as the harness does. It uses ``folder`` as /tmp."""

    def __init__(
        self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(MAIN), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={
                **os.environ,
                "TMPDIR": str(folder),
                "AMQPOOL_KEEPER_TOKEN": TOKEN,
                **(environment or {}),
            },
        )
        self.ready: dict[str, Any] = {}

    def wait_ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], START_SECONDS)[0], "no JSON line"
        line = self.process.stdout.readline()
        if not line:
            status, said = self.ended()
            assert status == 2, said
            raise Unavailable(said)
        self.ready = json.loads(line)
        return self.ready

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it said, once it has ended by itself."""
        _, said = self.process.communicate(timeout=END_SECONDS)
        return self.process.returncode, said.decode()

    def control(self) -> KeeperControl:
        return KeeperControl(self.ready["control"], TOKEN)

    def client(self, node: int = 0, timeout: float = 10.0) -> WireClient:
        address, port = self.ready["addresses"][node], self.ready["ports"][node]
        return WireClient(address, port, timeout=timeout)

    @property
    def folders(self) -> list[Path]:
        """Folders that keepers have made."""
        return sorted(self.folder.glob("amqpool-rabbitmq-*"))

    def processes(self) -> list[int]:
        """The processes that it has started."""
        return [pid for folder in self.folders for pid in marked(folder)]

    def stop(self) -> None:
        """End it and close its pipes, whatever state it is in."""
        try:
            self.process.communicate(timeout=END_SECONDS)  # closes the lifeline first
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate(timeout=END_SECONDS)
            raise


@contextmanager
def running(folder: Path, arguments: Sequence[str] = ()) -> Iterator[KeeperProcess]:
    """A keeper whose nodes answer."""
    keeper = KeeperProcess(folder, *arguments)
    try:
        keeper.wait_ready()
        yield keeper
    finally:
        keeper.stop()


def eventually(reached: Callable[[], bool], seconds: float = END_SECONDS) -> bool:
    """Poll until ``reached``; False when it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    """Is there such a process, and not merely its exit status?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
