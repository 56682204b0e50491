"""How nodes find each other, and what they say of each other afterwards.

It asks and never acts. Each question is one ``rabbitmqctl eval``, half a second, to a node that
runs: the ready-made commands ask every node in turn and wait for those that do not answer, which
is just when we ask. It prevents a cluster from being called whole because one node thinks so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .node import CtlError, Node, any_of
from .waiting import KeeperError, Lifeline

#: Seconds for a new leader. Measured: 0.3-1 after a kill, which the others are told of at once;
#: 3-10 after a stop without a word, which they have to notice.
LEADER_SECONDS: Final = 60.0
#: Milliseconds that one node waits for another's answer to our question.
ASIDE: Final = 2000

#: Which nodes each member believes to run: a list of lists. (``list_running`` came with 3.11.)
_VIEWS: Final = """\
F = case erlang:function_exported(rabbit_nodes, list_running, 0) of
      true -> list_running; false -> all_running end,
[case rpc:call(N, rabbit_nodes, F, [], {aside}) of L when is_list(L) -> L; _ -> [] end
 || N <- [{names}]]."""
#: Leader, members, and members whose replica runs and knows the same leader: one that has come back
#: and does not may still call an election. ``not_found`` when there is no such queue.
_QUEUE: Final = """\
case rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<{bytes}>>)) of
  {{ok, Q}} ->
    {{Name, _}} = amqqueue:get_pid(Q),
    Nodes = maps:get(nodes, amqqueue:get_type_state(Q)),
    Known = ra_leaderboard:lookup_leader(Name),
    Leader = case Known of {{_, L}} -> [L]; _ -> [] end,
    Runs = fun(N) -> is_pid(rpc:call(N, erlang, whereis, [Name], {aside})) end,
    Follows = fun(N) -> Known =:= rpc:call(N, ra_leaderboard, lookup_leader, [Name], {aside}) end,
    {{Leader, Nodes, [N || N <- Nodes, Runs(N), Follows(N)]}};
  _ -> not_found
end."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """Where a quorum queue lives, by node names."""

    leader: str | None
    members: list[str]
    online: list[str]


def formation(names: Sequence[str]) -> str:
    """Configuration with which nodes that are new find each other as they start."""
    lines = [
        "cluster_formation.peer_discovery_backend = classic_config",
        "cluster_partition_handling = pause_minority",
    ]
    for number, name in enumerate(names, 1):
        lines.append(f"cluster_formation.classic_config.nodes.{number} = {name}")
    return "\n".join(lines) + "\n"


def together(nodes: Sequence[Node], asked: Node) -> bool:
    """Does each of these nodes believe that they, and no others, run together?"""
    names = {node.erlang_name for node in nodes}
    listed = ",".join(f"'{name}'" for name in sorted(names))
    try:
        answer = asked.ctl("eval", _VIEWS.format(aside=ASIDE, names=listed))
    except CtlError:  # it is not far enough to answer, which is an answer
        return False
    views = [set(_names(view)) for view in re.findall(r"\[([^\[\]]*)\]", answer)]
    return len(views) == len(nodes) and all(view == names for view in views)


def replicas(queue: str, nodes: Sequence[Node], asked: Node) -> Replicas:
    """Where that quorum queue lives, as ``asked`` knows it. Raises KeeperError."""
    given = ",".join(str(byte) for byte in queue.encode())
    answer = asked.ctl("eval", _QUEUE.format(bytes=given, aside=ASIDE))
    parts = re.findall(r"\[([^\[\]]*)\]", answer)
    if len(parts) != 3:
        raise KeeperError(f"there is no quorum queue {queue!r}")
    short = {node.erlang_name: node.name for node in nodes}
    leader, members, online = ([short[name] for name in _names(part)] for part in parts)
    return Replicas(leader[0] if leader else None, members, online)


def _names(text: str) -> list[str]:
    """The node names in a list that Erlang printed."""
    return re.findall(r"[\w.-]+@[\w.-]+", text)


class Leadership:
    """Who leads which quorum queue, as far as we have seen, and how often that changed."""

    def __init__(self, lifeline: Lifeline, nodes: Sequence[Node]) -> None:
        self.changes = 0
        self._lifeline = lifeline
        self._nodes = nodes
        self._last: dict[str, str] = {}

    def look(self, queue: str, asked: Node) -> Replicas:
        """Ask where it lives now. Raises KeeperError."""
        found = replicas(queue, self._nodes, asked)
        if found.leader is not None:
            if self._last.get(queue, found.leader) != found.leader:
                self.changes += 1
            self._last[queue] = found.leader
        return found

    def wait_for_another(self, queue: str, than: Node) -> None:
        """Wait until another node than that one leads it, and the others know. May raise."""
        asked = any_of([node for node in self._nodes if node is not than])
        self._lifeline.until(
            lambda: self.look(queue, asked).leader not in (None, than.name),
            LEADER_SECONDS,
            f"{queue!r} had no other leader than {than.name}",
        )

    def wait_complete(self, queue: str, seconds: float) -> None:
        """Wait until all of its replicas run and know the same leader. May raise."""

        def complete() -> bool:
            found = self.look(queue, any_of(self._nodes))
            return found.leader is not None and set(found.online) == set(found.members)

        self._lifeline.until(complete, seconds, f"{queue!r} was not complete")
