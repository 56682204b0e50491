"""Broker URLs, and that no password is ever shown."""

from __future__ import annotations

import pytest

from amqpool import ChannelPool
from amqpool.url import Endpoint, parse_url


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("amqp://h", Endpoint("h", 5672, "guest", "guest", "/")),
        ("amqp://h/", Endpoint("h", 5672, "guest", "guest", "/")),
        ("amqp://h/%2F", Endpoint("h", 5672, "guest", "guest", "/")),
        ("amqp://u:p@h:1234/v", Endpoint("h", 1234, "u", "p", "v")),
        ("amqp://u%40x:p%2F%3A@h/a%2fb", Endpoint("h", 5672, "u@x", "p/:", "a/b")),
        ("amqps://u:@h", Endpoint("h", 5671, "u", "", "/", tls=True)),
        ("amqp://u:p@[::1]:5673/v", Endpoint("::1", 5673, "u", "p", "v")),
    ],
)
def test_urls(url: str, endpoint: Endpoint) -> None:
    assert parse_url(url) == endpoint
    assert parse_url(url).address.endswith(f":{endpoint.port}")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://u:secret@h", "scheme"),
        ("h:5672", "scheme"),
        ("amqp://", "host"),
        ("amqp://u:secret@h:port/", "port"),
        ("amqp://u:secret@h:99999/", "port"),
        ("amqp://u:secret@h/a/b", "%2f"),
        ("amqp://u:secret@h/a?heartbeat=1", "options"),
        ("amqp://u:secret@[h/", "host or port"),
    ],
)
def test_what_is_no_url_says_why_and_shows_no_password(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_no_text_has_a_password() -> None:
    endpoint = parse_url("amqp://u:secret@h:1/v")
    assert str(endpoint) == "amqp://u@h:1/v"
    assert "secret" not in repr(endpoint)
    assert "secret" not in repr(ChannelPool("amqp://u:secret@h:1/v"))


@pytest.mark.parametrize(("urls", "size"), [([], 1), ("amqp://h", 0), ("nonsense", 1)])
def test_a_pool_checks_its_arguments(urls: list[str], size: int) -> None:
    with pytest.raises(ValueError):
        ChannelPool(urls, size=size)
