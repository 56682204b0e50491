"""Finding an adapter: a name from the table, or ``path/to/file.py:ClassName``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

from benchmarks.clients.base import UNDECLARABLE, Client

#: name -> (module below benchmarks.clients, class)
CLIENTS = {
    "amqpool": ("amqpool", "AmqpoolClient"),
    "kombu_threadsafe": ("kombu_threadsafe", "KombuThreadsafe"),
    "kombu_threadsafe_drainer": ("kombu_threadsafe", "KombuThreadsafeDrainer"),
    "amqpstorm": ("amqpstorm", "AmqpstormClient"),
    "kombu": ("kombu", "KombuClient"),
    "pika": ("pika", "PikaClient"),
    "pika_threadsafe": ("pika_threadsafe", "PikaThreadsafeClient"),
    "pyamqp": ("pyamqp", "PyamqpClient"),
    "rabbitpy": ("rabbitpy", "RabbitpyClient"),
}


class ClientError(Exception):
    """No such client, not installed, or it declares what it may not; the text says what to do."""


def load_client(name: str) -> type[Client]:
    """Return the adapter class. Raises ClientError."""
    if name in CLIENTS:
        module, attribute = CLIENTS[name]
        return _checked(
            getattr(importlib.import_module(f"benchmarks.clients.{module}"), attribute), name
        )
    return _checked(load_from_file(name, CLIENTS), name)


def load_from_file(name: str, known: Iterable[str]) -> object:
    """What ``path/to/file.py:Class`` names; ``known`` are the names that would have done as well.

    Raises ClientError.
    """
    path, colon, attribute = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ClientError(
            f"unknown client {name!r}: give one of {', '.join(sorted(known))}, or an adapter as "
            "path/to/file.py:Class"
        )
    file = Path(path).resolve()
    if not file.is_file():
        raise ClientError(f"client {name!r}: there is no file {path}")
    # A name of its own, so that two adapter files called client.py cannot be taken for each other.
    # The same in every process: it stands in the names of exceptions.
    module_name = f"amqpool_adapter_{file.stem}_{zlib.crc32(os.fsencode(file)):08x}"
    specification = importlib.util.spec_from_file_location(module_name, file)
    if specification is None or specification.loader is None:
        raise ClientError(f"client {name!r}: {path} is not a Python file")
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = loaded
    # An adapter may stand beside helpers of its own, as any script may.
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        specification.loader.exec_module(loaded)
    except ImportError as error:
        raise ClientError(f"client {name!r} cannot be imported: {error}; install it") from error
    except (Exception, SystemExit) as error:
        raise ClientError(f"client {name!r} failed on import: {error!r}") from error
    if not hasattr(loaded, attribute):
        raise ClientError(f"client {name!r}: {path} defines no {attribute}")
    found: object = getattr(loaded, attribute)
    return found


def portable_name(name: str) -> str:
    """The same adapter, named so that it is found from any working directory."""
    path, colon, attribute = name.rpartition(":")
    return f"{Path(path).resolve()}:{attribute}" if colon else name


def _checked(adapter: object, name: str) -> type[Client]:
    if not (isinstance(adapter, type) and issubclass(adapter, Client)):
        raise ClientError(f"client {name!r} is not a subclass of benchmarks.clients.base.Client")
    return adapter


def make_client(name: str, urls: list[str], size: int) -> Client:
    """Load the adapter and make the client. Raises ClientError, also when it is not installed."""
    adapter = load_client(name)
    try:
        client = adapter(urls, size)
    except ImportError as error:
        raise _not_installed(adapter, error) from error
    check_declared(client)
    return client


def _not_installed(adapter: type[Client], error: ImportError) -> ClientError:
    needed = " ".join(adapter.requirements) or adapter.name
    return ClientError(
        f"client {adapter.name!r} is not installed: {error}; try: pip install {needed}"
    )


def check_declared(client: Client) -> None:
    """Refuse an adapter that declares a class too broad to mean anything.

    Too broad is also what *contains* such a class: LookupError would hide every KeyError. Also
    imports the library, so that a client that is not installed is told here. Raises ClientError.
    """
    try:
        declared = (
            *client.recoverable,
            *client.timeouts,
            *client.closed,
            *client.refused,
            *client.cancelled,
            *client.unconfirmed,
        )
    except ImportError as error:
        raise _not_installed(type(client), error) from error
    for kind in declared:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ClientError(f"client {client.name!r} declares {kind!r}, no exception class")
        if any(issubclass(narrow, kind) for narrow in UNDECLARABLE):
            raise ClientError(
                f"client {client.name!r} declares {kind.__name__} as recoverable or as a timeout, "
                "as closed, refused, cancelled or unconfirmed; declare the client's own exception "
                "classes"
            )
