"""The label of the environment that asv measures in: which broker, and whether it can be had here.

asv hands it over in ``BROKER``, from its matrix. It is a word and never a URL, which would stand
with its password in the names of files and on pages. Where the programs behind a label are missing
nothing is measured and nothing fails: a ``setup_cache`` returns ``NotHere``, and whoever reads it
skips itself. A broker that is there and does not start is no such case: that raises.
"""

from __future__ import annotations

import atexit
import os
import signal
import types
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from benchmarks.harness.brokers import Broker, choose_broker, kept_broker
from benchmarks.harness.kinds import EMBEDDED, NAMED, VARIABLE
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.rabbitmq.programs import Missing, find

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(frozen=True)
class NotHere:
    """Instead of what was to be measured: why it was not."""

    reason: str


def label() -> str:
    """The kind of broker to measure on; embedded where nothing says otherwise.

    Raises EnvironmentProblem for anything but the kinds that have a name, and for one that asv
    would not store: what was measured on RabbitMQ must not pass for the embedded broker's.
    """
    word = os.environ.get(VARIABLE) or EMBEDDED
    if word not in NAMED:
        # The value is not repeated: it may be a URL with a password in it.
        raise EnvironmentProblem(f"{VARIABLE} must be one of {', '.join(NAMED)}, and no URL")
    environment = os.environ.get("ASV_ENV_NAME")
    if word != EMBEDDED and environment and f"-{VARIABLE}{word}-" not in f"{environment}-":
        raise EnvironmentProblem(
            f"{VARIABLE}={word} is not from asv's matrix, and asv would store the results as "
            f"{EMBEDDED}: put it there, or unset it"
        )
    return word


def missing(kind: str) -> NotHere | None:
    """Why that kind of broker cannot be had on this machine, or None when it can."""
    if kind == EMBEDDED:
        return None
    try:
        find()
    except Missing as error:
        return NotHere(f"{kind}: {error}")
    return None


def measured_on_label(work: Callable[[str, Broker | None], T]) -> T | NotHere:
    """What ``work`` returns, given the label and one broker for all its trials (None: each has
    its own). Raises EnvironmentProblem."""
    kind = label()
    lacking = missing(kind)
    if lacking is not None:
        return lacking
    end_in_order()
    with kept_broker(choose_broker(kind)) as broker:
        return work(kind, broker)


@cache
def node() -> Broker | None:
    """The broker that this process times on, kept until it ends; None for the embedded one.

    asv sets a benchmark up anew for every sample, and a node takes seven seconds to start. Raises
    EnvironmentProblem.
    """
    end_in_order()
    ends = ExitStack()
    # In good order if Python ends in good order; else its lifeline ends the node.
    atexit.register(ends.close)
    return ends.enter_context(kept_broker(choose_broker(label())))


def end_in_order() -> None:
    """Let SIGTERM, by which asv ends a benchmark at a timeout and on its own Ctrl-C, clean up."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt


# -- what skips --------------------------------------------------------------------------------


def require_label() -> None:
    """Skip the benchmark that is being set up where its broker cannot be had.

    Raises NotImplementedError, which asv takes for "skipped" in a ``setup``, and tells.
    """
    skip_if_not_here(missing(label()))


def skip_if_not_here(measured: object, *parameters: object) -> None:
    """The ``setup`` of the readers of a ``setup_cache``: the same, given what that returned."""
    if isinstance(measured, NotHere):
        raise NotImplementedError(measured.reason)


def without_broker(function: F) -> F:
    """Mark a benchmark in which no broker takes part.

    Measured once, under the embedded label; under another one its absence is no gap (``gate``).
    """
    vars(function).update(without_broker=True)
    return function


def once(work: Callable[[], T]) -> T | NotHere:
    """What ``work`` returns, under the embedded label alone: no broker takes part in it."""
    if label() == EMBEDDED:
        return work()
    return NotHere(f"no broker takes part: it is measured under the label {EMBEDDED}")
