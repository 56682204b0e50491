"""What each peer's environment holds: pinned, so that a table says what was measured.

Data alone. A newer release of a peer is one line here.
"""

from __future__ import annotations

PYAMQP = ("amqp==5.4.2",)
AMQPSTORM = ("amqpstorm==3.1.4",)
KOMBU = ("kombu==5.7.0", *PYAMQP)
KOMBU_THREADSAFE = ("kombu-pyamqp-threadsafe==0.7.1", *KOMBU)
PIKA = ("pika==1.4.4",)
#: The first with a connection that is thread-safe.
PIKA_THREADSAFE = ("pika==1.5.0rc1",)
RABBITPY = ("rabbitpy==3.0.2",)
