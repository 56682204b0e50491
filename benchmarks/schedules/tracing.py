"""Points inside the explored code: at each line, or at each access to what may be shared.

An *access* is an attribute, a subscript, a call, a membership test, a step of an iteration or a
global being stored: wherever one thread's work can become visible to another. Only code whose file
is wanted is traced, so the standard library and py-amqp run at full speed between its points.

From Python 3.12 on by `sys.monitoring`, before by `sys.settrace`; both see the same bytecode, but
each version of Python compiles to another, so a token belongs to one of them.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final

from .task import current

#: Where a thread may be interrupted: `sync` only where it takes or leaves a lock, sleeps or sends;
#: `line` also before each line; `access` also before each access. `gil` is for triage: where the
#: interpreters of today with a global lock look whether another thread wants it (after a call, at
#: the start of a function, at a jump backwards). What `access` finds and `gil` does not is a race
#: that needs a build without that lock, or a finalizer at an unlucky moment.
GRANULARITIES: Final = ("sync", "gil", "line", "access")

_ACCESS: Final = (
    "LOAD_ATTR", "STORE_ATTR", "DELETE_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR",
    "BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR", "BINARY_SLICE", "STORE_SLICE",
    "CALL", "CALL_FUNCTION_EX", "CALL_KW", "CONTAINS_OP", "FOR_ITER", "UNPACK_SEQUENCE",
    "STORE_GLOBAL", "DELETE_GLOBAL",
)  # fmt: skip
_AFTER: Final = ("RESUME", "CALL", "CALL_FUNCTION_EX", "CALL_KW")

Wanted = Callable[[str], bool]


def points_of(code: CodeType, granularity: str) -> frozenset[int]:
    """The offsets in `code` at which a thread may be interrupted: before the instruction there."""
    points = set()
    before = ""
    for each in dis.get_instructions(code):
        if granularity == "line":
            here = _starts_line(each)
        elif granularity == "gil":
            here = before in _AFTER or each.opname.startswith("JUMP_BACKWARD")
        else:
            here = each.opname in _ACCESS
        if here:
            points.add(each.offset)
        before = each.opname
    return frozenset(points)


def _starts_line(instruction: dis.Instruction) -> bool:
    starts = instruction.starts_line
    # An int or None before Python 3.13, a bool from then on.
    return starts is not None and starts is not False and instruction.opname != "RESUME"


class Untraced:
    """No points but those of locks, clocks and sockets."""

    def open(self) -> None:
        """Nothing to set up."""

    def close(self) -> None:
        """Nothing to take down."""

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Nothing to do."""

    def explore(self, on: bool) -> None:
        """Nothing to do: a point asks whether it is wanted."""


class Settrace(Untraced):
    """Points by `sys.settrace`, set in each task's own thread.

    An event for each instruction is dear, so while nothing is explored frames are entered without;
    those that are still there when it begins are then switched on.
    """

    def __init__(self, wanted: Wanted, granularity: str) -> None:
        self._wanted = wanted
        self._granularity = granularity
        # By identity: hashing a code object reads all of it. The code is kept, so that no other
        # one can get its id.
        self._known: dict[int, tuple[CodeType, Any]] = {}
        self._on = False

    def explore(self, on: bool) -> None:
        self._on = on
        if on:
            for innermost in sys._current_frames().values():
                frame: FrameType | None = innermost
                while frame is not None:
                    known = self._known.get(id(frame.f_code))
                    if known is not None and frame.f_trace is known[1] is not None:
                        frame.f_trace_opcodes = True
                    frame = frame.f_back

    def start(self) -> None:
        sys.settrace(self._called)

    def stop(self) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        known = self._known.get(id(code))
        if known is None:
            known = code, self._local(code) if self._wanted(code.co_filename) else None
            self._known[id(code)] = known
        if known[1] is not None:
            frame.f_trace_opcodes = self._on
            frame.f_trace_lines = False
        return known[1]

    def _local(self, code: CodeType) -> Any:
        offsets = points_of(code, self._granularity)

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            if frame.f_lasti in offsets and event == "opcode":
                _point()
            return local

        return local


class Monitoring(Untraced):
    """Points by `sys.monitoring`."""

    def __init__(self, wanted: Wanted, granularity: str) -> None:
        self._wanted = wanted
        self._granularity = granularity
        self._points: dict[int, tuple[CodeType, frozenset[int]]] = {}
        self._tool = -1

    if sys.version_info >= (3, 12):

        def open(self) -> None:
            events = sys.monitoring.events
            free = [number for number in range(6) if sys.monitoring.get_tool(number) is None]
            if not free:
                raise RuntimeError("no tool number of sys.monitoring is free: end the other tools")
            # From the end: the first ones are meant for debuggers, coverage and profilers.
            self._tool = free[-1]
            sys.monitoring.use_tool_id(self._tool, "schedules")
            sys.monitoring.register_callback(self._tool, events.INSTRUCTION, self._instruction)
            sys.monitoring.register_callback(self._tool, events.PY_START, self._started)
            sys.monitoring.set_events(self._tool, events.PY_START)
            sys.monitoring.restart_events()

        def close(self) -> None:
            tool, self._tool = self._tool, -1
            if tool < 0:
                return
            events = sys.monitoring.events
            sys.monitoring.set_events(tool, 0)
            for code, _offsets in self._points.values():
                sys.monitoring.set_local_events(tool, code, 0)
            sys.monitoring.register_callback(tool, events.INSTRUCTION, None)
            sys.monitoring.register_callback(tool, events.PY_START, None)
            sys.monitoring.free_tool_id(tool)

        def _started(self, code: CodeType, offset: int) -> Any:
            if self._wanted(code.co_filename) and id(code) not in self._points:
                self._points[id(code)] = code, points_of(code, self._granularity)
                sys.monitoring.set_local_events(self._tool, code, sys.monitoring.events.INSTRUCTION)
            return sys.monitoring.DISABLE

        def _instruction(self, code: CodeType, offset: int) -> Any:
            if offset not in self._points[id(code)][1]:
                return sys.monitoring.DISABLE
            _point()
            return None


def _point() -> None:
    task = current()
    if task is not None:
        task.scheduler.trace_point(task)


def tracer(wanted: Wanted, granularity: str) -> Untraced:
    """The tracer for this Python; `open` it before the first run and `close` it after the last."""
    if granularity not in GRANULARITIES:
        raise ValueError(f"no granularity {granularity!r}: choose from {', '.join(GRANULARITIES)}")
    if granularity == "sync":
        return Untraced()
    if sys.version_info >= (3, 12):
        return Monitoring(wanted, granularity)
    return Settrace(wanted, granularity)
