"""Mutants that end the process."""

from __future__ import annotations

import os
import signal
from typing import Any

from mutating import GO_ON, PUBLISH, Mutant, Nth


class ExitsInTheMiddle(Nth):
    """One publish ends the process, with status 0 and without a word."""

    rises = ("crashes",)
    method, every, once = PUBLISH, 60, True

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        os._exit(0)


class Segfaults(Nth):
    """One publish kills the process by a signal, as broken C code does."""

    rises = ("crashes",)
    method, every, once = PUBLISH, 60, True

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)
        return GO_ON


class ExitsOnDisconnect(Nth):
    """A lost connection ends the process: the client takes it for the end of the program."""

    scenario = "chaos_with_connection_kills"
    load = "10x30x10"
    rises = ("crashes",)
    method, every = "amqpool:ChannelPool._lost", 1

    def goes_wrong(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        os._exit(1)


MUTANTS: tuple[type[Mutant], ...] = (ExitsInTheMiddle, Segfaults, ExitsOnDisconnect)
UNWIDENED: tuple[type[Mutant], ...] = ()
