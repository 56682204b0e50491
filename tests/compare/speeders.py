"""Clients for the speed workloads that do not do what they should."""

from __future__ import annotations

import os
import threading

from benchmarks.clients.speed.base import Session, Speed


class _Session(Session):
    def __init__(self, client: Speed) -> None:
        self._client = client

    def publish(self, queue: str, body: bytes) -> None:
        """Nothing is sent."""

    def close(self) -> None:
        """Nothing was opened."""


class Loses(Speed):
    """Returns at once from every publish, and sends nothing."""

    name = "loses"

    @property
    def version(self) -> str:
        return "1.0"

    def open(self) -> None:
        """It connects nowhere."""

    def session(self) -> Session:
        return _Session(self)

    def close(self) -> None:
        """Nothing was opened."""


class Hangs(Loses):
    name = "hangs"

    def open(self) -> None:
        threading.Event().wait(60.0)


class Dies(Loses):
    name = "dies"

    def open(self) -> None:
        print("these are my last words", flush=True)
        os._exit(7)


class Raises(Loses):
    name = "raises"

    def session(self) -> Session:
        raise LookupError("no channel")
