"""Searches in a child: whatever the client does, each question gets one answer."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.harness.environments import VARIABLE
from benchmarks.schedules import control, supervised
from benchmarks.schedules.hunts import Hunt
from benchmarks.schedules.supervised import control_of, pursue_all, replay_of
from benchmarks.schedules.tokens import Token, decode, encode

SOUND = Hunt("acquire+acquire.1", schedules=2)

ADAPTER = """
import ctypes, os, time
from benchmarks.clients.amqpool import AmqpoolClient

class Exits(AmqpoolClient):
    def acquire(self, timeout):
        os._exit(7)

class Hangs(AmqpoolClient):
    def open(self):
        while True:
            pass
"""


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    file = tmp_path / "adapter.py"
    file.write_text(ADAPTER)
    return file


def test_each_search_has_its_result_in_order() -> None:
    found = Hunt("model:inverted-locks", schedules=500)
    sound, race, unknown = pursue_all([SOUND, found, Hunt("nothing.1")], 60)
    assert (sound["schedules"], sound["races"], sound["exhausted"]) == (2, 0, False)
    assert sound["finding"] is None
    assert (race["races"], race["finding"]["invariant"]) == (1, "deadlocks")
    assert race["finding"]["token"].startswith("model:inverted-locks~")
    assert unknown["refused"] == "there is no scenario 'nothing.1'"
    hunts = [each["hunt"]["program"] for each in (sound, race, unknown)]
    assert hunts == [SOUND.program, found.program, "nothing.1"]


def test_nothing_asked_is_nothing_answered() -> None:
    assert pursue_all([], 60) == []


def test_a_client_that_ends_the_process_costs_its_own_search_alone(adapter: Path) -> None:
    crash = Hunt(f"{adapter}:Exits:acquire+acquire.1", schedules=2)
    before, at, after = pursue_all([SOUND, crash, SOUND], 60)
    assert before["schedules"] == 2
    assert "the process ended with status 7" in at["failure"]
    assert "the process ended with status 7" in after["failure"], "nobody looked: no zero"
    assert at["hunt"]["program"] == crash.program


def test_a_client_that_hangs_is_a_failure_of_the_search(adapter: Path) -> None:
    """Computing for ever takes no step: the scheduler itself gives up."""
    (hung,) = pursue_all([Hunt(f"{adapter}:Hangs:acquire+acquire.1", schedules=2)], 90)
    assert "no step for 10 s" in hung["failure"]


def test_a_search_is_ended_by_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "START", 3.0)
    began = time.monotonic()
    (late,) = pursue_all([Hunt("acquire+close.1", "dfs", 3)], 1)
    assert time.monotonic() - began < 60
    assert "ended by its deadline of 4 s" in late["failure"]
    assert "races" not in late


def test_a_client_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (refused,) = pursue_all([Hunt(f"{tmp_path}/no.py:Nobody:acquire+acquire.1")], 60)
    assert "there is no file" in refused["refused"]


def test_a_token_is_run_again_and_counted_or_refused_for_its_reason() -> None:
    hunt = Hunt("model:inverted-locks", schedules=500)
    (race,) = pursue_all([hunt], 60)
    token = race["finding"]["token"]
    shown = replay_of(token, 3, 60)
    assert (shown["shown"], shown["invariant"]) == (3, "deadlocks")
    assert shown["detail"] == race["finding"]["detail"]
    other = encode(Token(hunt.program, b"else", []))
    assert "another source" in replay_of(other, 3, 60)["refused"]
    sound = encode(Token(hunt.program, decode(token).digest, []))
    nothing = replay_of(sound, 3, 60)
    assert (nothing["shown"], nothing["invariant"], nothing["detail"]) == (0, None, None)


# -- the control, under a Python of its own -----------------------------------------------------


def test_the_control_is_refused_where_its_library_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No package index: pip's own reason, and neither a zero nor a miss."""
    places = {VARIABLE: str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    for name, value in {**places, "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    refused = control_of(1, 60)
    assert set(refused) == {"refused"}
    assert f"{control.DISTRIBUTION}=={control.PINNED}" in refused["refused"]
    assert "is a package index reachable?" in refused["refused"]
    assert control.main(["--seed", "1"]) == control.UNAVAILABLE
    assert "is a package index reachable?" in capsys.readouterr().err


def test_another_python_is_pointed_at_nothing_of_this_one_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its environment is the library's own; what it does not hold is told, and is no zero."""
    python = tmp_path / "python"
    lines = ("#!/bin/sh", f'echo "$PYTHONPATH" >{tmp_path}/path', f'exec {sys.executable} "$@"')
    python.write_text("\n".join(lines))
    python.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(supervised, "peer_python", lambda requirements: python)
    result = control_of(1, 60)
    assert (tmp_path / "path").read_text() == "\n"
    assert set(result) <= {"refused", "missed", "seed"}
