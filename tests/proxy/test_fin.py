"""The fin fault: a plain end of file on both sides, behind all that was booked."""

from __future__ import annotations

import select
import time
from pathlib import Path

import pamqp.commands as c
import pytest

from benchmarks.proxy.link import DRAIN_DEADLINE
from benchmarks.wire.control import ControlError
from tests.proxy.inside import Stage
from tests.proxy.stage import (
    DEADLINE,
    ProxyProcess,
    cpu_seconds,
    deliver,
    identities,
    method,
    publish,
    reset,
    to_end,
    until,
)

EOF = (b"", None)


def test_both_sides_read_an_end_of_file(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    answer = proxy.control.fault("fin")
    assert answer == {"fired": True, "t": answer["t"], "generations": [1]}
    assert to_end(pair.client) == EOF
    assert to_end(pair.broker) == EOF
    (generation,) = proxy.ledger(tmp_path)["generations"]
    assert (generation["end"], generation["closed"]) == ("fault:fin", answer["t"])
    assert (generation["faulted"], generation["injected"]) == (True, True)


def test_what_the_peers_still_say_draws_no_reset(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    half = method(1, c.Channel.Open())[:5]
    pair.client.sendall(half)
    pair.broker.sendall(half)
    proxy.control.fault("fin")
    late = b"x" * 100_000
    for sock in (pair.client, pair.broker):
        assert to_end(sock) == EOF
        sock.sendall(late)
    assert proxy.control.status()["links"] == 1
    until(
        lambda: proxy.ledger(tmp_path)["generations"][0]["thrown"] >= 2 * len(late),
        "the late bytes are thrown away",
    )
    # A reset would show as an error on a socket that reads once more.
    assert to_end(pair.client) == to_end(pair.broker) == EOF
    pair.close()
    until(lambda: proxy.control.status()["links"] == 0, "both sockets are closed", 1.5)


def test_a_peer_that_never_closes_is_not_waited_for(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    before = time.monotonic()
    proxy.control.fault("fin")
    until(lambda: proxy.control.status()["links"] == 0, "the end", DRAIN_DEADLINE + DEADLINE)
    assert time.monotonic() - before >= DRAIN_DEADLINE
    assert to_end(pair.client) == EOF


def test_what_was_booked_arrives_before_the_end(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    ids = [f"m{n}" for n in range(500)]
    for n, one in enumerate(ids):
        pair.client.sendall(b"".join(publish(1, one)))
        pair.broker.sendall(b"".join(deliver(1, n, one)))
    proxy.control.fault("fin")
    ledger = proxy.ledger(tmp_path)
    for sock, kind, raws in (
        (pair.client, "deliver", [b"".join(deliver(1, n, one)) for n, one in enumerate(ids)]),
        (pair.broker, "publish", [b"".join(publish(1, one)) for one in ids]),
    ):
        count = len(identities(ledger, 1, kind))
        received, error = to_end(sock)
        assert error is None
        assert received.startswith(b"".join(raws[:count]))
        assert len(received) < sum(map(len, raws[: count + 1])) or count == len(raws)


def test_the_proxy_does_not_spin_meanwhile(proxy: ProxyProcess) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("fin")
    pair.client.close()
    used = cpu_seconds(proxy.process.pid)
    select.select([], [], [], 0.5)
    assert proxy.control.status()["links"] == 1
    assert cpu_seconds(proxy.process.pid) - used <= 0.03


def test_a_peer_that_was_reset_meanwhile_is_let_go() -> None:
    with Stage() as stage:
        reset(stage.client)
        stage.link.leave("fault:fin", time.monotonic())  # before the loop has seen it
        until(lambda: not stage.turn(0.05), "rest: the dead socket is no longer waited for", 1.0)
        assert stage.read(stage.broker) == b""
        assert stage.gone == []
        stage.broker.close()
        stage.settle()
        assert stage.gone == [stage.link]


def test_it_has_no_options(proxy: ProxyProcess) -> None:
    with pytest.raises(ControlError, match="fin has no option 'how'"):
        proxy.control.fault("fin", how="rst")
