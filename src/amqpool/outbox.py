"""The write path: many threads append, one at a time sends, nobody is ever stuck in a send.

A message is appended as one piece, so its frames stay together. Whoever appends while nobody
sends becomes the sender: it sends its own bytes at once, and then what others appended meanwhile,
many messages in one system call (write combining). What the kernel does not take is left to the
I/O thread, which polls for room; so is the work after `HAND_OVER_ROUNDS`.

One thread alone has nobody to combine with. So in a burst of sends the I/O thread is the sender,
and takes what the other appends while it waits for its turn. A lone publish is never left to it:
the first of a burst are sent at once, and a pause, a flush or a turn with little to send ends it.
Acknowledgements with more deliveries behind them are known for a burst from the first: the I/O
thread sends them, and of those that say the same together it finds one.

The outbox is bounded: a publish waits for room, with a deadline. Control frames (acks, replies,
heartbeats) are tiny and always accepted. A write error ends the outbox; it is the I/O thread that
then declares the connection lost, after it has read what the peer had still sent. Publishers wait
for its word, so that they tell the broker's reason and not "Broken pipe", and all learn at once.

Lock order: the outbox lock is a leaf, taken alone or under one channel lock; who appends and finds
it taken sleeps for a moment instead of queueing for it (ASIDE says why). No send happens under it.
It guards every attribute below it in `__init__`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import get_ident
from typing import Final, TypeVar

from .errors import PublishTimeout
from .latch import Latch

#: Sends that one caller does, mostly for others, before the I/O thread takes over. One send costs
#: some 10 µs, so a publisher gives at most about a millisecond of its time to others.
HAND_OVER_ROUNDS: Final = 64

#: This many sends in succession, none later than that after the one before (seconds), are a burst.
#: A publish in a loop takes some 10 µs, and to wake the I/O thread about as long as a few sends.
BURST_SENDS: Final = 16
BURST_GAP: Final = 0.000_05
#: The I/O thread found no more than this to send at once: not worth waking it.
BURST_WORTH: Final = 3

#: Seconds that an appending thread steps aside when it finds the lock taken. The lock is held for a
#: microsecond, so who holds it was interrupted meanwhile and needs the interpreter's lock. Python
#: hands a lock to the next in its queue, which then holds it while it waits for the interpreter in
#: its turn: once there is a queue everybody finds the lock taken, and each message costs a switch
#: or more until all threads are done (a lock convoy; docs/speed.md). Who sleeps is in no queue.
ASIDE: Final = 0.000_5

#: Seconds that a sender whose write failed waits for the I/O thread to find out why. It needs
#: milliseconds.
WHY: Final = 1.0

#: The outbox belongs to nobody, to a caller that is sending, or to the I/O thread.
_FREE, _CALLER, _IO = 0, 1, 2

_Given = TypeVar("_Given")
_Said = TypeVar("_Said")
Send = Callable[[bytes | memoryview], int]


class Outbox:
    """Bytes on their way to the kernel."""

    def __init__(
        self,
        send: Send,
        wake_io: Callable[[], None],
        lost: Callable[[], Exception],
        limit: int,
        send_short: Send | None = None,
    ) -> None:
        self._send = send
        self._send_short = send_short or send
        self._wake_io = wake_io
        self._lost = lost
        self._limit = limit
        self._half = limit // 2
        self._main = threading.main_thread().ident
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._chunks: list[bytes] = []
        self._rest: memoryview | None = None
        self._appended = 0
        self._taken = 0
        # Nothing more is accepted: it is finished, broken or closed.
        self._refuses = False
        self._owner = _FREE
        # Bytes are out of the list, and it is not booked what the kernel took of them.
        self._sending = False
        self._burst = 0
        self._waiting_room = 0
        # Who waits until the kernel has the bytes up to a mark; each has a latch of its own.
        self._flushers: list[tuple[int, Latch]] = []
        # The I/O thread, where it waits for the last sender to leave.
        self._leaving: Latch | None = None
        self.blocked: str | None = None
        self.broken: OSError | None = None
        self.closed = False
        self.last_sent = time.monotonic()

    @property
    def pending(self) -> int:
        """Bytes that the kernel does not have yet."""
        return 0 if self.closed else self._appended - self._taken

    @property
    def mark(self) -> int:
        """Bytes appended so far; `wait_sent` takes it."""
        return self._appended

    @property
    def wants_io(self) -> bool:
        """Whether the I/O thread is the sender now (it polls for room in the kernel)."""
        return self._owner == _IO

    def push(self, data: bytes) -> bool:
        """Append a control frame. True: the caller must call `flush()` once it holds no lock."""
        return self._alone(self._append, data)

    def push_ack(self, data: bytes, before: bytes | None, more: bool) -> bool:
        """As `push`; where `before`, which is as long, waits as the last of all, in its place.

        `more` are about to follow: the I/O thread sends, and takes along what was appended until
        it has its turn.
        """
        return self._alone(self._append_ack, (data, before, more))

    def ends_with(self, data: bytes) -> bool:
        """Whether that very piece was appended last, and waits to be sent."""
        chunks = self._chunks
        return bool(chunks) and chunks[-1] is data

    def push_beat(self, data: bytes) -> bool:
        """As `push`, for a heartbeat: it may stand behind Connection.Close.

        A broker that takes its time to answer would else miss ours and hang up.
        """
        with self._lock:
            if self.broken is not None or self.closed:
                raise self._lost()
            return self._put(data)

    def admit(self, data: bytes) -> bool | None:
        """Append a message if there is room: as `push`, or None when it has to wait.

        There is room while the total stays within the limit, or less than half of it is used: so
        one large message is never starved by small ones, and the total never passes the limit, or
        half of it plus one message where that message alone is larger than half of it.
        """
        return self._alone(self._admit, data)

    def push_last(self, data: bytes) -> bool:
        """As `push`, for Connection.Close: what came behind it would be lost, so it is refused."""
        with self._lock:
            flush = self._append(data)
            self._refuses = True
            self._room.notify_all()
            return flush

    def wait_room(self, size: int, deadline: float, waited: float) -> None:
        """Wait until a message of `size` bytes has a chance, or the connection is lost.

        `deadline` in monotonic seconds; `waited` is the time allowed in all, for the text. Raises
        PublishTimeout, and the connection's error when a write failed and nobody found out why.
        """
        with self._lock:
            self._waiting_room += 1
            try:
                while self._full(size):
                    remaining = deadline - time.monotonic()
                    if remaining <= 0 and self._refuses:
                        raise self._lost()
                    if remaining <= 0:
                        raise PublishTimeout(self._why_full(waited))
                    self._room.wait(remaining)
            finally:
                self._waiting_room -= 1

    def set_blocked(self, reason: str | None) -> None:
        """The broker blocks publishers (connection.blocked), or does no longer (None)."""
        with self._lock:
            self.blocked = reason
            if reason is None:
                self._room.notify_all()

    def flush(self, *, io: bool = False, short: bool = False, patient: bool = False) -> None:
        """Send until nothing is left, the kernel is full, or it is another's turn.

        Called by whom `push` or `admit` made the sender, and by the I/O thread (`io`) when the
        outbox is its own. Never blocks. Raises the connection's error when the send failed;
        `patient` (never the I/O thread): once that thread has said why, WHY seconds at most.
        `short`: the caller goes on at once, so other threads need not run meanwhile. One that will
        wait for a confirm is better off if they do: what they append goes out with the next send.
        """
        if not io and self._owner == _IO:
            self._wake_io()
            return
        send = self._send_short if short else self._send
        rounds = 0
        done = False
        try:
            with self._lock:
                data = self._next()
            while data is not None:
                sent = send(data)
                rounds += 1
                with self._lock:
                    self._sent(data, sent)
                    if sent < len(data) or rounds == HAND_OVER_ROUNDS:
                        self._pass_to(_IO)
                        break
                    data = self._next()
            done = True
        except OSError as error:
            self.fail(error)
            if patient:
                self._wait_closed()
            raise self._lost() from error
        finally:
            # Also when this thread is interrupted: somebody must go on sending.
            if not done:
                self._give_up()
        if not io and self._owner == _IO:
            self._wake_io()

    def is_sent(self, mark: int) -> bool:
        """Whether the kernel has what was appended up to `mark`. A burst ends here."""
        self._burst = 0
        return self._taken >= mark

    def wait_sent(self, mark: int, deadline: float) -> bool:
        """Wait until the kernel has what was appended up to `mark`; False at the deadline."""
        if self.is_sent(mark):
            return True
        flusher = (mark, Latch())
        with self._lock:
            if self._taken >= mark or self.closed or self.broken is not None:
                return self._taken >= mark
            self._flushers.append(flusher)
        if not flusher[1].wait(deadline - time.monotonic()):
            with self._lock:
                if flusher in self._flushers:
                    self._flushers.remove(flusher)
        return self._taken >= mark

    def wait_idle(self, deadline: float) -> bool:
        """Wait until no caller is inside a send, so that the socket may be closed.

        For the I/O thread alone, and once the outbox is closed.
        """
        with self._lock:
            if self._owner != _CALLER:
                return True
            latch = self._leaving = Latch()
        return latch.wait(deadline - time.monotonic())

    def fail(self, error: OSError) -> None:
        """A write failed: nothing more is accepted; the I/O thread finds out what happened."""
        with self._lock:
            if self.broken is None:
                self.broken = error
            self._refuses = True
            self._notify_all()
        self._wake_io()

    def _wait_closed(self) -> None:
        deadline = time.monotonic() + WHY
        with self._lock:
            while not self.closed:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return
                self._room.wait(remaining)

    def close(self) -> None:
        """The connection is gone: forget what was not sent and wake everybody."""
        with self._lock:
            self.closed = self._refuses = True
            self._chunks = []
            self._rest = None
            self._notify_all()

    def _alone(self, act: Callable[[_Given], _Said], data: _Given) -> _Said:
        """Do it under the lock; not in the lock's queue, but when the lock is free."""
        if get_ident() == self._main:
            # Alone may be interrupted (Ctrl-C) between taking the lock and being able to give it
            # back; `with` is one step, and one thread in the queue makes no convoy.
            with self._lock:
                return act(data)
        while not self._lock.acquire(False):
            time.sleep(ASIDE)
        try:
            return act(data)
        finally:
            self._lock.release()

    # -- under the lock ----------------------------------------------------------------------

    def _full(self, size: int) -> bool:
        """Whether a message of that size has to wait. Who is refused need not, but for the time
        from a failed write until the I/O thread has said what became of the connection."""
        if self._refuses:
            return self.broken is not None and not self.closed
        if self.blocked is not None:
            return True
        pending = self._appended - self._taken
        return pending + size > self._limit and pending > self._half

    def _why_full(self, waited: float) -> str:
        if self.blocked is not None:
            return f"the broker blocked publishers for {waited:.2f} s: {self.blocked}"
        return (
            f"the broker took no message for {waited:.2f} s: {self.pending} bytes wait to be "
            f"sent, the limit is {self._limit}"
        )

    def _admit(self, data: bytes) -> bool | None:
        return None if self._full(len(data)) else self._append(data)

    def _append(self, data: bytes) -> bool:
        if self._refuses:
            raise self._lost()
        return self._put(data)

    def _append_ack(self, ack: tuple[bytes, bytes | None, bool]) -> bool:
        data, before, more = ack
        if before is not None and not self._refuses and self.ends_with(before):
            # Somebody is about to send it already.
            self._chunks[-1] = data
            return False
        flush = self._append(data)
        if flush and more:
            self._owner = _IO
        return flush

    def _put(self, data: bytes) -> bool:
        self._chunks.append(data)
        self._appended += len(data)
        if self._owner != _FREE:
            return False
        self._owner = _CALLER if self._burst < BURST_SENDS else self._sender()
        return True

    def _sender(self) -> int:
        """Whose turn it is in a burst."""
        if time.monotonic() - self.last_sent > BURST_GAP:
            self._burst = 0
            return _CALLER
        return _IO

    def _next(self) -> bytes | memoryview | None:
        if self._appended == self._taken or self.closed or self.broken is not None:
            self._pass_to(_FREE)
            return None
        self._sending = True
        if self._rest is not None:
            return self._rest
        chunks, self._chunks = self._chunks, []
        if self._owner == _IO and len(chunks) <= BURST_WORTH:
            self._burst = 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _pass_to(self, owner: int) -> None:
        self._owner = owner
        if self._leaving is not None:
            self._leaving.open()
            self._leaving = None

    def _sent(self, data: bytes | memoryview, sent: int) -> None:
        self._taken += sent
        now = time.monotonic()
        if self._owner == _CALLER:
            self._burst = self._burst + 1 if now - self.last_sent < BURST_GAP else 0
        self.last_sent = now
        self._rest = memoryview(data)[sent:] if sent < len(data) else None
        self._sending = False
        # Woken in droves at half the limit rather than one by one at the limit: fewer switches.
        if self._waiting_room and self.pending <= self._half:
            self._room.notify_all()
        if self._flushers:
            self._wake_flushers(self._taken)

    def _wake_flushers(self, taken: int) -> None:
        """Wake who waited for this and nobody else: each of them would only go back to sleep."""
        waiting, self._flushers = self._flushers, []
        for flusher in waiting:
            if flusher[0] <= taken:
                flusher[1].open()
            else:
                self._flushers.append(flusher)

    def _notify_all(self) -> None:
        self._room.notify_all()
        self._wake_flushers(self._appended)

    def _give_up(self) -> None:
        with self._lock:
            if self._owner == _CALLER:
                if self._sending and self.broken is None:
                    # Other threads' messages may be among them: better lost than lost in silence.
                    self.broken = OSError("a thread was interrupted in the midst of a send")
                    self._refuses = True
                self._pass_to(_IO if self.pending else _FREE)
            self._notify_all()
        self._wake_io()
