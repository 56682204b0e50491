"""Cancel consumers from the broker's side, as it does when a queue moves to another node.

Clients that declared the capability are told by basic.cancel, which wants no answer. The queue
stays, and so does what the consumer has not acknowledged: the channel still holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import NothingToHit

if TYPE_CHECKING:
    from ..core import Broker
    from .options import Options


def fire(broker: Broker, options: Options) -> int:
    """Cancel one consumer, each time another one, or all.

    Raises ValueError for a bad option, NothingToHit when there is none.
    """
    which = options.choice("consumers", ("one", "all"))
    options.done()
    consumers = [
        consumer
        for session in broker.clients()
        for channel in session.channels.values()
        for consumer in channel.consumers.values()
    ]
    if not consumers:
        raise NothingToHit("no client consumes")
    if which == "one":
        consumers = [consumers[broker.faults.effects["consumer_cancel"] % len(consumers)]]
    for consumer in consumers:
        consumer.channel.withdraw(consumer)
        broker.consumer_removed(consumer.queue)
    return len(consumers)
