"""The embedded AMQP 0-9-1 broker: a sans-I/O core and one selectors driver, in its own process.

The core (``core``, ``session``, ``channel``, ``methods``, ``queues``, ``exchanges``, ``codec``)
takes bytes and gives bytes. It owns no socket, starts no thread and reads no clock: the driver
(``server``) tells it what time it is, so the same core can stand behind an in-memory transport.

It behaves as RabbitMQ does (reply codes, reply texts, order of checks), keeps everything in
memory, and knows one virtual host, ``/``. It has no dead-lettering, no expiry of queues, no length
limits and no transactions, and says so with 540 instead of ignoring the wish. Where else it differs
from RabbitMQ on purpose stands in docs/broker.md, from a table that a test holds against RabbitMQ.

It commits faults on demand (``faults``, asked for over a control port by ``control``), always as
RabbitMQ would look on the wire when it did the same.
"""
