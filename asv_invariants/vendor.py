"""The libraries that asv's pages load from the network, taken from npm packages instead.

``package-lock.json`` beside this file names each package by version and digest; npm fetches them
once into ``.asv/vendor`` and checks the digests. From there they are copied into the published
site with their licences, and the pages' addresses are rewritten. Nothing of theirs is in this
repository.

A page that names a library which is not in the table is told, never left half offline in silence.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent / "npm"
#: Seconds for npm: six small packages; a network that is not there is noticed long before.
NPM_SECONDS = 120
#: npm waits minutes for a network by default.
_NPM = (
    "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--prefer-offline",
    "--fetch-retries=1", "--fetch-timeout=20000", "--loglevel=error",
)  # fmt: skip


@dataclass(frozen=True)
class Library:
    """One file: how its address is recognised, and where it is in a package."""

    address: str
    package: str
    path: str

    @property
    def file(self) -> str:
        return self.path.rpartition("/")[2]


#: flot's package holds the sources of what the network serves minified; the version is the same.
#: stupidtable 1.0.1 is in no registry: the next one that is has the same interface.
LIBRARIES = (
    Library("/jquery-3.3.1.min.js", "jquery", "dist/jquery.min.js"),
    Library("/flot/0.8.3/jquery.flot.min.js", "flot", "jquery.flot.js"),
    Library("/flot/0.8.3/jquery.flot.time.min.js", "flot", "jquery.flot.time.js"),
    Library("/flot/0.8.3/jquery.flot.selection.min.js", "flot", "jquery.flot.selection.js"),
    Library("/flot/0.8.3/jquery.flot.categories.min.js", "flot", "jquery.flot.categories.js"),
    Library("/jquery.flot.orderBars.js", "flot-orderbars", "js/jquery.flot.orderBars.js"),
    Library("/stupidtable/1.0.1/stupidtable.min.js", "stupid-table-plugin", "stupidtable.js"),
    Library("/blueimp-md5/2.19.0/js/md5.min.js", "blueimp-md5", "js/md5.min.js"),
    Library("/bootstrap@3.1.1/dist/js/bootstrap.min.js", "bootstrap", "dist/js/bootstrap.min.js"),
    Library(
        "/bootstrap@3.1.1/dist/css/bootstrap.min.css", "bootstrap", "dist/css/bootstrap.min.css"
    ),
)
#: A tag of the page that loads something from another host.
_TAG = re.compile(r'<(?:script|link)\b[^>]*?\b(?:src|href)="(?P<address>https?://[^"]+)"[^>]*>')
#: What belongs to the other host: the digest of its very bytes, and how it is asked for.
_REMOTE = re.compile(r'\s+(?:integrity|crossorigin|referrerpolicy|onerror)="[^"]*"')


class VendorError(Exception):
    """The libraries cannot be had, or a page wants one that is unknown; the text says which."""


def fetch(cache: Path) -> Path:
    """The folder of the unpacked packages, fetched if it is not there. Raises VendorError.

    It is made beside its place and moved there whole, so that an interrupted one is never used.
    """
    digest = hashlib.sha256((_HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    place = cache / digest
    if place.is_dir():
        return place / "node_modules"
    npm = shutil.which("npm")
    if npm is None:
        raise VendorError("npm is not installed, and the libraries are not in the cache yet")
    work = cache / f"{digest}.tmp"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(_HERE / name, work / name)
    try:
        done = subprocess.run(
            [npm, *_NPM],
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise VendorError(f"npm gave no answer in {NPM_SECONDS} s: is there a network?") from None
    if done.returncode != 0:
        why = " ".join(done.stderr.split())[:300]
        raise VendorError(f"npm could not fetch the libraries: {why}")
    for library in LIBRARIES:
        if not (work / "node_modules" / library.package / library.path).is_file():
            raise VendorError(f"the package {library.package} holds no {library.path}")
    work.rename(place)
    return place / "node_modules"


def localise(page: str) -> tuple[str, list[Library]]:
    """The page with every address on the network made local, and the libraries it needs.

    Raises VendorError when it names one that is not in the table.
    """
    needed: list[Library] = []

    def replace(match: re.Match[str]) -> str:
        address = html.unescape(match["address"])
        library = next((one for one in LIBRARIES if address.endswith(one.address)), None)
        if library is None:
            raise VendorError(f"the pages load {address}, which is in no package known here")
        needed.append(library)
        tag = _REMOTE.sub("", match[0])
        return tag.replace(match["address"], f"vendor/{library.file}")

    return _TAG.sub(replace, page), needed


def install(packages: Path, libraries: list[Library], site: Path) -> None:
    """Copy the libraries and their licences into ``site/vendor``."""
    folder = site / "vendor"
    folder.mkdir(exist_ok=True)
    for library in libraries:
        shutil.copyfile(packages / library.package / library.path, folder / library.file)
    text = "\n".join(_licences(packages, libraries))
    (folder / "LICENCES.txt").write_text(text, encoding="utf-8")


def _licences(packages: Path, libraries: list[Library]) -> Iterator[str]:
    yield "Libraries of these pages, from their npm packages, each under its own licence.\n"
    for package in sorted({library.package for library in libraries}):
        folder = packages / package
        facts = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        named = facts.get("license") or facts.get("licenses") or "see below"
        if isinstance(named, dict):
            named = named.get("type", "see below")
        yield f"==== {package} {facts['version']}: {named}"
        texts = sorted(path for path in folder.iterdir() if path.name.upper().startswith("LICEN"))
        for path in texts:
            yield path.read_text(encoding="utf-8", errors="replace")
