"""AMQP URLs: every part, every default, and no password where it does not belong."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.wire.url import Endpoint, parse_amqp_url


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("amqp://host", Endpoint("host", 5672, "guest", "guest", "/")),
        ("amqp://host/", Endpoint("host", 5672, "guest", "guest", "/")),
        ("amqp://host:1/%2F", Endpoint("host", 1, "guest", "guest", "/")),
        ("amqp://ann:s3cret@host:5673/v", Endpoint("host", 5673, "ann", "s3cret", "v")),
        ("amqp://a%40b:p%2F%3A%40@h/v%2Fw", Endpoint("h", 5672, "a@b", "p/:@", "v/w")),
        ("amqp://ann@host", Endpoint("host", 5672, "ann", "guest", "/")),
        ("amqp://ann:@host", Endpoint("host", 5672, "ann", "", "/")),
        ("amqp://[::1]:5672", Endpoint("::1", 5672, "guest", "guest", "/")),
    ],
)
def test_parts_and_defaults(url, endpoint):
    assert parse_amqp_url(url) == endpoint


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "the scheme must be amqp://"),
        ("rabbitmq", "the scheme must be amqp://"),
        ("ann:s3cret@host", "the scheme must be amqp://"),
        ("amqps://ann:s3cret@host", "the scheme must be amqp://, not amqps://"),
        ("amqp://", "the host is missing"),
        ("amqp://ann:s3cret@", "the host is missing"),
        ("amqp://ann:s3cret@host:port", "its host or port is not valid"),
        ("amqp://ann:s3cret@host:70000", "its host or port is not valid"),
        ("amqp://ann:s3cret@host:0", "port 0 cannot be connected to"),
        ("amqp://ann:s3cret@[::1", "its host or port is not valid"),
        ("amqp://ann:s3cret@host/a/b", "a / within the vhost is written %2F"),
        ("amqp://ann:s3cret@host?heartbeat=5", "it has a ? or # part"),
        ("amqp://ann:s3cret%ff@host", "a percent-encoded part is not UTF-8"),
        # An unescaped / in the password moves the rest of it into the path.
        ("amqp://ann:s3cret/more@host", "its host or port is not valid"),
    ],
)
def test_bad_urls_are_refused_without_showing_the_password(url, complaint):
    with pytest.raises(ValueError) as caught:
        parse_amqp_url(url)
    assert complaint in str(caught.value)
    assert "amqp://user:password@host:port/vhost" in str(caught.value)
    shown = "".join(traceback.format_exception_only(caught.value))
    assert "s3cret" not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_password_is_in_no_text_for_people():
    endpoint = parse_amqp_url("amqp://ann:s3cret@host/v%2Fw")
    assert endpoint.safe == "amqp://ann@host:5672/v%2Fw"
    assert "s3cret" not in repr(endpoint) + str(endpoint) + endpoint.safe


@given(
    st.text(min_size=1).filter(str.isprintable),
    st.text(),
    st.text(min_size=1),
    st.integers(1, 65535),
)
def test_what_an_endpoint_writes_reads_back_as_itself(user, password, vhost, port):
    for host in ("host.example", "::1"):
        endpoint = Endpoint(host, port, user, password, vhost)
        assert parse_amqp_url(endpoint.url) == endpoint
        without = parse_amqp_url(endpoint.safe)
        assert without == Endpoint(host, port, user, "guest", vhost)
