"""The wire client: against the embedded broker, and against peers that misbehave."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pamqp import commands, header
from pamqp import frame as pamqp_frame

from benchmarks.broker.core import Settings
from benchmarks.broker.server import Server
from benchmarks.wire.client import Message, QueueState, WireClient, WireError, WireTimeout
from benchmarks.wire.frames import BODY, HEARTBEAT_FRAME, METHOD, PROTOCOL_HEADER, Scanner, frame
from benchmarks.wire.url import Endpoint

DEADLINE = 10.0


@pytest.fixture(params=[False, True], ids=["single", "coalesced"])
def port(request) -> Iterator[int]:
    """A broker in a thread; with and without coalesced confirms."""
    server = Server(Settings(coalesce_confirms=request.param))
    thread = threading.Thread(target=server.run, name="broker", daemon=True)
    thread.start()
    yield server.port
    server.stop()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert server.broker.counts["internal_errors"] == 0
    assert server.broker.stored == 0


def test_a_queue_from_birth_to_death(port):
    with WireClient("127.0.0.1", port) as client:
        assert client.queue_declare("q") == QueueState("q", 0, 0)
        assert client.publish("", "q", b"one", message_id="1")
        assert client.publish("", "q", b"", message_id="2")
        assert client.queue_declare("q", passive=True) == ("q", 2, 0)
        assert client.get("q") == Message("1", b"one", False, "", "q")
        assert client.queue_purge("q") == 1
        assert client.get("q") is None
        client.publish("", "q", b"left")
        assert client.queue_delete("q") == 1
        assert client.queue_delete("q") == 0


def test_exchanges_and_returns(port):
    with WireClient("127.0.0.1", port) as client:
        client.exchange_declare("x", "topic")
        client.queue_declare("q", exclusive=True)
        client.queue_bind("q", "x", "a.#")
        assert client.publish("x", "a.b", b"in", mandatory=True)
        assert not client.publish("x", "b", b"out", mandatory=True)
        assert client.publish("x", "b", b"silently gone")
        assert client.drain("q", 10) == [Message("", b"in", False, "x", "a.b")]
        client.exchange_delete("x")


def test_bodies_of_any_size(port):
    source = random.Random(1)
    bodies = [source.randbytes(size) for size in (0, 1, 131_064, 131_065, 400_000)]
    with WireClient("127.0.0.1", port) as client:
        client.queue_declare("q", exclusive=True)
        for body in bodies:
            client.publish("", "q", body)
        assert [message.body for message in client.drain("q", 10)] == bodies


def test_draining_takes_all_there_is_up_to_a_limit(port):
    with WireClient("127.0.0.1", port) as client:
        client.queue_declare("q")
        for number in range(200):
            client.publish("", "q", b"", message_id=str(number), confirm=False)
        assert client.publish("", "q", b"", message_id="200")  # confirms all before it, too
        first = client.drain("q", 70)
        rest = client.drain("q", 1000)
        assert [message.message_id for message in first + rest] == [str(n) for n in range(201)]
        assert (len(first), client.drain("q", 10)) == (70, [])
        client.queue_delete("q")


@pytest.mark.parametrize("count", [1, 99, 1000])
def test_messages_that_are_alike_are_consumed_and_acknowledged(port, count):
    with WireClient("127.0.0.1", port) as client:
        for queue in ("alike", "alike too"):
            client.queue_declare(queue)
            client.fill(queue, b"x" * 256, count)
            # The tags of the second queue go on where those of the first ended.
            client.consume_alike(queue, count, prefetch=100)
            assert client.queue_declare(queue, passive=True) == (queue, 0, 0)
    # What was not acknowledged would be back.
    with WireClient("127.0.0.1", port) as client:
        assert client.queue_delete("alike") == client.queue_delete("alike too") == 0


@pytest.mark.parametrize(
    ("bodies", "complaint"),
    [
        ([b""], "body is not one frame"),
        ([bytes(300_000)], "bytes for 2 messages of"),
        ([b"x", b"xx"], "bytes for 3 messages of"),
    ],
)
def test_messages_that_are_not_alike_are_an_error(port, bodies, complaint):
    with WireClient("127.0.0.1", port) as client:
        client.queue_declare("mixed")
        for body in (*bodies, b"x"):
            client.publish("", "mixed", body)
        with pytest.raises(WireError, match=complaint):
            client.consume_alike("mixed", len(bodies) + 1, prefetch=100)
    with WireClient("127.0.0.1", port) as client:
        client.queue_delete("mixed")


def test_messages_that_do_not_come_end_at_the_deadline(port):
    with WireClient("127.0.0.1", port, timeout=0.3) as client:
        client.queue_declare("few")
        client.fill("few", b"x", 3)
        with pytest.raises(WireTimeout):
            client.consume_alike("few", 4, prefetch=100)
    with WireClient("127.0.0.1", port) as client:
        client.queue_delete("few")


def test_unacknowledged_gets_go_back_on_close(port):
    with WireClient("127.0.0.1", port) as client:
        client.queue_declare("q")
        client.publish("", "q", b"x")
        with WireClient("127.0.0.1", port) as other:
            assert other.get("q", no_ack=False) == Message("", b"x", False, "", "q")
            assert client.get("q") is None
        assert client.get("q") == Message("", b"x", True, "", "q")


def test_a_channel_error_is_raised_and_the_next_call_works(port):
    with WireClient("127.0.0.1", port) as client:
        client.queue_declare("q", exclusive=True)
        client.publish("", "q", b"1")
        with pytest.raises(WireError) as caught:
            client.queue_declare("none", passive=True)
        assert (caught.value.code, caught.value.text) == (
            404,
            "NOT_FOUND - no queue 'none' in vhost '/'",
        )
        assert client.publish("", "q", b"2")
        assert [message.body for message in client.drain("q", 5)] == [b"1", b"2"]


def test_a_connection_error_is_raised_and_ends_the_client(port):
    client = WireClient("127.0.0.1", port)
    with pytest.raises(WireError, match="540 NOT_IMPLEMENTED"):
        client.queue_declare("q", arguments={"x-message-ttl": 5})
    assert repr(client) == f"<WireClient 127.0.0.1:{port} closed>"
    with pytest.raises(WireError, match="is closed"):
        client.queue_declare("q")
    client.close()


def test_login_failures_do_not_show_the_password(port):
    endpoint = Endpoint("127.0.0.1", port, password="s3cret")
    with pytest.raises(WireError) as caught:
        WireClient.to(endpoint)
    assert caught.value.code == 403
    assert "s3cret" not in str(caught.value) + repr(caught.value)
    with pytest.raises(WireError, match="530 NOT_ALLOWED - vhost none not found"):
        WireClient("127.0.0.1", port, vhost="none")
    with WireClient.to(Endpoint("127.0.0.1", port)) as client:
        assert repr(client) == f"<WireClient 127.0.0.1:{port} open>"


def test_nobody_there(vacant):
    with pytest.raises(WireError, match=f"cannot connect to 127.0.0.1:{vacant}"):
        WireClient("127.0.0.1", vacant)


# -- scripted peers ------------------------------------------------------------------------


def marshal(channel, method):
    return pamqp_frame.marshal(method, channel)


GREETING = [
    marshal(0, commands.Connection.Start(server_properties={})),
    marshal(0, commands.Connection.Tune(channel_max=10, frame_max=131072, heartbeat=0)),
    marshal(0, commands.Connection.OpenOk()),
    marshal(1, commands.Channel.OpenOk()),
]


@pytest.fixture
def scripted() -> Iterator[Callable[[list[bytes]], int]]:
    """Serve one client: one answer of the script for each read that holds a request."""
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, script: list[bytes]) -> None:
        with listener, listener.accept()[0] as sock:
            sock.settimeout(DEADLINE)
            scanner = Scanner()
            pending = script.copy()
            opening = len(PROTOCOL_HEADER)
            while data := sock.recv(1 << 16):
                requests = 1 if opening else 0
                data, opening = data[opening:], 0
                # tune-ok asks for nothing.
                requests += sum(item.raw[7:11] != b"\0\x0a\0\x1f" for item in scanner.feed(data))
                for _ in range(requests):
                    if pending:
                        answer = pending.pop(0)
                        if answer == b"end":
                            return
                        sock.sendall(answer)

    def start(script: list[bytes]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(DEADLINE)
        port: int = listener.getsockname()[1]
        thread = threading.Thread(target=serve, args=(listener, script), name="peer", daemon=True)
        thread.start()
        threads.append(thread)
        return port

    yield start
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


@pytest.mark.parametrize("said", range(4))
def test_silence_at_any_step_is_a_timeout(scripted, said):
    port = scripted(GREETING[:said])
    begun = time.monotonic()
    with pytest.raises(WireTimeout, match=r"no answer from 127.0.0.1:\d+ within 0.2 s"):
        WireClient("127.0.0.1", port, timeout=0.2).queue_declare("q")
    assert 0.15 < time.monotonic() - begun < DEADLINE


def test_a_trickle_does_not_extend_the_deadline():
    """Heartbeats keep coming, but no answer: the call ends all the same."""
    stop = threading.Event()

    def trickle(listener: socket.socket) -> None:
        with listener, listener.accept()[0] as sock:
            try:
                while not stop.wait(0.02):
                    sock.sendall(HEARTBEAT_FRAME)
            except ConnectionError:
                pass  # The client has given up, as it must.

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=trickle, args=(listener,), name="trickle", daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    # The trickle ends by itself, so that a client that waits for ever shows, too.
    fuse = threading.Timer(DEADLINE / 2, stop.set)
    fuse.start()
    begun = time.monotonic()
    with pytest.raises(WireTimeout):
        WireClient("127.0.0.1", port, timeout=0.3)
    assert time.monotonic() - begun < DEADLINE / 4
    fuse.cancel()
    stop.set()
    for each in (thread, fuse):
        each.join(DEADLINE)
        assert not each.is_alive()


GET_OK = marshal(
    1,
    commands.Basic.GetOk(
        delivery_tag=1, redelivered=False, exchange="", routing_key="q", message_count=0
    ),
)
HEADER_5 = marshal(1, header.ContentHeader(body_size=5, properties=commands.Basic.Properties()))
HEADER_HUGE = marshal(
    1, header.ContentHeader(body_size=1 << 40, properties=commands.Basic.Properties())
)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"end", "connection closed by the broker"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not AMQP: frame type 72"),
        (b"\x01\0\x01\xff\xff\xff\xff", "not AMQP: frame of 4294967295 bytes"),
        (frame(METHOD, 1, b"\0\0\0\0\0"), "cannot decode a frame"),
        (frame(BODY, 1, b"x"), "content where a method must be"),
        (marshal(1, commands.Queue.PurgeOk(message_count=0)), "unexpected Queue.PurgeOk"),
        (GET_OK + GET_OK, "no content header where one must be"),
        (GET_OK + HEADER_5 + GET_OK, "no content body where one must be"),
        (GET_OK + HEADER_5 + frame(BODY, 1, bytes(6)), "longer than announced"),
        (GET_OK + HEADER_HUGE, "a message of 1099511627776 bytes is above 134217728"),
    ],
)
def test_a_broker_that_breaks_the_protocol(scripted, answer, complaint):
    client = WireClient("127.0.0.1", scripted([*GREETING, answer]), timeout=5)
    with pytest.raises(WireError, match=complaint) as caught:
        client.get("q")
    assert caught.value.code == 0
    assert "closed" in repr(client)


def test_a_nack_is_an_error(scripted):
    script = [*GREETING, marshal(1, commands.Confirm.SelectOk())]
    nack = marshal(1, commands.Basic.Nack(delivery_tag=1, multiple=False, requeue=False))
    client = WireClient("127.0.0.1", scripted([*script, b"", nack]), timeout=0.3)
    with pytest.raises(WireError, match="the broker answered a publish with a nack"):
        client.publish("", "q", b"x")
    with pytest.raises(WireTimeout):
        client.get("q")


def test_closing_never_raises_and_never_hangs(scripted):
    client = WireClient("127.0.0.1", scripted(GREETING), timeout=0.2)
    begun = time.monotonic()
    client.close()
    client.close()
    assert time.monotonic() - begun < DEADLINE
    assert "closed" in repr(client)
