"""The keeper: it has the nodes, commits faults on them, and heals them.

One lasting fault at a time: two that overlap could take the majority from a cluster, and then it
is no longer known which of them a client suffers from. It prevents a fault from being called
healed while a node does not answer yet, and a node that died by itself from passing for one that
was killed on purpose.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .children import spawn
from .cluster import Leadership, formation, together
from .faults import RABBIT_FAULTS, BadOption, NothingToHit, RabbitFault
from .leftovers import Folder
from .namespaces import Network
from .node import Node, Place, any_of
from .ports import Ports
from .programs import Programs
from .waiting import KeeperError, Lifeline, TookTooLong

ADDRESS: Final = "127.0.0.1"
#: Seconds for epmd to listen. Measured: 0.01.
EPMD_SECONDS: Final = 10.0
#: In a namespace of their own all nodes can have the usual ports.
USUAL: Final = {"port": 5672, "dist_port": 25672, "epmd_port": 4369, "ctl_port": 35672}
#: Seconds without a word after which one node gives another up: longer than any pause. A node
#: that is continued after the others gave it up (at RabbitMQ's default that is after 45-75 s)
#: connects to them again before it has noticed that they were gone. Then none is in a minority,
#: none pauses, and they run on for ever, each with a view of its own: seen at 5 s, in 1 of 2
#: pauses. Quorum queues do not wait for this: they notice a silent leader within 5-15 s.
SILENCE: Final = 600
#: Seconds for all of it to be whole: nodes start in 7 s, three at a time in 20, and twice or
#: three times that on a busy machine.
WHOLE_SECONDS: Final = 150.0
#: Seconds for a node that was paused or cut off to find back: it takes 1-3, on a busy machine 12.
#: One that has not by then is started anew, as an operator would. Seen after a cut cable
#: (RabbitMQ 3.10.8 on Erlang 25.2): its start waits for ever for a lock of Erlang's `global`, which
#: has lost count of who is connected, and RabbitMQ's remedy ("Faking nodedown/nodeup") sends
#: messages that this `global` does not know any more.
ALONE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Wound:
    """A lasting fault that is at work. A heal ends when ``queue`` is complete again, if any."""

    kind: str
    node: Node
    heal: Callable[[], object]
    queue: str | None


@dataclass(frozen=True, slots=True)
class Victim:
    """A node, and the queue that it leads, if that was asked for."""

    node: Node
    leads: str | None = None


class Keeper:
    """Nodes in a folder of their own. Raises KeeperError; ``close`` leaves nothing of them."""

    def __init__(
        self, programs: Programs, lifeline: Lifeline, count: int, isolated: bool = False
    ) -> None:
        self.lifeline = lifeline
        self.nodes: list[Node] = []
        self.leadership = Leadership(lifeline, self.nodes)
        self.start_seconds = 0.0
        self._programs = programs
        self._count = count
        self._isolated = isolated
        self._network: Network | None = None
        self._wound: Wound | None = None
        self._died: list[str] = []
        self._ports = Ports()
        self._folder = Folder()

    def start(self) -> None:
        """Start the nodes; returns when each answers, and all run together.

        Raises NoNamespaces when they are to be isolated and cannot be.
        """
        began = time.monotonic()
        cookie = self._folder.path / ".erlang.cookie"
        cookie.touch(0o600)
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        places = self._namespaces() if self._isolated else self._loopback()
        names = [f"rabbit{number}" for number in range(1, self._count + 1)]
        clustered = self._count > 1
        joined = formation([f"{name}@{at.address}" for name, at in zip(names, places, strict=True)])
        for name, place in zip(names, places, strict=True):
            node = Node(
                name,
                place,
                self._folder.path,
                self._programs,
                self.lifeline,
                configuration=joined if clustered else "",
                kernel=f"-kernel net_ticktime {SILENCE}" if clustered else "",
            )
            self.nodes.append(node)
            node.start()
        self._wait_whole(None, WHOLE_SECONDS)
        self.start_seconds = time.monotonic() - began

    def close(self) -> None:
        """Kill all that runs and remove the folder: the data were made to be thrown away."""
        self._folder.remove()
        self._ports.close()

    @property
    def network(self) -> Network:
        """The namespaces. Raises KeeperError when the nodes are not isolated."""
        if self._network is None:
            raise KeeperError("the nodes have no network of their own: start with --isolated")
        return self._network

    # -- requests --------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What there is now."""
        return {
            "now": time.monotonic(),
            "nodes": [
                {
                    "name": node.name,
                    "state": node.state,
                    "restarts": node.restarts,
                    "memory": node.memory,
                }
                for node in self.nodes
            ],
            "died": self._look_for_dead(),
            "active": [] if self._wound is None else [self._wound.kind],
            "leader_changes": self.leadership.changes,
        }

    def fault(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        """Commit a fault; returns when it has taken effect.

        ``t`` is the time just before the blow. Raises BadOption, or KeeperError when it could not
        be carried out: what state the nodes are in is then not known.
        """
        row = self._row(kind)
        for name in sorted(set(options) - set(row.options)):
            raise BadOption(f"{kind} has no option {name!r}; it has {', '.join(row.options)}")
        why = self._why_not(row)
        if why:
            return {"fired": False, "why": why}
        try:
            blow = row.aim(self, options)
            began = time.monotonic()
            if blow.heal is not None:
                # Before the blow: one that struck halfway must be healed as well.
                self._wound = Wound(kind, blow.node, blow.heal, options.get("queue"))
            blow.act()
        except NothingToHit as nothing:
            return {"fired": False, "why": str(nothing)}
        return {
            "fired": True,
            "t": began,
            "node": blow.node.name,
            "seconds": time.monotonic() - began,
        }

    def heal(self, kind: str | None) -> dict[str, Any]:
        """End the lasting fault of that kind, or any; returns when every node answers again."""
        if kind is not None:
            self._row(kind)
        wound, healed = self._wound, []
        if wound is not None and kind in (None, wound.kind):
            self._recover(wound)
            healed.append(wound.kind)
        elif wound is None:
            self._wait_whole(None, WHOLE_SECONDS)
        return {"t": time.monotonic(), "healed": healed}

    def sync(self) -> dict[str, Any]:
        """Put on every node's disk what was declared so far."""
        for node in self.nodes:
            node.sync()
        return {}

    def leaders(self, queue: str) -> dict[str, Any]:
        """Where a quorum queue lives."""
        found = self.leadership.look(queue, self.sound())
        return {"leader": found.leader, "members": found.members, "online": found.online}

    def victim(self, options: dict[str, Any], usually: str | None = None) -> Victim:
        """Whom these options mean (see ``faults.VICTIM``).

        Where they name nobody it is the queue's ``usually``, or the first node.
        """
        number, queue, which = options.get("node", 0), options.get("queue"), options.get("which")
        if which is None and queue is not None and "node" not in options:
            which = usually
        if type(number) is not int or not 0 <= number < len(self.nodes):
            raise BadOption(f"node is 0 to {len(self.nodes) - 1}, not {number!r}")
        if which not in (None, "leader", "follower"):
            raise BadOption(f"which is leader or follower, not {which!r}")
        if len(self.nodes) == 1:  # it leads every queue, and no other can
            return Victim(self.nodes[0])
        if queue is None:
            if which is not None:
                raise BadOption(f"a {which} is one of a queue: give the option queue")
            return Victim(self.nodes[number])
        leader = self.leadership.look(str(queue), self.sound()).leader
        if leader is None:
            raise NothingToHit(f"{queue!r} has no leader now")
        named = {
            None: self.nodes[number].name,
            "leader": leader,
            "follower": min(node.name for node in self.nodes if node.name != leader),
        }[which]
        node = next(node for node in self.nodes if node.name == named)
        return Victim(node, str(queue) if named == leader else None)

    def sound(self) -> Node:
        """A node to be asked: one that no fault is at work on, if there is one that runs."""
        hurt = None if self._wound is None else self._wound.node
        return any_of(sorted(self.nodes, key=lambda node: node is hurt))

    def _row(self, kind: str) -> RabbitFault:
        if kind not in RABBIT_FAULTS:
            raise BadOption(f"no fault {kind!r}; there are {', '.join(RABBIT_FAULTS)}")
        return RABBIT_FAULTS[kind]

    def _why_not(self, row: RabbitFault) -> str | None:
        """What speaks against that fault now."""
        if self._wound is not None:
            return f"{self._wound.kind} is still at work: heal it first"
        if len(self.nodes) < row.nodes:
            return f"{row.name} takes {row.nodes} nodes"
        if row.isolated and self._network is None:
            return f"{row.name} takes nodes with a network of their own: start with --isolated"
        dead = self._look_for_dead()
        return f"{', '.join(dead)} died without being asked to" if dead else None

    def _look_for_dead(self) -> list[str]:
        for node in self.nodes:
            if node.died and node.name not in self._died:
                self._died.append(node.name)
        return list(self._died)

    def _recover(self, wound: Wound) -> None:
        restarts = wound.node.restarts
        wound.heal()
        self._wound = None
        if wound.node.restarts > restarts:
            self._wait_whole(wound.queue, WHOLE_SECONDS)
            return
        # Its process went through all of it, and has to find back by itself.
        try:
            self._wait_whole(wound.queue, ALONE_SECONDS)
        except TookTooLong:
            wound.node.kill()
            wound.node.restart()
            self._wait_whole(wound.queue, WHOLE_SECONDS)

    def _wait_whole(self, queue: str | None, seconds: float) -> None:
        """Wait until every node answers, all run together, and that queue is complete."""
        deadline = time.monotonic() + seconds
        dead = self._look_for_dead()
        if dead:
            raise KeeperError(f"{', '.join(dead)} died without being asked to")
        for node in self.nodes:
            node.wait_ready(deadline - time.monotonic())
        if len(self.nodes) > 1:
            self.lifeline.until(
                lambda: together(self.nodes, self.nodes[0]),
                deadline - time.monotonic(),
                "the nodes did not run together",
            )
            if queue is not None:
                self.leadership.wait_complete(queue, deadline - time.monotonic())

    # -- where the nodes live --------------------------------------------------------------

    def _loopback(self) -> list[Place]:
        """All on 127.0.0.1, with ports of their own and one port mapper."""
        epmd_port, ctl_port = self._ports.take(), self._ports.take()
        places = [
            Place(
                address=ADDRESS,
                port=self._ports.take(),
                dist_port=self._ports.take(),
                epmd_port=epmd_port,
                ctl_port=ctl_port,
            )
            for _ in range(self._count)
        ]
        self._start_port_mapper(places[0])
        return places

    def _namespaces(self) -> list[Place]:
        """Each with an address, and so with a port mapper, of its own."""
        self._network = network = Network(self._count, self._folder.path, self.lifeline)
        places = [
            Place(address=network.address(number), enter=network.enter(number), **USUAL)
            for number in range(self._count)
        ]
        for place in places:
            self._start_port_mapper(place)
        return places

    def _start_port_mapper(self, place: Place) -> None:
        """Start Erlang's epmd there. Raises KeeperError."""
        with (self._folder.path / "epmd.out").open("ab") as output:
            spawn(
                [
                    *place.enter,
                    self._programs.epmd,
                    *("-address", place.address, "-port", str(place.epmd_port)),
                ],
                self._folder.path,
                {"HOME": str(self._folder.path), "PATH": self._programs.search},
                output,
            )
        self.lifeline.until(lambda: _listens(place), EPMD_SECONDS, "epmd did not listen")


def _listens(place: Place) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1.0)
        return sock.connect_ex((place.address, place.epmd_port)) == 0
