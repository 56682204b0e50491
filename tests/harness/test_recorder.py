"""The recorder: every exception taken down, and KeyError(None) told apart wherever it surfaces."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from benchmarks.harness.processes import Service
from benchmarks.harness.recorder import (
    SIGNATURES_AT_MOST,
    TEXT_AT_MOST,
    Recorder,
    chain,
    has_keyerror_none,
    text_has_keyerror_none,
)

DEADLINE = 10.0


def raised(error: BaseException) -> BaseException:
    """The error with a traceback of its own."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - that is the point
        return caught


def caused(by: BaseException) -> BaseException:
    try:
        raise RuntimeError("outer") from by
    except RuntimeError as error:
        return error


def in_context(of: BaseException) -> BaseException:
    try:
        try:
            raise of
        finally:
            raise RuntimeError("outer")
    except RuntimeError as error:
        return error


def silenced(of: BaseException) -> BaseException:
    try:
        try:
            raise of
        except BaseException:  # noqa: BLE001 - whichever it is
            raise RuntimeError("outer") from None
    except RuntimeError as error:
        return error


def grouped(error: BaseException) -> BaseException:
    return BaseExceptionGroup("two", [ValueError("other"), error])


ESCAPES = [raised, caused, in_context, silenced, grouped, lambda e: caused(grouped(in_context(e)))]


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_keyerror_none_that_escapes_is_found(escape: Any) -> None:
    assert has_keyerror_none(escape(KeyError(None)))


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("error", [KeyError("None"), KeyError(), KeyError(0), ValueError(None)])
def test_other_errors_are_not_taken_for_it(escape: Any, error: BaseException) -> None:
    assert not has_keyerror_none(escape(error))


def test_a_chain_that_bites_its_own_tail_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert set(chain(first)) == {first, second}


# -- py-amqp's own lookup --------------------------------------------------------------------


def lookup_in(path: str, function: str = "channel") -> BaseException:
    """A failing call whose context is a KeyError(None) raised in that file and function."""
    source = f"def {function}(channels):\n    return channels[None]\n"
    names: dict[str, Any] = {}
    exec(compile(source, path, "exec"), names)
    try:
        names[function]({})
    except KeyError as error:
        return in_context(error)
    raise AssertionError("the lookup did not fail")


def test_py_amqps_own_channel_lookup_does_not_count() -> None:
    assert not has_keyerror_none(lookup_in("/site-packages/amqp/connection.py"))
    assert not has_keyerror_none(lookup_in(r"C:\site-packages\amqp\connection.py"))


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/site-packages/amqp/connection.py", "drain_events"),
        ("/site-packages/amqp/channel.py", "channel"),
        ("/site-packages/pyamqp/connection.py", "channel"),
        ("/src/amqpool/connection.py", "channel"),
    ],
)
def test_the_same_lookup_anywhere_else_counts(path: str, function: str) -> None:
    assert has_keyerror_none(lookup_in(path, function))


def test_py_amqps_lookup_counts_when_it_is_itself_what_was_raised() -> None:
    context = lookup_in("/site-packages/amqp/connection.py").__context__
    assert context is not None
    assert has_keyerror_none(context)


@pytest.fixture(name="broker")
def _broker(tmp_path: Path) -> Iterator[int]:
    service = Service("broker", tmp_path, ["--port", "0", "--channel-max", "3"])
    try:
        yield service.wait_ready()["port"]
    finally:
        service.stop()
    assert not service.alive


def connect(port: int) -> Any:
    connection = amqp.Connection(f"127.0.0.1:{port}", connect_timeout=5, read_timeout=5)
    connection.connect()
    return connection


def contexts(error: BaseException) -> list[tuple[type[BaseException], Any]]:
    return [(type(link), link.args) for link in chain(error)]


def test_an_open_that_fails_on_a_sound_py_amqp_does_not_count(broker: int) -> None:
    connection = connect(broker)
    connection.transport.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError) as caught:
        connection.channel()
    connection.collect()
    # Without the lookup in its context this test would prove nothing.
    assert (KeyError, (None,)) in contexts(caught.value)
    assert not has_keyerror_none(caught.value)
    assert Recorder(recoverable=(OSError,)).record("operation", "open", caught.value) == (
        "recoverable"
    )


def test_an_open_that_the_broker_refuses_does_not_count(broker: int) -> None:
    connection = connect(broker)
    # A second Channel.Open on an open channel is answered with 504, by any broker.
    channel = connection.channel()
    connection.channels.pop(channel.channel_id)
    connection._used_channel_ids.remove(channel.channel_id)
    with pytest.raises(amqp.AMQPError) as caught:
        connection.channel()
    connection.collect()
    assert (KeyError, (None,)) in contexts(caught.value)
    assert not has_keyerror_none(caught.value)


def test_a_connect_to_a_port_that_closes_does_not_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            accepted, _ = listener.accept()
            accepted.close()

        thread = threading.Thread(target=hang_up, name="hang-up", daemon=True)
        thread.start()
        connection = amqp.Connection(f"127.0.0.1:{listener.getsockname()[1]}", connect_timeout=5)
        with pytest.raises((OSError, amqp.AMQPError)) as caught:
            connection.connect()
        connection.collect()
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert not has_keyerror_none(caught.value)


# -- tracebacks as text ----------------------------------------------------------------------

FRAME = '  File "{}", line 5, in {}\n    return self.channels[None]\n           ~~~~~~~~^^^^^^\n'
OWN = FRAME.format("/app/pool.py", "drain")
LOOKUP = FRAME.format("/lib/amqp/connection.py", "channel")
HEAD = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (HEAD + OWN + "KeyError: None", True),
        (HEAD + OWN + OWN + "KeyError: None\n", True),
        (HEAD + LOOKUP + "KeyError: None\n\nDuring ...\n" + HEAD + OWN + "OSError: x", False),
        (HEAD + OWN + LOOKUP + "KeyError: None\n", False),
        (HEAD + LOOKUP + OWN + "KeyError: None\n", True),
        (HEAD + LOOKUP + "KeyError: None\n\n" + HEAD + OWN + "KeyError: None", True),
        (HEAD + OWN + "KeyError: None of these", False),
        (HEAD + OWN + "KeyError: 'None'", False),
        ("KeyError: None", False),
        ("", False),
    ],
)  # fmt: skip
def test_a_logged_traceback(text: str, counts: bool) -> None:
    assert text_has_keyerror_none(text) is counts


# -- the recorder ----------------------------------------------------------------------------


class Lost(Exception):
    """What the made-up client declares as recoverable."""


class Late(Exception):
    """What it declares as a timeout."""


@pytest.fixture(name="recorder")
def _recorder() -> Recorder:
    return Recorder(recoverable=(Lost,), timeouts=(Late,))


@pytest.mark.parametrize(
    ("where", "operation", "error", "kind"),
    [
        ("operation", "publish", Lost("gone"), "recoverable"),
        ("operation", "publish", ValueError("bad"), "unexpected"),
        ("operation", "publish", Late("late"), "unexpected"),
        ("operation", "acquire_release", Late("late"), "unexpected"),
        ("operation", "drain", Late("late"), "contract"),
        ("operation", "drain_lease", Late("late"), "contract"),
        ("operation", "drain_parked", Late("late"), "contract"),
        ("operation", "settle", Late("late"), "contract"),
        ("operation", "acquire_short", Late("late"), "contract"),
        ("operation", "drain", caused(KeyError(None)), "unexpected"),
        ("thread", "uncaught in reader", Lost("gone"), "unexpected"),
        ("unraisable", None, Lost("gone"), "unexpected"),
        ("operation", "publish", SystemExit(1), "unexpected"),
    ],
)
def test_what_an_exception_is_taken_for(
    recorder: Recorder, where: str, operation: str | None, error: BaseException, kind: str
) -> None:
    assert recorder.record(where, operation, error, t=1.5) == kind
    taken = recorder.snapshot()
    if kind == "contract":
        assert taken == {"signatures": [], "events": []}
        return
    assert taken["events"] == [[1.5, threading.current_thread().name, 0]]
    assert [(s["where"], s["operation"], s["kind"]) for s in taken["signatures"]] == [
        (where, operation, kind)
    ]


def test_a_timeout_that_carries_a_keyerror_none_is_no_contract(recorder: Recorder) -> None:
    late = Late("late")
    late.__cause__ = KeyError(None)
    assert recorder.record("operation", "drain", late) == "unexpected"
    assert recorder.snapshot()["signatures"][0]["keyerror_none"] is True


def test_that_it_was_closed_is_not_written_down_where_it_was(recorder: Recorder) -> None:
    ending = (ValueError,)
    assert recorder.record("operation", "publish", ValueError("shut"), 1.0, ending) == "ended"
    assert recorder.snapshot() == {"signatures": [], "events": []}
    shut = ValueError("shut")
    shut.__cause__ = KeyError(None)
    for error in (shut, TypeError("broken")):
        assert recorder.record("operation", "publish", error, 1.0, ending) == "unexpected"
    assert recorder.record("operation", "publish", Lost("gone"), 1.0, ending) == "recoverable"
    assert len(recorder.snapshot()["events"]) == 3


def test_what_else_an_error_tells_of_is_its_kind_where_an_operation_raised_it(
    recorder: Recorder,
) -> None:
    word = "cancelled"
    for error in (Lost("gone"), ValueError("cancelled")):
        assert recorder.record("operation", "get", error, word=word) == word
    assert recorder.record("operation", "drain", Late("late"), word=word) == "contract"
    assert recorder.record("thread", "uncaught in x", Lost("gone"), word=word) == "unexpected"
    broken = caused(KeyError(None))
    assert recorder.record("operation", "get", broken, word=word) == "unexpected"
    kinds = [signature["kind"] for signature in recorder.snapshot()["signatures"]]
    assert kinds == [word, word, "unexpected", "unexpected"]


def test_errors_that_differ_in_numbers_alone_share_a_signature(recorder: Recorder) -> None:
    for number in range(3):
        error = raised(ValueError(f"tag {number} after {number}.5 s at 0x7f{number}"))
        recorder.record("operation", "publish", error, t=float(number))
    recorder.record("operation", "get", ValueError("tag 0 after 0.5 s"), t=9.0)
    taken = recorder.snapshot()
    assert [event[2] for event in taken["events"]] == [0, 0, 0, 1]
    assert taken["signatures"][0]["text"] == "tag 0 after 0.5 s at 0x7f0"
    assert "in raised" in taken["signatures"][0]["traceback"]


def test_distinct_errors_are_bounded_and_all_events_kept(recorder: Recorder) -> None:
    words = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(SIGNATURES_AT_MOST + 50)]
    for word in words:
        recorder.record("operation", "publish", ValueError(word))
    recorder.record("operation", "publish", KeyError(None))
    taken = recorder.snapshot()
    assert len(taken["events"]) == len(words) + 1
    assert len(taken["signatures"]) == SIGNATURES_AT_MOST + 2
    assert taken["signatures"][-1]["keyerror_none"] is True


def test_long_texts_are_cut_and_foreign_texts_that_raise_are_told(recorder: Recorder) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    recorder.record("operation", "publish", ValueError("x" * (TEXT_AT_MOST * 2)))
    recorder.record("operation", "publish", Mute())
    long, mute = recorder.snapshot()["signatures"]
    assert len(long["text"]) == TEXT_AT_MOST
    assert mute["text"] == "<its text raised RuntimeError>"


# -- what surfaces outside an operation ------------------------------------------------------

#: In a process of its own, since it takes over hooks and the root logger for good.
SURFACES = """
import gc, json, logging, sys, threading
from benchmarks.harness.recorder import Recorder

recorder = Recorder()
recorder.install()
log = logging.getLogger("client")

def fail():
    {}[None]

class Finalised:
    def __del__(self):
        fail()

what = sys.argv[1]
if what == "thread":
    thread = threading.Thread(target=fail, name="reader")
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
elif what == "unraisable":
    Finalised()
    gc.collect()
elif what == "exc_info":
    try:
        fail()
    except KeyError:
        log.exception("it failed")
elif what == "text":
    import traceback
    try:
        fail()
    except KeyError:
        log.error("it failed: %s", traceback.format_exc())
elif what == "harmless":
    log.error("KeyError: None, it says")
    try:
        {}["x"]
    except KeyError:
        log.exception("it failed")
elif what == "malformed":
    log.error("%s %s", 1)
    log.error("%d", "word")
print(json.dumps(recorder.snapshot()))
"""


def surface(what: str) -> list[tuple[str, str | None, bool]]:
    done = subprocess.run(
        [sys.executable, "-c", SURFACES, what],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    taken = json.loads(done.stdout)
    return [(s["where"], s["operation"], s["keyerror_none"]) for s in taken["signatures"]]


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("thread", [("thread", "uncaught in reader", True)]),
        ("unraisable", [("unraisable", None, True)]),
        ("exc_info", [("logged", "client", True)]),
        ("text", [("logged", "client", True)]),
        ("harmless", []),
        ("malformed", []),
    ],
)
def test_where_exceptions_surface(what: str, found: list[tuple[str, str | None, bool]]) -> None:
    assert surface(what) == found


def test_a_logged_error_without_keyerror_none_is_the_clients_own_affair(
    recorder: Recorder,
) -> None:
    entry = logging.LogRecord(
        "client", logging.ERROR, "", 1, "failed", (), (ValueError, ValueError("x"), None)
    )
    recorder.record_log(entry)
    assert recorder.snapshot() == {"signatures": [], "events": []}
