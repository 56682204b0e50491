"""Broker and proxy as processes of their own, started by file path and held by a lifeline.

A service prints one line of JSON when it listens and ends when its standard input closes; so it
ends however its parent ends. It is started in a session of its own: Ctrl-C reaches the parent
alone, which then ends its services in order.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
#: Seconds for a service to listen: it takes 0.2-0.4 s, on a busy machine several times that.
START_SECONDS = 30.0
#: Seconds for a process to end after its lifeline closed, before it is killed.
STOP_SECONDS = 5.0


def proxy_arguments(upstreams: Sequence[tuple[str, int]], *, remote: bool = False) -> list[str]:
    """What a Service ``proxy`` is started with to stand before each of these addresses.

    Its ``ready["ports"]`` then holds a port for each, in their order. ``remote``: they need not be
    on loopback.
    """
    options = [option for host, port in upstreams for option in ("--upstream", f"{host}:{port}")]
    return [*options, *(["--allow-remote"] if remote else [])]


class EnvironmentProblem(Exception):
    """Something outside the client is missing or broken; the text says what to do."""


class Service:
    """One such process. ``ready`` holds what its JSON line said."""

    def __init__(
        self,
        name: str,
        folder: Path,
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        script = BENCHMARKS / name / "__main__.py"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(script), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.ready: dict[str, Any] = {}

    def wait_ready(self, seconds: float | None = None) -> dict[str, Any]:
        """Wait for the JSON line (``START_SECONDS`` unless told otherwise).

        Raises EnvironmentProblem with the service's own words.
        """
        assert self.process.stdout is not None
        seconds = START_SECONDS if seconds is None else seconds
        deadline, line = time.monotonic() + seconds, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise EnvironmentProblem(f"the {self.name} did not listen within {seconds:g} s")
                chunk = os.read(self.process.stdout.fileno(), 4096)
                if not chunk:
                    raise EnvironmentProblem(f"the {self.name} did not start: {self.last_words()}")
                line += chunk
        self.ready = json.loads(line)
        return self.ready

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        """The last line of its standard error: what argparse or a traceback ends with."""
        try:
            self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            pass
        lines = self._log.read_text(errors="replace")[-1000:].strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """Close the lifeline, wait, kill what does not end. Never raises for a dead process."""
        stop_process(self.process)
        if self.process.stdout is not None:
            self.process.stdout.close()


def stop_process(process: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
    """Close a child's lifeline and wait for its end; kill it, by its pid, when it does not come."""
    if process.stdin is not None:
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended by itself; its exit status is what counts
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(seconds)
