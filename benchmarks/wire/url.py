"""AMQP URLs: ``amqp://user:password@host:port/vhost`` taken apart, once, for everybody.

The parts are percent-decoded. No error text and no ``repr`` holds the password, because URLs end
up in logs, reports and file names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

DEFAULT_PORT = 5672


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a broker is and who we are there."""

    host: str
    port: int = DEFAULT_PORT
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"

    @property
    def safe(self) -> str:
        """The URL without the password, for people and reports."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        # The default needs no word, and not everybody who takes a URL apart knows %2F.
        vhost = "" if self.vhost == "/" else quote(self.vhost, safe="")
        user = quote(self.user, safe="")
        return f"amqp://{user}@{host}:{self.port}/{vhost}"

    @property
    def url(self) -> str:
        """The URL with the password: for a client to connect with, never to be shown."""
        user, password = quote(self.user, safe=""), quote(self.password, safe="")
        return self.safe.replace(f"amqp://{user}@", f"amqp://{user}:{password}@", 1)


def parse_amqp_url(url: str) -> Endpoint:
    """Take an AMQP URL apart; what it leaves out is RabbitMQ's default (guest, 5672, ``/``).

    Raises ValueError, with a text that says what is wrong and never holds the password.
    """
    problem = "broker URL must look like amqp://user:password@host:port/vhost"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Without a cause: the library's own text may quote the URL.
        raise ValueError(f"{problem}; its host or port is not valid") from None
    if parts.scheme != "amqp":
        # A scheme is shown only where there is one: "guest:secret@host" parses as one, too.
        found = f", not {parts.scheme}://" if parts.netloc else ""
        raise ValueError(f"{problem}; the scheme must be amqp://{found}")
    if not parts.hostname:
        raise ValueError(f"{problem}; the host is missing")
    if port == 0:
        raise ValueError(f"{problem}; port 0 cannot be connected to")
    if parts.query or parts.fragment:
        raise ValueError(f"{problem}; it has a ? or # part, and no option is known here")
    vhost = parts.path.removeprefix("/")
    if "/" in vhost:
        raise ValueError(f"{problem}; a / within the vhost is written %2F")
    try:
        return Endpoint(
            host=parts.hostname,
            port=DEFAULT_PORT if port is None else port,
            user="guest" if parts.username is None else unquote(parts.username, errors="strict"),
            password=(
                "guest" if parts.password is None else unquote(parts.password, errors="strict")
            ),
            vhost=unquote(vhost, errors="strict") or "/",
        )
    except UnicodeDecodeError:
        # Without a cause: its text would quote the bytes.
        raise ValueError(f"{problem}; a percent-encoded part is not UTF-8") from None
