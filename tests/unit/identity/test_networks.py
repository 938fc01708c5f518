"""Lists of networks: read strictly, asked without mistakes about what an address is (AUTH-18)."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.access.networks import MOST, BadNetworkError, contains, parse_networks


@pytest.mark.parametrize(
    "text,code",
    [
        ("192.0.2.7/24", "host_bits"),
        ("2001:db8::1/32", "host_bits"),
        ("192.0.2.0/33", "form"),
        ("example.com", "form"),
        ("192.0.2.0/24;10.0.0.0/8", "form"),
        ("", "form"),
        ("192.0.2.0/-1", "form"),
    ],
)
def test_what_is_no_network_is_refused_with_its_reason(text: str, code: str) -> None:
    with pytest.raises(BadNetworkError) as refused:
        parse_networks(["192.0.2.0/24", text])
    assert (refused.value.text, refused.value.code) == (text, code)


def test_doubles_go_and_single_addresses_are_networks() -> None:
    found = parse_networks([" 192.0.2.0/24 ", "192.0.2.0/24", "2001:db8::7"])
    assert [str(one) for one in found] == ["192.0.2.0/24", "2001:db8::7/128"]


def test_a_list_has_an_end() -> None:
    with pytest.raises(BadNetworkError, match="too_many"):
        parse_networks(f"10.0.{n // 256}.{n % 256}" for n in range(MOST + 1))


@pytest.mark.parametrize("address", [None, "", "unknown", "192.0.2.7, 198.51.100.1", "::ffff:999.0.2.1"])
def test_an_address_that_can_t_be_read_is_nowhere(address: str | None) -> None:
    assert not contains(parse_networks(["0.0.0.0/0", "::/0"]), address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_address_that_it_is(address: ipaddress.IPv4Address) -> None:
    inside = parse_networks([f"{address}/32"])
    assert contains(inside, f"::ffff:{address}")
    assert contains(inside, str(address))
    # A rule for all of IPv6 says nothing about IPv4 that comes through a socket for both.
    assert not contains(parse_networks(["::/0"]), f"::ffff:{address}")


@given(st.ip_addresses(), st.ip_addresses())
def test_only_what_lies_inside_lies_inside(
    network: ipaddress.IPv4Address | ipaddress.IPv6Address,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    known = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    assert contains(parse_networks([str(network)]), str(address)) == ((known or address) == network)
