"""The keeper's control port: requests in, what the keeper says out, until the lifeline ends."""

from __future__ import annotations

import selectors
from typing import Any

from benchmarks.wire.commands import CommandError, Commands, Handler

from .faults import BadOption
from .keeper import Keeper
from .waiting import KeeperError, Lifeline


class Service:
    """Serves one keeper. Its control port takes connections once this exists."""

    def __init__(self, keeper: Keeper, lifeline: Lifeline, token: str) -> None:
        self._lifeline = lifeline
        self._selector = selectors.DefaultSelector()
        for descriptor in lifeline.descriptors:
            self._selector.register(descriptor, selectors.EVENT_READ)
        self._commands = Commands(token, _handlers(keeper), self._selector)
        self.port = self._commands.port

    def run(self) -> None:
        """Serve until the lifeline ends: raises Ended."""
        while True:
            for key, events in self._selector.select():
                if key.data is None:
                    self._lifeline.check()
                else:
                    key.data(key.fileobj, events)

    def close(self) -> None:
        """Close the control port."""
        self._commands.close()
        self._selector.close()


def _handlers(keeper: Keeper) -> dict[str, Handler]:
    def status(request: dict[str, Any]) -> dict[str, Any]:
        _nothing_more(request)
        return keeper.status()

    def fault(request: dict[str, Any]) -> dict[str, Any]:
        return keeper.fault(str(request.pop("kind", None)), request)

    def heal(request: dict[str, Any]) -> dict[str, Any]:
        kind = request.pop("kind", None)
        _nothing_more(request)
        return keeper.heal(kind if kind is None else str(kind))

    def sync(request: dict[str, Any]) -> dict[str, Any]:
        _nothing_more(request)
        return keeper.sync()

    def leaders(request: dict[str, Any]) -> dict[str, Any]:
        queue = request.pop("queue", None)
        _nothing_more(request)
        return keeper.leaders(str(queue))

    handlers = (status, fault, heal, sync, leaders)
    return {handler.__name__: _answering(handler) for handler in handlers}


def _answering(handler: Handler) -> Handler:
    """What went wrong is the answer, not the keeper's end."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        try:
            return handler(request)
        except (BadOption, KeeperError) as error:
            raise CommandError(str(error)) from error

    return answer


def _nothing_more(request: dict[str, Any]) -> None:
    """Refuse what a request does not know: a word that was ignored would be a wish unfulfilled."""
    for name in sorted(request):
        raise CommandError(f"unknown field {name!r}")
