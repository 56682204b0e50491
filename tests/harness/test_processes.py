"""Services: what does not start says why, and what was started ends, however its parent does."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness import processes
from benchmarks.harness.processes import (
    EnvironmentProblem,
    Service,
    proxy_arguments,
    stop_process,
)

DEADLINE = 10.0


@pytest.fixture(name="broker")
def _broker(tmp_path: Path) -> Iterator[Service]:
    service = Service("broker", tmp_path, ["--port", "0"])
    try:
        yield service
    finally:
        service.stop()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def test_a_service_listens_and_stops(broker: Service) -> None:
    ready = broker.wait_ready()
    assert ready["pid"] == broker.process.pid
    assert broker.alive
    assert accepts(ready["port"])
    broker.stop()
    assert not broker.alive
    assert broker.process.returncode == 0
    assert not accepts(ready["port"])
    broker.stop()  # once more is no error


def test_a_service_ends_with_its_lifeline(broker: Service) -> None:
    broker.wait_ready()
    assert broker.process.stdin is not None
    broker.process.stdin.close()
    assert broker.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("remote", [False, True])
def test_a_proxy_before_several_brokers(tmp_path: Path, remote: bool) -> None:
    upstreams = [("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)]
    token = {"AMQPOOL_PROXY_TOKEN": "a token of the tests"}
    service = Service("proxy", tmp_path, proxy_arguments(upstreams, remote=remote), token)
    try:
        ports = service.wait_ready()["ports"]
        assert len(set(ports)) == len(upstreams)
        assert all(map(accepts, ports))
    finally:
        service.stop()


def test_a_service_that_dies_at_once_is_quoted(tmp_path: Path) -> None:
    service = Service("proxy", tmp_path, ["--upstream", "example.org:5672"])
    with pytest.raises(EnvironmentProblem, match=r"^the proxy did not start: .*loopback.*$"):
        service.wait_ready()
    service.stop()
    assert not service.alive


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = Service("broker", tmp_path, ["--port", str(listener.getsockname()[1])])
        with pytest.raises(EnvironmentProblem, match="cannot listen on port"):
            service.wait_ready()
        service.stop()


def scripted(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> Service:
    script = folder / "odd" / "__main__.py"
    script.parent.mkdir()
    script.write_text(source)
    monkeypatch.setattr(processes, "BENCHMARKS", folder)
    return Service("odd", folder)


def test_a_service_that_never_listens_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = scripted(tmp_path, "import sys\nsys.stdin.read()\n", monkeypatch)
    monkeypatch.setattr(processes, "START_SECONDS", 0.1)
    started = time.monotonic()
    with pytest.raises(EnvironmentProblem, match=r"the odd did not listen within 0\.1 s"):
        service.wait_ready()
    service.stop()
    assert time.monotonic() - started < DEADLINE


def test_a_service_that_dies_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = scripted(tmp_path, "", monkeypatch)
    with pytest.raises(EnvironmentProblem, match="did not start: it said nothing"):
        service.wait_ready()
    service.stop()


def test_a_process_that_ignores_its_lifeline_is_killed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time\nprint(1, flush=True)\ntime.sleep(600)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        started = time.monotonic()
        stop_process(process, 0.2)
    assert process.returncode == -9
    assert 0.2 <= time.monotonic() - started < DEADLINE
