"""The table of operations: each name that a mix may hold, and what a worker does for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchmarks.harness.plan import Step
from benchmarks.harness.workload import declaring, fetching, leasing, publishing

if TYPE_CHECKING:
    from benchmarks.harness.workload.worker import Worker

OPERATIONS: Mapping[str, Callable[[Worker, Step], None]] = MappingProxyType(
    {
        "drain": leasing.drain,
        "connected": leasing.connected,
        "acquire_release": leasing.acquire_release,
        "acquire_short": leasing.acquire_short,
        "release_twice": leasing.release_twice,
        "release_elsewhere": leasing.release_elsewhere,
        "publish": publishing.publish,
        "publish_batch": publishing.publish_batch,
        "publish_confirmed": publishing.publish_confirmed,
        "publish_returned": publishing.publish_returned,
        "publish_large": publishing.publish_large,
        "publish_kept": publishing.publish_kept,
        "get": fetching.get,
        "get_no_ack": fetching.get_no_ack,
        "get_empty": fetching.get_empty,
        "consume_ack": fetching.consume_ack,
        "consume_cancel": fetching.consume_cancel,
        "declare": declaring.declare,
        "declare_passive": declaring.declare_passive,
        "poison_404": declaring.poison_404,
        "poison_406": declaring.poison_406,
    }
)
