"""The names of the explored code: each run finds them as the first one did.

Owns the note of what each explored module and class held under which name when the search began. A
client that patches a class when it is first opened, or counts its instances in a class attribute,
would else run only once as meant: what a run did would depend on the runs before it, and no token
would be worth anything. Names are put back, what they name is not looked into: a list at module
level that a run appended to stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

Owner = ModuleType | type


class Namespaces:
    """The explored modules and their classes, as they are now."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._before: list[tuple[Owner, dict[str, Any]]] = []
        for name, module in list(sys.modules.items()):
            if not isinstance(module, ModuleType) or not wanted(_file(module)):
                continue
            self._before.append((module, dict(vars(module))))
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__ == name:
                    self._before.append((value, dict(vars(value))))

    def restore(self) -> None:
        """Put every name back."""
        for owner, before in self._before:
            now = vars(owner)
            for name in [name for name in now if name not in before]:
                delattr(owner, name)
            for name, value in before.items():
                if now.get(name, self) is not value:
                    setattr(owner, name, value)


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or ""
