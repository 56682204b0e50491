"""The broker's control port, in the process: who may use it, and what it answers."""

from __future__ import annotations

import time

import pytest
from pamqp import commands

from benchmarks.broker.control import BrokerControl
from benchmarks.wire.client import WireClient
from benchmarks.wire.control import ControlError


def test_without_a_token_there_is_no_control_port(start, monkeypatch):
    monkeypatch.delenv("AMQPOOL_BROKER_TOKEN", raising=False)
    assert sorted(start().greeting) == ["pid", "port"]


def test_a_stranger_is_refused(controlled):
    process, control = controlled
    assert sorted(process.greeting) == ["control", "pid", "port"]
    with (
        BrokerControl(process.greeting["control"], "guess") as stranger,
        pytest.raises(ControlError, match="wrong token"),
    ):
        stranger.fault("connection_close")
    assert control.stats()["effects"] == {}


def test_status_and_stats(controlled):
    process, control = controlled
    with WireClient("127.0.0.1", process.port) as witness:
        process.connect()
        witness.publish("", "none", b"x")
        control.fault("blocked", seconds=30)
        control.fault("confirm_nack", every=2)
        status = control.status()
        assert abs(status.pop("now") - time.monotonic()) < 5
        assert status == {"connections": 1, "active": ["blocked", "confirm_nack"]}
        stats = control.stats()
    assert stats.pop("effects") == {"blocked": 1, "confirm_nack": 0}
    counted = {name: stats[name] for name in ("connections", "published", "confirmed", "sessions")}
    assert counted == {"connections": 2, "published": 1, "confirmed": 1, "sessions": 2}


def test_times_are_those_of_everybody(controlled):
    process, control = controlled
    process.connect()
    before = time.monotonic()
    fired = control.fault("confirm_omit")
    between = time.monotonic()
    healed = control.heal()
    after = time.monotonic()
    assert sorted(fired) == ["fired", "t"]
    assert before <= fired["t"] <= between <= healed["t"] <= after
    assert (fired["fired"], healed["healed"]) == (True, ["confirm_omit"])
    assert control.heal("confirm_omit")["healed"] == []


@pytest.mark.parametrize(
    ("op", "fields", "complaint"),
    [
        ("fault", {}, "no such fault; there are blocked, channel_close"),
        ("fault", {"kind": ["rst"]}, "no such fault"),
        ("fault", {"kind": "rst"}, "no such fault"),
        ("fault", {"kind": "confirm_nack", "every": "x"}, "every is a whole number"),
        ("heal", {"kind": "rst"}, "no such fault"),
        ("heal", {"what": "blocked"}, "unknown field 'what'"),
        ("status", {"what": 1}, "unknown field 'what'"),
        ("ledger", {}, "no such op; there are fault, heal, stats, status"),
    ],
)
def test_a_bad_request_is_answered_and_the_session_stays(controlled, op, fields, complaint):
    _, control = controlled
    with pytest.raises(ControlError, match=complaint):
        control.call(op, **fields)
    assert control.status()["active"] == []


def test_with_nothing_to_hit_it_says_so(controlled):
    _, control = controlled
    assert control.fault("connection_close") == {
        "fired": False,
        "why": "no open connection of a client",
    }


def test_a_fault_that_is_over_by_itself_is_over_in_time(controlled, publishing):
    process, control = controlled
    peer = process.connect()
    peer(1, commands.Confirm.Select())
    peer.get(1)
    begun = time.monotonic()
    control.fault("confirm_delay", ms=60_000, seconds=0.1)
    peer(1, publishing(1, "", "none"))
    assert peer.get(1) == [(1, "Basic.Ack", 1, False)]
    assert time.monotonic() - begun >= 0.1
    assert control.status()["active"] == []


def test_it_ends_well_with_everything_at_work(controlled, publishing):
    process, control = controlled
    peer = process.connect()
    peer(1, commands.Confirm.Select())
    peer.get(1)
    for kind in ("slow_declare", "confirm_nack", "confirm_omit", "confirm_delay"):
        control.fault(kind)
    peer(1, publishing(1, "", "none"), commands.Queue.Declare(queue="q"))
    control.fault("blocked")
    assert process.end() == (0, b"", b"")
