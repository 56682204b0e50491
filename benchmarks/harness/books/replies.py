"""Replies with a name in them: declare-ok and consume-ok must come to whoever asked.

It owns the simplest proof that a client hands replies to the wrong thread, which on a shared
connection needs no lost frame and raises no error. A name that the broker itself got wrong is the
broker's fault (control.py).
"""

from __future__ import annotations

from benchmarks.harness.books.application import Application
from benchmarks.harness.books.verdict import Verdict
from benchmarks.harness.books.wire import Wire


def judge_replies(wire: Wire, application: Application, verdict: Verdict) -> None:
    """Compare what was asked with what was answered."""
    answers = set(wire.declared)
    for declare in application.declares:
        if declare.status != "ok":
            continue
        verdict.compare("declare", judged=False)  # it cannot be found lost
        asked, answered = declare.asked, declare.answered
        if answered != asked and (asked, answered) not in answers:
            verdict.phantoms.append(
                {
                    "event": "declare_ok",
                    "identity": answered,
                    "t": declare.t1,
                    "thread": declare.thread,
                    "why": f"a declare of {asked} was answered with {answered}",
                }
            )
    for consume in sorted(application.consumes.values(), key=lambda one: (one.t0, one.consumer)):
        if consume.status != "ok":
            continue
        verdict.compare("consume", judged=False)
        if consume.answered not in (None, consume.consumer):
            verdict.phantoms.append(
                {
                    "event": "consume_ok",
                    "identity": consume.answered,
                    "t": consume.t1,
                    "thread": consume.thread,
                    "lease": consume.lease,
                    "why": f"a consume of {consume.consumer} was answered with {consume.answered}",
                }
            )
