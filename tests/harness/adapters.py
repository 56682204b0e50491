"""Adapters that are wrong in one way each, for the loader and for whole trials."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from benchmarks.clients.base import Outgoing
from examples.locked_pyamqp import Locked


class NotAClient:
    """Looks like a class, and is no client."""


not_even_a_class = 5


class DeclaresKeyError(Locked):
    recoverable = (OSError, KeyError)


class DeclaresException(Locked):
    timeouts = (Exception,)


class DeclaresWhatHoldsAKeyError(Locked):
    recoverable = (LookupError,)


class ClosesWithAnything(Locked):
    closed = (Exception,)


class RefusesWithAnything(Locked):
    refused = (AttributeError,)


class DeclaresNoClass(Locked):
    timeouts = ("TimeoutError",)  # type: ignore[assignment]


class NotInstalled(Locked):
    name: ClassVar[str] = "no-such-library"

    @property
    def recoverable(self) -> tuple[type[BaseException], ...]:
        import no_such_library  # type: ignore[import-not-found]

        return (no_such_library.Lost,)


class NotInstalledForItsMaker(Locked):
    name: ClassVar[str] = "no-such-library"

    def __init__(self, urls: list[str], size: int) -> None:
        super().__init__(urls, size)
        import no_such_library

        self.library = no_such_library


class EndsItsProcess(Locked):
    """Ends the process with the very status that the harness uses for a refused client."""

    def publish(self, handle: Any, message: Outgoing) -> Any:
        os._exit(2)


class MakerFails(Locked):
    def __init__(self, urls: list[str], size: int) -> None:
        raise ValueError("no such option")


class DoesNotOpen(Locked):
    def open(self) -> None:
        raise ConnectionRefusedError("nobody is there")


class ShadowedByTheHarness(Locked):
    """Imports a module that has the name of one of the harness's own files."""

    def open(self) -> None:
        try:
            import workload  # type: ignore[import-not-found]
        except ImportError:
            super().open()
        else:
            raise AssertionError(f"the harness hides what a client may import: {workload}")
