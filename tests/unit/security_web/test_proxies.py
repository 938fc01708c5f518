"""What is believed of X-Forwarded-For and X-Forwarded-Proto (AUTH-18 counts attempts by address)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.web.proxies import client_address, client_scheme

PROXIES = ("192.0.2.10", "10.0.0.0/8", "2001:db8::/32")


@pytest.mark.parametrize(
    "peer,header,found",
    [
        ("203.0.113.5", "", "203.0.113.5"),
        # A stranger writes what they like.
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("192.0.2.10", "198.51.100.1", "198.51.100.1"),
        # The client wrote the first one, the proxy the second.
        ("192.0.2.10", "127.0.0.1, 198.51.100.1", "198.51.100.1"),
        # Two proxies behind one another.
        ("192.0.2.10", "203.0.113.9, 198.51.100.1, 10.1.2.3", "198.51.100.1"),
        ("2001:db8::1", "2001:DB8:0::2, 203.0.113.9", "203.0.113.9"),
        ("192.0.2.10", "", "192.0.2.10"),
        ("192.0.2.10", "unknown", None),
        ("192.0.2.10", "198.51.100.1:4711", None),
        (None, "198.51.100.1", None),
        ("", "", None),
    ],
)
def test_the_address_is_the_last_that_a_trusted_proxy_saw(
    peer: str | None, header: str, found: str | None
) -> None:
    assert client_address(peer, header, PROXIES) == found


def test_without_proxies_nothing_is_believed() -> None:
    assert client_address("192.0.2.10", "198.51.100.1", ()) == "192.0.2.10"
    assert client_scheme("192.0.2.10", "https", (), "http") == "http"


@pytest.mark.parametrize(
    "peer,said,scheme",
    [
        ("192.0.2.10", "https", "https"),
        ("192.0.2.10", "HTTPS ", "https"),
        ("192.0.2.10", "http", "http"),
        ("192.0.2.10", "javascript", "http"),
        ("192.0.2.10", "https, http", "http"),
        ("203.0.113.5", "https", "http"),
        (None, "https", "http"),
    ],
)
def test_the_scheme_is_a_trusted_proxys_word(peer: str | None, said: str, scheme: str) -> None:
    assert client_scheme(peer, said, PROXIES, "http") == scheme


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_header_breaks_anything(peer: str, header: str) -> None:
    client_address(peer, header, PROXIES)
    client_scheme(peer, header, PROXIES, "https")
