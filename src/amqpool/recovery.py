"""Recovery: who connects, when, and how often.

A `Round` is one recovery: one thread that tries to connect until it succeeds, its deadline passes,
or it is cancelled. The pool starts at most one at a time, however many threads ask, and whoever
waits for it waits on the round's own result. A result that the rounds share is how one round's
error ends up in the next. The first attempt is made at once; jittered, exponentially growing
pauses come only between *failed* attempts. A refused login ends the round at once: trying again
would not help, and may lock the account.

Lock: the round's own, a leaf. It guards the result; connecting happens outside it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

from .connection import SharedConnection
from .errors import ConnectionLost, LoginRefused, RecoveryFailed

#: The pause after the first failed attempt, before jitter, and the longest (seconds). A broker
#: that restarts is back within seconds; a thousand clients must not come back in the same instant.
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0
#: Jitter: a pause is between half and all of its nominal length.
JITTER: Final = 0.5

#: A failed attempt's I/O thread is given this long (seconds) to end; it needs milliseconds.
LEAVE: Final = 1.0

#: Makes a connection: attempt number (from 0), seconds left. It returns an unconnected one, so
#: that `cancel` can reach it while it connects.
Connector = Callable[[int, float], SharedConnection]


class Round:
    """One recovery, run by `run()` in its own thread."""

    def __init__(
        self,
        connector: Connector,
        *,
        deadline: float,
        rng: random.Random,
        finished: Callable[[Round], None],
    ) -> None:
        self._connector = connector
        self._allowed = deadline
        self._rng = rng
        self._finished = finished
        self._cond = threading.Condition(threading.Lock())
        self._done = False
        self._cancelled = False
        self._current: SharedConnection | None = None
        self._refused: LoginRefused | None = None
        #: The living connection, when the round succeeded.
        self.connection: SharedConnection | None = None
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
        while True:
            remaining = deadline - time.monotonic()
            if self._cancelled or remaining <= 0:
                return
            connection = self._connector(self.attempts, remaining)
            with self._cond:
                if self._cancelled:
                    return
                self._current = connection
            self.attempts += 1
            try:
                connection.connect()
                if not connection.connected:
                    raise connection.lost()
                self.connection = connection
                return
            except LoginRefused as error:
                self._refused = error
                self.last_error = str(error)
                return
            except ConnectionLost as error:
                self.last_error = str(error)
            finally:
                with self._cond:
                    self._current = None
                if self.connection is None:
                    connection.close(LEAVE)
            wait = pause * (1 - JITTER * self._rng.random())
            pause = min(2 * pause, LONGEST_PAUSE)
            self._rest(min(wait, deadline - time.monotonic()))

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
        if refused is not None:
            return LoginRefused(
                refused.reply_text, refused.method_sig, reply_code=refused.reply_code
            )
        return RecoveryFailed(
            f"no connection after {self.attempts} attempts in {self.seconds:.2f} s;"
            f" the last one: {self.last_error}"
        )
