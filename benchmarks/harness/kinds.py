"""The kinds of brokers, as words: what scenarios, faults, plans and results call them."""

from __future__ import annotations

#: Our own, in a process of the trial's: always there.
EMBEDDED = "embedded"
#: A private node of RabbitMQ, and three of them joined into a cluster.
RABBITMQ = "rabbitmq"
CLUSTER = "rabbitmq-cluster"
#: One that runs already, and is somebody else's.
EXTERNAL = "external"

#: The key of asv's matrix whose value is one of these words, and the variable in which asv tells
#: it to a benchmark.
VARIABLE = "BROKER"
#: Those that are asked for by name; an external one is asked for by its URL.
NAMED = (EMBEDDED, RABBITMQ, CLUSTER)


def kind_of(label: str) -> str:
    """The kind behind what ``--broker`` was given, or behind the label of a result."""
    return label if label in NAMED else EXTERNAL
