"""The operations: what each leaves on record, and who counts what the client gets wrong."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from benchmarks.clients.base import Outgoing
from benchmarks.harness.plan import Step
from benchmarks.harness.windows import RECOVERABLE
from benchmarks.harness.workload import OPERATIONS, fetching
from benchmarks.harness.workload.worker import NACKS_AT_MOST
from tests.harness.pretender import Done, Faults, Gone, Pretender, Receipt

# -- the operations on a sound client ------------------------------------------------------------

#: Kinds of entries that each operation leaves on a client that does what it should.
LEASE = ["lease", "released", "op"]
FIRST = ["lease", "declare"]
PUBLISH = ["publish"]
SOUND = {
    "drain": ["op"],
    "connected": ["op"],
    "acquire_release": LEASE,
    "acquire_short": LEASE,
    "release_twice": ["lease", "released", "op", "op"],
    "release_elsewhere": LEASE,
    "publish": ["lease", "publish", "released", "op", "confirm"],
    "publish_batch": ["lease", *PUBLISH * 3, "released", "op", *["confirm"] * 3],
    "publish_confirmed": ["lease", "publish", "released", "op", "confirm"],
    "publish_returned": ["lease", "publish", "released", "op", "return", "confirm"],
    "publish_large": ["lease", "publish", "released", "op", "confirm"],
    "publish_kept": [*FIRST, "publish", "released", "op", "confirm"],
    "get": [*FIRST, "publish", "get", "ack", "released", "op", "confirm"],
    "get_no_ack": [*FIRST, "publish", "get", "released", "op", "confirm"],
    "get_empty": [*FIRST, "get", "released", "op"],
    "consume_ack": [
        *FIRST,
        *PUBLISH * 3,
        "consume",
        *["deliver", "deliver", "ack", "ack", "deliver", "ack"],
        "cancel",
        "released",
        "op",
        *["confirm"] * 3,
    ],
    "consume_cancel": [
        *FIRST,
        *PUBLISH * 3,
        "consume",
        "cancel",
        "publish",
        "released",
        "op",
        *["confirm"] * 3,
        "return",
        "confirm",
    ],
    "declare": [*FIRST, "released", "op"],
    "declare_passive": [*FIRST, "declare", "released", "op"],
    "poison_404": [*FIRST, "released", *FIRST, "released", "op"],
    "poison_406": [*[*FIRST, "released"] * 3, "op"],
}


def test_every_operation_of_the_table_is_tried_here() -> None:
    assert set(SOUND) == set(OPERATIONS)


@pytest.mark.parametrize("operation", SOUND)
def test_an_operation_of_a_sound_client(operation: str) -> None:
    client = Pretender()
    done = Done(client, Step(operation, size=64, count=3))
    assert done.kinds() == SOUND[operation]
    # A drain that found nothing did what it should.
    status = "contract" if operation == "drain" else "ok"
    assert done.of("op")[-1][2:] == [operation, status]
    assert done.errors() == []
    assert done.slot.succeeded == Counter({operation: 1})
    assert {e[-1] for e in done.of("released")} | {e[5] for e in done.of("publish")} <= {"ok"}
    assert done.context.leases.snapshot()["held"] == []
    released = [call[1] for call in client.called if call[0] == "release"]
    assert len(set(released)) == client.handles, "each lease was released"


def test_the_shapes_of_the_entries() -> None:
    done = Done(Pretender(), Step("consume_ack", size=64, count=1), "get", "publish_returned")
    body = ["t/worker-0/1", "t/worker-0/1", 64, done.of("publish")[0][7], False]
    other = ["t/worker-0/2", "t/worker-0/2", 64, done.of("publish")[1][7], False]

    def timeless(kind: str, times: int) -> list[list[Any]]:
        entries = done.of(kind)
        assert all(isinstance(value, float) for entry in entries for value in entry[:times])
        return [entry[times:] for entry in entries]

    mine = "q.worker-0"
    assert timeless("lease", 1) == [[n, f"(1, {n})"] for n in (1, 2, 3)]
    assert timeless("released", 2) == [[n, "ok"] for n in (1, 2, 3)]
    assert timeless("declare", 2) == [[mine, mine, "ok"]]
    assert [entry[:6] for entry in timeless("publish", 2)] == [
        ["t/worker-0/1", 1, mine, "ok", 64, body[3]],
        ["t/worker-0/2", 2, mine, "ok", 64, other[3]],
        ["t/worker-0/3", 3, None, "ok", 64, done.of("publish")[2][7]],
    ]
    assert timeless("consume", 2) == [["worker-0.1", 1, "ok", mine, False, "worker-0.1"]]
    assert timeless("deliver", 1) == [["worker-0.1", 1, *body]]
    assert timeless("cancel", 2) == [["worker-0.1", "ok"]]
    assert timeless("get", 2) == [[mine, 2, "ok", False, 2, *other]]
    assert timeless("ack", 2) == [
        ["worker-0.1", 1, "t/worker-0/1", "ok", 1],
        [None, 2, "t/worker-0/2", "ok", 2],
    ]
    assert timeless("return", 1) == [["t/worker-0/3"]]
    assert timeless("confirm", 1) == [[f"t/worker-0/{n}", "ack"] for n in (1, 2, 3)]
    assert timeless("op", 2) == [
        [name, "ok"] for name in ("consume_ack", "get", "publish_returned")
    ]


def test_of_each_two_deliveries_the_later_one_is_acknowledged_first() -> None:
    done = Done(Pretender(), Step("consume_ack", size=64, count=5))
    came = [entry[4] for entry in done.of("deliver")]
    acked = [entry[4] for entry in done.of("ack")]
    assert len(set(came)) == 5
    assert acked == [came[n] for n in (1, 0, 3, 2, 4)]


def test_large_bodies_and_unroutable_ones() -> None:
    client = Pretender()
    Done(
        client,
        Step("publish_large", size=10),
        Step("publish_large", size=300_000),
        Step("publish_large", unroutable=True, size=200_000),
        Step("publish_batch", unroutable=True, size=64, count=4),
        Step("publish", unroutable=True, size=64),
    )
    back = ("publish", "q.nowhere", 64)
    assert [call for call in client.called if call[0] == "publish"] == [
        ("publish", "q", 129 * 1024),
        ("publish", "q", 300_000),
        ("publish", "q.nowhere", 200_000),
        ("publish", "q", 64),
        back,
        ("publish", "q", 64),
        back,
        back,
    ]


def test_another_thread_releases_and_what_it_meets_is_raised_in_the_worker() -> None:
    client = Pretender(release=[ValueError("not yours")])
    done = Done(client, "release_elsewhere", "release_elsewhere")
    names = [call[2] for call in client.called if call[0] == "release"]
    assert names == ["worker-0.releaser"] * 2
    assert [entry[-1] for entry in done.of("released")] == ["error", "ok"]
    assert done.errors() == ["ValueError"]


# -- one event, one counter ----------------------------------------------------------------------


def test_messages_that_an_earlier_try_left_are_taken_on_the_way() -> None:
    client = Pretender()
    done = Done(client, Step("consume_cancel", size=64, count=3), "get")
    # The fourth came back: nothing is bound to its key.
    assert [entry[8] for entry in done.of("get")] == [f"t/worker-0/{n}" for n in (1, 2, 3, 5)]
    assert len(done.of("ack")) == 4
    assert done.errors() == []


def test_deliveries_on_their_way_at_the_cancel_are_on_record() -> None:
    done = Done(Pretender(late=True), Step("consume_cancel", size=64, count=2))
    assert [entry[3] for entry in done.of("deliver")] == ["t/worker-0/1"]
    assert len(done.of("ack")) == 1
    assert done.errors() == []


@pytest.mark.parametrize("operation", ["get", "get_no_ack", "consume_ack"])
def test_what_never_comes_is_an_error_of_its_own(operation: str) -> None:
    done = Done(Pretender(silent=True), operation)
    assert done.errors() == ["NothingCameError"]
    assert done.slot.succeeded == Counter()


@pytest.mark.parametrize("operation", ["get", "consume_ack"])
def test_what_a_fault_kept_back_is_tried_again_and_no_error(operation: str) -> None:
    client = Pretender(silent=True)

    class Healing(Faults):
        def expects_errors(self, t: float, word: str = RECOVERABLE) -> bool:
            client.trouble.clear()
            return True

    done = Done(client, operation, nemesis=Healing())
    assert done.errors() == []
    assert [entry[3] for entry in done.of("op")] == ["recoverable", "ok"]
    # Each try publishes a message of its own, and takes what the one before left.
    assert [entry[2] for entry in done.of("publish")] == ["t/worker-0/1", "t/worker-0/2"]
    assert len(done.of("ack")) == 2


def test_one_missing_delivery_is_left_to_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "QUIET", 0.05)

    class Drops(Pretender):
        def drain_lease(self, handle: int, timeout: float) -> None:
            if len(self.queues["q.worker-0"]) == 2:
                self.queues["q.worker-0"].pop()
            super().drain_lease(handle, timeout)

    done = Done(Drops(), Step("consume_ack", size=64, count=3))
    assert (len(done.of("deliver")), len(done.of("cancel"))) == (2, 1)
    assert done.errors() == []
    assert done.slot.succeeded == Counter({"consume_ack": 1})


def test_a_foreign_reply_is_recorded_and_raises_nothing() -> None:
    done = Done(Pretender(answer="another"), "declare", "declare_passive", "consume_ack")
    assert [(entry[2], entry[-1]) for entry in done.of("consume")] == [("worker-0.1", "another")]
    assert {tuple(entry[2:]) for entry in done.of("declare")} == {("q.worker-0", "another", "ok")}
    assert done.errors() == []


def test_a_message_in_a_queue_that_nobody_publishes_to_is_recorded() -> None:
    client = Pretender()
    client.queues["q.worker-0.empty"] = [Outgoing("other/1", b"other/1\n", "", "x", False)]
    done = Done(client, "get_empty")
    assert [entry[2:9] for entry in done.of("get")] == [
        ["q.worker-0.empty", 1, "ok", True, 1, "other/1", "other/1"]
    ]
    assert done.errors() == []


@pytest.mark.parametrize("operation", ["poison_404", "poison_406"])
def test_a_refusal_that_is_not_told(operation: str) -> None:
    assert Done(Pretender(never_refuses=True), operation).errors() == ["NotRefusedError"]


@pytest.mark.parametrize("operation", ["poison_404", "poison_406"])
def test_anothers_refusal_is_no_contract(operation: str) -> None:
    class Wrong(Pretender):
        def declare(self, handle: int, queue: str, passive: bool, durable: bool = True) -> str:
            try:
                return super().declare(handle, queue, passive, durable)
            except Gone as error:
                raise Gone(810 - error.reply_code) from None

    done = Done(Wrong(), operation)
    assert done.errors() == ["Gone"]


def test_a_channel_that_comes_back_dead_is_an_error() -> None:
    class Dead(Pretender):
        def declare(self, handle: int, queue: str, passive: bool, durable: bool = True) -> str:
            if handle > 1:
                raise Gone(504)
            return super().declare(handle, queue, passive, durable)

    assert Done(Dead(), "poison_404").errors() == ["Gone"]


def test_a_second_release_may_be_refused_in_the_clients_own_words() -> None:
    class Refuses(Pretender):
        refused = (Gone,)

        def release(self, handle: int) -> None:
            again = ("release", handle, threading.current_thread().name) in self.called
            super().release(handle)
            if again:
                raise self.words

    client = Refuses()
    client.words = Gone(1)  # type: ignore[attr-defined]
    done = Done(client, "release_twice")
    assert (done.errors(), done.slot.succeeded["release_twice"]) == ([], 1)
    client.words = ValueError("twice")  # type: ignore[attr-defined]
    assert Done(client, "release_twice").errors() == ["ValueError"]


@pytest.mark.parametrize("outcome", ["nack", "unknown"])
def test_an_outcome_that_nobody_asked_for(outcome: str) -> None:
    done = Done(Pretender(receipt=Receipt(outcome)), "publish_confirmed")
    assert done.errors() == ["UnconfirmedError"]
    assert [entry[1:] for entry in done.of("confirm")] == [["t/worker-0/1", outcome]]


def test_where_the_broker_nacks_on_purpose_the_message_is_sent_again() -> None:
    client = Pretender()
    client.nacks = 2
    done = Done(client, "get", may_nack=True)
    assert [entry[2] for entry in done.of("confirm")] == ["nack", "nack", "ack"]
    assert [entry[8] for entry in done.of("get")] == ["t/worker-0/3"]
    assert done.errors() == []


def test_nacked_messages_are_not_waited_for() -> None:
    client = Pretender()
    client.nacks = 2
    done = Done(client, Step("consume_ack", size=64, count=4), may_nack=True)
    assert [entry[3] for entry in done.of("deliver")] == ["t/worker-0/3", "t/worker-0/4"]
    assert done.errors() == []


def test_nothing_but_nacks_is_an_error() -> None:
    client = Pretender()
    client.nacks = 1000
    assert Done(client, "publish_confirmed", may_nack=True).errors() == ["UnconfirmedError"]


@pytest.mark.parametrize(
    ("word", "errors"), [("unconfirmed", []), ("recoverable", ["Unconfirmed"])]
)
def test_a_queue_without_a_leader_is_asked_until_it_takes_again(
    word: str, errors: list[str]
) -> None:
    client = Pretender()
    client.nacks = NACKS_AT_MOST + 5
    faults = Faults(expecting=10**6, words=(word,))
    done = Done(client, "publish_confirmed", may_nack=True, nemesis=faults)
    assert done.errors() == [f"{name}Error" for name in errors]
    outcomes = Counter(entry[2] for entry in done.of("confirm"))
    assert outcomes == (
        Counter(nack=NACKS_AT_MOST) if errors else Counter(nack=NACKS_AT_MOST + 5, ack=1)
    )


def test_a_short_acquire_may_time_out() -> None:
    done = Done(Pretender(acquire=TimeoutError("empty")), "acquire_short", "acquire_release")
    assert done.errors() == ["TimeoutError"], "that of the acquire with time enough"
    assert done.slot.succeeded == Counter({"acquire_short": 1})
