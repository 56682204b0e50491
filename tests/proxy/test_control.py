"""The control port: who may use it, what it refuses, and that no call waits for ever."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.proxy.control import Control
from benchmarks.wire.commands import LINE_LIMIT, SESSION_LIMIT
from benchmarks.wire.control import ANSWER_LIMIT, ControlError
from tests.proxy.stage import DEADLINE, TOKEN, ProxyProcess, running, to_end, until


@pytest.fixture(name="proxy", scope="module")
def _proxy() -> Iterator[ProxyProcess]:
    with running() as process:
        yield process


NO_FAULT = (
    "no such fault; there are blackhole, cut, fin, latency, refuse, rst, slice, stall, throttle"
)


def _ask(proxy: ProxyProcess, line: bytes) -> list[Any]:
    """Send raw bytes and the end of the file; return the answers."""
    with socket.create_connection(("127.0.0.1", proxy.ready["control"]), DEADLINE) as session:
        session.sendall(line)
        session.shutdown(socket.SHUT_WR)
        data, _ = to_end(session)
    return [json.loads(answer) for answer in data.splitlines()]


def _request(**fields: object) -> bytes:
    return json.dumps({"token": TOKEN, **fields}).encode() + b"\n"


def test_the_reply_to_ledger(proxy: ProxyProcess, tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    assert proxy.control.ledger(path) == {"path": str(path), "events": 0}
    assert json.loads(path.read_text("ascii")) == {"generations": [], "faults": []}


def test_a_wrong_token_is_refused(proxy: ProxyProcess, tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    with Control(proxy.ready["control"], "guess") as stranger:
        with pytest.raises(ControlError, match="wrong token"):
            stranger.ledger(path)
        with pytest.raises(ControlError):  # the session is over as well
            stranger.status()
    assert not path.exists()
    for token in (None, 7, "", ["x"], "t\ud800ken"):
        line = json.dumps({"token": token, "op": "status"}).encode() + b"\n"
        assert _ask(proxy, line * 2) == [{"error": "wrong token"}]


@pytest.mark.parametrize(
    "line", [b"status\n", b"[]\n", b"\xff\xfe\n", b"\n", b"[" * 50_000 + b"\n", b'"x"\n']
)
def test_what_is_not_a_request_is_refused(proxy: ProxyProcess, line: bytes) -> None:
    answers = _ask(proxy, line)
    assert answers == [{"error": "a request is one JSON object on one line"}]
    assert proxy.control.status()["generations"] == 0


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_line_that_is_too_long_is_refused(proxy: ProxyProcess, ending: bytes) -> None:
    line = _request(op="status", padding="x" * (LINE_LIMIT + 1)).rstrip() + ending
    with socket.create_connection(("127.0.0.1", proxy.ready["control"]), DEADLINE) as session:
        try:
            session.sendall(line)
            data, _ = to_end(session)
        except ConnectionError:  # hung up before it took everything
            data = b""
    assert data in (b"", b'{"error": "a request has at most 65536 bytes"}\n')
    assert proxy.control.status()["generations"] == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"op": "reset"}, "no such op; there are arm, disarm, fault, fired, heal, ledger, status"),
        ({}, "no such op; there are arm, disarm, fault, fired, heal, ledger, status"),
        (
            {"op": ["status"]},
            "no such op; there are arm, disarm, fault, fired, heal, ledger, status",
        ),
        ({"op": "fault"}, NO_FAULT),
        ({"op": "fault", "kind": {}}, NO_FAULT),
        ({"op": "fault", "kind": "rst", "generations": 3}, "generations is a list of numbers"),
        ({"op": "fault", "kind": "rst", "generations": ["1"]}, "generations is a list of numbers"),
        ({"op": "heal", "kind": "nuke"}, NO_FAULT),
        ({"op": "fired", "number": 1}, "no rule 1: it was never armed, or taken back"),
        ({"op": "disarm"}, "number is the number of a rule"),
        ({"op": "ledger"}, "ledger needs an absolute path"),
        ({"op": "ledger", "path": "here.json"}, "ledger needs an absolute path"),
    ],
)
def test_a_bad_request_is_answered(proxy: ProxyProcess, fields: Any, error: str) -> None:
    # The session stays: the second request is answered as well.
    answers = _ask(proxy, _request(**fields) + _request(op="status"))
    assert answers[0] == {"error": error}
    assert answers[1]["generations"] == 0


@pytest.mark.parametrize("name", ["no/such/folder.json", "nul\0.json"])
def test_a_ledger_that_cannot_be_written_is_said(
    proxy: ProxyProcess, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ControlError, match="cannot write the ledger"):
        proxy.control.ledger(f"{tmp_path}/{name}")
    assert proxy.control.status()["faults"] == 0


def test_requests_may_come_in_pieces_and_together(proxy: ProxyProcess) -> None:
    with socket.create_connection(("127.0.0.1", proxy.ready["control"]), DEADLINE) as session:
        for byte in _request(op="status"):
            session.sendall(bytes([byte]))
        session.sendall(_request(op="status") * 2)
        session.shutdown(socket.SHUT_WR)
        answers = [json.loads(line) for line in to_end(session)[0].splitlines()]
    assert [answer["generations"] for answer in answers] == [0, 0, 0]


def test_too_many_sessions_are_hung_up(proxy: ProxyProcess) -> None:
    port = proxy.ready["control"]
    idle = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(SESSION_LIMIT)]
    assert to_end(idle[-1])[0] == b""  # the harness's own session is one of them
    assert proxy.control.status()["generations"] == 0
    for session in idle:
        session.close()

    def room() -> bool:
        try:
            with Control(port, TOKEN) as another:
                return another.status()["generations"] == 0
        except ControlError:
            return False

    until(room, "room for another session")


def test_a_session_that_never_reads_hurts_nobody(proxy: ProxyProcess) -> None:
    with socket.create_connection(("127.0.0.1", proxy.ready["control"]), 1.0) as session:
        try:
            for _ in range(2000):
                session.sendall(_request(op="status") * 100)
        except (TimeoutError, ConnectionError):
            pass  # it is hung up once its answers do not fit the kernel's buffer
        else:
            pytest.fail("the proxy took 200,000 requests whose answers nobody read")
    assert proxy.control.status()["generations"] == 0


# -- the client side ----------------------------------------------------------------------------


def test_no_proxy_there(vacant: int) -> None:
    with pytest.raises(ControlError, match="is its process alive"):
        Control(vacant, TOKEN)


def test_a_call_has_a_deadline_even_when_bytes_trickle_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        control = Control(silent.getsockname()[1], TOKEN, timeout=0.2)
        session, _ = silent.accept()
        with session, control:
            session.sendall(b"{")
            before = time.monotonic()
            with pytest.raises(ControlError, match=r"did not answer 'status' within 0\.20 s"):
                control.status()
            assert time.monotonic() - before < 2.0
            with pytest.raises(ControlError, match="went away"):  # and it stays unusable
                control.status()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "went away during 'status'"),
        (b"no json\n", "is not JSON"),
        (b"x" * (ANSWER_LIMIT + 1), "went away during 'status'"),
    ],
)
def test_a_bad_answer_is_an_error(answer: bytes, complaint: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as fake:
        control = Control(fake.getsockname()[1], TOKEN, timeout=DEADLINE)
        session, _ = fake.accept()
        with control:
            with session:
                session.setblocking(False)
                sent = 0
                # Sent before the call: a loopback connection keeps it until it is read.
                session.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * ANSWER_LIMIT)
                while sent < len(answer):
                    try:
                        sent += session.send(answer[sent:])
                    except BlockingIOError:
                        break
                session.shutdown(socket.SHUT_WR)
            with pytest.raises(ControlError, match=complaint):
                control.status()
