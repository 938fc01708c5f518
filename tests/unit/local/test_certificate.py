"""The certificate of a trial: a real handshake trusts it, for local names alone, and it is renewed in time."""

import datetime as dt
import socket
import ssl
import threading

import pytest
import time_machine
from cryptography import x509

from crm_server.local import certificate


@pytest.fixture
def made(tmp_path):
    return certificate.ensure(tmp_path / "tls")


def _handshake(made, name):
    """Server name that a client verified, over a real connection."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.chain, made.key)
    client = ssl.create_default_context(cafile=str(made.authority))
    left, right = socket.socketpair()

    def serve():
        try:
            with server.wrap_socket(left, server_side=True) as connection:
                connection.recv(1)
        except ssl.SSLError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=name) as connection:
            connection.send(b"x")
    finally:
        right.close()
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_client_that_trusts_the_authority_trusts_local_names(made, name):
    _handshake(made, name)


def test_another_name_is_not_trusted(made):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
        _handshake(made, "crm.example.org")


def test_keys_are_for_the_owner_alone(made):
    for key in (made.key, made.authority.with_name("ca.key")):
        assert key.stat().st_mode & 0o777 == 0o600


def test_it_stays_the_same_until_thirty_days_before_its_end(made):
    first = made.chain.read_bytes()
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=149)):
        certificate.ensure(made.chain.parent)
        assert made.chain.read_bytes() == first
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=151)):
        certificate.ensure(made.chain.parent)
        assert made.chain.read_bytes() != first


def test_an_authority_near_its_end_takes_the_certificate_with_it(made):
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=3640)):
        certificate.ensure(made.chain.parent)
        authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
        leaf = x509.load_pem_x509_certificate(made.chain.read_bytes())
        leaf.verify_directly_issued_by(authority)
        assert authority.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=3000)


def test_a_damaged_file_is_replaced(made):
    made.chain.write_text("half a fi")
    certificate.ensure(made.chain.parent)
    _handshake(made, "localhost")
