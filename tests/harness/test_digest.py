"""The digest of the instrument changes with what judges, and with nothing that only shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.harness import digest

INSTRUMENT = Path(digest.__file__).parents[1]


@pytest.fixture(name="copy")
def _copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "benchmarks"
    shutil.copytree(INSTRUMENT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "_ROOT", root)
    return root


def now() -> str:
    """The digest without its cache."""
    return digest.instrument_digest.__wrapped__()


def test_the_same_files_elsewhere_have_the_same_digest(copy: Path) -> None:
    before = now()
    assert before == digest.instrument_digest()
    cache = copy / "harness" / "__pycache__"
    cache.mkdir()
    (cache / "books.cpython-311.pyc").write_bytes(b"x")
    assert now() == before


@pytest.mark.parametrize(
    "name",
    ["harness/books.py", "harness/workload.py", "broker/core.py", "proxy/ledger.py",
     "wire/frames.py", "clients/amqpool.py"],
)  # fmt: skip
def test_a_change_in_what_measures_or_judges_changes_it(copy: Path, name: str) -> None:
    before = now()
    with (copy / name).open("a") as file:
        file.write("# changed\n")
    assert now() != before


@pytest.mark.parametrize("name", ["harness/cli.py", "harness/table.py", "harness/__main__.py"])
def test_a_change_in_what_only_shows_does_not(copy: Path, name: str) -> None:
    before = now()
    (copy / name).write_text("# changed\n")
    assert now() == before


def test_a_renamed_or_a_new_file_changes_it(copy: Path) -> None:
    before = now()
    (copy / "harness" / "new.py").write_text("")
    added = now()
    (copy / "harness" / "new.py").rename(copy / "harness" / "newer.py")
    assert len({before, added, now()}) == 3
