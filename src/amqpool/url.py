"""Broker URLs: `amqp://user:password@host:port/vhost`, `amqps://` for TLS.

Owns the reading of URLs and the only form in which one is ever shown: without the password. What
cannot be read is a ValueError that says what is wrong, also without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_SHAPE: Final = "amqp://user:password@host:port/vhost"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One broker address; its text has no password."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: bool = False

    @property
    def address(self) -> str:
        """`host:port` as py-amqp takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        scheme = "amqps" if self.tls else "amqp"
        return f"{scheme}://{self.user}@{self.address}/{self.vhost.removeprefix('/')}"


def parse_url(url: str) -> Endpoint:
    """Read a URL. User and password default to guest, the virtual host to `/`.

    All parts are percent-decoded; `amqp://host/%2f` and `amqp://host` both mean the virtual host
    `/`, `amqp://host/` as well (RabbitMQ's own URI scheme would call that the empty one, which no
    broker has by default). Raises ValueError.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # The text of urlsplit's own error may quote the part with the password.
        raise ValueError(f"not a broker URL ({_SHAPE}): host or port cannot be read") from error
    if parts.scheme not in _PORTS:
        raise ValueError(f"not a broker URL ({_SHAPE}): the scheme is {parts.scheme!r}")
    if not parts.hostname:
        raise ValueError(f"not a broker URL ({_SHAPE}): there is no host")
    if parts.query or parts.fragment:
        raise ValueError(f"not a broker URL ({_SHAPE}): options are arguments of the pool")
    vhost = parts.path.removeprefix("/")
    if "/" in vhost:
        raise ValueError(f"not a broker URL ({_SHAPE}): write / in a virtual host as %2f")
    return Endpoint(
        host=unquote(parts.hostname),
        port=_PORTS[parts.scheme] if port is None else port,
        user=unquote(parts.username) if parts.username is not None else "guest",
        password=unquote(parts.password) if parts.password is not None else "guest",
        vhost=unquote(vhost) or "/",
        tls=parts.scheme == "amqps",
    )
