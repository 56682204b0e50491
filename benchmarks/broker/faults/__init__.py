"""The faults that the broker can commit, by name; one file each.

Each is one of two kinds. One *at once* is a function that hits what is there and returns how
much that was, or raises ``NothingToHit``. A *lasting* one is a class: begun, ended, and in between
asked when it wants to act again, since nothing here reads a clock. ``active`` starts and ends them.
All of them look on the wire as RabbitMQ does when it does the same, and leave the exempt
connections alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from . import channel_close, connection_close, consumer_cancel
from .blocked import Blocked
from .confirm_coalesce import ConfirmCoalesce
from .confirm_delay import ConfirmDelay
from .confirm_nack import ConfirmNack
from .confirm_omit import ConfirmOmit
from .confirm_reorder import ConfirmReorder
from .slow_declare import SlowDeclare

if TYPE_CHECKING:
    from ..core import Broker
    from .lasting import Lasting
    from .options import Options

#: Returns how many connections, channels or consumers it hit, at least one.
AtOnce = Callable[["Broker", "Options"], int]
#: Makes the fault out of its options, without beginning it.
Maker = Callable[["Broker", "Options"], "Lasting"]

AT_ONCE: Final[Mapping[str, AtOnce]] = {
    "channel_close": channel_close.fire,
    "connection_close": connection_close.fire,
    "consumer_cancel": consumer_cancel.fire,
}
LASTING: Final[Mapping[str, Maker]] = {
    "confirm_nack": ConfirmNack.asked,
    "confirm_omit": ConfirmOmit.asked,
    "confirm_delay": ConfirmDelay.asked,
    "confirm_reorder": ConfirmReorder.asked,
    "confirm_coalesce": ConfirmCoalesce.asked,
    "slow_declare": SlowDeclare.asked,
    "blocked": Blocked.asked,
}
FAULTS: Final[Mapping[str, AtOnce | Maker]] = {**AT_ONCE, **LASTING}
