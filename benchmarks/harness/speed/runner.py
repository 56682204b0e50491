"""The parent's end of one measured process: start, order a round, wait no longer than allowed.

A process that hangs, dies or answers that it failed becomes a Failure with one line that says so;
the next order starts a new process.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.clients.loader import portable_name
from benchmarks.harness.processes import stop_process
from benchmarks.harness.speed import child
from benchmarks.harness.speed.bench import QUEUES, Sample, queue_name
from benchmarks.harness.speed.works import WORKS
from benchmarks.wire.client import WireClient
from benchmarks.wire.url import Endpoint

#: Seconds for the process to import its client and reach the broker.
START_SECONDS = 30.0
#: Seconds for it to end by itself.
STOP_SECONDS = 2.0


class Failure(Exception):
    """The client did not do the work; the text says in one line what happened instead."""


class Hung(Failure):
    """It did not end within its bound; to try it again would cost as long."""


@dataclass(frozen=True)
class Place:
    """A broker, and the proxy before it for works that break connections."""

    broker: Endpoint
    #: Where to connect instead, and how to ask for faults.
    proxied: Endpoint | None = None
    control: tuple[int, str] | None = None


class Runner:
    """One client at one work. ``python``: that of the client's environment."""

    def __init__(
        self, client: str, work: str, python: Path, place: Place, prefix: str, folder: Path
    ) -> None:
        self.client, self.work = client, work
        self.version: str | None = None
        self._python = python
        self._place = place
        short = re.sub(r"\W+", "-", client.rpartition("/")[2])
        self._prefix = f"{prefix}.{work}.{short}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._spec = folder / f"{work}-{short}.json"
        self._stderr = folder / f"{work}-{short}.txt"

    def round(self, count: int, seconds: float) -> Sample:
        """One round. Raises Failure, also when it took longer than ``seconds``."""
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(b"%d\n" % count)
            process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        answer = self._answer(time.monotonic() + seconds, seconds)
        if "failed" in answer:
            self.stop()
            raise Failure(str(answer["failed"]))
        return Sample(**answer)

    def stop(self) -> None:
        """End the process and delete its queues, if it did not. Safe at any moment."""
        process, self._process = self._process, None
        if process is None:
            return
        stop_process(process, STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
        if process.returncode:
            with WireClient.to(self._place.broker) as wire:
                for number in range(QUEUES):
                    wire.queue_delete(queue_name(self._prefix, number))

    def _start(self) -> subprocess.Popen[bytes]:
        place = self._place
        document: dict[str, Any] = {
            "client": portable_name(self.client),
            "work": self.work,
            "url": place.broker.url,
            "broker": place.broker.url,
            "prefix": self._prefix,
            "proxy": None,
        }
        if WORKS[self.work].proxied:
            assert place.proxied is not None
            assert place.control is not None
            document["url"] = place.proxied.url
            document["proxy"] = dict(zip(("port", "token"), place.control, strict=True))
        self._spec.touch(mode=0o600)
        self._spec.write_text(json.dumps(document))
        with self._stderr.open("wb") as err:
            self._process = process = subprocess.Popen(
                [str(self._python), child.__file__, str(self._spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                cwd=self._folder,
                start_new_session=True,
            )
        self.version = str(self._answer(time.monotonic() + START_SECONDS, START_SECONDS)["version"])
        return process

    def _answer(self, deadline: float, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.stop()
                    raise Hung(f"did not finish in {seconds:g} s")
                chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise self._died()
                line += chunk
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> Failure:
        process = self._process
        assert process is not None
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # it closed its output and lives on; it is ended below
        self.stop()
        words = self._stderr.read_text(errors="replace").strip().splitlines()[-1:]
        return Failure(f"ended with status {process.returncode}: {(words or ['no words'])[0]}")
