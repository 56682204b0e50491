"""Publishers that are blocked: told, not read, never taken for dead, and let go again."""

from __future__ import annotations

import pytest
from pamqp import commands

from benchmarks.broker.core import ENTRY_WEIGHT, Broker, Settings
from benchmarks.broker.session import EXEMPT_PRODUCT
from benchmarks.wire.client import WireClient
from benchmarks.wire.frames import PROTOCOL_HEADER

Q, B = commands.Queue, commands.Basic
BLOCKED = (0, "Connection.Blocked", "low on memory")
UNBLOCKED = (0, "Connection.Unblocked")


def test_publishers_are_not_read_and_who_can_be_told_is(
    publisher, connect, exempt, publishing, fire, broker
):
    idle, untold = connect(), connect(capabilities=False)
    publisher(1, publishing(1, "", "q"))
    untold(1, publishing(1, "", "q"))
    exempt(1, publishing(1, "", "q"))
    fire("blocked")
    assert publisher.read() == idle.read() == [BLOCKED]
    assert untold.read() == exempt.read() == []
    reads = [peer.session.wants_read for peer in (publisher, untold, idle, exempt)]
    assert reads == [False, False, True, True]
    assert broker.faults.heal("blocked") == ["blocked"]
    assert publisher.read() == idle.read() == [UNBLOCKED]
    assert untold.read() == exempt.read() == []
    assert all(peer.session.wants_read for peer in (publisher, untold, idle, exempt))
    assert broker.faults.counted() == {"blocked": 3}


def test_who_publishes_or_comes_only_now_is_blocked_too(
    publisher, connect, publishing, login, tuning, fire, broker
):
    publisher(2, commands.Channel.Open())  # without confirms
    fire("blocked", seconds=3)
    assert publisher.read() == [BLOCKED]
    assert publisher.session.wants_read
    broker.take_dirty()
    publisher.session.receive(publishing(2, "", "none"))
    # The driver is told to look again, also when there is nothing to send.
    assert broker.take_dirty() == [publisher.session]
    assert not publisher.session.wants_read
    late = connect(handshake=False)
    late.feed(PROTOCOL_HEADER)
    opened = late(0, login(), tuning(broker.settings), commands.Connection.Open())
    assert opened[-2:] == [(0, "Connection.OpenOk", ""), BLOCKED]
    assert late.after(3) == [UNBLOCKED]
    assert publisher.session.wants_read


def test_it_and_a_real_alarm_are_one_to_the_client(connect_to, publishing):
    weight = 1000 + ENTRY_WEIGHT
    broker = Broker(Settings(memory_limit=3 * weight))
    peer, control = connect_to(broker), connect_to(broker, product=EXEMPT_PRODUCT)
    peer(1, Q.Declare(queue="q"))
    broker.faults.fire("blocked", {})
    assert peer(1, *[publishing(1, "", "q", bytes(1000))] * 3) == [BLOCKED]
    assert (broker.alarm, control.read()) == (True, [BLOCKED])
    broker.faults.heal()
    assert peer.read() == []
    assert not peer.session.wants_read
    control(1, Q.Purge(queue="q"))
    assert peer.read() == [UNBLOCKED]


@pytest.mark.parametrize("why", ["fault", "memory"])
def test_silence_of_one_that_is_not_read_proves_nothing(connect_to, publishing, why):
    """RabbitMQ pauses its heartbeat monitor for as long as it does not read a connection."""
    broker = Broker(Settings(heartbeat=1, memory_limit=1 if why == "memory" else 1 << 20))
    peer, idle = connect_to(broker), connect_to(broker)
    peer(1, Q.Declare(queue="q"))
    peer(1, publishing(1, "", "q"))
    if why == "fault":
        broker.faults.fire("blocked", {})
    assert not peer.session.wants_read
    for _ in range(5):
        broker.now += 1
        broker.tick()
        beats = peer.read()
    assert (peer.session.abort, idle.session.abort, beats) == (False, True, [(0, "Heartbeat")])
    broker.faults.heal()
    idle.lose()
    if why == "memory":
        connect_to(broker)(1, Q.Purge(queue="q"))
    assert peer.session.wants_read
    # From now on it counts again.
    broker.now += 1.9
    broker.tick()
    assert not peer.session.abort
    broker.now += 0.2
    broker.tick()
    assert peer.session.abort


def test_in_the_process(live, controlled, publishing):
    (peer, control), (process, _) = live, controlled
    peer(1, publishing(1, "", "q"))
    peer.get(1)
    assert control.fault("blocked")["fired"]
    assert peer.get(1) == [BLOCKED]
    peer(1, publishing(1, "", "q"))
    assert peer.silent(0.3)
    with WireClient("127.0.0.1", process.port) as witness:
        assert witness.publish("", "q", b"x")
        assert witness.queue_declare("q", passive=True, durable=False).message_count == 2
    assert control.heal("blocked")["healed"] == ["blocked"]
    assert peer.get(2) == [UNBLOCKED, (1, "Basic.Ack", 2, False)]
