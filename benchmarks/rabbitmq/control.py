"""The harness's end of the keeper's control port: the requests that the keeper knows."""

from __future__ import annotations

from typing import Final, TypedDict

from benchmarks.wire.control import ControlSession

#: Seconds for a request. The longest is a heal that starts a node again and waits until the
#: cluster is whole: some 10 s, several times that on a busy machine, and bounded by the keeper.
CALL_SECONDS: Final = 240.0


class NodeStatus(TypedDict):
    """One node."""

    name: str
    state: str
    """``running``, ``paused`` or ``down``, as its process is."""
    restarts: int
    memory: int
    """Bytes that its process holds."""


class Status(TypedDict):
    """What there is now."""

    now: float
    """The keeper's time.monotonic(), which on Linux is the same clock in every process."""
    nodes: list[NodeStatus]
    died: list[str]
    """Nodes that have ended though nobody asked them to: what the broker lost then, nobody's
    client did."""
    active: list[str]
    """Lasting faults that are at work."""
    leader_changes: int
    """How often a quorum queue was seen with another leader than before."""


class Fired(TypedDict, total=False):
    """What came of a fault: when it fired ``t``, ``node`` and ``seconds``, else ``why``."""

    fired: bool
    t: float
    """Just before the blow."""
    node: str
    """The victim."""
    seconds: float
    """From then to the effect."""
    why: str


class Healed(TypedDict):
    """When all nodes answered again, and which faults were at work until then."""

    t: float
    healed: list[str]


class Leaders(TypedDict):
    """Where a quorum queue lives."""

    leader: str | None
    members: list[str]
    online: list[str]
    """Members whose replica runs and knows the same leader."""


class KeeperControl(ControlSession):
    """One connection to the keeper's control port; see ``ControlSession``.

    The keeper does one thing at a time: while a fault takes effect, another session's request
    waits.
    """

    service = "keeper"

    def __init__(self, port: int, token: str, timeout: float = CALL_SECONDS) -> None:
        super().__init__(port, token, timeout)

    def status(self) -> Status:
        """Return what there is now."""
        answer: Status = self.call("status")
        return answer

    def fault(self, kind: str, **options: object) -> Fired:
        """Commit a fault; returns when it has taken effect.

        A lasting one goes on until it is healed; a second one does not fire meanwhile.
        """
        answer: Fired = self.call("fault", kind=kind, **options)
        return answer

    def heal(self, kind: str | None = None) -> Healed:
        """End the lasting fault of that kind, or any; returns when every node answers again."""
        answer: Healed = self.call("heal", **({} if kind is None else {"kind": kind}))
        return answer

    def sync(self) -> None:
        """Put on every node's disk what was declared so far: a node that is killed a moment after
        it has answered a declare may not know the queue any more."""
        self.call("sync")

    def leaders(self, queue: str) -> Leaders:
        """Where that quorum queue (in the virtual host ``/``) has its leader and its members."""
        answer: Leaders = self.call("leaders", queue=queue)
        return answer
