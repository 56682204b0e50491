"""The cut fault: the peer reads exactly the bytes that the rule lets through, then the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pamqp.commands as c
import pytest

from benchmarks.wire.control import ControlError
from benchmarks.wire.frames import HEARTBEAT_FRAME
from tests.proxy.stage import ProxyProcess, content, identities, running, to_end

ENDS = {"rst": ConnectionResetError, "fin": None}
MESSAGES = [
    content(1, c.Basic.Return(312, "", "", "q"), b"%d\n" % n + b"x" * 3000, str(n), piece=1000)
    for n in range(3)
]
STREAM = b"".join(raw for message in MESSAGES for raw in message)
#: Where the second message's second body frame begins, and its size.
START = sum(map(len, MESSAGES[0])) + sum(map(len, MESSAGES[1][:3]))
SIZE = len(MESSAGES[1][3])
#: Each message has a method, a header and four body frames, so this one is the sixth body.
NTH = 6


@pytest.fixture(name="shared", scope="module")
def _shared() -> Iterator[ProxyProcess]:
    with running() as process:
        yield process


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize("direction", ["to_broker", "to_client"])
@pytest.mark.parametrize(
    ("where", "bytes_of_it"),
    [
        ("before", 0),
        (0, 0),
        (1, 1),
        (7, 7),
        (SIZE - 1, SIZE - 1),
        (10**6, SIZE - 1),
        ("after", SIZE),
    ],
)
def test_exactly_so_many_bytes_arrive(
    shared: ProxyProcess, tmp_path: Path, how: str, direction: str, where: object, bytes_of_it: int
) -> None:
    rule = {"direction": direction, "frame": "body", "nth": NTH, "where": where}
    number = shared.control.arm("cut", rule, how=how)
    which = shared.control.status()["generations"] + 1
    pair = shared.pair().begin()
    writer, reader = pair.client, pair.broker
    if direction == "to_client":
        writer, reader = reader, writer
    writer.sendall(STREAM)
    fired = shared.control.fired(number, 5.0)
    assert fired == {"fired": True, "t": fired["t"], "generations": [which]}
    assert to_end(reader) == (STREAM[: START + bytes_of_it], ENDS[how])
    assert to_end(writer) == (b"", ENDS[how])
    ledger = shared.ledger(tmp_path)
    generation = ledger["generations"][which - 1]
    assert (generation["end"], generation["injected"]) == ("fault:cut", True)
    # A frame that was cut is not booked, nor is what stood behind it.
    kind = "return" if direction == "to_client" else "publish"
    assert identities(ledger, which, kind) == (["0"] if kind == "return" else [])
    assert generation["thrown"] == len(STREAM) - START - bytes_of_it
    assert [fault["kind"] for fault in ledger["faults"]] == ["cut"] * which
    pair.close()


def test_only_the_connection_of_the_frame_is_cut(proxy: ProxyProcess) -> None:
    rule = {"direction": "to_broker", "frame": "heartbeat", "nth": 1, "where": "before"}
    number = proxy.control.arm("cut", rule)
    first, second = proxy.pair().begin(), proxy.pair().begin()
    second.client.sendall(HEARTBEAT_FRAME)
    assert proxy.control.fired(number, 5.0)["generations"] == [2]
    assert to_end(second.broker) == (b"", ConnectionResetError)
    first.to_broker(HEARTBEAT_FRAME)


def test_it_needs_a_rule_that_names_a_frame(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    with pytest.raises(ControlError, match="cut needs a rule that says where: arm it"):
        proxy.control.fault("cut")
    with pytest.raises(ControlError, match="cut needs a rule that names a frame"):
        proxy.control.arm("cut", {"at": 1})
    with pytest.raises(ControlError, match="cut: how is one of rst, fin"):
        proxy.control.arm("cut", {"direction": "to_broker", "frame": "any"}, how="axe")
    pair.to_broker(HEARTBEAT_FRAME)


def test_a_cut_waits_until_a_slow_reader_took_what_stands_in_front(proxy: ProxyProcess) -> None:
    """The peer does not read: the cut may not come before the bytes in front of it went out."""
    body = b"m\n" + b"x" * 100_000
    message = b"".join(content(1, c.Basic.Return(312, "", "", "q"), body, "m"))
    count = 200  # 20 MB, far more than the kernel holds
    rule = {"direction": "to_client", "frame": "basic.return", "nth": count, "where": "before"}
    number = proxy.control.arm("cut", rule, how="fin")
    pair = proxy.pair().begin()
    pair.client.settimeout(10)
    pair.broker.setblocking(False)
    stream, sent, received = message * count, 0, 0
    while sent < len(stream) or not proxy.control.fired(number, 0)["fired"]:
        try:
            sent += pair.broker.send(stream[sent : sent + 10**6])
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        try:
            received += len(pair.client.recv(65536, socket.MSG_DONTWAIT))
        except BlockingIOError:
            continue
        if received == len(message) * (count - 1):
            break
    rest, error = to_end(pair.client)
    assert (received + len(rest), error) == (len(message) * (count - 1), None)
