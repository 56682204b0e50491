"""The rules of the house that a machine can hold: who may import whom, and when.

What asv finds and would run is held by ``tests/asv/test_discovery.py``.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
#: What asv's environments hold beside the standard library and the benchmarks themselves.
IN_ASVS_ENVIRONMENT = {"numpy", "pamqp", "benchmarks"}
#: Client libraries, and what they are made of.
CLIENT_LIBRARIES = {"amqp", "amqpool", "vine", "kombu", "pika", "rabbitpy", "aio_pika", "aiormq"}
#: Runs the import-linter with its cache off: two runs at a time would fight over it.
LINT = "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"
#: Imports every module with what asv's environments lack made unimportable. In a process of its
#: own, since the one that runs the tests has long imported half of it.
IMPORT_ALL = """
import importlib, sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("amqp", "amqpool", "asv", "asv_runner", "rich", "vine"):
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Blocked())
count = 0
for path in sorted(Path("benchmarks").rglob("*.py")):
    if path.name not in ("__init__.py", "__main__.py"):
        importlib.import_module(".".join(path.with_suffix("").parts))
        count += 1
print(count)
"""


def run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_import_contracts_hold() -> None:
    done = run(LINT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout), done.stdout


def test_every_module_can_be_imported_without_any_client_asv_or_rich() -> None:
    done = run(IMPORT_ALL, "-W", "error")
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 30


def imported(tree: ast.Module, inside_functions: bool) -> Iterator[tuple[int, str]]:
    """The packages that a module imports, when it is imported itself or at all."""
    todo: list[ast.AST] = [tree]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.lineno, (node.module or "").partition(".")[0]
            elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                todo.append(node)


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(BENCHMARKS.rglob("*.py")):
        yield path.relative_to(BENCHMARKS), ast.parse(path.read_text(), str(path))


@pytest.mark.parametrize(
    ("source", "top", "anywhere"),
    [
        ("import a.b as c, d\nfrom e.f import g", ["a", "d", "e"], ["a", "d", "e"]),
        ("def f():\n    import a", [], ["a"]),
        ("class C:\n    def f(self):\n        from a import b", [], ["a"]),
        ("try:\n    import a\nexcept E:\n    import b", ["a", "b"], ["a", "b"]),
        ("from . import a\nfrom .b import c", [], []),
    ],
)  # fmt: skip
def test_the_search_for_imports_finds_them(
    source: str, top: list[str], anywhere: list[str]
) -> None:
    tree = ast.parse(source)
    assert sorted(name for _, name in imported(tree, inside_functions=False)) == top
    assert sorted(name for _, name in imported(tree, inside_functions=True)) == anywhere


def test_at_module_level_benchmarks_import_only_what_asvs_environments_hold() -> None:
    found = [
        f"{path}:{line}: {name}"
        for path, tree in modules()
        for line, name in imported(tree, inside_functions=False)
        if name not in sys.stdlib_module_names and name not in IN_ASVS_ENVIRONMENT
    ]
    assert found == []


def test_a_client_library_is_imported_only_in_its_own_adapter() -> None:
    found = {
        path.as_posix(): name
        for path, tree in modules()
        for _, name in imported(tree, inside_functions=True)
        if name in CLIENT_LIBRARIES
    }
    assert {path.partition("/")[0] for path in found} == {"clients"}, found
