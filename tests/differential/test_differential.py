"""The embedded broker does what RabbitMQ does, step by step, but for the named differences."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from tests.differential.comparing import Comparison, Differ
from tests.differential.corpus import CORPUS, SLOW_CORPUS
from tests.differential.differences import DIFFERENCES
from tests.differential.generating import SEQUENCES, WHATS
from tests.differential.steps import Step, from_token

#: Sets the seed of what is generated; a failure prints the sequence itself as well.
SEED = int(os.environ.get("AMQPOOL_DIFFERENTIAL_SEED", "1"))
#: Differences that look the same both ways.
BOTH_WAYS = {"wording of framing errors", "a connection that ends"}
#: Steps that the long run compares.
STEPS = int(os.environ.get("AMQPOOL_DIFFERENTIAL_STEPS", "10000"))


def hold_generated(
    comparison: Comparison,
    number: int,
    examples: int,
    sequences: st.SearchStrategy[list[Step]] = SEQUENCES,
) -> None:
    """Compare on generated sequences. Raises Differ with the shortest that hypothesis finds."""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(sequences)
    def hold(steps: list[Step]) -> None:
        comparison.hold(steps)

    try:
        hold()
    except Flaky:
        # It differed, and did not when hypothesis played it again.
        comparison.races += 1
    except Differ as differ:
        raise Differ(f"{differ}\nseed: AMQPOOL_DIFFERENTIAL_SEED={number}") from None
    finally:
        comparison.shrinking = False


@pytest.mark.parametrize("name", CORPUS)
def test_sequences_by_hand(comparison, name):
    comparison.hold(CORPUS[name])


@pytest.mark.rabbitmq
@pytest.mark.parametrize("name", SLOW_CORPUS)
def test_sequences_that_rabbitmq_is_slow_to_answer(comparison, name):
    comparison.hold(SLOW_CORPUS[name])


@pytest.mark.timeout(600)  # where something differs, hypothesis takes its time to shrink it
def test_generated_sequences(comparison):
    hold_generated(comparison, SEED, 40)
    assert comparison.steps.total() > 200


@pytest.mark.rabbitmq
@pytest.mark.timeout(3000)
def test_ten_thousand_generated_steps(comparison, capsys):
    number = SEED
    while comparison.steps.total() < STEPS:
        hold_generated(comparison, number, 200)
        number += 1
    with capsys.disabled():
        print(f"\ndifferential, seeds {SEED} to {number - 1}: {comparison}")
    assert not set(WHATS) - set(comparison.steps)
    # Where every other answer was chance, nothing would have been compared.
    assert comparison.races * 20 <= comparison.sequences


def test_a_difference_is_found_shrunk_and_can_be_played_again(drivers):
    comparison = Comparison(*drivers, differences=())
    steps = st.sampled_from(
        [
            Step("Queue.Declare", fields={"queue": "q1"}),
            Step("Basic.Get", fields={"queue": "q1"}),
            Step("Tx.Select"),
        ]
    )
    with pytest.raises(Differ) as found:
        hold_generated(comparison, SEED, 100, st.lists(steps))
    *_, again, said = str(found.value).splitlines()
    assert said == f"seed: AMQPOOL_DIFFERENTIAL_SEED={SEED}"
    assert from_token(again.removeprefix("again: python -m tests.differential ")) == [
        Step("Tx.Select")
    ]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.name)
def test_a_named_difference_is_still_there(drivers, difference):
    comparison = Comparison(*drivers, differences=())
    found = comparison.play(difference.example)
    assert found is not None, "the two are alike: the name is stale"
    _, step, mine, other, _ = found
    assert [each.name for each in DIFFERENCES if each.holds(step, mine, other)] == [difference.name]
    # Were it the other way round, it would be no longer the difference that is written down.
    assert difference.name in BOTH_WAYS or not difference.holds(step, other, mine)
