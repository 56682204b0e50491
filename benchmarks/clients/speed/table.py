"""Finding a client for the speed workloads: name -> (module of this package, class)."""

from __future__ import annotations

import importlib

from benchmarks.clients.loader import ClientError, load_from_file
from benchmarks.clients.speed.base import Speed

#: The client that the table is about, and what no client can be faster than: with a connection for
#: each thread, and with one for all.
SUBJECT, FLOOR, FLOOR_SHARED = "amqpool", "floor", "floor_shared"
FLOORS = (FLOOR, FLOOR_SHARED)

SPEEDS = {
    SUBJECT: ("amqpool", "AmqpoolSpeed"),
    "pyamqp": ("pyamqp", "PyamqpSpeed"),
    "kombu_threadsafe": ("kombu_threadsafe", "KombuThreadsafeSpeed"),
    "kombu_threadsafe_drainer": ("kombu_threadsafe", "KombuThreadsafeDrainerSpeed"),
    "amqpstorm": ("amqpstorm", "AmqpstormSpeed"),
    "pika": ("pika", "PikaSpeed"),
    "pika_threadsafe": ("pika", "PikaThreadsafeSpeed"),
    "rabbitpy": ("rabbitpy", "RabbitpySpeed"),
    "kombu": ("kombu", "KombuSpeed"),
    FLOOR: ("floor", "Floor"),
    FLOOR_SHARED: ("floor", "FloorShared"),
}


def load_speed(name: str) -> type[Speed]:
    """The class behind a name of the table, or ``path/to/file.py:Class``. Raises ClientError."""
    if name in SPEEDS:
        module, attribute = SPEEDS[name]
        found: object = getattr(
            importlib.import_module(f"benchmarks.clients.speed.{module}"), attribute
        )
    else:
        found = load_from_file(name, SPEEDS)
    if not (isinstance(found, type) and issubclass(found, Speed)):
        raise ClientError(
            f"client {name!r} is not a subclass of benchmarks.clients.speed.base.Speed"
        )
    return found
