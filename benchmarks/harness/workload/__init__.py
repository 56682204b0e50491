"""The workload: what worker and consumer threads do with the client under test.

It uses the client protocol and nothing else, as an application would. Every call is recorded
(history, leases, exceptions) and none is judged here but what no ledger can see: that an operation
came to an end, and that the broker's refusal was told. A worker whose operation met a fault retries
until it succeeds; an error that no fault explains ends that iteration and stays on record.
"""

from benchmarks.harness.workload.calls import Calls
from benchmarks.harness.workload.consumer import Consumer
from benchmarks.harness.workload.context import RETRY_PAUSE, Context
from benchmarks.harness.workload.leaser import Lease, Leaser
from benchmarks.harness.workload.operations import OPERATIONS
from benchmarks.harness.workload.worker import Worker

__all__ = [
    "OPERATIONS",
    "RETRY_PAUSE",
    "Calls",
    "Consumer",
    "Context",
    "Lease",
    "Leaser",
    "Worker",
]
