"""Whatever faults are at work: a confirm says what happened to its message, once, and in time.

A model client keeps its own books of each channel. An ack is for a message that the broker took,
a nack for one that no queue got; none comes twice or for what was not published, on no account
after the channel has ended; and when everything is healed, what was not omitted has come.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pamqp import commands

from benchmarks.broker.core import Broker, Settings

C, Q = commands.Channel, commands.Queue
CLOSE = C.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
CHANNELS = (1, 2)

FAULTS = st.one_of(
    st.tuples(
        st.sampled_from(["confirm_nack", "confirm_omit"]),
        st.builds(lambda every: {"every": every}, st.integers(1, 4)),
    ),
    st.tuples(
        st.sampled_from(["confirm_delay", "confirm_coalesce", "slow_declare"]),
        st.builds(lambda ms: {"ms": ms}, st.integers(1, 40)),
    ),
    st.tuples(
        st.just("confirm_reorder"),
        st.builds(lambda window: {"window": window, "ms": 30}, st.integers(2, 5)),
    ),
    st.tuples(st.just("channel_close"), st.just({})),
)
PUBLISHES = st.tuples(st.just("publish"), st.sampled_from(CHANNELS), st.sampled_from(["q", "no"]))
STEPS = st.one_of(
    PUBLISHES,
    PUBLISHES,
    PUBLISHES,
    st.tuples(st.just("fault"), FAULTS),
    st.tuples(st.just("heal"), st.sampled_from([None, "confirm_delay", "confirm_omit"])),
    st.tuples(st.just("wait"), st.floats(0.0, 0.05)),
    st.tuples(st.just("close"), st.sampled_from(CHANNELS)),
    st.tuples(st.just("declare"), st.sampled_from(CHANNELS)),
)


class Book:
    """One incarnation of a channel, as its client sees it. A message's body is its number."""

    def __init__(self):
        self.published = []
        self.open = {}
        self.acked = []
        self.nacked = []

    def publish(self, body):
        self.published.append(body)
        self.open[len(self.published)] = body

    def confirm(self, event):
        _, name, tag, multiple, *_ = event
        if name == "Basic.Nack":
            assert not multiple
            self.nacked.append(self.open.pop(tag))
            return
        tags = [number for number in self.open if number <= tag] if multiple else [tag]
        assert tags[-1] == tag
        self.acked += [self.open.pop(number) for number in tags]


class Client:
    """The model."""

    def __init__(self, peer):
        self.peer = peer
        self.books = {}
        self.past = []
        for channel in CHANNELS:
            if channel != 1:
                peer(channel, C.Open())
            peer(channel, commands.Confirm.Select())
            self.books[channel] = Book()

    def read(self, events):
        for event in events:
            channel, name = event[:2]
            if name in ("Basic.Ack", "Basic.Nack"):
                self.books[channel].confirm(event)
            elif name in ("Channel.Close", "Channel.CloseOk"):
                self.past.append(self.books.pop(channel))
                if name == "Channel.Close":
                    self.read(self.peer(channel, C.CloseOk()))
                self.read(self.peer(channel, C.Open(), commands.Confirm.Select()))
                self.books[channel] = Book()
            else:
                assert name in ("Queue.DeclareOk", "Channel.OpenOk", "Confirm.SelectOk"), name


def run(broker, peer, publishing, steps):
    """Carry the steps out; returns the client, what had a queue to go to, and what is there."""
    peer(1, Q.Declare(queue="q"))
    client = Client(peer)
    routed = set()
    for number, (what, *arguments) in enumerate(steps):
        if what == "publish":
            channel, key = arguments
            body = b"%d" % number
            client.books[channel].publish(body)
            if key == "q":
                routed.add(body)
            client.read(peer(channel, publishing(channel, "", key, body)))
        elif what == "fault":
            broker.faults.fire(*arguments[0])
            client.read(peer.read())
        elif what == "heal":
            broker.faults.heal(arguments[0])
            client.read(peer.read())
        elif what == "wait":
            client.read(peer.after(arguments[0]))
        elif client.books[arguments[0]].published or what == "declare":
            frame = CLOSE if what == "close" else Q.Declare(queue="q")
            client.read(peer(arguments[0], frame))
            if what == "close":
                while arguments[0] not in client.books or client.books[arguments[0]].published:
                    client.read(peer.after(0.05))  # behind a slow declaration
    broker.faults.heal()
    client.read(peer.read())
    kept = [entry.message.body for entry in broker.queues["q"]._ready]
    return client, routed, kept


@settings(
    derandomize=True,
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEPS, min_size=10, max_size=50), coalesce=st.booleans())
def test_confirms_never_lie(connect_to, publishing, steps, coalesce):
    broker = Broker(Settings(coalesce_confirms=coalesce))
    client, routed, kept = run(broker, connect_to(broker), publishing, steps)
    check(broker, client, routed, kept)
    assert (broker.due(), broker.faults.active) == (None, {})


def check(broker, client, routed, kept):
    """What the client was told agrees with what the broker holds, and only the omitted is open."""
    books = [*client.past, *client.books.values()]
    for book in books:
        assert set(book.acked) & routed <= set(kept)
        assert set(book.nacked) <= routed
        assert not set(book.nacked) & set(kept)
    assert len(kept) == len(set(kept))
    omitted = broker.faults.counted().get("confirm_omit", 0)
    assert sum(len(book.open) for book in books) == omitted


def covers_all(self, channel, block):
    """A coalescing that takes no heed of what was omitted or refused."""
    channel.confirm(block[-1][0], len(block))


@pytest.mark.parametrize("kind", ["confirm_omit", "confirm_nack"])
def test_the_books_can_fail(connect_to, publishing, monkeypatch, kind):
    steps = [("fault", (kind, {"every": 2})), ("fault", ("confirm_coalesce", {"ms": 5}))]
    steps += [("publish", 1, "q")] * 5
    broker = Broker()
    check(broker, *run(broker, connect_to(broker), publishing, steps))
    monkeypatch.setattr(
        "benchmarks.broker.faults.confirm_coalesce.ConfirmCoalesce.send", covers_all
    )
    broker = Broker()
    done = run(broker, connect_to(broker), publishing, steps)
    with pytest.raises(AssertionError):
        check(broker, *done)
