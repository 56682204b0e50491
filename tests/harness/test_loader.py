"""Finding an adapter: what is wrong with one is told in a line, before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.clients.amqpool import AmqpoolClient
from benchmarks.clients.loader import (
    CLIENTS,
    ClientError,
    load_client,
    make_client,
    portable_name,
)

HERE = Path(__file__).parent
ADAPTERS = HERE / "adapters.py"
URLS = ["amqp://guest:guest@127.0.0.1:1/"]


def test_the_clients_of_the_table() -> None:
    # An adapter's library is imported when the client is made, not before.
    classes = {name: load_client(name) for name in CLIENTS}
    assert classes["amqpool"] is AmqpoolClient
    assert len(set(classes.values())) == len(CLIENTS)
    client = make_client("amqpool", URLS, 3)
    assert (client.urls, client.size) == (URLS, 3)


def test_an_adapter_from_a_file() -> None:
    client = make_client(f"{HERE.parents[1]}/examples/locked_pyamqp.py:Locked", URLS, 2)
    assert client.name == "locked-pyamqp"
    assert client.version


def problem(name: str) -> str:
    with pytest.raises(ClientError) as caught:
        make_client(name, URLS, 2)
    assert "\n" not in str(caught.value)
    assert "guest" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody", "unknown client 'nobody': give one of amqpool, "),
        ("", "unknown client ''"),
        (":", "unknown client ':'"),
        ("amqpool:", "unknown client"),
        ("x.py", "unknown client 'x.py'"),
        ("nowhere.py:Mine", "there is no file nowhere.py"),
        (f"{HERE}:Mine", "unknown client"),
        (f"{ADAPTERS}:", "defines no "),
        (f"{ADAPTERS}:Missing", "defines no Missing"),
        (f"{ADAPTERS}:NotAClient", "is not a subclass of benchmarks.clients.base.Client"),
        (f"{ADAPTERS}:not_even_a_class", "is not a subclass of"),
        (f"{ADAPTERS}:DeclaresKeyError", "declares KeyError as recoverable or as a timeout"),
        (f"{ADAPTERS}:DeclaresException", "declares Exception as recoverable"),
        (f"{ADAPTERS}:DeclaresWhatHoldsAKeyError", "declares LookupError as recoverable"),
        (f"{ADAPTERS}:ClosesWithAnything", "declares Exception as recoverable"),
        (f"{ADAPTERS}:RefusesWithAnything", "declares AttributeError as recoverable"),
        (f"{ADAPTERS}:DeclaresNoClass", "declares 'TimeoutError', no exception class"),
        (f"{ADAPTERS}:NotInstalled", "try: pip install no-such-library"),
        (f"{ADAPTERS}:NotInstalledForItsMaker", "try: pip install no-such-library"),
    ],
)
def test_what_is_wrong_with_an_adapter(name: str, words: str) -> None:
    assert words in problem(name)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_library", "cannot be imported: No module named 'no_such_library'"),
        ("raise ValueError('broken')", "failed on import: ValueError('broken')"),
        ("import sys; sys.exit(0)", "failed on import: SystemExit(0)"),
        ("def (", "failed on import: SyntaxError"),
    ],
)
def test_an_adapter_that_fails_on_import(tmp_path: Path, source: str, words: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)
    assert words in problem(f"{file}:Mine")


def test_two_files_of_one_name_are_two_adapters(tmp_path: Path) -> None:
    for word in ("one", "two"):
        (tmp_path / word).mkdir()
        (tmp_path / word / "client.py").write_text(
            "from examples.locked_pyamqp import Locked\n\n\n"
            f"class Mine(Locked):\n    name = {word!r}\n"
        )
    assert [load_client(f"{tmp_path / word}/client.py:Mine").name for word in ("one", "two")] == [
        "one",
        "two",
    ]


def test_an_adapters_exceptions_have_the_same_name_in_every_process() -> None:
    program = (
        "import sys\nfrom benchmarks.clients.loader import load_client\n"
        "print(load_client(sys.argv[1]).__module__)"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", program, f"{ADAPTERS}:EndsItsProcess"],
            env={"PYTHONHASHSEED": seed},
            cwd=HERE.parents[1],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(names) == 1


def test_a_portable_name_is_found_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    assert portable_name("adapters.py:DoesNotOpen") == f"{ADAPTERS}:DoesNotOpen"
    assert portable_name("amqpool") == "amqpool"
