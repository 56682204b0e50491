"""The libraries: what asv's page asks for, and what happens when they cannot be had."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import asv
import pytest

from asv_invariants import vendor
from asv_invariants.index_page import UnknownPage, insert
from asv_invariants.vendor import LIBRARIES, VendorError, fetch, install, localise
from tests.asv_invariants.site import ROOT

STOCK = (Path(asv.__file__).parent / "www" / "index.html").read_text()


class Loads(html.parser.HTMLParser):
    """Everything that a page loads; links that a person follows are not among it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "source", "object"):
            self.found.append({key: value or "" for key, value in attributes})


def addresses(page: str) -> list[str]:
    every = [one.get("src") or one.get("href") or "" for one in Loads(page).found]
    return [address for address in every if re.match(r"(?:[a-z]+:)?//", address)]


def test_every_library_of_the_installed_asv_is_in_the_table() -> None:
    wanted = addresses(STOCK)
    assert len(wanted) == len(LIBRARIES)
    page, needed = localise(STOCK)
    assert sorted(needed, key=repr) == sorted(LIBRARIES, key=repr)
    assert addresses(page) == []
    assert "integrity=" not in page


def test_what_is_not_the_networks_stays_as_it_is() -> None:
    page = '<script src="asv.js"></script><a href="https://example.org/">x</a>'
    assert localise(page) == (page, [])


def test_an_unknown_library_is_told() -> None:
    with pytest.raises(VendorError, match=r"https://cdn\.example/new\.js"):
        localise('<script src="https://cdn.example/new.js"></script>')


def test_the_packages_hold_what_asv_asks_for(packages: Path) -> None:
    """Byte for byte, where the package holds the very file of the network."""
    stock = Loads(STOCK).found
    same = []
    for library in LIBRARIES:
        content = (packages / library.package / library.path).read_bytes()
        [tag] = [
            one
            for one in stock
            if (one.get("src") or one.get("href", "")).endswith(library.address)
        ]
        name, _, digest = tag["integrity"].partition("-")
        if base64.b64encode(hashlib.new(name, content).digest()).decode() == digest:
            same.append(library.package)
    assert same == ["jquery", "flot-orderbars", "blueimp-md5", "bootstrap", "bootstrap"]


def test_they_come_with_their_licences(packages: Path, tmp_path: Path) -> None:
    install(packages, list(LIBRARIES), tmp_path)
    text = (tmp_path / "vendor" / "LICENCES.txt").read_text()
    heads = re.findall(r"^==== (\S+) (\S+): (\S+)", text, re.MULTILINE)
    assert [(name, licence) for name, _, licence in heads] == [
        ("blueimp-md5", "MIT"),
        ("bootstrap", "MIT"),
        ("flot", "see"),
        ("flot-orderbars", "MIT"),
        ("jquery", "MIT"),
        ("stupid-table-plugin", "MIT"),
    ]
    assert text.count("Permission is hereby granted") >= 5
    assert {path.name for path in (tmp_path / "vendor").iterdir()} == {
        "LICENCES.txt",
        *(library.file for library in LIBRARIES),
    }


def test_a_filled_cache_needs_no_npm(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert fetch(packages.parent.parent) == packages


def test_neither_cache_nor_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(VendorError, match="npm is not installed"):
        fetch(tmp_path)


def fake_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))


def test_npm_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, monkeypatch, "echo no network >&2; exit 1")
    with pytest.raises(VendorError, match="npm could not fetch the libraries: no network"):
        fetch(tmp_path / "cache")


def test_npm_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(vendor, "NPM_SECONDS", 0.2)
    with pytest.raises(VendorError, match=r"no answer in 0\.2 s"):
        fetch(tmp_path / "cache")


def test_half_a_package_is_never_taken_for_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path, monkeypatch, "mkdir node_modules")
    for _ in range(2):
        with pytest.raises(VendorError, match=r"the package jquery holds no dist/jquery\.min\.js"):
            fetch(tmp_path / "cache")


def test_fetching_beforehand_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asv_invariants", str(tmp_path / "cache")],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: npm is not installed, and the libraries are not in the cache yet\n"
    )


def test_nothing_minified_is_in_the_repository() -> None:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    scripts = [
        ROOT / name
        for name in done.stdout.split("\0")
        if name.endswith((".js", ".css")) and (ROOT / name).is_file()
    ]
    assert len(scripts) >= 3
    for path in scripts:
        assert ".min." not in path.name
        assert max(map(len, path.read_text().splitlines())) < 200, path


# -- the page ------------------------------------------------------------------------------------


def test_the_page_gets_an_entry_a_display_and_a_script() -> None:
    page = insert(STOCK)
    for part in ("nav-li-invariants", "invariants-display", "invariants.js", "invariants.css"):
        assert (STOCK.count(part), page.count(part)) == (0, 1)


@pytest.mark.parametrize("page", ["", STOCK + STOCK, STOCK.replace("nav-li-graphdisplay", "x")])
def test_a_page_that_is_not_asvs_is_refused(page: str) -> None:
    with pytest.raises(UnknownPage, match=r"asv's index\.html holds"):
        insert(page)
