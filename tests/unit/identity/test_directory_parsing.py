"""Escaping (AUTH-4), account states and bind results (AUTH-6), settings (AUTH-1), breaker (AUTH-9)."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import parse_filter
from ldap3.protocol.convert import prepare_filter_for_sending

from security.identity.ldap import AccountState, DirectorySettings, Flavour, Outcome, ServerAddress
from security.identity.ldap.bindresult import PASSWORD_POLICY_CONTROL, read_bind_result
from security.identity.ldap.breaker import CircuitBreaker
from security.identity.ldap.client import normalise_login
from security.identity.ldap.escape import dn_value, filter_value
from security.identity.ldap.listing import normal_dn
from security.identity.ldap.people import account_state, entry_id, filetime, generalized_time

NASTY = '*()\\\x00,+"<>;=# \t\r\né王\u202e\U0001f512aZ9'
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SETTINGS = DirectorySettings(
    servers=(ServerAddress("ldap.example.test"),),
    flavour=Flavour.OPENLDAP,
    bind_dn="cn=service",
    bind_password="x",
    user_base="ou=people",
    group_base="ou=groups",
)
AD = dataclasses.replace(SETTINGS, flavour=Flavour.ACTIVE_DIRECTORY)


class TestEscaping:
    @given(
        st.text(
            alphabet=st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"])), max_size=40
        )
    )
    def test_a_filter_holds_exactly_the_value_and_nothing_else(self, value: str) -> None:  # AUTH-4
        escaped = filter_value(value)
        assert not set(escaped) & set("*()\x00 ")
        if not value:
            return
        tree = parse_filter(
            f"(&(objectClass=person)(uid={escaped}))", None, True, False, None, False
        ).elements[0]
        assert len(tree.elements) == 2
        leaf = tree.elements[1]
        assert leaf.assertion["attr"] == "uid"
        assert prepare_filter_for_sending(leaf.assertion["value"]) == value.encode()

    @given(st.binary(max_size=40))
    def test_bytes_come_back_as_they_were(self, value: bytes) -> None:  # AUTH-4
        assert prepare_filter_for_sending(filter_value(value)) == value

    def test_half_a_character_is_refused(self) -> None:
        with pytest.raises(UnicodeEncodeError):
            filter_value("\ud800")

    @given(st.text(alphabet=st.sampled_from(NASTY), min_size=1, max_size=20))
    def test_a_name_holds_one_value_whatever_is_in_it(self, value: str) -> None:  # AUTH-4
        name = x509.Name.from_rfc4514_string(f"CN={dn_value(value)},OU=people,DC=example")
        assert [part.value for part in name] == ["example", "people", value]

    @pytest.mark.parametrize(
        "value,escaped",
        [
            (" a ", "\\ a\\ "),
            ("#a#", "\\#a#"),
            ('a,b+c"d', 'a\\,b\\+c\\"d'),
            ("a=b;c<d>", "a\\=b\\;c\\<d\\>"),
            ("nul\x00", "nul\\00"),
            ("back\\", "back\\\\"),
            ("", ""),
        ],
    )
    def test_names_are_escaped_as_rfc_4514_says(self, value: str, escaped: str) -> None:
        assert dn_value(value) == escaped


@pytest.mark.parametrize(
    "one,other,same",
    [
        ("CN=A,DC=x", "cn=a, dc=X", True),
        ("cn=a\\,b,dc=x", "cn=a\\,B,dc=x", True),
        ("cn=a,b,dc=x", "cn=a\\,b,dc=x", False),
    ],
)
def test_two_spellings_of_a_name_are_equal(one: str, other: str, same: bool) -> None:
    assert (normal_dn(one) == normal_dn(other)) is same


@pytest.mark.parametrize(
    "login,settings,expected",
    [
        (" lena ", SETTINGS, "lena"),
        ("EXAMPLE\\lena", AD, "lena"),
        ("EXAMPLE\\lena", SETTINGS, "EXAMPLE\\lena"),
        ("a\\b\\c", AD, "a\\b\\c"),
        ("EXAMPLE\\", AD, None),
        ("", SETTINGS, None),
        ("a\x00b", SETTINGS, None),
        ("a\nb", SETTINGS, None),
        ("x" * 257, SETTINGS, None),
        ("\ud800", SETTINGS, None),
    ],
)
def test_log_in_names(login: str, settings: DirectorySettings, expected: str | None) -> None:
    assert normalise_login(login, settings) == expected


class TestStates:
    @pytest.mark.parametrize(
        "attributes,state",
        [
            ({"useraccountcontrol": "512"}, AccountState.ACTIVE),
            ({"useraccountcontrol": "514"}, AccountState.DISABLED),
            ({"useraccountcontrol": "512", "accountexpires": "0"}, AccountState.ACTIVE),
            ({"useraccountcontrol": "512", "accountexpires": "9223372036854775807"}, AccountState.ACTIVE),
            ({"accountexpires": "132000000000000000"}, AccountState.ACCOUNT_EXPIRED),
            ({"msds-user-account-control-computed": "16"}, AccountState.LOCKED),
            ({"msds-user-account-control-computed": "8388608"}, AccountState.PASSWORD_EXPIRED),
            ({"useraccountcontrol": "512", "pwdlastset": "0"}, AccountState.MUST_CHANGE_PASSWORD),
            ({"useraccountcontrol": "66048", "pwdlastset": "0"}, AccountState.ACTIVE),
            ({"useraccountcontrol": "514", "pwdlastset": "0", "accountexpires": "1"}, AccountState.DISABLED),
            ({"useraccountcontrol": "not a number"}, AccountState.ACTIVE),
        ],
    )  # fmt: skip
    def test_active_directory(self, attributes: dict[str, str], state: AccountState) -> None:  # AUTH-6
        raw = {name: [value.encode()] for name, value in attributes.items()}
        assert account_state(Flavour.ACTIVE_DIRECTORY, raw, NOW) is state

    @pytest.mark.parametrize(
        "attributes,state",
        [
            ({}, AccountState.ACTIVE),
            ({"pwdaccountlockedtime": "000001010000Z"}, AccountState.DISABLED),
            ({"pwdaccountlockedtime": "20261122115900Z"}, AccountState.LOCKED),
            ({"pwdreset": "TRUE"}, AccountState.MUST_CHANGE_PASSWORD),
            ({"pwdendtime": "20261122115959.5Z"}, AccountState.ACCOUNT_EXPIRED),
            ({"pwdendtime": "20261122120001Z"}, AccountState.ACTIVE),
            ({"nsaccountlock": "true"}, AccountState.DISABLED),
        ],
    )
    def test_openldap(self, attributes: dict[str, str], state: AccountState) -> None:  # AUTH-6
        raw = {name: [value.encode()] for name, value in attributes.items()}
        assert account_state(Flavour.OPENLDAP, raw, NOW) is state

    def test_times(self) -> None:
        assert filetime(116444736000000000) == datetime(1970, 1, 1, tzinfo=UTC)
        assert filetime(2**63).year == 9999
        assert generalized_time("not a time") is None


class TestIdentityKeys:
    def test_object_guid_has_microsofts_byte_order(self) -> None:  # AUTH-3
        value = UUID("00112233-4455-6677-8899-aabbccddeeff")
        assert entry_id(AD, {"objectguid": [value.bytes_le]}) == value
        assert entry_id(SETTINGS, {"entryuuid": [str(value).encode()]}) == value

    @pytest.mark.parametrize("values", [[], [b"short"], [b"\xff" * 40], [b"a" * 16, b"b" * 16]])
    def test_a_missing_or_damaged_id_is_no_id(self, values: list[bytes]) -> None:
        assert entry_id(SETTINGS, {"entryuuid": values}) is None


class TestBindResults:
    @pytest.mark.parametrize(
        "code,message,outcome",
        [
            (0, "", Outcome.SIGNED_IN),
            (49, "80090308: LdapErr: DSID-0C09044E, comment: error, data 52e, v2580", Outcome.WRONG_PASSWORD),
            (49, "AcceptSecurityContext error, data 525, v2580", Outcome.UNKNOWN_USER),
            (49, "AcceptSecurityContext error, data 530, v2580", Outcome.OUTSIDE_HOURS),
            (49, "AcceptSecurityContext error, data 532, v2580", Outcome.PASSWORD_EXPIRED),
            (49, "AcceptSecurityContext error, data 533, v2580", Outcome.DISABLED),
            (49, "AcceptSecurityContext error, data 701, v2580", Outcome.ACCOUNT_EXPIRED),
            (49, "AcceptSecurityContext error, data 773, v2580", Outcome.MUST_CHANGE_PASSWORD),
            (49, "AcceptSecurityContext error, data 775, v2580", Outcome.LOCKED),
            (49, "AcceptSecurityContext error, data fff, v2580", Outcome.WRONG_PASSWORD),
            (49, "", Outcome.WRONG_PASSWORD),
            (19, "", Outcome.LOCKED),
            (32, "", Outcome.UNKNOWN_USER),
            (51, "busy", None),
            (10, "referral", None),
        ],
    )  # fmt: skip
    def test_error_49_has_sub_codes(self, code: int, message: str, outcome: Outcome | None) -> None:  # AUTH-6
        assert read_bind_result(code, message, {}) is outcome

    @pytest.mark.parametrize(
        "code,value,outcome",
        [
            (49, b"\x30\x03\x81\x01\x01", Outcome.LOCKED),
            (49, b"\x30\x03\x81\x01\x00", Outcome.PASSWORD_EXPIRED),
            (0, b"\x30\x03\x81\x01\x02", Outcome.MUST_CHANGE_PASSWORD),
            (0, b"\x30\x00", Outcome.SIGNED_IN),
            (0, b"\x30\x05\xa0\x03\x80\x01\x3c", Outcome.SIGNED_IN),
            (49, b"garbage", Outcome.WRONG_PASSWORD),
            (49, b"", Outcome.WRONG_PASSWORD),
        ],
    )
    def test_the_password_policy_control_is_read(
        self, code: int, value: bytes, outcome: Outcome
    ) -> None:  # AUTH-6
        assert read_bind_result(code, "", {PASSWORD_POLICY_CONTROL: {"value": value}}) is outcome

    @given(st.binary(max_size=40))
    def test_a_damaged_control_never_signs_anybody_in(self, value: bytes) -> None:
        assert read_bind_result(49, "", {PASSWORD_POLICY_CONTROL: {"value": value}}) is not Outcome.SIGNED_IN


@pytest.mark.parametrize(
    "change",
    [
        {"servers": ()},
        {"servers": (ServerAddress(""),)},
        {"servers": (ServerAddress("a", 0),)},
        {"bind_dn": ""},
        {"bind_password": ""},
        {"user_base": ""},
        {"group_base": ""},
        {"page_size": 0},
        {"page_size": 1001},
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(change: dict[str, object]) -> None:  # AUTH-1
    with pytest.raises(ValueError, match=f"^directory.{next(iter(change))}: "):
        dataclasses.replace(SETTINGS, **change)  # type: ignore[arg-type]


def test_no_setting_weakens_tls() -> None:  # AUTH-1
    names = {field.name for field in dataclasses.fields(DirectorySettings)}
    assert not {
        name for name in names if any(word in name for word in ("verify", "insecure", "skip", "plain"))
    }
    assert {mode.value for mode in type(SETTINGS.servers[0].tls)} == {"ldaps", "starttls"}


def test_a_server_that_failed_twice_rests_and_then_gets_one_trial() -> None:  # AUTH-9
    time = [0.0]
    breaker = CircuitBreaker(2, 30, clock=lambda: time[0])
    breaker.failed()
    assert breaker.ready()
    breaker.failed()
    assert not breaker.ready()
    time[0] = 30
    assert breaker.ready()
    assert not breaker.ready()
    breaker.succeeded()
    assert breaker.ready()
