"""Finding a client for the speed workloads: name -> (module of this package, class)."""

from __future__ import annotations

import importlib

from benchmarks.clients.loader import ClientError
from benchmarks.clients.speed.base import Speed

#: The client that the table is about, and what no client can be faster than.
SUBJECT, FLOOR = "amqpool", "floor"

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
}


def load_speed(name: str) -> type[Speed]:
    """Return the class. Raises ClientError."""
    if name not in SPEEDS:
        raise ClientError(f"unknown client {name!r}: give some of {', '.join(SPEEDS)}")
    module, attribute = SPEEDS[name]
    found: type[Speed] = getattr(
        importlib.import_module(f"benchmarks.clients.speed.{module}"), attribute
    )
    return found
