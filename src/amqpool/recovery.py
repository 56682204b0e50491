"""Recovery: who connects, when, and how often.

A `Round` is one recovery: the pool's thread tries to connect until it succeeds, its deadline
passes, or it is cancelled. There is at most one at a time, however many threads ask, and whoever
waits for it waits on the round's own result. A result that the rounds share is how one round's
error ends up in the next.

The hosts are asked in turn, each for its share of the time that is left: one that swallows packets
must not use up what another would need to answer. Jittered, exponentially growing pauses come only
between passes round the *whole* list that failed. A host that refuses the login is not asked again:
that would not help, and may lock the account.

Lock: the round's own, a leaf. It guards the result; connecting happens outside it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from .connection import SharedConnection
from .errors import ConnectionLost, LoginRefused, RecoveryFailed

#: The pause after the first failed attempt, before jitter, and the longest (seconds). A broker
#: that restarts is back within seconds; a thousand clients must not come back in the same instant.
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0
#: Jitter: a pause is between half and all of its nominal length.
JITTER: Final = 0.5

#: A failed attempt's socket is given this long (seconds) to be closed; it needs milliseconds.
LEAVE: Final = 1.0

#: Makes a connection: index of the host, seconds for it. It returns an unconnected one, so that
#: `cancel` can reach it while it connects.
Connector = Callable[[int, float], SharedConnection]


class Round:
    """One recovery, run by `run()` in the pool's thread, which then serves the connection.

    `hosts` are their names, as they are told; the one with the index `first` is asked first.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        hosts: Sequence[str],
        first: int = 0,
        deadline: float,
        rng: random.Random,
        finished: Callable[[Round], None],
    ) -> None:
        self._connector = connector
        self._names = hosts
        #: Those that are still to be asked, in their order.
        self._hosts = [(first + step) % len(hosts) for step in range(len(hosts))]
        #: Why each host failed, the last time it did, in the order in which they were asked.
        self._reasons: dict[int, str] = {}
        self._allowed = deadline
        self._rng = rng
        self._finished = finished
        self._cond = threading.Condition(threading.Lock())
        self._done = False
        self._cancelled = False
        self._current: SharedConnection | None = None
        self._refused: LoginRefused | None = None
        #: The living connection, when the round succeeded, and its host.
        self.connection: SharedConnection | None = None
        self.host = first
        #: Attempts made, seconds taken, and what the last failed attempt said.
        self.attempts = 0
        self.seconds = 0.0
        self.last_error = "no attempt was made"

    def run(self) -> None:
        """Connect; never raises for a broker that is not there."""
        started = time.monotonic()
        try:
            self._try_until(started + self._allowed)
        except Exception as error:  # noqa: BLE001 - told to everybody who waits for this round
            self.last_error = f"{type(error).__name__}: {error}"
        finally:
            self.seconds = time.monotonic() - started
            self._end()

    def give_up(self, why: str) -> None:
        """End a round that could not be started."""
        self.last_error = why
        self._end()

    def _end(self) -> None:
        # First the pool, then those who wait for the round: they ask the pool next.
        self._finished(self)
        with self._cond:
            self._done = True
            self._cond.notify_all()

    def _try_until(self, deadline: float) -> None:
        pause = FIRST_PAUSE
        while self._hosts:
            asked = list(self._hosts)
            for number, host in enumerate(asked):
                remaining = deadline - time.monotonic()
                if self._cancelled or remaining <= 0:
                    return
                if self._try(host, remaining / (len(asked) - number)):
                    return
            wait = pause * (1 - JITTER * self._rng.random())
            pause = min(2 * pause, LONGEST_PAUSE)
            if self._hosts:
                self._rest(min(wait, deadline - time.monotonic()))

    def _try(self, host: int, seconds: float) -> bool:
        """One attempt; True when the round is over."""
        connection = self._connector(host, seconds)
        with self._cond:
            if self._cancelled:
                return True
            self._current = connection
        self.attempts += 1
        try:
            connection.connect()
            if not connection.connected:
                raise connection.lost()
            self.connection, self.host = connection, host
            return True
        except LoginRefused as error:
            self._refused = error
            self._hosts.remove(host)
            self._failed(host, error)
        except ConnectionLost as error:
            self._failed(host, error)
        finally:
            with self._cond:
                self._current = None
            if self.connection is None:
                connection.close(LEAVE)
        return False

    def _failed(self, host: int, error: Exception) -> None:
        self.last_error = self._reasons[host] = str(error)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        with self._cond:
            while not self._cancelled:
                remaining = end - time.monotonic()
                if remaining <= 0:
                    return
                self._cond.wait(remaining)

    def cancel(self) -> None:
        """End the round promptly, also in the midst of connecting."""
        with self._cond:
            self._cancelled = True
            current = self._current
            self._cond.notify_all()
        if current is not None:
            current.abort()

    def wait(self, deadline: float) -> bool:
        """Wait for the end of the round; False at the deadline (monotonic seconds)."""
        with self._cond:
            while not self._done:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._cond.wait(remaining)
            return True

    def error(self) -> Exception:
        """A new error that says how the round failed."""
        refused = self._refused
        if refused is not None and not self._hosts:
            return LoginRefused(
                refused.reply_text, refused.method_sig, reply_code=refused.reply_code
            )
        text = f"no connection after {self.attempts} attempts in {self.seconds:.2f} s; "
        if len(self._reasons) < 2:
            return RecoveryFailed(f"{text}the last one: {self.last_error}")
        reasons = [f"{self._names[host]}: {reason}" for host, reason in self._reasons.items()]
        return RecoveryFailed(text + "; ".join(reasons))
