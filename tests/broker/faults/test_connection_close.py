"""Connections that the broker closes: each client's, and no control's."""

from __future__ import annotations

import socket

import pytest
from pamqp import commands

from benchmarks.wire.client import WireClient

Q, B = commands.Queue, commands.Basic
FORCED = (
    0,
    "Connection.Close",
    320,
    "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    0,
    0,
)


def test_every_client_is_told_and_what_it_held_goes_back(peer, connect, exempt, publishing, fire):
    other = connect()
    peer(1, Q.Declare(queue="q"), publishing(1, "", "q", b"1"), B.Get(queue="q"))
    fire("connection_close")
    assert peer.read() == other.read() == [FORCED]
    assert exempt.read() == []
    assert peer(1, publishing(1, "", "q", b"too late")) == []
    assert not peer.session.wants_close
    assert peer(0, commands.Connection.CloseOk()) == []
    assert peer.session.wants_close
    got = exempt(1, B.Get(queue="q", no_ack=True), B.Get(queue="q"))
    assert [event[1:4] for event in got] == [("Basic.GetOk", 1, True), ("Basic.GetEmpty", "")]


def test_with_nobody_there_it_does_not_fire(exempt, connect, broker):
    connect(handshake=False)
    assert broker.faults.fire("connection_close", {}) == {
        "fired": False,
        "why": "no open connection of a client",
    }
    assert broker.faults.counted() == {}


def test_those_that_are_closing_are_not_closed_again(peer, fire, broker):
    fire("connection_close", code=541)
    assert [event[2] for event in peer.read()] == [541]
    assert not broker.faults.fire("connection_close", {})["fired"]
    assert broker.counts["internal_errors"] == 0


def test_what_came_in_before_counts_even_when_a_channel_waited(peer, exempt, publishing, fire):
    exempt(1, Q.Declare(queue="q"))
    fire("slow_declare", ms=50)
    assert peer(1, Q.Declare(queue="q"), publishing(1, "", "q")) == []
    fire("connection_close")
    assert peer.read() == [(1, "Queue.DeclareOk", "q", 0, 0), FORCED]
    assert exempt(1, Q.Declare(queue="q", passive=True))[0][3] == 1


def test_one_that_is_blocked_can_still_answer(publisher, publishing, fire):
    fire("blocked")
    publisher(1, publishing(1, "", "q"))
    assert not publisher.session.wants_read
    fire("connection_close")
    assert publisher.session.wants_read
    assert publisher.read()[-1] == FORCED


def test_in_the_process(live, controlled):
    (peer, control), (process, _) = live, controlled
    with WireClient("127.0.0.1", process.port) as witness:
        assert control.fault("connection_close")["fired"]
        assert peer.get(1) == [FORCED]
        peer(0, commands.Connection.CloseOk())
        with pytest.raises(AssertionError, match="hung up"):
            peer.get(1)
        assert witness.queue_declare("q", passive=True, durable=False).consumer_count == 0
        assert control.status()["connections"] == 0
    # New ones are welcome.
    with socket.create_connection(("127.0.0.1", process.port), 5.0):
        assert process.connect() is not None
