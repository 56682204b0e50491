"""A channel that the broker closes: it alone, with all that a closed channel means."""

from __future__ import annotations

import pytest
from pamqp import commands

from benchmarks.wire.client import WireClient

Q, B, C = commands.Queue, commands.Basic, commands.Channel
INTERNAL = (1, "Channel.Close", 541, "INTERNAL_ERROR - channel terminated", 0, 0)


def test_what_it_held_goes_back_and_what_follows_is_ignored_until_close_ok(
    peer, connect, publishing, fire, broker
):
    peer(1, Q.Declare(queue="q"), B.Qos(prefetch_count=1))
    peer(1, publishing(1, "", "q", b"1"), publishing(1, "", "q", b"2"))
    peer(1, B.Consume(queue="q", consumer_tag="t"))
    peer(2, C.Open())
    fire("channel_close")
    assert peer.read() == [INTERNAL]
    # Behind the close, not yet seen by the client: no ack, no publish, no call counts any more.
    assert peer(1, B.Ack(delivery_tag=1), publishing(1, "", "q", b"3"), Q.Purge(queue="q")) == []
    assert peer(2, Q.Declare(queue="q", passive=True)) == [(2, "Queue.DeclareOk", "q", 2, 0)]
    got = peer(2, B.Get(queue="q", no_ack=True), B.Get(queue="q", no_ack=True))
    assert [(event[3], event[-1]) for event in got] == [(True, b"1"), (False, b"2")]
    assert peer(1, C.CloseOk(), C.Open()) == [(1, "Channel.OpenOk", "")]
    assert broker.stored == 0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (404, "NOT_FOUND - queue process is stopped by supervisor"),
        (
            406,
            "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value"
            " used: 1800000 ms. This timeout value can be configured, see consumers doc guide to"
            " learn more",
        ),
    ],
)
def test_its_code_can_be_chosen(publisher, publishing, fire, code, text):
    publisher(1, publishing(1, "", "q"))
    fire("channel_close", code=code)
    assert publisher.read() == [(1, "Channel.Close", code, text, 0, 0)]


def test_channels_take_turns_over_all_connections(peer, connect, publishing, fire, broker):
    other = connect()
    peer(2, C.Open(), publishing(2, "", "q"))
    other(1, publishing(1, "", "q"))
    peer(1, publishing(1, "", "q"))
    fire("channel_close")  # the first of two on the first connection
    assert [event[:2] for event in peer.read()] == [(1, "Channel.Close")]
    fire("channel_close")  # the second of those that are left
    assert (peer.read(), [event[:2] for event in other.read()]) == ([], [(1, "Channel.Close")])
    fire("channel_close")
    assert [event[:2] for event in peer.read()] == [(2, "Channel.Close")]
    assert broker.faults.fire("channel_close", {}) == {
        "fired": False,
        "why": "no open channel of a client has published or consumes",
    }
    assert broker.faults.counted() == {"channel_close": 3}


def test_idle_channels_and_controls_are_not_hit(peer, exempt, publishing, broker):
    exempt(1, publishing(1, "", "q"))
    assert not broker.faults.fire("channel_close", {})["fired"]


def test_what_was_accepted_is_confirmed_before(publisher, publishing, fire):
    fire("confirm_delay", ms=50)
    publisher(1, publishing(1, "", "q"))
    fire("channel_close")
    assert publisher.read() == [(1, "Basic.Ack", 1, False), INTERNAL]
    assert publisher.after(1) == []


def test_in_the_middle_of_a_message(publisher, publishing, fire):
    publisher(1, publishing(1, "", "q"))
    assert publisher(1, publishing(1, "", "q", b"half", size=8)) == []
    fire("channel_close")
    assert publisher.read() == [INTERNAL]
    assert publisher(1, C.CloseOk(), C.Open()) == [(1, "Channel.OpenOk", "")]
    assert publisher.session.assembling == 0


def test_in_the_process(live, controlled, publishing):
    (peer, control), (process, _) = live, controlled
    with WireClient("127.0.0.1", process.port) as witness:
        witness.publish("", "q", b"x")
        assert control.fault("channel_close") == {
            "fired": False,
            "why": "no open channel of a client has published or consumes",
        }
        peer(1, publishing(1, "", "q"))
        peer.get(1)
        assert control.fault("channel_close", code=541)["fired"]
        assert peer.get(1) == [INTERNAL]
        peer(1, C.CloseOk(), C.Open())
        assert peer.get(1) == [(1, "Channel.OpenOk", "")]
        assert witness.publish("", "q", b"x")
