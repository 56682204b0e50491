"""The harness's end of a control port, whoever serves it (see ``commands``).

It owns one TCP connection. It never waits without a deadline, and never retries: after an error
the answer to the last request may still be on its way, so the connection is closed and cannot be
used again. It prevents a service that died from looking like one that has nothing to report.
"""

from __future__ import annotations

import json
import socket
import time
from types import TracebackType
from typing import Any, Self

#: Bytes of the longest answer: a status with some ten thousand connections that are up.
ANSWER_LIMIT = 1024 * 1024


class ControlError(Exception):
    """The service refused a request, did not answer in time, or is gone."""


class ControlSession:
    """One connection to a control port. Not for two threads at once: give each its own.

    ``timeout`` (seconds) bounds the connect and each call. Every method raises ControlError.
    """

    #: The word for the service in errors.
    service = "service"

    def __init__(self, port: int, token: str, timeout: float = 5.0) -> None:
        self._token = token
        self._timeout = timeout
        self._rest = b""
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        except OSError as error:
            raise ControlError(
                f"no {self.service} answers on control port {port} ({error}): is its process alive?"
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

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._socket.close()

    def call(self, op: str, **fields: object) -> Any:
        """Send one request and return its answer."""
        deadline = time.monotonic() + self._timeout
        request = {**fields, "op": op, "token": self._token}
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._line(deadline)
        except TimeoutError:
            self.close()
            raise ControlError(
                f"the {self.service} did not answer {op!r} within {self._timeout:.2f} s: "
                "look whether its process is stuck or starved"
            ) from None
        except OSError as error:
            self.close()
            raise ControlError(
                f"the {self.service} went away during {op!r} ({error}): "
                "look at its exit status and stderr"
            ) from error
        try:
            answer = json.loads(line)
        except ValueError as error:
            self.close()
            raise ControlError(
                f"the answer to {op!r} is not JSON: is this the {self.service}?"
            ) from error
        if "error" in answer:
            raise ControlError(f"the {self.service} refused {op!r}: {answer['error']}")
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
