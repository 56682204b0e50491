"""The embedded broker's core as one task, behind sockets in memory.

It owns the far end of every connection that is dialled, and is scheduled like any other task: when
it answers, relative to what the client does meanwhile, is part of the order that is explored. Each
turn serves one connection completely. It can be told to misbehave as a network does: `kill`
(reset), `end` (in order, without a Close), `stall` (nothing is read or answered) and `refuse`.
"""

from __future__ import annotations

import threading
from typing import Final

from benchmarks.broker.core import Broker, Settings
from benchmarks.broker.session import Session

from .sockets import Socket, net
from .task import Task, Until, current

HOST: Final = "broker"
PORT: Final = 5672
URL: Final = f"amqp://guest:guest@{HOST}:{PORT}/"


class _Peer:
    """One connection, as the broker sees it."""

    def __init__(self, sock: Socket, session: Session) -> None:
        self.sock = sock
        self.session = session
        self.sending = memoryview(b"")
        self.finished = False


class BrokerTask:
    """A broker that listens at `URL` of this run's network."""

    def __init__(self) -> None:
        # No heartbeat: time passes in jumps here, and each jump would look like a silent peer.
        self.broker = Broker(Settings(heartbeat=0), 0.0)
        self.stalled = False
        #: Connections that were made so far.
        self.accepted = 0
        self._peers: list[_Peer] = []
        self._net = net()
        self._work = Until(lambda: any(map(self._has_work, self._peers)), "bytes from a client")
        self.refuse(False)
        threading.Thread(target=self._serve, name="broker", daemon=True).start()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._peers)

    # -- what a network does ---------------------------------------------------------------------

    def kill(self) -> int:
        """Reset every connection; how many there were."""
        return self._end_all(hard=True)

    def end(self) -> int:
        """End every connection in order, without a Close."""
        return self._end_all(hard=False)

    def _end_all(self, *, hard: bool) -> int:
        peers, self._peers = self._peers, []
        for peer in peers:
            # What was sent before the end counts, as on a wire; what was not answered does not.
            peer.session.lost()
            if hard:
                peer.sock.reset()
            else:
                peer.sock.close()
        return len(peers)

    def stall(self, on: bool) -> None:
        """Read and answer nothing, or go on."""
        self.stalled = on

    def refuse(self, on: bool) -> None:
        """Refuse to be dialled, or accept."""
        if on:
            self._net.listeners.pop((HOST, PORT), None)
        else:
            self._net.listeners[HOST, PORT] = self._accept

    # -- the task --------------------------------------------------------------------------------

    def _accept(self, sock: Socket) -> None:
        self.accepted += 1
        self._peers.append(_Peer(sock, self.broker.connect()))

    def _serve(self) -> None:
        task = current()
        assert isinstance(task, Task), "a broker task lives in a run"
        scheduler = task.scheduler
        while True:
            scheduler.block(task, self._work, None)
            self.broker.now = scheduler.now
            for peer in list(self._peers):
                if peer in self._peers and self._has_work(peer):
                    self._turn(peer)
                    scheduler.point(task)

    def _has_work(self, peer: _Peer) -> bool:
        sock = peer.sock
        if self.stalled:
            return False
        if sock.at_end:
            return True
        reads = sock.has_data and peer.session.wants_read
        writes = bool(peer.sending or peer.session.has_output) and sock.writable
        return reads or writes or self.broker.busy

    def _turn(self, peer: _Peer) -> None:
        session = peer.session
        data = peer.sock.take() if session.wants_read else b""
        if data:
            session.receive(data)
        elif peer.sock.at_end:
            self._drop(peer)
        self.broker.pump()
        self.broker.take_dirty()
        for each in list(self._peers):
            self._flush(each)

    def _flush(self, peer: _Peer) -> None:
        session = peer.session
        while not session.abort:
            if not peer.sending:
                if not session.has_output:
                    break
                peer.sending = memoryview(session.take_output())
            size = peer.sock.put(peer.sending)
            if not size:
                return
            peer.sending = peer.sending[size:]
            session.sent(size)
        if session.abort or (session.wants_close and not peer.finished):
            peer.finished = True
            self._drop(peer)

    def _drop(self, peer: _Peer) -> None:
        if peer in self._peers:
            self._peers.remove(peer)
            peer.session.lost()
            peer.sock.close()
            self.broker.pump()

    # -- at rest ---------------------------------------------------------------------------------

    def remaining(self, queue: str) -> list[str]:
        """The identities of the messages in a queue, which is empty afterwards."""
        found = []
        entry = self.broker.queues[queue].take()
        while entry is not None:
            found.append(bytes(entry.message.body).partition(b"\n")[0].decode())
            entry = self.broker.queues[queue].take()
        return found
