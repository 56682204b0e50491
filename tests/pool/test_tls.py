"""TLS: the same pool over `amqps://`, with a certificate made for the test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import pamqp.commands as c
import pytest

from amqpool import ChannelPool, ConnectionLost, RecoveryFailed
from tests.pool.peer import Peer, Session

OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl makes the test's certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    how = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subprocess.run(
        [
            str(OPENSSL),
            *how.split(),
            "-subj",
            "/CN=localhost",
            "-addext",
            names,
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return cert, key


def tls_script(certificate: tuple[Path, Path]) -> Callable[[Session], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def script(session: Session) -> None:
        try:
            session.sock = context.wrap_socket(session.sock, server_side=True)
        except (ssl.SSLError, ConnectionError):
            return  # the client does not trust us
        session.handshake()
        session.obey()

    return script


def test_large_messages_of_many_threads_and_their_confirms(
    certificate: tuple[Path, Path], crowd: Any
) -> None:
    with Peer(tls_script(certificate)) as peer:
        url = f"amqps://localhost:{peer.port}/"
        pool = ChannelPool(url, size=4, confirms=True, ssl={"ca_certs": str(certificate[0])})

        def work(number: int) -> None:
            for count in range(10):
                with pool.lease() as lease:
                    body = b"%d/%d/" % (number, count) * 40_000
                    confirmation = lease.channel.basic_publish(
                        amqp.Message(body), routing_key=str(number)
                    )
                    assert confirmation is not None
                    assert confirmation.wait(20)

        try:
            crowd(4, work).run()
            session = peer.session()
            with pool.lease() as lease:
                got: list[int] = []
                lease.channel.basic_consume(
                    "q", "t", no_ack=True, callback=lambda m: got.append(len(m.body))
                )
                for tag in range(1, 4):
                    deliver = c.Basic.Deliver("t", tag, False, "", "q")
                    session.content(lease.channel.channel_id, deliver, b"x" * 300_000)
                for _ in range(3):
                    pool.drain_events(10)
                assert got == [300_000] * 3
                # Not dialled again: a TLS handshake cut off at the wrong moment leaves Python a
                # socket that nobody can close.
                peer.refuse()
                session.close()
                with pytest.raises(ConnectionLost):
                    lease.channel.drain_events(10)
            assert pool.generation == 1
        finally:
            pool.close(5)
        bodies = {each.body for each in session.published}
        assert bodies == {
            b"%d/%d/" % (number, count) * 40_000 for number in range(4) for count in range(10)
        }


def test_a_certificate_that_is_not_trusted_is_refused(certificate: tuple[Path, Path]) -> None:
    with Peer(tls_script(certificate)) as peer:
        pool = ChannelPool(f"amqps://localhost:{peer.port}/", recovery_deadline=0.3)
        with pytest.raises(RecoveryFailed, match="certificate verify failed"):
            pool.acquire(5)
        assert pool.close(2)
