"""Where RabbitMQ's programs are.

``rabbitmq-server`` in the search path is, in the packages of Debian and Red Hat, a wrapper that
switches the user and knows one node alone. The scripts that it calls are needed here; they know
themselves by ``rabbitmq-env`` beside them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Where those packages put the scripts.
PACKAGED: Final = ("/usr/lib/rabbitmq/bin",)
INSTALL: Final = (
    "install RabbitMQ (on Debian and Ubuntu: apt-get install rabbitmq-server), "
    "or take the embedded broker"
)


class Missing(Exception):
    """RabbitMQ is not installed; the text says how to."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The scripts and Erlang's port mapper, and which RabbitMQ they are of."""

    server: str
    ctl: str
    epmd: str
    version: str
    search: str
    """The search path that the scripts are given: ``erl`` is in it."""


def find(search: str | None = None, packaged: Sequence[str] = PACKAGED) -> Programs:
    """Find them in ``search`` (default: PATH) and in ``packaged``. Raises Missing."""
    search = os.environ.get("PATH", os.defpath) if search is None else search
    lacking = [name for name in ("erl", "epmd") if shutil.which(name, path=search) is None]
    scripts = _scripts([*packaged, *search.split(os.pathsep)])
    if scripts is None:
        lacking.insert(0, "rabbitmq-server")
    if scripts is None or lacking:
        raise Missing(f"there is no {', no '.join(lacking)}: {INSTALL}")
    return Programs(
        server=str(scripts / "rabbitmq-server"),
        ctl=str(scripts / "rabbitmqctl"),
        epmd=str(shutil.which("epmd", path=search)),
        version=_version(scripts),
        search=search,
    )


def _scripts(folders: Sequence[str]) -> Path | None:
    """The folder of the scripts themselves, all links followed."""
    for folder in folders:
        server = Path(folder or ".", "rabbitmq-server")
        if os.access(server, os.X_OK):
            scripts = server.resolve().parent
            if (scripts / "rabbitmq-env").exists() and (scripts / "rabbitmqctl").exists():
                return scripts
    return None


def _version(scripts: Path) -> str:
    """What the release's own plugin folder says: asking a program takes half a second."""
    found = sorted((scripts.parent / "plugins").glob("rabbit-[0-9]*"))
    return found[-1].name.removeprefix("rabbit-").removesuffix(".ez") if found else "unknown"
