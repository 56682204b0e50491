"""The roster: a story told by its stats, and a state machine against a plain model."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from amqpool.lease import Lease
from amqpool.numbers import Serial
from amqpool.roster import CLOSED, FAILED, LEND, OPEN, PATIENCE, Roster, Slots, Waiter
from amqpool.stats import Stats

#: A deadline that never comes.
LATER = float("inf")


class Outbox:
    pending = 0


class Connection:
    """As much of a connection as the roster looks at."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.connected = True
        self.outbox = Outbox()


class Channel:
    """As much of a channel as the roster looks at."""

    def __init__(self) -> None:
        self.usable = True


def waiter() -> Waiter:
    """One that has no time left: it is not to be overtaken any more."""
    return Waiter(time.monotonic())


def new(size: int, settle_timeout: float = 10.0) -> Roster:
    return Roster(size, settle_timeout, lambda _slots, _channel: None)


def take(roster: Roster, each: Waiter) -> Lease:
    """What the pool does with what a waiter was given."""
    assert each.slots is not None
    channel: Any = each.channel if each.given == LEND else Channel()
    return roster.lend(POOL, each.slots, channel)


def at_once(roster: Roster) -> Lease | None:
    """What the pool does for a thread that is running."""
    channel = roster.at_once(roster.slots)
    return None if channel is None else roster.lend(POOL, roster.slots, channel)


def put_back(roster: Roster, lease: Lease) -> None:
    """What the pool does with a clean channel of a lease that has ended."""
    if roster.clean(lease.slots, lease.held):
        roster.freed(lease.slots)


#: Nobody asks the pool anything here.
POOL: Any = None


class Called:
    """A waiter's condition; `calls` counts how often it was notified."""

    def __init__(self) -> None:
        self.calls = 0

    def notify(self) -> None:
        self.calls += 1


def gauges(roster: Roster) -> tuple[int, int, int, int]:
    stats = roster.stats()
    return stats[Stats.IN_USE], stats[Stats.IDLE], stats[Stats.WAITING], stats[Stats.OPEN]


def test_a_story() -> None:
    roster = new(2)
    first, second, third = waiter(), waiter(), waiter()
    assert roster.join(first, front=False).recover
    assert roster.join(second, front=False).recover
    assert gauges(roster) == (0, 0, 2, 0)

    connection: Any = Connection(1)
    roster.connected(connection)
    assert (first.given, second.given) == (OPEN, OPEN)
    one, two = take(roster, first), take(roster, second)
    roster.join(third, front=False)
    assert gauges(roster) == (2, 0, 1, 2)

    assert roster.end(one)
    assert not roster.end(one)
    assert roster.stats()[Stats.WAITING] == 1, (
        "a released channel is lent only when it is known to be clean"
    )
    put_back(roster, one)
    assert third.given == LEND
    assert third.channel is one.held
    three = take(roster, third)
    assert gauges(roster) == (2, 0, 0, 2)

    assert roster.end(two)
    roster.free(two.slots, Stats.CHANNELS_CLOSED)
    assert gauges(roster) == (1, 0, 0, 1)

    connection.connected = False
    assert roster.lost(connection).recover, "who holds a lease of it will want another"
    fourth = waiter()
    assert roster.join(fourth, front=False).recover
    roster.failed(object())  # type: ignore[arg-type]
    assert fourth.given == FAILED
    fifth = waiter()
    roster.join(fifth, front=False)
    again: Any = Connection(2)
    roster.connected(again)
    assert (fifth.given, fifth.slots) == (OPEN, roster.slots)
    assert not roster.lost(connection).recover, "that is known"
    assert roster.end(three), "a lease of the lost connection ends quietly"
    roster.free(three.slots, Stats.CHANNELS_DIED)
    assert gauges(roster) == (0, 0, 0, 1)

    sixth, seventh = waiter(), waiter()
    roster.join(sixth, front=False)
    roster.join(seventh, front=False)
    roster.close()
    assert (sixth.given, seventh.given) == (OPEN, CLOSED)
    counters = roster.stats()
    assert (counters[Stats.LEASES], counters[Stats.RELEASES]) == (3, 3)
    assert (counters[Stats.RECOVERIES], counters[Stats.RECOVERY_FAILURES]) == (1, 1)


def test_only_a_lease_of_the_lost_connection_itself_asks_for_another() -> None:
    """Else a broker that drops each connection at once would be dialled without a pause, by a
    lease that somebody forgot."""
    roster = new(2)
    first, second, third = (Connection(number) for number in (1, 2, 3))
    waiting = waiter()
    roster.join(waiting, front=False)
    roster.connected(first)  # type: ignore[arg-type]
    lease = take(roster, waiting)
    for lost, following, wanted in ((first, second, True), (second, third, False)):
        lost.connected = False
        assert roster.lost(lost).recover is wanted  # type: ignore[arg-type]
        roster.connected(following)  # type: ignore[arg-type]
    assert roster.end(lease)
    third.connected = False
    assert not roster.lost(third).recover  # type: ignore[arg-type]


def test_a_channel_that_is_being_opened_goes_with_the_first_place() -> None:
    roster = new(3)
    first, second, third, fourth = waiter(), waiter(), waiter(), waiter()
    for each in (first, second):
        roster.join(each, front=False)
    opening: Any = object()
    roster.connected(Connection(1), opening)  # type: ignore[arg-type]
    assert (first.given, first.channel, second.given, second.channel) == (
        OPEN, opening, OPEN, None,
    )  # fmt: skip
    # Both are interrupted before they take it; it is the next one's.
    roster.leave(first)
    roster.leave(second)
    assert roster.slots.taken == 0
    for each in (third, fourth):
        roster.join(each, front=False)
    assert (third.channel, fourth.channel, roster.slots.taken) == (opening, None, 2)


def test_a_closed_roster_asks_for_no_connection() -> None:
    roster = new(1)
    connection = Connection(1)
    waiting = waiter()
    roster.join(waiting, front=False)
    roster.connected(connection)  # type: ignore[arg-type]
    take(roster, waiting)
    roster.close()
    connection.connected = False
    assert not roster.lost(connection).recover  # type: ignore[arg-type]


def test_who_runs_may_overtake_who_waits_but_not_for_long() -> None:
    roster = new(1)
    roster.connected(Connection(1))  # type: ignore[arg-type]
    first, second = Waiter(LATER), Waiter(LATER)
    roster.join(first, front=False)
    lease = take(roster, first)
    roster.join(second, front=False)
    second.cond = call = Called()  # type: ignore[assignment]

    for _ in range(3):
        assert roster.end(lease)
        put_back(roster, lease)
        assert (second.given, second.called, call.calls) == (None, True, 1), "called, and once"
        again = at_once(roster)
        assert again is not None
        lease = again
    assert roster.serve().recover is False
    second.called = False
    assert second.given is None, "it came too late"

    second.patient_until -= PATIENCE
    assert roster.end(lease)
    put_back(roster, lease)
    assert (second.given, second.channel, call.calls) == (LEND, lease.held, 2)
    assert at_once(roster) is None


def test_nobody_is_overtaken_for_more_than_half_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    assert Waiter(100.25).patient_until == 100.125
    assert Waiter(130.0).patient_until == 100.0 + PATIENCE


def test_nobody_is_lent_a_channel_at_once_of_a_lost_connection_or_a_closed_pool() -> None:
    roster = new(2)
    assert at_once(roster) is None
    connection: Any = Connection(1)
    roster.connected(connection)
    asking = [Waiter(LATER), Waiter(LATER)]
    for each in asking:
        roster.join(each, front=False)
    for lease in [take(roster, each) for each in asking]:
        assert roster.end(lease)
        put_back(roster, lease)
    connection.connected = False
    assert at_once(roster) is None
    connection.connected = True
    roster.close()
    assert at_once(roster) is None
    assert gauges(roster) == (0, 2, 0, 2)


def test_channels_are_counted_also_when_the_next_connection_is_first_to_be_told_of() -> None:
    roster = new(3)
    first: Any = Connection(1)
    roster.connected(first)
    asking = [Waiter(LATER), Waiter(LATER), Waiter(LATER)]
    for each in asking:
        roster.join(each, front=False)
    one, two, three = [take(roster, each) for each in asking]
    assert roster.end(one)
    assert roster.end(two)
    put_back(roster, one)
    first.connected = False
    roster.connected(Connection(2))  # type: ignore[arg-type]
    put_back(roster, two)
    assert roster.end(three)
    put_back(roster, three)
    roster.lost(first)
    assert roster.count[Stats.CHANNELS_DIED] == 3
    assert gauges(roster) == (0, 0, 0, 0)


def test_what_comes_into_the_free_list_of_a_lost_connection_is_buried() -> None:
    """Its release looked into the list a moment too early: it is the loser's to count it."""
    roster = new(1)
    connection: Any = Connection(1)
    roster.connected(connection)
    first = waiter()
    roster.join(first, front=False)
    lease = take(roster, first)
    assert roster.end(lease)
    connection.connected = False
    roster.lost(connection)
    assert gauges(roster) == (0, 0, 0, 1), "it is in the hands of who released it"
    assert roster.clean(lease.slots, lease.held)
    assert not roster.freed(lease.slots).recover
    assert roster.slots.idle == []
    assert gauges(roster) == (0, 0, 0, 0)
    assert roster.count[Stats.CHANNELS_DIED] == 1


def test_the_number_of_leases_is_that_of_the_last() -> None:
    serial = Serial()
    assert serial.last == 0
    assert [serial.next() for _ in range(12)] == list(range(1, 13))
    assert serial.last == serial.last == 12


class Watched(Waiter):
    """Notes what stood in the other fields when `given` was written."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "given" and value is not None:
            self.whole = (value, self.slots, self.channel, self.round)


def test_a_waiter_sees_what_it_was_given_whole() -> None:
    """It looks at `given` without the lock: what belongs to it must stand there by then."""
    roster, connection = new(1), Connection(1)
    opener, lender, failure = Watched(LATER), Watched(LATER), Watched(LATER)
    roster.join(opener, front=False)
    roster.connected(connection)  # type: ignore[arg-type]
    slots = roster.slots
    assert opener.whole == (OPEN, slots, None, None)
    lease = take(roster, opener)
    roster.join(lender, front=False)
    roster.end(lease)
    put_back(roster, lease)
    roster.serve()
    assert lender.whole == (LEND, slots, lease.held, None)
    roster.lost(connection)  # type: ignore[arg-type]
    roster.join(failure, front=False)
    recovery: Any = object()
    roster.failed(recovery)
    assert failure.whole == (FAILED, None, None, recovery)


def test_a_dead_channel_is_never_lent() -> None:
    roster = new(1)
    connection: Any = Connection(1)
    roster.connected(connection)
    first = waiter()
    roster.join(first, front=False)
    lease = take(roster, first)
    roster.end(lease)
    put_back(roster, lease)
    dead: Any = lease.held
    dead.usable = False
    second = waiter()
    roster.join(second, front=False)
    assert second.given == OPEN
    assert roster.count[Stats.CHANNELS_DIED] == 1


def test_a_channel_that_settles_for_too_long_is_given_up_by_who_waits() -> None:
    roster = new(1, 0.0)
    roster.connected(Connection(1))  # type: ignore[arg-type]
    first, second = waiter(), waiter()
    roster.join(first, front=False)
    lease = take(roster, first)
    roster.end(lease)
    lease.slots.settling[lease.held] = time.monotonic()
    todo = roster.join(second, front=False)
    assert todo.discard == [lease.held]
    assert second.given == OPEN
    assert lease.slots.settling == {}, "its late confirm finds it in no book"
    assert gauges(roster) == (0, 0, 0, 1)


def test_who_found_its_channel_dead_keeps_its_turn() -> None:
    roster = new(1)
    roster.connected(Connection(1))  # type: ignore[arg-type]
    first, second, again = waiter(), waiter(), waiter()
    roster.join(first, front=False)
    roster.join(second, front=False)
    assert first.slots is not None
    roster.waiters.appendleft(again)
    roster.free(first.slots, Stats.CHANNELS_DIED)
    assert (again.given, second.given) == (OPEN, None)
    third = waiter()
    roster.join(third, front=True)
    assert list(roster.waiters) == [third, second]


def test_an_interrupted_waiter_gives_on_what_it_got() -> None:
    roster = new(1)
    roster.connected(Connection(1))  # type: ignore[arg-type]
    first, second, third = waiter(), waiter(), waiter()
    roster.join(first, front=False)
    roster.join(second, front=False)
    roster.join(third, front=False)
    roster.leave(second)
    roster.leave(first)
    assert (second.given, third.given) == (None, OPEN)
    assert gauges(roster) == (0, 0, 0, 1)


def test_what_an_interrupted_waiter_got_of_a_lost_connection_is_buried() -> None:
    roster, connection = new(1), Connection(1)
    roster.connected(connection)  # type: ignore[arg-type]
    first, second = waiter(), waiter()
    roster.join(first, front=False)
    lease = take(roster, first)
    roster.join(second, front=False)
    assert roster.end(lease)
    put_back(roster, lease)
    assert second.given == LEND
    connection.connected = False
    roster.lost(connection)  # type: ignore[arg-type]
    roster.leave(second)
    assert gauges(roster) == (0, 0, 0, 0)
    assert roster.count[Stats.CHANNELS_DIED] == 1


class RosterMachine(RuleBasedStateMachine):
    """Any order of asking, releasing, dying and recovering keeps the books straight."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = new(3, 1e9)
        self.asked: list[Waiter] = []
        self.leases: list[Lease] = []
        #: Leases that ended, whose channels are still in the hands of who released them.
        self.ended: list[Lease] = []
        self.generation = 0
        # Counted here as well: the roster derives its own count of releases.
        self.given = self.released = 0
        self.served: list[Waiter] = []

    def collect(self) -> None:
        """Take up what was given; the order of service must be that of asking."""
        served = [each for each in self.asked if each.given is not None]
        assert served == self.asked[: len(served)]
        self.asked = self.asked[len(served) :]
        for each in served:
            if each.given in (LEND, OPEN):
                lease = take(self.roster, each)
                self.given += 1
                assert lease.held.usable
                assert all(
                    other.held is not lease.held
                    for other in self.leases
                    if other.slots is lease.slots
                ), "a channel in two hands"
                self.leases.append(lease)

    @rule(patient=st.booleans())
    def ask(self, patient: bool) -> None:
        each = Waiter(LATER) if patient else waiter()
        each.cond = Called()  # type: ignore[assignment]
        self.asked.append(each)
        self.roster.join(each, front=False)
        self.collect()

    @precondition(lambda self: self.asked)
    @rule(at=st.integers(0, 99))
    def give_up(self, at: int) -> None:
        each = self.asked.pop(at % len(self.asked))
        self.roster.leave(each)
        self.collect()

    @rule()
    def overtake(self) -> None:
        lease = at_once(self.roster)
        if lease is not None:
            self.given += 1
            self.leases.append(lease)

    @precondition(lambda self: any(each.called for each in self.asked))
    @rule()
    def look(self) -> None:
        for each in self.asked:
            each.called = False
        self.roster.serve()
        self.collect()

    @precondition(lambda self: self.leases)
    @rule(at=st.integers(0, 99))
    def release(self, at: int) -> None:
        lease = self.leases.pop(at % len(self.leases))
        assert self.roster.end(lease)
        self.released += 1
        assert not self.roster.end(lease)
        self.ended.append(lease)
        self.collect()

    @precondition(lambda self: self.ended)
    @rule(at=st.integers(0, 99), gone=st.sampled_from([None, None, Stats.CHANNELS_CLOSED]))
    def put_back(self, at: int, gone: str | None) -> None:
        lease = self.ended.pop(at % len(self.ended))
        if gone is None:
            put_back(self.roster, lease)
        else:
            self.roster.free(lease.slots, gone)
        self.collect()

    @precondition(lambda self: self.ended)
    @rule(at=st.integers(0, 99))
    def note(self, at: int) -> None:
        """Its confirms are awaited; one of a lost connection is never parked like this."""
        lease = self.ended[at % len(self.ended)]
        if not lease.slots.buried:
            self.ended.remove(lease)
            lease.slots.settling[lease.held] = time.monotonic()

    @precondition(lambda self: self.roster.slots.settling)
    @rule()
    def settle(self) -> None:
        slots = self.roster.slots
        channel = next(iter(slots.settling))
        del slots.settling[channel]
        if self.roster.clean(slots, channel):
            self.roster.freed(slots)
        self.collect()

    @precondition(lambda self: self.roster.slots.idle)
    @rule()
    def die_idle(self) -> None:
        channel: Any = self.roster.slots.idle[-1]
        channel.usable = False

    @rule()
    def lose(self) -> None:
        connection: Any = self.roster.slots.connection
        if connection is not None:
            connection.connected = False
            self.roster.lost(connection)
        self.collect()

    @precondition(lambda self: not self.roster.slots.alive)
    @rule()
    def connect(self) -> None:
        self.generation += 1
        connection: Any = Connection(self.generation)
        self.roster.connected(connection)
        self.collect()

    @precondition(lambda self: not self.roster.slots.alive)
    @rule()
    def fail(self) -> None:
        self.roster.failed(object())  # type: ignore[arg-type]
        assert all(each.given == FAILED for each in self.asked)
        self.asked = []

    @invariant()
    def the_books_are_straight(self) -> None:
        slots: Slots = self.roster.slots
        here = [lease for lease in self.leases if lease.slots is slots]
        assert 0 <= slots.taken <= self.roster.size
        ended = [lease for lease in self.ended if lease.slots is slots]
        held = len(here) + len(ended)
        assert slots.taken == held + len(slots.idle) + len(slots.settling)
        assert len({id(each) for each in slots.idle}) == len(slots.idle), "twice in the free list"
        assert set(self.roster.leases.values()) == set(self.leases)
        assert list(self.roster.waiters) == self.asked
        if self.asked and slots.alive:
            assert slots.taken == self.roster.size, "somebody waits though there is room"
            assert not slots.idle or self.asked[0].called, "a free channel, and nobody is called"
        stats = self.roster.stats()
        assert stats[Stats.LEASES] == self.given
        assert stats[Stats.RELEASES] == self.released
        assert self.given == self.released + len(self.leases)


def test_any_order_of_events_keeps_the_books_straight() -> None:
    run_state_machine_as_test(
        RosterMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )
