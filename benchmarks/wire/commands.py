"""The control port of proxy and broker: JSON lines, each with the token, answered one by one.

It owns the control listener, its sessions and the form of a request; what a request does is its
owner's. It never lets a stranger act: a wrong token or a line that is too long is refused and
its session closed. It prevents another process on the machine from killing connections or
writing files in our name.
"""

from __future__ import annotations

import hmac
import json
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

#: Bytes of the longest request. The longest real one holds a path and a list of generations.
LINE_LIMIT: Final = 64 * 1024
#: Sessions at a time: a harness needs one or two. More are closed at once.
SESSION_LIMIT: Final = 16

Handler = Callable[[dict[str, Any]], dict[str, Any]]


class CommandError(ValueError):
    """A request cannot be carried out; its text is the answer."""


class Commands:
    """Serves ``handlers`` (by op) on a loopback port of its own."""

    def __init__(
        self, token: str, handlers: Mapping[str, Handler], selector: selectors.BaseSelector
    ) -> None:
        self._token = token.encode()
        self._handlers = handlers
        self._selector = selector
        self._sessions: dict[socket.socket, bytes] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def port(self) -> int:
        """The control port."""
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        """Close the listener and every session."""
        for session in list(self._sessions):
            self._drop(session)
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self, _sock: socket.socket, _mask: int) -> None:
        try:
            session, _ = self._listener.accept()
        except OSError:  # gone again, or no descriptor left: the next one may do better
            return
        if len(self._sessions) >= SESSION_LIMIT:
            session.close()
            return
        session.setblocking(False)
        session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sessions[session] = b""
        self._selector.register(session, selectors.EVENT_READ, self._on_event)

    def _on_event(self, session: socket.socket, _mask: int) -> None:
        if session not in self._sessions:  # dropped by an event of the same round
            return
        try:
            data = session.recv(LINE_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(session)
            return
        *lines, rest = (self._sessions[session] + data).split(b"\n")
        self._sessions[session] = rest
        for line in lines:
            if len(line) > LINE_LIMIT or not self._serve(session, line):
                break
        else:
            if len(rest) <= LINE_LIMIT:
                return
            self._send(session, {"error": f"a request has at most {LINE_LIMIT} bytes"})
        self._drop(session)

    def _serve(self, session: socket.socket, line: bytes) -> bool:
        """Answer one request. False when the session is to be closed."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            self._send(session, {"error": "a request is one JSON object on one line"})
            return False
        token = request.pop("token", None)
        if not isinstance(token, str) or not hmac.compare_digest(
            token.encode("utf-8", "replace"), self._token
        ):
            self._send(session, {"error": "wrong token"})
            return False
        op = request.pop("op", None)
        handler = self._handlers.get(op) if isinstance(op, str) else None
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return self._send(session, {"error": f"no such op; there are {known}"})
        try:
            answer = handler(request)
        except CommandError as error:
            answer = {"error": str(error)}
        return self._send(session, answer)

    def _send(self, session: socket.socket, answer: dict[str, Any]) -> bool:
        """Send an answer. False when the peer does not take it: it never reads, or is gone."""
        data = json.dumps(answer).encode() + b"\n"
        try:
            return session.send(data) == len(data)
        except OSError:
            return False

    def _drop(self, session: socket.socket) -> None:
        del self._sessions[session]
        self._selector.unregister(session)
        session.close()
