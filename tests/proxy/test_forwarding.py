"""The proxy as a process: it forwards, ends connections as their peers did, and stays bounded."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pamqp.commands as c
import pytest

from benchmarks.proxy.control import Control
from benchmarks.proxy.ledger import Ledger
from benchmarks.proxy.link import Link
from benchmarks.proxy.pipe import HIGH_WATER
from benchmarks.proxy.rules import Armed, Rules
from benchmarks.proxy.server import Proxy
from benchmarks.wire.frames import BODY, PROTOCOL_HEADER, frame
from tests.proxy.stage import (
    DEADLINE,
    MAIN,
    TOKEN,
    Pair,
    ProxyProcess,
    content,
    cpu_seconds,
    deliver,
    exactly,
    fill,
    method,
    paused,
    publish,
    reset,
    resident,
    running,
    to_end,
    until,
)

OPEN_CHANNEL = method(1, c.Channel.Open())


def test_frames_pass_both_ways_and_are_booked(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    pair.to_broker(OPEN_CHANNEL, method(1, c.Confirm.Select()), *publish(1, "a"))
    pair.to_client(method(1, c.Basic.Ack(1)), *deliver(1, 1, "b"))
    (generation,) = proxy.ledger(tmp_path)["generations"]
    kinds = [event[1] for event in generation["events"]]
    assert kinds == ["open", "confirm_select", "publish", "confirm", "deliver"]
    times = [event[0] for event in generation["events"]]
    assert times == sorted(times)
    assert generation["opened"] < generation["ready"] < times[0]
    status = proxy.control.status()
    now = status["now"]
    assert times[-1] < now
    counts = {"generations": 1, "ready": 1, "up": [1], "links": 1, "faults": 0}
    address = "{}:{}".format(*proxy.upstream.getsockname())
    doors = {"ports": proxy.ready["ports"], "upstreams": [{"address": address, "up": [1]}]}
    assert status == {**counts, **doors, "lasting": [], "armed": 0, "now": now}


def test_a_frame_waits_until_it_is_whole(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    pair.client.sendall(OPEN_CHANNEL[:-1])
    # Another connection is served meanwhile: the proxy has seen the partial frame by then.
    proxy.pair().begin()
    pair.broker.setblocking(False)
    with pytest.raises(BlockingIOError):
        pair.broker.recv(1)
    pair.broker.settimeout(DEADLINE)
    pair.client.sendall(OPEN_CHANNEL[-1:])
    assert exactly(pair.broker, len(OPEN_CHANNEL)) == OPEN_CHANNEL


def test_the_close_handshake_faults_nothing(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    pair.to_broker(method(0, c.Connection.Close(200, "bye", 0, 0)))
    pair.to_client(method(0, c.Connection.CloseOk()))
    until(lambda: proxy.control.status()["up"] == [], "a closed connection is not up")
    pair.broker.close()
    assert to_end(pair.client) == (b"", None)
    pair.client.close()
    generation = proxy.ended(tmp_path)
    assert (generation["end"], generation["faulted"]) == ("close", False)
    assert generation["closed"] >= generation["events"][-1][0]


@pytest.mark.parametrize("side", ["client", "broker"])
@pytest.mark.parametrize("abrupt", [False, True])
def test_who_ended_it_without_a_handshake(
    proxy: ProxyProcess, tmp_path: Path, side: str, abrupt: bool
) -> None:
    pair = proxy.pair().begin()
    this, other = pair.client, pair.broker
    if side == "broker":
        this, other = other, this
    this.sendall(OPEN_CHANNEL)
    if abrupt:
        reset(this)
    else:
        this.close()
    # What was sent before the end arrives before the end.
    assert to_end(other) == (OPEN_CHANNEL, None)
    other.close()
    generation = proxy.ended(tmp_path)
    assert (generation["end"], generation["faulted"]) == (side, True)


def test_a_half_closed_client_still_gets_its_answers(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    pair.client.shutdown(socket.SHUT_WR)
    assert to_end(pair.broker) == (b"", None)
    pair.to_client(*deliver(1, 1, "late"))
    pair.broker.close()
    assert to_end(pair.client) == (b"", None)


def test_a_side_that_never_closes_is_not_waited_for(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    pair.broker.close()
    assert to_end(pair.client) == (b"", None)
    assert proxy.ended(tmp_path)["end"] == "broker"  # and the client is still open


def test_no_broker(tmp_path: Path, vacant: int) -> None:
    with running(port=vacant) as proxy, proxy.connect() as client:
        assert to_end(client)[0] == b""
        assert proxy.ended(tmp_path)["end"] == "broker"


# -- back-pressure ------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", ["client", "broker"])
def test_a_slow_reader_pauses_its_source(proxy: ProxyProcess, tmp_path: Path, slow: str) -> None:
    pair = proxy.pair().begin()
    reader, writer = pair.client, pair.broker
    if slow == "broker":
        reader, writer = writer, reader
    command = c.Basic.Publish() if slow == "broker" else c.Basic.Return(312, "", "", "q")
    message = b"".join(content(1, command, b"m\n" + b"x" * 50_000, "m"))
    before = resident(proxy.process.pid)
    sent = fill(writer, message)
    assert sent > HIGH_WATER
    assert resident(proxy.process.pid) - before < 4 * HIGH_WATER
    used = cpu_seconds(proxy.process.pid)
    assert paused(writer)
    assert cpu_seconds(proxy.process.pid) - used <= 0.02, "the proxy spins while it is paused"
    # Another connection does not notice.
    proxy.pair().begin()

    booked = proxy.ledger(tmp_path)["generations"][0]["events"]
    assert 0 < len(booked) < sent // len(message)  # the rest is in our buffers, not in the books
    messages = sent // len(message)
    received = exactly(reader, messages * len(message))
    assert received == message * messages
    until(
        lambda: len(proxy.ledger(tmp_path)["generations"][0]["events"]) == messages,
        "all messages that arrived are booked",
    )


def test_an_end_of_file_waits_for_what_was_sent_before_it(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    pair = proxy.pair().begin()
    message = b"".join(content(1, c.Basic.Return(312, "", "", "q"), b"m\n" + b"x" * 50_000, "m"))
    count = 0

    def held() -> bool:
        """Whether the proxy still holds a message a little after it was sent."""
        deadline = time.monotonic() + 0.3
        while len(proxy.ledger(tmp_path)["generations"][0]["events"]) < count:
            if time.monotonic() > deadline:
                return True
        return False

    while not held():
        pair.broker.sendall(message)
        count += 1
    pair.broker.close()
    until(lambda: proxy.control.status()["up"] == [], "the end of the broker's side is seen")
    assert to_end(pair.client) == (message * count, None)


class Alone:
    """The host of one link, to which nothing is done."""

    def __init__(self) -> None:
        self.rules = Rules()
        self.gone: list[Link] = []

    def ended(self, link: Link) -> None:
        self.gone.append(link)

    def reached(self, link: Link, armed: Armed) -> None:
        pytest.fail("no rule is armed")

    def later(self, due: float, call: Callable[[], None]) -> None:
        pytest.fail("nothing is to be done later")


def test_an_event_of_the_round_in_which_a_link_ended_is_ignored() -> None:
    ledger = Ledger()
    with (
        socket.create_server(("127.0.0.1", 0)) as upstream,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), DEADLINE),
        selectors.DefaultSelector() as selector,
    ):
        accepted, _ = listener.accept()
        host = Alone()
        generation = ledger.open(0.0)
        link = Link(accepted, upstream.getsockname(), generation, selector, host)
        link.close("proxy", 1.0)
        for sock in (link.upstream, link.client):
            link.on_event(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        link.close("client", 2.0)
        assert not selector.get_map()
        assert host.gone == [link]
    assert (link.end, link.generation.end, link.generation.closed) == ("proxy", "proxy", 1.0)


# -- hostile peers ------------------------------------------------------------------------------

TRUNCATED = frame(1, 1, b"\x00\x3c\x00\x28\x00\x00\xff")
HUGE = b"\x03\x00\x01\xff\xff\xff\xff"
GARBAGE = [
    pytest.param(b"\x09\x00\x01\x00\x00\x00\x00\xce", id="frame type"),
    pytest.param(HUGE, id="huge length"),
    pytest.param(b"\x03\x00\x01\x00\x00\x00\x01xx", id="frame end"),
]


@pytest.fixture(name="innocent")
def _innocent(proxy: ProxyProcess) -> Iterator[Pair]:
    """A connection that must survive whatever another one does."""
    pair = proxy.pair().begin()
    yield pair
    pair.to_broker(OPEN_CHANNEL).to_client(method(1, c.Channel.OpenOk()))
    assert 1 in proxy.control.status()["up"]


@pytest.mark.usefixtures("innocent")
@pytest.mark.parametrize("garbage", [*GARBAGE, pytest.param(TRUNCATED, id="truncated publish")])
def test_a_client_s_garbage_ends_its_connection(
    proxy: ProxyProcess, tmp_path: Path, garbage: bytes
) -> None:
    pair = proxy.pair().begin()
    pair.client.sendall(OPEN_CHANNEL + garbage)
    to_end(pair.client)
    received, _ = to_end(pair.broker)
    assert received.startswith(OPEN_CHANNEL)
    generation = proxy.ended(tmp_path, 2)
    assert (generation["end"], generation["faulted"]) == ("client-error", True)
    assert [event[1] for event in generation["events"]] == ["open"]


@pytest.mark.usefixtures("innocent")
@pytest.mark.parametrize(
    "garbage", [*GARBAGE, pytest.param(frame(1, 1, b"\x00\x3c\x00\x3c\xff"), id="deliver")]
)
def test_a_broker_s_garbage_ends_its_connection(
    proxy: ProxyProcess, tmp_path: Path, garbage: bytes
) -> None:
    pair = proxy.pair().begin()
    pair.broker.sendall(garbage)
    to_end(pair.client)
    assert proxy.ended(tmp_path, 2)["end"] == "broker-error"


@pytest.mark.usefixtures("innocent")
def test_a_client_that_is_not_amqp_never_reaches_the_broker(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    pair = proxy.pair()
    pair.client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert to_end(pair.client)[0] == b""
    assert to_end(pair.broker)[0] == b""
    assert proxy.ended(tmp_path, 2)["end"] == "client-error"


def test_frames_are_limited_by_what_was_negotiated(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    pair.to_broker(method(0, c.Connection.TuneOk(0, 200_000, 0)))
    pair.to_broker(frame(BODY, 1, b"x" * 200_000)).to_client(frame(BODY, 1, b"x" * 200_000))
    pair.client.sendall(frame(BODY, 1, b"x" * 200_001)[:7])
    to_end(pair.client)
    assert proxy.ended(tmp_path)["end"] == "client-error"


def test_connections_that_say_nothing_hurt_nobody(proxy: ProxyProcess, innocent: Pair) -> None:
    idle = [proxy.connect() for _ in range(50)]
    for sock in idle[::2]:
        sock.sendall(PROTOCOL_HEADER[:5])
    until(lambda: proxy.control.status()["generations"] == 51, "all are accepted")
    innocent.to_broker(OPEN_CHANNEL)
    for sock in idle:
        reset(sock)


def test_descriptors_that_run_out_pause_the_accepting() -> None:
    # 80 descriptors, 64 of them kept back: room for eight links.
    limited = ["sh", "-c", 'ulimit -n 80 && exec "$0" "$@"']
    with running(command=limited) as proxy:
        pairs = [proxy.pair().begin() for _ in range(8)]
        with proxy.connect() as ninth:
            ninth.sendall(PROTOCOL_HEADER)
            assert proxy.control.status()["generations"] == 8
            pairs[0].close()
            broker, _ = proxy.upstream.accept()
            with broker:
                broker.settimeout(DEADLINE)
                assert exactly(broker, len(PROTOCOL_HEADER)) == PROTOCOL_HEADER
        assert proxy.control.status()["generations"] == 9


# -- the life of the process --------------------------------------------------------------------


def test_the_lifeline_ends_it() -> None:
    proxy = ProxyProcess()
    try:
        pair = proxy.pair().begin()
        assert proxy.process.stdin is not None
        proxy.process.stdin.close()
        assert proxy.process.wait(DEADLINE) == 0
        assert to_end(pair.client) == (b"", None)
        assert to_end(pair.broker) == (b"", None)
    finally:
        proxy.stop()


def test_it_ends_when_its_parent_is_killed() -> None:
    # The parent holds the lifeline, and SIGKILL leaves it no time to say good-bye.
    script = (
        "import subprocess, sys; pipe = subprocess.PIPE\n"
        "p = subprocess.Popen(sys.argv[1:], stdin=pipe, stdout=pipe)\n"
        "print(p.stdout.readline().decode(), flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, sys.executable, str(MAIN), "--upstream", "127.0.0.1:1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "AMQPOOL_PROXY_TOKEN": TOKEN},
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        ready = json.loads(parent.stdout.readline())
        Control(ready["control"], TOKEN).close()
        parent.kill()
        parent.wait(DEADLINE)

    def gone() -> bool:
        try:
            socket.create_connection(("127.0.0.1", ready["control"]), 1.0).close()
        except ConnectionRefusedError:
            return True
        return False

    until(gone, "the proxy's end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number: int) -> None:
    proxy = ProxyProcess()
    try:
        pair = proxy.pair().begin()
        proxy.process.send_signal(number)
        assert proxy.process.wait(DEADLINE) == 0
        assert to_end(pair.client)[0] == b""
    finally:
        proxy.stop()


def test_its_own_end_faults_what_was_open() -> None:
    read, write = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(DEADLINE)
        proxy = Proxy([upstream.getsockname()], [0], TOKEN)

        ends: list[object] = []

        def play() -> None:
            try:
                client = socket.create_connection(("127.0.0.1", proxy.ports[0]), DEADLINE)
                broker, _ = upstream.accept()
                with client, broker:
                    broker.settimeout(DEADLINE)
                    Pair(client, broker).begin()
                    os.close(write)
                    ends.append(to_end(client))
            except OSError as error:
                ends.append(error)

        player = threading.Thread(target=play, name="client and broker", daemon=True)
        player.start()
        handler = signal.getsignal(signal.SIGTERM)
        proxy.run(read)
        player.join(DEADLINE)
        assert not player.is_alive()
    os.close(read)
    assert signal.getsignal(signal.SIGTERM) is handler
    (generation,) = proxy.ledger.generations
    assert (generation.end, generation.faulted, ends) == ("proxy", True, [(b"", None)])


@pytest.mark.parametrize(
    ("arguments", "token", "stdin", "complaint"),
    [
        (["--upstream", "192.0.2.1:5672"], TOKEN, subprocess.PIPE, "not a loopback address"),
        (["--upstream", "127.0.0.1"], TOKEN, subprocess.PIPE, "not an address like"),
        ([], TOKEN, subprocess.PIPE, "--upstream"),
        (
            ["--upstream", "127.0.0.1:1", "--port", "0", "--port", "0"],
            TOKEN,
            subprocess.PIPE,
            "more --port than --upstream",
        ),
        (["--upstream", "127.0.0.1:1"], "", subprocess.PIPE, "AMQPOOL_PROXY_TOKEN"),
        (["--upstream", "127.0.0.1:1", "--port", "99999"], TOKEN, subprocess.PIPE, "cannot listen"),
        (["--upstream", "127.0.0.1:1"], TOKEN, subprocess.DEVNULL, "must be a pipe"),
    ],
)
def test_a_wrong_start_says_what_to_do(
    arguments: list[str], token: str, stdin: int, complaint: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(MAIN), *arguments],
        env={**os.environ, "AMQPOOL_PROXY_TOKEN": token},
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_it_starts_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.proxy", "--upstream", "127.0.0.1:1"],
        env={**os.environ, "AMQPOOL_PROXY_TOKEN": TOKEN},
        cwd=MAIN.parents[2],
        input="",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(json.loads(done.stdout)) == ["control", "pid", "port", "ports"]
