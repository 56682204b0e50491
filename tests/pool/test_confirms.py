"""The book of confirms: tags, multiple, tag 0, returns; then the same against a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpool.confirms import Confirmation, ConfirmBook, ReturnedMessage, return_key
from amqpool.errors import ConnectionLost, OperationTimeout
from amqpool.inbox import Inbox


def book_of(
    count: int, keys: dict[int, Any] | None = None
) -> tuple[ConfirmBook, list[Confirmation]]:
    book, inbox = ConfirmBook(), Inbox(1000)
    confirmations = [Confirmation(tag, inbox, 1.0) for tag in range(1, count + 1)]
    for confirmation in confirmations:
        book.add(confirmation, (keys or {}).get(confirmation.tag))
    return book, confirmations


def outcomes(confirmations: list[Confirmation]) -> list[str | None]:
    return [confirmation.outcome for confirmation in confirmations]


def test_each_ack_settles_its_own_message() -> None:
    book, messages = book_of(3)
    assert book.resolve(2, False, "ack") == 1
    assert outcomes(messages) == [None, "ack", None]
    assert book.resolve(2, False, "nack") == 0
    assert book.resolve(3, False, "nack") == 1
    assert outcomes(messages) == [None, "ack", "nack"]
    assert len(book) == 1


def test_multiple_settles_all_up_to_it_and_tag_0_all() -> None:
    book, messages = book_of(5)
    book.resolve(2, False, "nack")
    assert book.resolve(3, True, "ack") == 2
    assert outcomes(messages) == ["ack", "nack", "ack", None, None]
    assert book.resolve(0, True, "ack") == 2
    assert outcomes(messages) == ["ack", "nack", "ack", "ack", "ack"]
    assert len(book) == 0


@pytest.mark.parametrize("tag", [4, 2**63, 2**64 - 1])
def test_a_tag_that_was_never_sent_settles_nothing_of_its_own(tag: int) -> None:
    book, messages = book_of(3)
    assert book.resolve(tag, False, "ack") == 0
    assert outcomes(messages) == [None, None, None]
    assert book.resolve(tag, True, "ack") == 3


def test_a_return_goes_to_the_first_message_that_fits() -> None:
    same, other = ("", "q", "a", "", b"x"), ("", "q", "b", "", b"x")
    book, messages = book_of(3, {1: same, 2: other, 3: same})

    def back(number: int) -> Any:
        return lambda: ReturnedMessage(312, "NO_ROUTE", "", "q", number)

    assert book.returned(same, back(1))
    assert book.returned(same, back(2))
    assert not book.returned(same, back(3))
    assert not book.returned(("", "q", "c", "", b"x"), back(4))
    assert [m.returned and m.returned.message for m in messages] == [1, None, 2]
    book.resolve(0, True, "ack")
    assert not book.returned(other, back(5))


def test_what_is_outstanding_when_the_channel_ends_is_unknown() -> None:
    book, messages = book_of(2)
    book.resolve(1, False, "ack")
    book.end()
    assert outcomes(messages) == ["ack", "unknown"]


def test_waiting_says_what_became_of_it() -> None:
    inbox = Inbox(1000)
    book = ConfirmBook()
    acked, nacked, late, lost = (Confirmation(tag, inbox, 0.01) for tag in range(1, 5))
    for each in (acked, nacked, late, lost):
        book.add(each, None)
    book.resolve(1, False, "ack")
    book.resolve(2, False, "nack")
    assert acked.wait(0) is True
    assert nacked.wait(0) is False
    with pytest.raises(OperationTimeout, match=r"message 3 within 0\.01 s"):
        late.wait()
    with inbox.lock:
        book.end()
        inbox.end(lambda: ConnectionLost("gone"))
    raised = []
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="gone") as caught:
            lost.wait(0)
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert repr(lost) == "<Confirmation 4 unknown>"


@given(
    st.integers(0, 30),
    st.lists(
        st.tuples(st.integers(0, 35), st.booleans(), st.sampled_from(["ack", "nack"])), max_size=40
    ),
)
def test_the_book_agrees_with_a_plain_model(count: int, acks: list[tuple[int, bool, str]]) -> None:
    book, messages = book_of(count)
    model: list[str | None] = [None] * count
    for tag, multiple, outcome in acks:
        hit = [
            n
            for n in range(1, count + 1)
            if model[n - 1] is None and (not tag or n == tag or (multiple and n <= tag))
        ]
        assert book.resolve(tag, multiple, outcome) == len(hit)
        for n in hit:
            model[n - 1] = outcome
        assert outcomes(messages) == model
        assert len(book) == model.count(None)


def test_the_key_of_a_return_does_not_care_for_types() -> None:
    assert return_key("", "q", {"message_id": b"a"}, b"x") == return_key(
        "", "q", {"message_id": "a", "correlation_id": None}, b"x"
    )
