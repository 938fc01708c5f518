"""The directory client against a real OpenLDAP server (AUTH-1 to AUTH-6, AUTH-9, AUTH-10)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import pytest

from crm_server.domain.identity.labels import directory_trouble
from security.identity.ldap import (
    AccountState,
    Directory,
    DirectoryFailure,
    DirectorySettings,
    Flavour,
    Outcome,
    ServerAddress,
    Tls,
)
from security.identity.ldap.diagnosis import diagnose
from security.identity.ldap.listing import find_groups, list_everybody
from tests.integration.identity.openldap_data import GROUPS, PEOPLE, STRANGE_LOGINS, person_dn
from tests.integration.identity.servers import BASE, PASSWORD, SERVICE_DN, SERVICE_PASSWORD, Slapd

Change = Callable[..., DirectorySettings]


@pytest.fixture(scope="module")
def settings(slapd: Slapd) -> DirectorySettings:
    return DirectorySettings(
        servers=(ServerAddress("localhost", slapd.ldaps_port),),
        flavour=Flavour.OPENLDAP,
        bind_dn=SERVICE_DN,
        bind_password=SERVICE_PASSWORD,
        user_base=PEOPLE,
        group_base=GROUPS,
        ca_file=slapd.authority.ca_file,
        connect_timeout=3,
        operation_timeout=5,
    )


@pytest.fixture(scope="module")
def directory(settings: DirectorySettings) -> Directory:
    return Directory(settings)


class TestSigningIn:
    @pytest.mark.parametrize("server", ["localhost", "127.0.0.1"])
    def test_the_right_password_signs_in_by_ldaps(
        self, settings: DirectorySettings, server: str
    ) -> None:  # AUTH-1
        addresses = (dataclasses.replace(settings.servers[0], host=server),)
        result = Directory(dataclasses.replace(settings, servers=addresses)).authenticate("lena", PASSWORD)
        assert result.outcome is Outcome.SIGNED_IN
        assert result.person is not None
        assert result.person.display_name == "Lena Vogt (Sales)"
        assert result.person.email == "user1@example.test"

    def test_the_right_password_signs_in_by_starttls(  # AUTH-1
        self, settings: DirectorySettings, slapd: Slapd
    ) -> None:
        servers = (ServerAddress("localhost", slapd.ldap_port, Tls.STARTTLS),)
        result = Directory(dataclasses.replace(settings, servers=servers)).authenticate("lena", PASSWORD)
        assert result.outcome is Outcome.SIGNED_IN

    @pytest.mark.parametrize(
        "login,password,outcome",
        [
            ("lena", "wrong", Outcome.WRONG_PASSWORD),
            ("nobody", PASSWORD, Outcome.UNKNOWN_USER),
            ("twin", PASSWORD, Outcome.AMBIGUOUS_USER),
            ("lena", "", Outcome.EMPTY_PASSWORD),
            ("", PASSWORD, Outcome.MALFORMED_LOGIN),
            ("le\x00na", PASSWORD, Outcome.MALFORMED_LOGIN),
            ("lena", "pass\x00word", Outcome.MALFORMED_LOGIN),
            ("\ud800", PASSWORD, Outcome.MALFORMED_LOGIN),
            ("x" * 257, PASSWORD, Outcome.MALFORMED_LOGIN),
            ("*", PASSWORD, Outcome.UNKNOWN_USER),
            ("lena)(uid=*", PASSWORD, Outcome.UNKNOWN_USER),
            ("*)(|(uid=lena", PASSWORD, Outcome.UNKNOWN_USER),
            ("disabled", PASSWORD, Outcome.DISABLED),
            ("disabled", "wrong", Outcome.DISABLED),
            ("mustchange", PASSWORD, Outcome.MUST_CHANGE_PASSWORD),
            ("expired", PASSWORD, Outcome.PASSWORD_EXPIRED),
            ("left", PASSWORD, Outcome.ACCOUNT_EXPIRED),
        ],
    )
    def test_each_refusal_has_its_reason(  # AUTH-2, AUTH-4, AUTH-6
        self, directory: Directory, login: str, password: str, outcome: Outcome
    ) -> None:
        result = directory.authenticate(login, password)
        assert result.outcome is outcome
        assert not result.signed_in
        assert result.groups == ()

    def test_too_many_wrong_passwords_are_told_as_locked(self, directory: Directory) -> None:  # AUTH-6
        for _ in range(5):
            directory.authenticate("locked", "wrong")
        assert directory.authenticate("locked", PASSWORD).outcome is Outcome.LOCKED

    @pytest.mark.parametrize("login", STRANGE_LOGINS)
    def test_strange_log_ins_find_exactly_their_person(
        self, directory: Directory, login: str
    ) -> None:  # AUTH-4
        result = directory.authenticate(login, PASSWORD)
        assert result.outcome is Outcome.SIGNED_IN
        assert [group.name for group in result.groups] == ["strange"]

    def test_a_renamed_and_a_moved_person_keeps_the_identity(
        self, directory: Directory, slapd: Slapd
    ) -> None:  # AUTH-3
        before = directory.look_up("wanderer")
        assert before is not None
        slapd.modify(
            f"dn: {person_dn(10)}\nchangetype: modify\nreplace: uid\nuid: nomad\n\n"
            f"dn: {person_dn(10)}\nchangetype: modrdn\nnewrdn: employeeNumber=1010\ndeleteoldrdn: 1\n\n"
        )
        try:
            after = directory.look_up("nomad")
            assert after is not None
            assert after[0].id == before[0].id
            assert after[0].dn != before[0].dn
            by_id = directory.by_id(before[0].id)
            assert by_id is not None
            assert by_id[0].login == "nomad"
        finally:
            slapd.modify(
                f"dn: employeeNumber=1010,{PEOPLE}\nchangetype: modrdn\n"
                "newrdn: employeeNumber=10\ndeleteoldrdn: 1\n\n"
                f"dn: {person_dn(10)}\nchangetype: modify\nreplace: uid\nuid: wanderer\n\n"
            )

    def test_a_person_made_anew_under_the_old_name_is_somebody_else(  # AUTH-3
        self, directory: Directory, slapd: Slapd
    ) -> None:
        ldif = (
            f"dn: cn=phoenix,{PEOPLE}\nchangetype: add\nobjectClass: inetOrgPerson\n"
            "cn: phoenix\nsn: P\nuid: phoenix\n\n"
        )
        slapd.modify(ldif)
        first = directory.look_up("phoenix")
        slapd.modify(f"dn: cn=phoenix,{PEOPLE}\nchangetype: delete\n\n" + ldif)
        second = directory.look_up("phoenix")
        slapd.modify(f"dn: cn=phoenix,{PEOPLE}\nchangetype: delete\n\n")
        assert first is not None
        assert second is not None
        assert first[0].id != second[0].id

    def test_unknown_and_wrong_take_about_the_same_time(self, directory: Directory) -> None:  # AUTH-2
        def median(login: str) -> float:
            times = []
            for _ in range(7):
                start = time.perf_counter()
                directory.authenticate(login, "wrong-for-the-clock")
                times.append(time.perf_counter() - start)
            return sorted(times)[3]

        wrong = median("clock")
        for login in ("nobody", "twin"):
            assert 0.4 < median(login) / wrong < 2.5

    def test_nothing_that_identifies_a_person_is_in_a_repr(self, directory: Directory) -> None:
        text = repr(directory.authenticate("lena", PASSWORD)) + repr(directory.settings)
        for secret in ("lena", "Lena", "user1@", PASSWORD, SERVICE_PASSWORD):
            assert secret not in text


class TestGroups:
    def test_nested_groups_count(self, directory: Directory) -> None:  # AUTH-5
        result = directory.authenticate("omar", PASSWORD)
        assert [group.name for group in result.groups] == ["company", "sales-department", "sellers"]

    def test_groups_in_a_circle_end(self, directory: Directory) -> None:  # AUTH-5
        found = directory.look_up("wanderer")
        assert found is not None
        assert {group.name for group in found[1]} == {
            "circle-a", "circle-b", "circle-c", "company", "sales-department",
        }  # fmt: skip

    def test_groups_can_be_found_by_a_part_of_their_name(self, directory: Directory) -> None:
        assert [group.name for group in find_groups(directory, "CIRCLE")] == [
            "circle-a",
            "circle-b",
            "circle-c",
        ]
        assert find_groups(directory, "*)(cn=*") == ()


class TestListing:
    def test_a_listing_holds_everybody_with_state_and_nested_membership(
        self, directory: Directory
    ) -> None:  # AUTH-5
        groups = {group.name: group.id for group in find_groups(directory, "")}
        small = Directory(
            dataclasses.replace(
                directory.settings,
                page_size=3,
                max_operation_bytes=16 * 1024 * 1024,
                operation_timeout=120,  # ten megabytes in small pages
            )
        )
        listing = list_everybody(small, [groups["company"], groups["circle-b"]])
        by_login = {one.login: one for one in listing.people.values()}
        assert len(listing.people) == 12 + len(STRANGE_LOGINS)
        assert by_login["disabled"].state is AccountState.DISABLED
        assert by_login["mustchange"].state is AccountState.MUST_CHANGE_PASSWORD
        assert listing.duplicates == ("twin",)
        names = {listing.people[one].login for one in listing.members[groups["company"]]}
        assert names == {"lena", "omar", "wanderer"}
        assert {listing.people[one].login for one in listing.members[groups["circle-b"]]} == {"wanderer"}

    def test_a_listing_that_breaks_off_is_not_a_listing(self, directory: Directory) -> None:  # AUTH-8
        with pytest.raises(DirectoryFailure) as caught:
            list_everybody(directory, [])  # Hugo's name has ten megabytes.
        assert caught.value.outcome is Outcome.UNAVAILABLE


class TestBadDirectories:
    def test_an_answer_of_ten_megabytes_is_refused(self, directory: Directory) -> None:
        start = time.process_time()
        assert directory.authenticate("huge", PASSWORD).outcome is Outcome.UNAVAILABLE
        assert time.process_time() - start < 5

    def test_referrals_are_never_chased(self, settings: DirectorySettings) -> None:  # AUTH-5
        found = Directory(dataclasses.replace(settings, user_base=BASE)).look_up("lena")
        assert found is not None
        outside = Directory(dataclasses.replace(settings, user_base="dc=other,dc=test"))
        assert outside.authenticate("lena", PASSWORD).outcome is Outcome.MISCONFIGURED

    def test_a_wrong_service_password_is_our_fault_and_says_so(self, settings: DirectorySettings) -> None:
        result = Directory(dataclasses.replace(settings, bind_password="wrong")).authenticate(
            "lena", PASSWORD
        )
        assert result.outcome is Outcome.MISCONFIGURED
        assert "service account" in result.detail
        assert "wrong" not in result.detail.replace("wrong result", "")

    def test_the_second_server_takes_over_and_the_first_rests(
        self, settings: DirectorySettings, slapd: Slapd
    ) -> None:  # AUTH-9
        dead = ServerAddress("127.0.0.1", 1)
        directory = Directory(
            dataclasses.replace(settings, servers=(dead, *settings.servers), rest_seconds=60)
        )
        for _ in range(3):
            assert directory.authenticate("lena", PASSWORD).outcome is Outcome.SIGNED_IN
        assert directory.breakers[dead].resting
        assert not directory.breakers[settings.servers[0]].resting

    def test_a_stopped_directory_is_unavailable_and_comes_back(
        self, settings: DirectorySettings, slapd: Slapd
    ) -> None:  # AUTH-9
        directory = Directory(settings)
        slapd.stop()
        try:
            outcomes = [directory.authenticate("lena", PASSWORD).outcome for _ in range(4)]
        finally:
            slapd.start()
        assert set(outcomes) == {Outcome.UNAVAILABLE}
        assert directory.authenticate("lena", PASSWORD).outcome is Outcome.SIGNED_IN


class TestDiagnosis:
    def test_each_step_is_shown(self, directory: Directory) -> None:  # AUTH-10
        (report,) = diagnose(directory, "omar")
        assert report.passed
        assert [step.code for step in report.steps] == [
            "service_bind", "user_base", "group_base", "one_match", "immutable_id", "account_state", "groups",
        ]  # fmt: skip
        assert report.tls is not None
        assert report.tls.version in ("TLSv1.2", "TLSv1.3")
        assert [group.name for group in report.groups] == ["company", "sales-department", "sellers"]

    @pytest.mark.parametrize(
        "change,code,said",
        [
            ({"bind_password": "wrong"}, "service_account", "Check its name and password"),
            ({"group_base": f"ou=nowhere,{BASE}"}, "group_base", "no such entry"),
            ({"servers": (ServerAddress("127.0.0.1", 1),)}, "connect", "Nothing answers"),
            ({"ca_file": None}, "certificate", "an authority that isn't trusted"),
        ],
    )
    def test_the_step_that_fails_is_named_with_what_to_do(  # AUTH-10
        self, settings: DirectorySettings, change: dict[str, object], code: str, said: str
    ) -> None:
        (report,) = diagnose(Directory(dataclasses.replace(settings, **change)), "omar")  # type: ignore[arg-type]
        assert not report.passed
        (failed,) = (step for step in report.steps if not step.passed)
        assert failed.code == code
        assert said in str(directory_trouble(failed))
