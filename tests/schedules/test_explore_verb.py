"""The verbs `explore` and `replay TOKEN`: what they print, and what the shell is told."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import cli, explore_verb
from benchmarks.harness.explore_verb import is_token, replay_command
from benchmarks.harness.processes import EnvironmentProblem
from benchmarks.schedules import corpus
from benchmarks.schedules.corpus import Entry
from benchmarks.schedules.explore import Report
from benchmarks.schedules.outcome import SchedulerFailure
from benchmarks.schedules.tokens import Token, encode

ROOT = Path(__file__).parents[2]
RACY = f"{Path(__file__).with_name('racy.py')}:Racy"
#: Where its race is, and what it is found as.
THERE, SIGN = "acquire+acquire.2", "keyerror_none"


@pytest.fixture(autouse=True)
def _nothing_was_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, tmp_path, [])


def keep(monkeypatch: pytest.MonkeyPatch, folder: Path, entries: list[Entry]) -> None:
    """A corpus of these."""
    file = folder / "corpus.json"
    corpus.save(entries, file)
    monkeypatch.setattr(explore_verb, "of_program", lambda name: corpus.of_program(name, file))


def explore(*words: str) -> int:
    return cli.main(["explore", *words])


def test_nothing_found_is_0_and_never_called_proven(capsys: pytest.CaptureFixture[str]) -> None:
    assert explore("acquire+acquire.1", "publish+kill.2", "--schedules", "3") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [" ".join(line.split()) for line in lines[:2]] == [
        "acquire+acquire.1 pct 3 3 schedules not exhausted 0 races",
        "publish+kill.2 pct 3 3 schedules not exhausted 0 races",
    ]
    assert "2 of 2 scenarios, 6 schedules, 0 exhausted, nothing found" in printed.out
    assert "nothing is proven where a search was not exhausted" in printed.out
    assert printed.err == "", "no progress where no terminal is"


def test_an_exhausted_search_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("release+release.1@sync", "--strategy", "dfs", "--depth", "1")
    assert explore(*words) == 0
    out = capsys.readouterr().out
    assert "  exhausted " in out
    assert "not exhausted" not in out
    assert "nothing is proven" not in out


def test_a_race_is_1_with_story_token_and_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "found.json"
    assert explore(THERE, "--client", RACY, "--json", str(file)) == 1
    out = capsys.readouterr().out
    assert f"{SIGN}: KeyError in acquire-" in out
    assert "interrupted ->" in out
    command = next(line for line in out.splitlines() if line.startswith("run it again: "))
    document = json.loads(file.read_text())
    (search,) = document["searches"]
    assert document["client"] == RACY
    assert (search["scenario"], search["races"]) == (f"{RACY}:{THERE}", 1)
    assert search["finding"]["invariant"] == SIGN
    words = shlex.split(command.partition(": ")[2])
    assert words == ["python", "-m", "benchmarks.harness", "replay", search["finding"]["token"]]
    assert cli.main(words[3:]) == 1
    again = capsys.readouterr().out
    assert f"10 of 10 runs alike: {SIGN}" in again
    assert search["finding"]["story"] in again


def test_a_race_outranks_a_scheduler_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[Any] = [SchedulerFailure("no step for 10 s"), Report("x", schedules=2)]

    def pursue(*_args: Any, **_kwargs: Any) -> Report:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    monkeypatch.setattr(explore_verb, "pursue", pursue)
    assert explore("acquire+acquire.1", "acquire+acquire.2") == 3
    out = capsys.readouterr().out
    assert "the scheduler failed: no step for 10 s" in out
    assert "the scheduler failed in 1" in out
    answers += [SchedulerFailure("no step"), Report("x", schedules=2)]
    monkeypatch.setattr(explore_verb, "document", lambda *_: {**FOUND})
    assert explore("acquire+acquire.1", "acquire+acquire.2") == 1


FOUND: dict[str, Any] = {
    "schedules": 2,
    "exhausted": False,
    "races": 1,
    "finding": {"invariant": "leaks", "story": "leaks: a story", "token": "a~b~c"},
}


def test_an_interrupted_search_is_unclear_and_tells_what_it_saw(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def pursue(hunt: Any, **_kwargs: Any) -> Report:
        calls.append(hunt.program)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return Report(hunt.program, schedules=5)

    monkeypatch.setattr(explore_verb, "pursue", pursue)
    assert explore("acquire+acquire.1", "acquire+acquire.2") == 3
    assert "1 of 2 scenarios, 5 schedules, 0 exhausted, nothing found, interrupted" in (
        capsys.readouterr().out
    )


def test_seconds_bound_all_scenarios_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def pursue(hunt: Any, **_kwargs: Any) -> Report:
        asked.append(hunt)
        return Report(hunt.program)

    monkeypatch.setattr(explore_verb, "pursue", pursue)
    names = ["acquire+acquire.1", "acquire+acquire.2", "publish+kill.1", "publish+kill.2"]
    assert explore(*names, "--seconds", "40") == 0
    shares = [hunt.seconds for hunt in asked]
    assert [hunt.schedules for hunt in asked] == [None] * 4
    assert 9 < shares[0] <= 10
    assert 35 < shares[-1] <= 40, "what the others left over"
    asked.clear()
    assert explore(*names) == 0
    assert [(hunt.schedules, hunt.seconds, hunt.depth) for hunt in asked] == [(100, None, 3)] * 4
    asked.clear()
    assert explore(names[0], "--strategy", "dfs") == 0
    assert [(hunt.schedules, hunt.seconds, hunt.depth) for hunt in asked] == [(None, None, 2)]


def test_progress_is_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert explore("release+release.1", "--schedules", "60") == 0
    printed = capsys.readouterr()
    assert "1 of 1: release+release.1, 50 schedules" in printed.err
    assert printed.err.endswith("\r\x1b[K"), "and is gone when it is over"
    assert "1 of 1:" not in printed.out


def test_without_a_scenario_it_is_the_whole_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def pursue(hunt: Any, **_kwargs: Any) -> Report:
        asked.append(hunt.program)
        return Report(hunt.program)

    monkeypatch.setattr(explore_verb, "pursue", pursue)
    assert explore() == 0
    assert asked == explore_verb.catalogue()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing.1"], "unknown scenario 'nothing.1'"),
        (["publish+kill"], "unknown scenario 'publish+kill'"),
        (["publish+kill.1@loud"], "unknown scenario"),
        (["--client", "nobody"], "unknown client 'nobody'"),
        (["--json", "/nowhere/at/all"], "there is no folder"),
    ],
)
def test_what_the_user_can_mend_is_2_in_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore(*words) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize(
    "words", [["--depth", "0"], ["--schedules", "-1"], ["--seconds", "x"], ["--strategy", "luck"]]
)
def test_a_wrong_number_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        explore(*words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_json_on_standard_output_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert explore("acquire+acquire.1", "--schedules", "2", "--json", "-") == 0
    document = json.loads(capsys.readouterr().out)
    (search,) = document["searches"]
    assert (search["schedules"], search["exhausted"], search["finding"]) == (2, False, None)


# -- tokens ------------------------------------------------------------------------------------


def test_a_file_is_a_plan_whatever_it_is_called(tmp_path: Path) -> None:
    assert is_token("publish+kill.1~x49lSg~BQFDElQC")
    assert is_token("~/odd:Name:publish+kill.1~x49lSg~")
    assert not is_token("reports/plan-chaos_no_deadlock-1234.json")
    file = tmp_path / "a~b~c"
    file.write_text("")
    assert not is_token(str(file))


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("publish+kill.1~x49lSg~BQFDElQC", "for another source, or another Python"),
        ("nothing.1~x49lSg~BQFDElQC", "there is no program 'nothing.1'"),
        ("publish+kill.1~x49lSg~B=", "cut short or mistyped"),
        ("~x49lSg~BQFDElQC", "is no token"),
    ],
)
def test_a_token_that_fits_nothing_is_2(
    token: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", token]) == 2
    assert says in capsys.readouterr().err


def test_a_token_holds_for_one_client(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", "publish+kill.1~x49lSg~B", "--client", "amqpool"]) == 2
    assert "leave --client out" in capsys.readouterr().err


def test_a_token_whose_order_breaks_nothing_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.schedules.hunts import find_program

    program = find_program("acquire+acquire.1")
    assert cli.main(["replay", encode(Token(program.name, program.digest(), []))]) == 0
    assert "10 of 10 runs alike: nothing found" in capsys.readouterr().out


def test_the_command_needs_no_quotes() -> None:
    command = replay_command("tests/mutants/leaks.py:Two:publish+kill.1@line~x49_-g~BQFDElQC")
    assert shlex.split(command) == command.split()


# -- another client, which is not installed here -------------------------------------------------


class Gone(BaseException):
    """In place of the process that would have become another."""


@pytest.mark.parametrize(
    "words",
    [
        ["explore", "rpc+rpc.2", "--client", "kombu_threadsafe"],
        ["replay", "kombu_threadsafe:rpc+rpc.2~AAAA~AwEylAE"],
    ],
)
def test_the_command_becomes_one_under_the_python_of_the_client_s_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    went: list[Any] = []

    def execve(python: Path, arguments: list[str], environment: dict[str, str]) -> None:
        went.append((python, arguments, environment["PYTHONPATH"]))
        raise Gone

    monkeypatch.setattr(explore_verb, "python_of", lambda client: tmp_path / client)
    monkeypatch.setattr(explore_verb.os, "execve", execve)
    with pytest.raises(Gone):
        cli.main(words)
    python = tmp_path / "kombu_threadsafe"
    command = [str(python), "-m", "benchmarks.harness", *words]
    assert went == [(python, command, str(ROOT))]


def test_a_client_whose_environment_cannot_be_made_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def python_of(client: str) -> Path:
        raise EnvironmentProblem(f"no index has {client}")

    monkeypatch.setattr(explore_verb, "python_of", python_of)
    assert explore("rpc+rpc.2", "--client", "kombu_threadsafe") == 2
    assert capsys.readouterr().err == "error: no index has kombu_threadsafe\n"


# -- what was found before -----------------------------------------------------------------------


def known(**fields: Any) -> Entry:
    entry = {
        "of": "a test",
        "program": "model:inverted-locks",
        "strategy": "pct",
        "depth": 3,
        "seed": 1,
        "schedules": 500,
        "invariant": "deadlocks",
    }
    return Entry(**{**entry, **fields})


def test_a_token_that_is_known_is_replayed_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{RACY}:{THERE}"
    # Its first order is the default one, which breaks nothing.
    words = (THERE, "--client", RACY, "--strategy", "dfs", "--depth", "1", "--json", "-")
    assert explore(*words) == 1
    (first,) = json.loads(capsys.readouterr().out)["searches"]
    assert first["schedules"] > 1
    keep(monkeypatch, tmp_path, [known(program=name, token=first["finding"]["token"])])
    assert explore(*words) == 1
    (again,) = json.loads(capsys.readouterr().out)["searches"]
    assert again["schedules"] == 1
    assert again["finding"]["invariant"] == SIGN


def test_a_bug_that_was_mended_is_searched_for_first_and_reported_if_it_is_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{RACY}:{THERE}"
    keep(monkeypatch, tmp_path, [known(program=name, mended=True, seed=7, schedules=300)])
    assert explore(THERE, "--client", RACY, "--schedules", "1", "--json", "-") == 1
    (search,) = json.loads(capsys.readouterr().out)["searches"]
    assert (search["hunt"]["seed"], search["hunt"]["schedules"]) == (7, 300)


def test_a_token_that_is_stale_is_searched_for_again_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not run: what it would show now would be another order."""
    name = f"{RACY}:{THERE}"
    stale = encode(Token(name, b"else", []))
    file = tmp_path / "found.json"
    words = (THERE, "--client", RACY, "--schedules", "1", "--json", str(file))
    told = "a known token is of another source or Python, and was searched for again instead"
    keep(monkeypatch, tmp_path, [known(program=name, token=stale, seed=7, schedules=300)])
    assert explore(*words) == 1
    assert told in capsys.readouterr().out
    (search,) = json.loads(file.read_text())["searches"]
    assert (search["hunt"]["seed"], search["hunt"]["schedules"]) == (7, 300)
    assert search["stale_tokens"] == 1
    # In vain (the first order is the default one), and then the search that was asked for.
    entry = known(program=name, token=stale, strategy="dfs", depth=1, schedules=1)
    keep(monkeypatch, tmp_path, [entry])
    assert explore(*words, "--strategy", "dfs", "--depth", "3") == 0
    assert told in capsys.readouterr().out
    (search,) = json.loads(file.read_text())["searches"]
    assert (search["hunt"]["depth"], search["stale_tokens"]) == (3, 1)
