"""The broker as a process: lifeline, signals, hostile peers, and two other clients."""

from __future__ import annotations

import json
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import amqp
import pytest

from benchmarks.broker.core import Settings
from benchmarks.broker.server import Server
from benchmarks.broker.session import CLOSE_TIMEOUT
from benchmarks.wire.client import WireClient, WireError
from benchmarks.wire.frames import BODY, METHOD, PROTOCOL_HEADER, frame

ROOT = Path(__file__).parents[2]
#: Seconds within which anything here must have happened.
DEADLINE = 10.0


def wait_for(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE} s: {what}"
        threading.Event().wait(0.01)


def read_to_end(sock):
    """All bytes until the end of the stream; a reset counts as its end."""
    sock.settimeout(DEADLINE)
    data = b""
    try:
        while chunk := sock.recv(1 << 16):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def test_it_says_where_it_listens_and_ends_with_its_lifeline(start):
    process = start()
    assert process.greeting == {"port": process.port, "pid": process.popen.pid}
    with socket.create_connection(("127.0.0.1", process.port), DEADLINE) as client:
        assert process.end() == (0, b"", b"")
        assert read_to_end(client) == b""
    # The port is free again.
    with socket.create_server(("127.0.0.1", process.port)):
        pass


def test_it_ends_when_whoever_started_it_is_killed(tmp_path):
    """The parent dies without a word; the broker must not outlive it."""
    script = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE)\n"
        "print(p.stdout.readline().decode(), flush=True)\n"
        "time.sleep(60)\n"
    )
    main = str(ROOT / "benchmarks/broker/__main__.py")
    parent = subprocess.Popen(
        [sys.executable, "-c", script, main, "--port", "0"], stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        greeting = json.loads(parent.stdout.readline())
    finally:
        parent.kill()
        parent.communicate(timeout=DEADLINE)

    def gone():
        try:
            socket.create_connection(("127.0.0.1", greeting["port"]), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_for(gone, "the orphaned broker ends")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_well(start, number):
    process = start()
    process.popen.send_signal(number)
    assert process.popen.wait(DEADLINE) == 0
    process.end()


def test_as_a_module_without_lifeline():
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.broker", "--no-lifeline"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        WireClient("127.0.0.1", port).close()
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "standard input is no lifeline"),
        (["--password-env", "AMQPOOL_NO_SUCH_VARIABLE"], "is not set or empty"),
        (["--heartbeat", "-1"], "not between 0 and 65535"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, complaint):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.broker", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr.splitlines()[-1]


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.broker", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"broker: cannot listen on port {port}: ")


def test_user_and_password_come_from_outside(start, monkeypatch):
    monkeypatch.setenv("BROKER_PASSWORD", "s3cret")
    process = start("--user", "ann", "--password-env", "BROKER_PASSWORD")
    WireClient("127.0.0.1", process.port, "ann", "s3cret").close()
    with pytest.raises(WireError, match="403 ACCESS_REFUSED"):
        WireClient("127.0.0.1", process.port, "ann", "guest")


def test_py_amqp_works_with_it(start):
    process = start()
    with amqp.Connection(f"127.0.0.1:{process.port}", confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare("q", auto_delete=False)
        body = random.Random(6).randbytes(300_000)
        channel.basic_publish(amqp.Message(body, message_id="one"), routing_key="q")
        seen = []
        channel.basic_consume("q", callback=seen.append)
        while not seen:
            connection.drain_events(timeout=DEADLINE)
        assert (seen[0].body, seen[0].properties) == (body, {"message_id": "one"})
        channel.basic_ack(seen[0].delivery_tag)
        with pytest.raises(amqp.NotFound):
            channel.queue_declare("none", passive=True)


def test_a_killed_connection_gives_its_messages_back(start):
    process = start()
    with WireClient("127.0.0.1", process.port) as judge:
        judge.queue_declare("q")
        for number in range(20):
            judge.publish("", "q", b"%d" % number)
        victim = WireClient("127.0.0.1", process.port)
        for _ in range(10):
            victim.get("q", no_ack=False)
        assert judge.queue_declare("q", passive=True).message_count == 10
        assert victim._socket is not None
        victim._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        victim._socket.close()
        wait_for(lambda: judge.queue_declare("q", passive=True).message_count == 20, "all are back")
        messages = judge.drain("q", 100)
        assert [message.body for message in messages] == [b"%d" % n for n in range(20)]
        assert [message.redelivered for message in messages] == [True] * 10 + [False] * 10


def test_the_stream_ends_after_close_ok(start):
    process = start()
    with socket.create_connection(("127.0.0.1", process.port), DEADLINE) as client:
        client.sendall(PROTOCOL_HEADER)
        client.recv(1 << 16)
        begun = time.monotonic()
        client.sendall(frame(METHOD, 0, b"\0\x0a\0\x32\0\xc8\0\0\0\0\0"))
        assert read_to_end(client) == frame(METHOD, 0, b"\0\x0a\0\x33")
        # At once, not when the broker's patience with a peer that stays is at its end.
        assert time.monotonic() - begun < CLOSE_TIMEOUT / 2


RANDOM = random.Random(5)
HOSTILE = {
    "garbage": RANDOM.randbytes(1 << 16),
    "garbage frames": PROTOCOL_HEADER + RANDOM.randbytes(1 << 16),
    "garbage methods": PROTOCOL_HEADER + frame(METHOD, 0, RANDOM.randbytes(100)) * 50,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "huge frame": PROTOCOL_HEADER + b"\x01\0\0\xff\xff\xff\xff" + bytes(1 << 16),
    "content first": PROTOCOL_HEADER + frame(BODY, 0, b"x" * 1000),
    "channel first": PROTOCOL_HEADER + frame(METHOD, 1, b"\0\x14\0\x0a\0"),
    "bad end": PROTOCOL_HEADER + b"\x01\0\0\0\0\0\x04aaaa\xff",
    "half a header": b"AMQP",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_peers_end_alone(start, kind):
    process = start()
    with WireClient("127.0.0.1", process.port) as witness:
        witness.queue_declare("q")
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", process.port), DEADLINE) as client:
                try:
                    client.sendall(HOSTILE[kind])
                    client.shutdown(socket.SHUT_WR)
                except ConnectionError:
                    pass  # It was thrown out while it was still talking.
                read_to_end(client)
        witness.publish("", "q", b"alive")
        assert witness.drain("q", 10)[0].body == b"alive"
    process.end()
    stats = json.loads(process.stats.read_text())
    assert (stats["internal_errors"], stats["connections"]) == (0, 21)


def test_a_consumer_that_does_not_read_costs_others_nothing_and_is_bounded(start):
    process = start()
    with WireClient("127.0.0.1", process.port) as client:
        client.queue_declare("q")
        lazy = amqp.Connection(f"127.0.0.1:{process.port}")
        lazy.connect()
        lazy.channel().basic_consume("q", no_ack=True)
        # More than kernel buffers and the high-water mark take together.
        for _ in range(64):
            client.publish("", "q", bytes(1 << 20))
        assert client.queue_declare("q", passive=True).message_count > 30
        lazy.collect()
        wait_for(lambda: client.queue_declare("q", passive=True).consumer_count == 0, "it is gone")


def test_half_closed_and_silent_clients_are_let_go(start):
    process = start()
    clients = [socket.create_connection(("127.0.0.1", process.port), DEADLINE) for _ in range(50)]
    for client in clients:
        client.sendall(PROTOCOL_HEADER)
        client.shutdown(socket.SHUT_WR)
    for client in clients:
        assert b"PLAIN" in read_to_end(client)
        client.close()


def test_many_connections_at_once(start):
    process = start()
    errors: list[BaseException] = []
    barrier = threading.Barrier(20)

    def work(number):
        try:
            barrier.wait(DEADLINE)
            for _ in range(5):
                with WireClient("127.0.0.1", process.port) as client:
                    name = client.queue_declare("", exclusive=True).name
                    client.publish("", name, b"%d" % number)
                    assert [m.body for m in client.drain(name, 5)] == [b"%d" % number]
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(n,), name=f"client-{n}", daemon=True) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert errors == []
    process.end()
    assert json.loads(process.stats.read_text())["queues"] == 0


def test_a_bug_ends_one_connection_is_shown_and_counted(capfd, monkeypatch):
    """The one way to see the last net: break the core on purpose."""
    server = Server(Settings())
    thread = threading.Thread(target=server.run, name="broker-under-test", daemon=True)
    thread.start()
    try:
        with WireClient("127.0.0.1", server.port) as witness:
            witness.queue_declare("q")

            def broken(*_):
                raise RuntimeError("a bug")

            with monkeypatch.context() as patch:
                patch.setattr("benchmarks.broker.codec.no_route", broken)
                with (
                    WireClient("127.0.0.1", server.port) as victim,
                    pytest.raises(WireError, match="541 INTERNAL_ERROR"),
                ):
                    victim.publish("", "none", b"x", mandatory=True)
            assert witness.queue_declare("q").message_count == 0
    finally:
        server.stop()
        thread.join(DEADLINE)
    assert not thread.is_alive()
    assert server.broker.counts["internal_errors"] == 1
    assert "RuntimeError: a bug" in capfd.readouterr().err
