"""Which faults are at work: begun, over by themselves, replaced, healed; and bad wishes."""

from __future__ import annotations

import pytest
from pamqp import commands

from benchmarks.broker.core import Broker
from benchmarks.broker.faults import FAULTS, LASTING

C = commands.Channel


def test_a_broker_without_faults(broker):
    faults = broker.faults
    assert (faults.active, faults.counted(), faults.due(), broker.due()) == ({}, {}, None, None)
    assert faults.heal() == faults.heal("blocked") == []


def test_the_table():
    assert sorted(FAULTS) == [
        "blocked",
        "channel_close",
        "confirm_coalesce",
        "confirm_delay",
        "confirm_nack",
        "confirm_omit",
        "confirm_reorder",
        "connection_close",
        "consumer_cancel",
        "slow_declare",
    ]


@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_fault_fires_though_nobody_is_there_and_ends_by_itself(kind):
    broker = Broker(now=5.0)
    assert broker.faults.fire(kind, {"seconds": 2}) == {"fired": True, "t": 5.0}
    assert (list(broker.faults.active), broker.due()) == ([kind], 7.0)
    broker.now = 6.9
    broker.pump()
    assert list(broker.faults.active) == [kind]
    broker.now = 7.0
    broker.pump()
    assert (broker.faults.active, broker.due()) == ({}, None)
    assert broker.faults.heal() == []
    assert (broker.blocking, broker.slow_declare, broker.disturbed.at_work) == (False, None, False)


@pytest.mark.parametrize("kind", LASTING)
def test_again_it_begins_anew(kind, broker):
    broker.faults.fire(kind, {"seconds": 2})
    first = broker.faults.active[kind]
    broker.faults.fire(kind, {})
    assert list(broker.faults.active) == [kind]
    assert broker.faults.active[kind] != first
    assert broker.due() is None
    assert broker.faults.heal() == [kind]


def test_the_later_of_two_that_hold_confirms_ends_the_earlier(publisher, publishing, fire, broker):
    fire("confirm_delay", ms=50)
    fire("confirm_nack", every=10)
    publisher(1, publishing(1, "", "q"))
    fire("confirm_reorder", window=2)
    assert list(broker.faults.active) == ["confirm_nack", "confirm_reorder"]
    assert publisher.read() == [(1, "Basic.Ack", 1, False)]
    events = publisher(1, *[publishing(1, "", "q")] * 2)
    assert [event[2] for event in events] == [3, 2]
    assert broker.faults.heal() == ["confirm_nack", "confirm_reorder"]


def test_one_that_is_over_lets_go_of_what_it_holds(publisher, publishing, fire):
    fire("confirm_delay", ms=5000, seconds=1)
    assert publisher(1, publishing(1, "", "q")) == []
    assert publisher.after(1) == [(1, "Basic.Ack", 1, False)]


NUMBER = "is a number above 0, at most"
BAD = [
    ("rst", {}, "no such fault; there are blocked, channel_close, confirm_coalesce"),
    ("confirm_nack", {"every": 0}, "confirm_nack: every is a whole number from 1 to 1000000"),
    ("confirm_nack", {"every": True}, "confirm_nack: every is a whole number"),
    ("confirm_omit", {"every": 2.0}, "confirm_omit: every is a whole number"),
    ("confirm_nack", {"evry": 2}, "confirm_nack has no option 'evry'"),
    ("confirm_nack", {"generations": [1]}, "confirm_nack has no option 'generations'"),
    ("confirm_delay", {"ms": 0}, f"confirm_delay: ms {NUMBER} 60000"),
    ("confirm_delay", {"ms": 60_001}, f"confirm_delay: ms {NUMBER} 60000"),
    ("confirm_delay", {"ms": float("nan")}, f"confirm_delay: ms {NUMBER} 60000"),
    ("confirm_delay", {"ms": "5"}, f"confirm_delay: ms {NUMBER} 60000"),
    ("confirm_reorder", {"window": 1}, "confirm_reorder: window is a whole number from 2 to 1024"),
    ("confirm_coalesce", {"seconds": -1}, f"confirm_coalesce: seconds {NUMBER} 60"),
    ("channel_close", {"code": 200}, "channel_close: code is one of 541, 406, 404"),
    ("channel_close", {"code": [541]}, "channel_close: code is one of"),
    ("channel_close", {"seconds": 1}, "channel_close has no option 'seconds'"),
    ("connection_close", {"code": 541.5}, "connection_close: code is one of 320, 541"),
    ("consumer_cancel", {"consumers": True}, "consumer_cancel: consumers is one of one, all"),
    ("slow_declare", {"ms": None}, f"slow_declare: ms {NUMBER} 60000"),
    ("blocked", {"ms": 5}, "blocked has no option 'ms'"),
]


@pytest.mark.parametrize(("kind", "options", "complaint"), BAD)
def test_a_bad_wish_is_refused_and_changes_nothing(
    publisher, publishing, fire, broker, kind, options, complaint
):
    publisher(1, publishing(1, "", "q"))
    fire("confirm_delay", ms=50)
    fault = broker.faults.active["confirm_delay"]
    with pytest.raises(ValueError, match=complaint):
        broker.faults.fire(kind, options)
    assert broker.faults.active == {"confirm_delay": fault}
    assert broker.faults.counted() == {"confirm_delay": 0}
    assert publisher.read() == []


def test_healing_what_does_not_exist(broker):
    with pytest.raises(ValueError, match="no such fault"):
        broker.faults.heal("rst")
    assert broker.faults.heal("channel_close") == []
