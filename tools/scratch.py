"""A scratch repository: a clone of this one as it stands, in which commits may be made.

It never touches this repository, and needs no git user. What is not committed here is committed
there, so that a check covers what is being worked on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.kinds import EMBEDDED
from tools.bench import ROOT, give_home
from tools.label import selection

#: git needs somebody to blame; nobody's own configuration is read for it.
_NOBODY = ("-c", "user.name=scratch", "-c", "user.email=scratch@localhost")
#: Seconds for one git command; for one asv command see the callers.
_GIT_SECONDS = 60.0


class Scratch:
    """The clone in ``folder`` (made here). Its branch is ``main``, whatever this one's is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(
            ["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, timeout=_GIT_SECONDS
        )
        self.git("checkout", "--quiet", "-B", "main")
        self._overlay()
        self.base = self.commit("as it stands")
        give_home(folder.parent / "home")

    def git(self, *arguments: str) -> str:
        """Run git in the clone; raises CalledProcessError."""
        done = subprocess.run(
            ["git", *_NOBODY, *arguments],
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
        )
        return done.stdout.strip()

    def _overlay(self) -> None:
        """Make the clone's files what they are here, uncommitted ones included."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
        ).stdout
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, self.folder / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
            else:
                target.unlink(missing_ok=True)

    def commit(self, message: str) -> str:
        """Commit everything, also nothing; returns the commit's name."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def mutate(self, message: str, name: str, code: str) -> str:
        """A commit on top of the base in which ``code`` is appended to one file."""
        self.git("checkout", "--quiet", "--detach", self.base)
        path = self.folder / name
        path.write_text(path.read_text() + code)
        commit = self.commit(message)
        self.git("checkout", "--quiet", "main")
        return commit

    def selection(self, label: str = EMBEDDED) -> list[str]:
        """The arguments by which asv measures on that broker alone."""
        return selection(label, self.folder / "asv.conf.json")

    def asv(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run asv in the clone, its output in one piece; ``timeout`` in seconds."""
        return subprocess.run(
            [sys.executable, "-m", "asv", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
