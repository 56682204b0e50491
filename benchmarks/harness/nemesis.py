"""The nemesis: injects the faults of the plan, each only when there is something to break.

A fault counts when proxy or broker says that it fired, on a connection that was ready, after an
operation had succeeded since the fault before. What lasts is healed by the nemesis itself, and
everything is healed before the trial asks whether the client came back. What was planned and did
not fire is reported, and makes the run ``unknown``: a trial that was never hurt proves nothing
about wounds. It judges nothing, and never waits without a deadline.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.broker.control import BrokerControl
from benchmarks.harness.faults import FAULTS, words_of
from benchmarks.harness.plan import FaultStep
from benchmarks.harness.progress import Progress
from benchmarks.harness.windows import RECOVERABLE, Window
from benchmarks.proxy.control import Control
from benchmarks.rabbitmq.control import KeeperControl
from benchmarks.rabbitmq.faults import RABBIT_FAULTS
from benchmarks.wire.control import ControlError

#: How often the nemesis asks the proxy whether a connection is up again: the round trip itself
#: takes some 0.1 ms, and a reconnect a few ms.
POLL = 0.002
#: Seconds of one look at a rule: between two of them the nemesis sees that the load is over.
RULE_LOOK = 0.1
#: Seconds for the proxy to tell of a rule that the operation before must have set off.
STRUCK = 1.0


@dataclass(slots=True)
class _Armed:
    """A rule that has not fired yet."""

    step: FaultStep
    number: int
    asked: float
    window: Window


class Nemesis:
    """One for each load. ``strike`` and ``struck``, or ``run``: by one thread at a time.

    ``patience``: seconds it waits for a connection to come up, or for a rule to fire, before it
    gives a fault up. ``recovery``: seconds after a fault in which what it excuses is expected.
    ``broker`` speaks to whoever does what the proxy cannot: the embedded broker itself, or the
    keeper of RabbitMQ's nodes, who is told the ``queue`` whose leader may be meant.
    """

    def __init__(
        self,
        proxy: Control,
        broker: BrokerControl | KeeperControl | None,
        faults: Sequence[FaultStep],
        conditions: Sequence[FaultStep] = (),
        *,
        patience: float,
        recovery: float,
        queue: str = "",
    ) -> None:
        self._proxy = proxy
        self._queue = queue
        self._broker = broker
        self._todo = list(reversed(faults))
        self._conditions = list(conditions)
        self.planned = len(faults) + len(conditions)
        self._patience = patience
        self._recovery = recovery
        # Guards the lists that others read. A leaf: no control channel is spoken to under it.
        self._lock = threading.Lock()
        self._fired: list[dict[str, Any]] = []
        self._missed: list[str] = []
        self._windows: list[Window] = []
        #: What lasts and is not healed yet: its entry, and its window.
        self._lasting: list[tuple[dict[str, Any], Window]] = []
        self._armed: _Armed | None = None
        self._last: float | None = None

    # -- what the workload asks ----------------------------------------------------------------

    def expects_errors(self, t: float, word: str = RECOVERABLE) -> bool:
        """Is an error with that word, at ``t``, a fault's doing?

        The checker asks the same of all faults, with the same numbers, when the trial is over.
        """
        with self._lock:
            # Mostly the latest one: they stand in order.
            return any(
                window.excuses(word, t, self._recovery) for window in reversed(self._windows)
            )

    def under(self, word: str) -> bool:
        """Is a fault that excuses that word at work just now, and not over?"""
        with self._lock:
            return any(w.over == float("inf") and word in w.words for w in self._windows)

    def strike(self) -> bool:
        """Do the next fault of the plan, as soon as a connection is up (bounded).

        True when it fired, or when its rule is armed: ``struck`` then says when that fired.
        """
        self._last = None
        if not self._todo:
            self._miss("the plan holds no further fault")
            return False
        step = self._todo.pop()
        deadline = time.monotonic() + self._patience
        why = "no connection came up"
        while time.monotonic() < deadline:
            asked = time.monotonic()
            # The window opens before the proxy acts: its first victim may be faster than its reply.
            window = self._open(step, asked)
            try:
                if step.rule is not None:
                    up = self._proxy.status()["up"]
                    if up:
                        options = _options(step)
                        number = self._proxy.arm(step.kind, step.rule, generations=up, **options)
                        self._armed = _Armed(step, number, asked, window)
                        return True
                else:
                    reply = self._fault(step)
                    if reply["fired"]:
                        self._last = self._book(step, reply, asked, window)
                        return True
                    why = str(reply.get("why", why))
            except ControlError as error:
                # The service's failure, not the client's: the supervisor sees what became of it.
                # A keeper may have struck all the same, and then found that it could not go on.
                if step.kind in RABBIT_FAULTS:
                    window.over = time.monotonic()
                else:
                    self._withdraw(window)
                why = str(error)
                break
            self._withdraw(window)
            time.sleep(POLL)
        self._miss(why)
        return False

    def struck(self) -> float | None:
        """When the fault of the last ``strike`` fired; a rule is given a moment, then taken back.

        None when it did not fire.
        """
        if self._armed is not None:
            self._await_rule(time.monotonic() + STRUCK, None)
        return self._last

    # -- at the marks --------------------------------------------------------------------------

    def run(self, progress: Progress) -> None:
        """Strike at each mark, until the load is over. The body of the nemesis thread."""
        last = 0.0
        while progress.wait_for_mark():
            deadline = time.monotonic() + self._patience
            while not progress.succeeded_since(last) and time.monotonic() < deadline:
                if progress.over:
                    return
                time.sleep(POLL)
            if not progress.succeeded_since(last):
                self._miss("no operation succeeded since the fault before")
                progress.clear_mark()
                continue
            struck = self.strike()
            if self._armed is not None:
                # Held workers would send no frames, and the rule waits for one.
                progress.clear_mark()
                self._await_rule(time.monotonic() + self._patience, progress)
            elif struck:
                self._hold(progress)
                progress.clear_mark()
            else:
                progress.clear_mark()
            if self._last is not None:
                last = self._last

    def _await_rule(self, deadline: float, progress: Progress | None) -> None:
        """Wait for the armed rule (bounded, and not beyond the load); take it back in the end."""
        armed, self._armed = self._armed, None
        assert armed is not None
        try:
            reply = self._proxy.fired(armed.number, RULE_LOOK)
            while not reply["fired"] and time.monotonic() < deadline:
                if progress is not None and progress.over:
                    break
                reply = self._proxy.fired(armed.number, RULE_LOOK)
            if not reply["fired"] and not self._proxy.disarm(armed.number):
                # It fired between the two requests.
                reply = self._proxy.fired(armed.number, STRUCK)
        except ControlError as error:
            reply = {"fired": False, "why": str(error)}
        if reply["fired"]:
            self._last = self._book(armed.step, reply, armed.asked, armed.window)
        else:
            self._withdraw(armed.window)
            self._miss(f"{armed.step.kind}: {reply.get('why', 'its rule did not fire')}")

    def _hold(self, progress: Progress) -> None:
        """Let a fault that lasts go on for as long as the plan says, or the load; then heal it."""
        with self._lock:
            entry = self._fired[-1]
        if FAULTS[entry["kind"]].lasting:
            progress.wait(entry["options"].get("seconds", 0.0))
            self._last = self._heal(entry["kind"]) or self._last

    # -- what lasts ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Start what holds for the whole load."""
        for step in self._conditions:
            asked = time.monotonic()
            window = self._open(step, asked)
            try:
                reply = self._fault(step)
            except ControlError as error:
                reply = {"fired": False, "why": str(error)}
            if reply["fired"]:
                self._book(step, reply, asked, window)
            else:
                self._withdraw(window)
                self._miss(f"{step.kind}: {reply.get('why', 'it did not fire')}")

    def end(self) -> None:
        """Heal everything. The load is over, and no thread is in here any more."""
        self._heal(None)

    def _heal(self, kind: str | None) -> float | None:
        """End that kind of fault, or all; returns when, None when nobody could be asked."""
        healed = None
        try:
            if kind is None or FAULTS[kind].side == "proxy":
                healed = float(self._proxy.heal(kind)["t"])
            if self._broker is not None and (kind is None or FAULTS[kind].side != "proxy"):
                healed = float(self._broker.heal(kind)["t"])
        except ControlError as error:
            self._miss(f"not healed: {error}")
            return None
        if healed is None:
            return None
        with self._lock:
            ended = [pair for pair in self._lasting if kind in (None, pair[0]["kind"])]
            self._lasting = [pair for pair in self._lasting if pair not in ended]
            for entry, window in ended:
                entry["healed"] = healed
                window.over = healed
        return healed

    # -- helpers -------------------------------------------------------------------------------

    def _fault(self, step: FaultStep) -> Any:
        if FAULTS[step.kind].side == "proxy":
            return self._proxy.fault(step.kind, **_options(step))
        if self._broker is None:
            return {"fired": False, "why": "the broker has no control port"}
        options = _options(step)
        if step.kind in RABBIT_FAULTS and "queue" in RABBIT_FAULTS[step.kind].options:
            options["queue"] = self._queue
        return self._broker.fault(step.kind, **options)

    def _open(self, step: FaultStep, asked: float) -> Window:
        """A window without an end; closed by ``_book`` or ``_heal``, or withdrawn."""
        window = Window(words_of(step.kind, step.options), asked)
        with self._lock:
            self._windows.append(window)
        return window

    def _withdraw(self, window: Window) -> None:
        with self._lock:
            self._windows = [other for other in self._windows if other is not window]

    def _book(self, step: FaultStep, reply: Any, asked: float, window: Window) -> float:
        # An order to a node is on its way for seconds: the fault is there when it has arrived.
        row, t = FAULTS[step.kind], float(reply["t"]) + float(reply.get("seconds", 0.0))
        entry = {
            **reply,
            "t": t,
            "kind": step.kind,
            "asked": asked,
            "options": step.options,
            "rule": step.rule,
            "healed": None,
            "ends": row.ends,
            "excuses": list(window.words),
        }
        with self._lock:
            self._fired.append(entry)
            if row.lasting:
                self._lasting.append((entry, window))
            else:
                window.over = t
        return t

    def _miss(self, why: str) -> None:
        with self._lock:
            self._missed.append(why)

    def snapshot(self) -> dict[str, Any]:
        """What became of the plan's faults."""
        with self._lock:
            return {
                "planned": self.planned,
                "fired": [dict(fault) for fault in self._fired],
                "missed": list(self._missed),
            }


def _options(step: FaultStep) -> dict[str, Any]:
    """The options for the service. How long a fault lasts is the nemesis's own business."""
    return {key: value for key, value in step.options.items() if key != "seconds"}
