"""The throttle fault: never faster than its rate, and everything arrives."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import pamqp.commands as c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.proxy.faults.throttle import Throttle
from tests.proxy.stage import ProxyProcess, content, cpu_seconds, exactly, identities, publish

PUBLISH = b"".join(publish(1, "m"))


def test_bytes_take_at_least_their_time(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    rate, count = 20_000, 200
    t = proxy.control.fault("throttle", rate=rate, direction="to_broker")["t"]
    pair.client.sendall(PUBLISH * count)
    received, used, pieces = 0, 0.0, 0
    while received < len(PUBLISH) * count:
        size = len(pair.broker.recv(65536))
        assert size > 0
        # By now it has read, and booked, all that came.
        used = used or cpu_seconds(proxy.process.pid)
        received += size
        pieces += 1
        # From the first byte on, not only on the whole.
        assert time.monotonic() - t >= received / rate
    assert cpu_seconds(proxy.process.pid) - used <= 0.15, "of half a second: it sleeps in between"
    # Half a bucket at a time, of a fortieth of a second; the sender's reads split some.
    assert pieces <= 80
    (generation,) = proxy.ledger(tmp_path)["generations"]
    assert (generation["faulted"], len(generation["events"])) == (False, count)
    pair.to_client(PUBLISH * count)  # the other direction has its own deadline


def test_what_is_held_goes_out_when_it_is_healed(proxy: ProxyProcess, tmp_path: Path) -> None:
    pair = proxy.pair().begin()
    proxy.control.fault("throttle", rate=1)
    message = b"".join(content(1, c.Basic.Publish(), b"m\n" + b"x" * 300_000, "m"))
    pair.client.sendall(message)
    assert proxy.ledger(tmp_path)["generations"][0]["events"] == []
    proxy.control.heal()
    assert exactly(pair.broker, len(message)) == message
    assert identities(proxy.ledger(tmp_path), 1, "publish") == ["m"]


def test_it_lasts_so_long_and_holds_future_connections_too(proxy: ProxyProcess) -> None:
    t = proxy.control.fault("throttle", rate=1, seconds=0.4, future=True)["t"]
    proxy.pair().begin()
    assert time.monotonic() - t >= 0.4


@pytest.mark.parametrize("rate", [0, -5, "fast", float("inf"), True])
def test_a_wrong_rate_is_refused(rate: object) -> None:
    with pytest.raises(ValueError, match="throttle: rate is a number from 1 to"):
        Throttle.parse({"rate": rate})


@given(
    st.floats(1, 1e6),
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 1)), min_size=1, max_size=50),
)
def test_at_no_moment_more_than_rate_times_time(
    rate: float, steps: list[tuple[float, float]]
) -> None:
    bucket, now, sent = Throttle(rate=rate).make(1, 0), 100.0, 0
    bucket.begin(0, now)
    for pause, share in steps:
        now += pause
        allowed = bucket.limit(sent, now) - sent
        size = int(allowed * share)
        bucket.gone(size, now)
        sent += size
        assert sent <= rate * (now - 100.0) + 1e-6
        assert allowed >= 0
        if bucket.limit(sent, now) == sent:
            due = bucket.wake(now)
            assert due is not None
            assert due > now
            # At the moment it names, there is something to send.
            assert copy.copy(bucket).limit(sent, due + 1e-6) > sent
