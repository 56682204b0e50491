"""The exception recorder: every exception of a trial, wherever it surfaced, none swallowed.

It sees what an operation raised, what escaped a thread (``threading.excepthook``), what could not
be raised at all (``sys.unraisablehook``) and what was only logged. It keeps the facts; whether one
was expected is judged later, by a pure function, when the fault windows are known.

``KeyError(None)`` is told apart here, because only here the traceback is at hand. py-amqp looks
``None`` up in a dict on *every* channel open and catches the error, so it stands in the context of
any open that then fails, on a healthy library: such an exception, whose traceback ends in that
lookup, is not counted.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from benchmarks.harness.windows import CONTRACT, ENDED, RECOVERABLE, UNEXPECTED

#: Distinct exceptions kept with a traceback. A broken client raises the same few a thousand times.
SIGNATURES_AT_MOST = 200
#: Characters kept of one traceback or text.
TEXT_AT_MOST = 8000

#: Operations whose own contract is to raise a timeout when there was nothing to do.
MAY_TIME_OUT = frozenset(("drain", "drain_lease", "drain_parked", "settle", "acquire_short"))

#: The last lines of a formatted traceback of KeyError(None): where it was raised, and the error.
_LOGGED = re.compile(
    r'File "(?P<file>[^"\n]*)", line \d+, in (?P<function>[^\n]*)\n'
    # Source lines and carets, but no further frame: the innermost one is what is wanted.
    r'(?:(?![ \t]*File ")[ \t][^\n]*\n)*KeyError: None$',
    re.MULTILINE,
)
_NUMBERS = re.compile(r"\d+(?:\.\d+)?|0x[0-9a-f]+")


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, its causes and its contexts, each once; groups are opened."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        todo += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            todo += current.exceptions


def _is_channel_lookup(file: str, function: str) -> bool:
    return file.replace("\\", "/").endswith("/amqp/connection.py") and function == "channel"


def _raised_by_lookup(trace: TracebackType | None) -> bool:
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return _is_channel_lookup(code.co_filename, code.co_name)


def has_keyerror_none(error: BaseException) -> bool:
    """Does ``KeyError(None)`` escape with this exception (invariant ``keyerror_none``)?"""
    return any(
        isinstance(link, KeyError)
        and link.args == (None,)
        and (link is error or not _raised_by_lookup(link.__traceback__))
        for link in chain(error)
    )


def text_has_keyerror_none(text: str) -> bool:
    """The same question for a traceback that was logged as text."""
    return any(
        not _is_channel_lookup(match["file"], match["function"]) for match in _LOGGED.finditer(text)
    )


class Recorder:
    """Collects. ``recoverable`` and ``timeouts`` are the classes that the client declared."""

    def __init__(
        self,
        recoverable: tuple[type[BaseException], ...] = (),
        timeouts: tuple[type[BaseException], ...] = (),
    ) -> None:
        self.recoverable = recoverable
        self.timeouts = timeouts
        # Guards the two containers. A leaf: formatting is done before it is taken.
        self._lock = threading.Lock()
        self._signatures: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._events: list[list[Any]] = []

    def record(
        self,
        where: str,
        operation: str | None,
        error: BaseException,
        t: float | None = None,
        ending: tuple[type[BaseException], ...] = (),
        word: str | None = None,
    ) -> str:
        """Take down one exception; returns how it is taken: as contract, ended or unexpected, or
        with the word that a fault must excuse.

        ``where`` is operation, thread (uncaught in one), unraisable or logged. A drain that timed
        out did what its contract says, and so did a client that was told to close and says that it
        is closed (``ending``: the classes that say so): those alone are not written down.
        ``word``: what else than a lost connection it tells of, see windows.py. ``t`` is when (now).
        """
        keyerror = has_keyerror_none(error)
        if keyerror:
            kind = UNEXPECTED
        elif operation in MAY_TIME_OUT and isinstance(error, self.timeouts):
            return CONTRACT
        elif isinstance(error, ending):
            return ENDED
        elif where == "operation" and (word or isinstance(error, self.recoverable)):
            kind = word or RECOVERABLE
        else:
            kind = UNEXPECTED
        self._take(
            where,
            operation,
            kind=kind,
            type_name=f"{type(error).__module__}.{type(error).__qualname__}",
            text=_safe_text(error),
            keyerror=keyerror,
            trace=lambda: "".join(traceback.format_exception(error)),
            t=t,
        )
        return kind

    def _take(
        self,
        where: str,
        operation: str | None,
        *,
        kind: str,
        type_name: str,
        text: str,
        keyerror: bool,
        trace: Callable[[], str],
        t: float | None = None,
    ) -> None:
        t = time.monotonic() if t is None else t
        thread = threading.current_thread().name
        # Numbers in a text (seconds, tags, addresses) do not make another exception of it.
        key = (where, operation, kind, type_name, _NUMBERS.sub("#", text), keyerror)
        with self._lock:
            known = key in self._signatures
            full = len(self._signatures) >= SIGNATURES_AT_MOST
        if not known and full:
            key = (where, operation, kind, type_name, "", keyerror)
        formatted = "" if known else trace()[-TEXT_AT_MOST:]
        with self._lock:
            signature = self._signatures.setdefault(
                key,
                {
                    "number": len(self._signatures),
                    "where": where,
                    "operation": operation,
                    "kind": kind,
                    "type": type_name,
                    "text": text[:TEXT_AT_MOST],
                    "keyerror_none": keyerror,
                    "traceback": formatted,
                },
            )
            self._events.append([t, thread, signature["number"]])

    def snapshot(self) -> dict[str, Any]:
        """``{"signatures": [...], "events": [[t, thread, signature number], ...]}``."""
        with self._lock:
            return {
                "signatures": [dict(value) for value in self._signatures.values()],
                "events": [list(event) for event in self._events],
            }

    # -- what surfaces outside an operation -------------------------------------------------

    def install(self) -> None:
        """Listen where exceptions go that nobody caught. For the rest of this process."""
        threading.excepthook = self._uncaught
        sys.unraisablehook = self._unraisable
        logging.getLogger().addHandler(_LogHandler(self))

    def _uncaught(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            name = args.thread.name if args.thread is not None else "?"
            self.record("thread", f"uncaught in {name}", args.exc_value)

    def _unraisable(self, args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            self.record("unraisable", None, args.exc_value)

    def record_log(self, entry: logging.LogRecord) -> None:
        """A logged KeyError(None) counts; other log lines are the client's own affair."""
        error = entry.exc_info[1] if entry.exc_info else None
        if error is not None and has_keyerror_none(error):
            self.record("logged", entry.name, error)
        elif text_has_keyerror_none(text := entry.getMessage()):
            self._take(
                "logged",
                entry.name,
                kind=UNEXPECTED,
                type_name="builtins.KeyError",
                text="None",
                keyerror=True,
                trace=lambda: text,
            )


class _LogHandler(logging.Handler):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.NOTSET)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._recorder.record_log(record)
        except Exception:  # noqa: BLE001 - a malformed log call; told on stderr, as logging does
            self.handleError(record)


def _safe_text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - foreign __str__; that it failed is what is told
        return f"<its text raised {type(failure).__name__}>"
