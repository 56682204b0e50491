"""Workers and consumers: receipts, retries, and what they make of a client that was closed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

from benchmarks.clients.base import Outgoing
from benchmarks.harness.history import Log
from benchmarks.harness.progress import Slot
from benchmarks.harness.workload import Consumer, Context, Worker
from benchmarks.harness.workload.receipts import Receipts
from tests.harness.pretender import (
    Cancelled,
    Done,
    Faults,
    Gone,
    Lost,
    Pretender,
    Receipt,
    Shut,
    context_of,
)

DEADLINE = 10.0


# -- receipts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [KeyError(None), Lost("lost"), TimeoutError("nothing came")],
    ids=["unexpected", "recoverable", "contract"],
)
def test_a_late_confirm_is_written_down_whatever_the_drains_raise(error: Exception) -> None:
    class Late(Pretender):
        def publish(self, handle: int, message: Outgoing) -> Receipt:
            return Receipt(late=4)

    client = Late(drain=error)
    done = Done(client, "publish")
    assert [entry[1:] for entry in done.of("confirm")] == [["t/worker-0/1", "ack"]]
    drains = sum(call[0] == "drain" for call in client.called)
    assert drains == 3
    assert len(done.errors()) == (0 if isinstance(error, TimeoutError) else drains)


# -- retries -------------------------------------------------------------------------------------


def test_each_try_under_a_fault_is_a_message_of_its_own() -> None:
    client = Pretender(publish=[Lost("first"), Lost("second")])
    done = Done(client, "publish", nemesis=Faults(expecting=10))
    assert [(entry[2], entry[5]) for entry in done.of("publish")] == [
        ("t/worker-0/1", "error"),
        ("t/worker-0/2", "error"),
        ("t/worker-0/3", "ok"),
    ]
    assert [entry[3] for entry in done.of("op")] == ["recoverable", "recoverable", "ok"]
    assert done.errors() == ["Lost", "Lost"]
    assert done.context.leases.snapshot()["held"] == []


def kinds(done: Done) -> list[str]:
    return [signature["kind"] for signature in done.context.recorder.snapshot()["signatures"]]


@pytest.mark.parametrize("refusals", [{541}, {406}, set()])
def test_a_channel_that_the_broker_was_told_to_close_is_recovered(refusals: set[int]) -> None:
    client = Pretender(publish=[Gone(541)])
    nemesis = Faults(expecting=10, words=("refused 541",))
    done = Done(client, "publish", nemesis=nemesis, refusals=frozenset(refusals))
    assert kinds(done) == ["refused 541" if 541 in refusals else "unexpected"]
    assert done.slot.succeeded == Counter({"publish": 1} if 541 in refusals else {})


@pytest.mark.parametrize("code", [406, 541])
def test_another_code_than_that_of_the_fault_is_not_tried_again(code: int) -> None:
    nemesis = Faults(expecting=10, words=("refused 541",))
    both = frozenset((406, 541))
    done = Done(Pretender(publish=[Gone(code)]), "publish", nemesis=nemesis, refusals=both)
    assert kinds(done) == [f"refused {code}"]
    assert done.slot.succeeded == Counter({"publish": 1} if code == 541 else {})


@pytest.mark.parametrize("word", ["cancelled", "recoverable"])
def test_a_cancelled_consumer_is_no_lost_connection(word: str) -> None:
    client = Pretender(drain_lease=[Cancelled("the queue moved")])
    done = Done(client, "consume_ack", nemesis=Faults(expecting=10, words=(word,)))
    assert kinds(done) == ["cancelled"]
    assert done.slot.succeeded == Counter({"consume_ack": 1} if word == "cancelled" else {})


def test_a_shared_consumer_that_was_cancelled_comes_back() -> None:
    client = Pretender(drain_lease=[Cancelled("once"), Cancelled("twice")])
    context = context_of(client, nemesis=Faults(expecting=10, words=("cancelled",)))
    stop, slot = threading.Event(), Slot("consumer-0", "consumer")
    consumer = Consumer(context, slot, stop)
    thread = threading.Thread(target=consumer.run, name="consumer-0", daemon=True)
    thread.start()
    deadline = time.monotonic() + DEADLINE
    while slot.idle < 2:
        assert time.monotonic() < deadline, "it never drained again"
        time.sleep(0.001)
    stop.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert slot.gave_up is None
    tags = [entry[3] for entry in context.history.snapshot()["consumer-0"] if entry[0] == "consume"]
    assert tags == ["consumer-0.1", "consumer-0.2", "consumer-0.3"]


class Unconfirmed(Pretender):
    """Its first confirmed publish is not confirmed in time."""

    late = 1

    def publish_confirmed(self, handle: int, message: Outgoing, timeout: float) -> Receipt:
        if self.late:
            self.late -= 1
            raise TimeoutError("no confirm")
        return super().publish_confirmed(handle, message, timeout)


@pytest.mark.parametrize("operation", ["publish_confirmed", "publish_returned", "get"])
@pytest.mark.parametrize("words", [("unconfirmed",), ("recoverable",)])
def test_a_confirm_that_never_came_is_tried_again_where_they_are_omitted(
    operation: str, words: tuple[str, ...]
) -> None:
    done = Done(Unconfirmed(), operation, nemesis=Faults(expecting=10, words=words))
    assert kinds(done) == ["unconfirmed"]
    assert done.slot.succeeded == Counter({operation: 1} if words == ("unconfirmed",) else {})


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [("acquire", "unconfirmed"), ("publish", "unanswered"), ("release", "unanswered")],
)
def test_of_timeouts_only_those_of_a_wait_are_an_omitted_confirms_doing(
    trouble: str, kind: str
) -> None:
    client = Pretender(**{trouble: [TimeoutError("too late")]})
    done = Done(client, "publish", nemesis=Faults(expecting=10, words=("unconfirmed",)))
    assert kinds(done) == [kind]


def test_what_came_back_is_written_down_though_its_confirm_never_comes() -> None:
    log = Log()
    receipts, receipt = Receipts(log), Receipt(returned="m", late=3)
    receipts.add("m", receipt)
    receipts.collect()
    receipts.collect()
    assert [(entry[0], entry[2]) for entry in log.entries()] == [("return", "m")]
    assert len(receipts) == 1
    receipt.late = 0
    receipts.collect()
    assert [(entry[0], entry[2]) for entry in log.entries()] == [("return", "m"), ("confirm", "m")]
    assert len(receipts) == 0


def test_an_error_outside_of_a_fault_ends_the_iteration() -> None:
    done = Done(Pretender(publish=[Lost("for no reason")]), "publish", "publish")
    assert done.slot.succeeded == Counter({"publish": 1})
    assert done.errors() == ["Lost"]
    assert done.context.progress.total == 2
    assert done.context.progress.succeeded == 1


def test_an_operation_that_no_fault_lets_through_has_not_recovered() -> None:
    done = Done(Pretender(publish=Lost("always")), "publish", nemesis=Faults(expecting=10**6))
    assert done.errors()[-1] == "NotRecoveredError"
    assert set(done.errors()[:-1]) == {"Lost"}


def test_the_time_to_recover_runs_from_the_end_of_the_fault() -> None:
    """A node that is away for longer than that is nobody's fault but its own."""

    client = Pretender(publish=Lost("always"))
    promised = client.bounds.recovery + client.bounds.operation
    over = time.monotonic() + 2 * promised

    class Lasting(Faults):
        def under(self, word: str) -> bool:
            assert word == "recoverable"
            return time.monotonic() < over

    done = Done(client, "publish", nemesis=Lasting(expecting=10**6))
    assert done.errors()[-1] == "NotRecoveredError"
    assert time.monotonic() > over + promised / 2


def test_a_broker_that_is_away_leaves_questions_without_an_answer() -> None:
    """Where a fault excuses that: such a question is asked again, by a worker and a consumer."""
    client = Pretender(acquire=[TimeoutError("nobody there")])
    faults = Faults(expecting=10, words=("unanswered", "unconfirmed"))
    assert kinds(Done(client, "connected", "publish", nemesis=faults)) == ["unconfirmed"]
    client = Pretender(publish=[TimeoutError("nobody there")])
    done = Done(client, "publish", nemesis=Faults(expecting=10, words=("unanswered",)))
    assert (kinds(done), done.slot.succeeded["publish"]) == (["unanswered"], 1)


def test_a_worker_gives_up_after_failures_in_a_row() -> None:
    done = Done(Pretender(connected=ValueError("broken")), *["connected"] * 9)
    assert done.slot.attempted == Counter({"connected": 3})
    assert done.slot.gave_up == "3 iterations in a row failed, last connected"


def test_what_a_client_cannot_do_is_left_out() -> None:
    class Limited(Pretender):
        cannot = frozenset({"drain"})

    done = Done(Limited(), "drain", "connected")
    assert done.slot.attempted == Counter({"connected": 1})


@pytest.mark.parametrize(("when", "recovered"), [(None, 0), (1.5, 2)])
def test_a_cycle_is_timed_from_when_its_fault_fired(when: float | None, recovered: int) -> None:
    nemesis = Faults(when=when)
    done = Done(Pretender(), "publish_confirmed", "publish_confirmed", cycles=True, nemesis=nemesis)
    assert nemesis.strikes == 2
    assert [start for start, _ in done.worker.recoveries] == [1.5] * recovered


# -- closing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Shut("closed"), Lost("the connection was closed")])
def test_a_client_that_was_closed_may_say_so_and_the_load_ends(error: Exception) -> None:
    closing = threading.Event()
    closing.set()
    done = Done(Pretender(acquire=error), *["publish"] * 5, closing=closing)
    assert done.errors() == []
    assert done.slot.attempted == Counter({"publish": 1})
    assert done.slot.gave_up is None


@pytest.mark.parametrize("error", [ValueError("broken"), TimeoutError("late"), KeyError(None)])
def test_other_errors_of_a_closed_client_are_recorded(error: Exception) -> None:
    closing = threading.Event()
    closing.set()
    done = Done(Pretender(acquire=[error]), "publish", closing=closing)
    assert done.errors() == [type(error).__name__]


def test_closed_is_unexpected_as_long_as_nobody_closed() -> None:
    done = Done(Pretender(acquire=[Shut("why?")]), "publish", closing=threading.Event())
    assert done.errors() == ["Shut"]


def test_a_closed_client_is_not_settled_for_long() -> None:
    class Never(Pretender):
        def publish(self, handle: int, message: Outgoing) -> Receipt:
            return Receipt(late=10**6)

    closing = threading.Event()
    closing.set()
    client = Never(drain=Shut("closed"))
    done = Done(client, "publish", closing=closing)
    assert sum(call[0] == "drain" for call in client.called) == 1
    assert done.errors() == []


# -- the consumer --------------------------------------------------------------------------------


def consume(client: Pretender, **fields: Any) -> tuple[Context, Slot]:
    """Run a consumer until its queue was empty twice, or until it ends by itself."""
    context, stop = context_of(client, **fields), threading.Event()

    class Until(Slot):
        def end(self, succeeded: bool) -> None:
            super().end(succeeded)
            if self.idle == 2:
                stop.set()

    slot = Until("consumer-0", "consumer")
    consumer = Consumer(context, slot, stop)
    thread = threading.Thread(target=consumer.run, name="consumer-0", daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert slot.done
    assert not consumer.consuming.is_set()
    return context, slot


def test_a_consumer_acks_cancels_and_releases() -> None:
    client = Pretender()
    client.queues["q"] = [Outgoing(f"m{n}", b"x\n", "", "q", False) for n in range(3)]
    context, _ = consume(client)
    log = context.history.snapshot()["consumer-0"]
    assert [entry[0] for entry in log] == [
        "lease",
        "consume",
        *["deliver", "ack"] * 3,
        "cancel",
        "released",
    ]
    assert log[1][3:] == ["consumer-0.1", 1, "ok", "q", False, "consumer-0.1"]
    assert context.recorder.snapshot()["events"] == []


def test_a_consumer_comes_back_after_a_fault_under_a_new_tag() -> None:
    client = Pretender(drain_lease=[Lost("cut")])
    context, slot = consume(client, nemesis=Faults(expecting=10))
    log = context.history.snapshot()["consumer-0"]
    assert [entry[3] for entry in log if entry[0] == "consume"] == ["consumer-0.1", "consumer-0.2"]
    assert slot.gave_up is None


def test_a_consumer_gives_up_what_no_fault_explains() -> None:
    context, slot = consume(Pretender(consume=Lost("never")))
    assert slot.gave_up == "5 errors in a row that no fault explains"
    assert len(context.recorder.snapshot()["events"]) == 5


def test_a_consumer_of_a_client_that_is_closed_ends_quietly() -> None:
    closing = threading.Event()
    closing.set()
    context, slot = consume(Pretender(drain_lease=Shut("closed")), closing=closing)
    assert (slot.gave_up, context.recorder.snapshot()["events"]) == (None, [])


def test_keys_carry_the_prefix_in_history_and_lease_ledger() -> None:
    client = Pretender()
    done = Done(client, "acquire_release", prefix="r3:")
    assert [entry[2] for entry in done.of("lease")] == ["r3:(1, 1)"]
    context = context_of(client, prefix="r4:")
    worker = Worker(context, Slot("worker-0", "worker"), ())
    worker.calls.acquire()
    assert context.leases.snapshot()["held"] == ["r4:(1, 2)"]
