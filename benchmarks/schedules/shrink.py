"""Shrinking: the fewest choices that still lead to the same defect.

Pure but for what it is given to run: it takes choices away, halves first and then one by one, and
keeps what still breaks alike. What is left is what matters: a person can follow five hand-overs,
not fifty.
"""

from __future__ import annotations

from collections.abc import Callable

from .outcome import Choice, Finding, Outcome

Attempt = Callable[[list[Choice]], Outcome]


def shrink(found: Outcome, attempt: Attempt, budget: int) -> Outcome:
    """The outcome with fewest choices that `attempt` reached in at most `budget` runs."""
    assert found.finding is not None, "only a finding can be shrunk"
    best = found
    chunk = max(1, len(best.choices) // 2)
    while budget > 0 and best.choices:
        smaller, budget = _without_chunks(best, chunk, attempt, budget, found.finding)
        if smaller is not None:
            best = smaller
            chunk = min(chunk, max(1, len(best.choices) // 2))
        elif chunk > 1:
            chunk //= 2
        else:
            break
    return best


def _without_chunks(
    best: Outcome, chunk: int, attempt: Attempt, budget: int, finding: Finding
) -> tuple[Outcome | None, int]:
    """The first smaller outcome that is alike; and what is left of the budget."""
    # From the end: what came last mattered least to what came before.
    for start in range(max(0, len(best.choices) - chunk), -chunk, -chunk):
        if budget <= 0:
            break
        kept = best.choices[: max(0, start)] + best.choices[max(0, start + chunk) :]
        budget -= 1
        outcome = attempt(kept)
        # What was really chosen counts, not what was asked for.
        smaller = len(outcome.choices) < len(best.choices)
        if smaller and finding.alike(outcome.finding):
            return outcome, budget
    return None, budget
