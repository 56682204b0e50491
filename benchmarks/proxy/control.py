"""The harness's end of the proxy's control port.

It owns one TCP connection and knows the requests. It never waits without a deadline, and never
retries: after an error the answer to the last request may still be on its way, so the connection
is closed and cannot be used again. It prevents a proxy that died from looking like one that has
nothing to report.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict

#: Bytes of the longest answer: a status with some ten thousand connections that are up.
ANSWER_LIMIT = 1024 * 1024


class ControlError(Exception):
    """The proxy refused a request, did not answer in time, or is gone."""


class Status(TypedDict):
    """What the proxy has seen so far."""

    generations: int
    """Connections that clients opened."""
    ready: int
    """Connections on which Connection.OpenOk went to the client."""
    up: list[int]
    """Generations that are ready and have not ended."""
    faults: int
    """Faults that fired."""
    now: float
    """The proxy's time.monotonic(), which on Linux is the same clock in every process."""


class Fired(TypedDict, total=False):
    """What came of a fault: ``t`` and ``generations`` when it fired, else ``why``."""

    fired: bool
    t: float
    generations: list[int]
    why: str


class Written(TypedDict):
    """Where the ledger is, and how many events it holds."""

    path: str
    events: int


class Control:
    """One connection to the control port. Not for two threads at once: give each its own.

    ``timeout`` (seconds) bounds the connect and each call. Every method raises ControlError.
    """

    def __init__(self, port: int, token: str, timeout: float = 5.0) -> None:
        self._token = token
        self._timeout = timeout
        self._rest = b""
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        except OSError as error:
            raise ControlError(
                f"no proxy answers on control port {port} ({error}): is its process alive?"
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def status(self) -> Status:
        """Return what the proxy has seen so far."""
        answer: Status = self._call("status")
        return answer

    def fault(
        self, kind: str, *, generations: Sequence[int] | None = None, **options: object
    ) -> Fired:
        """Inject a fault on every connection that is ready, or on those of ``generations``.

        Returns after it fired. ``fired`` is false when there was nothing to hit.
        """
        if generations is not None:
            options["generations"] = list(generations)
        answer: Fired = self._call("fault", kind=kind, **options)
        return answer

    def ledger(self, path: Path | str) -> Written:
        """Have the ledger of all connections so far written to the absolute ``path``."""
        answer: Written = self._call("ledger", path=str(path))
        return answer

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._socket.close()

    def _call(self, op: str, **fields: object) -> Any:
        deadline = time.monotonic() + self._timeout
        request = {**fields, "op": op, "token": self._token}
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._line(deadline)
        except TimeoutError:
            self.close()
            raise ControlError(
                f"the proxy did not answer {op!r} within {self._timeout:.2f} s: "
                "look whether its process is stuck or starved"
            ) from None
        except OSError as error:
            self.close()
            raise ControlError(
                f"the proxy went away during {op!r} ({error}): look at its exit status and stderr"
            ) from error
        try:
            answer = json.loads(line)
        except ValueError as error:
            self.close()
            raise ControlError(f"the answer to {op!r} is not JSON: is this the proxy?") from error
        if "error" in answer:
            raise ControlError(f"the proxy refused {op!r}: {answer['error']}")
        return answer

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("end of file")
            self._rest += data
            if len(self._rest) > ANSWER_LIMIT:
                raise ConnectionError(f"an answer above {ANSWER_LIMIT} bytes")
        line, _, self._rest = self._rest.partition(b"\n")
        return line
