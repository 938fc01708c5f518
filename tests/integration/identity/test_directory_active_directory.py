"""The directory client against a real Active Directory domain controller: Samba (AUTH-1 to 6, AUTH-10)."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Iterator

import ldap3
import pytest

from security.identity.ldap import (
    AccountState,
    Directory,
    DirectorySettings,
    Flavour,
    Outcome,
    ServerAddress,
    Tls,
    transport,
)
from security.identity.ldap.diagnosis import diagnose
from security.identity.ldap.listing import find_groups, list_everybody
from tests.integration.identity.servers import Authority, DomainController, running_domain_controller

PASSWORD = "Velvet-otter-9-compiles"
NORMAL, DISABLED, NEVER_EXPIRES = 512, 2, 0x10000

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[DomainController]:
    with running_domain_controller(tmp_path_factory.mktemp("samba"), authority) as running:
        _fill(running)
        yield running


@pytest.fixture(scope="module")
def directory(controller: DomainController) -> Directory:
    return Directory(_settings(controller))


def _settings(controller: DomainController) -> DirectorySettings:
    return DirectorySettings(
        servers=(ServerAddress(controller.address),),
        flavour=Flavour.ACTIVE_DIRECTORY,
        bind_dn=f"CN=service,CN=Users,{controller.base}",
        bind_password=PASSWORD,
        user_base=controller.base,
        group_base=controller.base,
        ca_file=controller.authority.ca_file,
    )


@contextlib.contextmanager
def _administrator(controller: DomainController) -> Iterator[ldap3.Connection]:
    settings = _settings(controller)
    connection = transport._open(settings, settings.servers[0], controller.administrator, controller.password)
    connection.read_only = False
    connection.raise_exceptions = True
    connection.bind(read_server_info=False)
    yield connection
    connection.unbind()


def _fill(controller: DomainController) -> None:
    base = controller.base
    with _administrator(controller) as admin:

        def user(
            login: str, control: int = NORMAL | NEVER_EXPIRES, where: str = f"OU=Staff,{base}", **more: object
        ) -> str:
            dn = f"CN={login},{where}"
            admin.add(
                dn,
                ["user"],
                {
                    "sAMAccountName": login,
                    "userPrincipalName": f"{login}@ad.example.test",
                    "displayName": f"{login.title()} Example",
                    "mail": f"{login}@example.test",
                    "unicodePwd": f'"{PASSWORD}"'.encode("utf-16-le"),
                    "userAccountControl": control,
                },
            )
            for name, value in more.items():
                admin.modify(dn, {name: [(ldap3.MODIFY_REPLACE, [value])]})
            return dn

        def group(name: str, *members: str) -> str:
            dn = f"CN={name},OU=Groups,{base}"
            admin.add(dn, ["group"], {"sAMAccountName": name})
            admin.modify(dn, {"member": [(ldap3.MODIFY_ADD, list(members))]})
            return dn

        for unit in ("Staff", "Groups", "Archive"):
            admin.add(f"OU={unit},{base}", ["organizationalUnit"])
        admin.modify(base, {"lockoutThreshold": [(ldap3.MODIFY_REPLACE, ["3"])]})
        user("service", where=f"CN=Users,{base}")
        lena, omar = user("lena"), user("omar")
        user("disabled", NORMAL | NEVER_EXPIRES | DISABLED)
        past = int(
            (dt.datetime(2020, 1, 1, tzinfo=dt.UTC) - dt.datetime(1601, 1, 1, tzinfo=dt.UTC)).total_seconds()
        )
        user("left", accountExpires=str(past * 10_000_000))
        user("mustchange", NORMAL, pwdLastSet="0")
        user("locked")
        user("umlaut-zoë")
        sellers = group("sellers", lena)
        sales = group("sales", sellers, omar)
        group("company", sales)
        ring = group("ring-a")
        other = group("ring-b", ring, omar)
        admin.modify(ring, {"member": [(ldap3.MODIFY_ADD, [other])]})
        # Domain Users is the primary group of everybody and stands in no "member" attribute.
        admin.add(f"CN=everybody,OU=Groups,{base}", ["group"], {"sAMAccountName": "everybody"})
        admin.modify(
            f"CN=everybody,OU=Groups,{base}",
            {"member": [(ldap3.MODIFY_ADD, [f"CN=Domain Users,CN=Users,{base}"])]},
        )


class TestSigningIn:
    @pytest.mark.parametrize("login", ["lena", "LENA", "lena@ad.example.test", "EXAMPLE\\lena", "umlaut-zoë"])
    def test_each_way_of_writing_the_log_in_works(self, directory: Directory, login: str) -> None:  # AUTH-2
        result = directory.authenticate(login, PASSWORD)
        assert result.outcome is Outcome.SIGNED_IN
        assert result.person is not None
        assert result.person.state is AccountState.ACTIVE

    def test_starttls_works_too(self, directory: Directory) -> None:  # AUTH-1
        server = dataclasses.replace(directory.settings.servers[0], port=389, tls=Tls.STARTTLS)
        settings = dataclasses.replace(directory.settings, servers=(server,))
        assert Directory(settings).authenticate("lena", PASSWORD).outcome is Outcome.SIGNED_IN

    @pytest.mark.parametrize(
        "login,password,outcome",
        [
            ("lena", "wrong", Outcome.WRONG_PASSWORD),
            ("nobody", PASSWORD, Outcome.UNKNOWN_USER),
            ("lena", "", Outcome.EMPTY_PASSWORD),
            ("*", PASSWORD, Outcome.UNKNOWN_USER),
            ("disabled", PASSWORD, Outcome.DISABLED),
            ("disabled", "wrong", Outcome.DISABLED),
            ("left", PASSWORD, Outcome.ACCOUNT_EXPIRED),
            ("mustchange", PASSWORD, Outcome.MUST_CHANGE_PASSWORD),
        ],
    )
    def test_each_refusal_has_its_reason(  # AUTH-2, AUTH-6
        self, directory: Directory, login: str, password: str, outcome: Outcome
    ) -> None:
        assert directory.authenticate(login, password).outcome is outcome

    def test_a_lock_out_of_the_domain_is_told_as_locked(self, directory: Directory) -> None:  # AUTH-6
        for _ in range(3):
            directory.authenticate("locked", "wrong")
        assert directory.authenticate("locked", PASSWORD).outcome is Outcome.LOCKED
        found = directory.look_up("locked")
        assert found is not None
        assert found[0].state is AccountState.LOCKED

    def test_a_renamed_and_moved_person_keeps_the_identity(  # AUTH-3
        self, directory: Directory, controller: DomainController
    ) -> None:
        before = directory.look_up("omar")
        assert before is not None
        with _administrator(controller) as admin:
            admin.modify_dn(before[0].dn, "CN=Omar Renamed", new_superior=f"OU=Archive,{controller.base}")
            try:
                after = directory.by_id(before[0].id)
                assert after is not None
                assert after[0].id == before[0].id
                assert after[0].dn != before[0].dn
                assert {group.name for group in after[1]} == {group.name for group in before[1]}
            finally:
                admin.modify_dn(
                    f"CN=Omar Renamed,OU=Archive,{controller.base}",
                    "CN=omar",
                    new_superior=f"OU=Staff,{controller.base}",
                )


class TestGroups:
    def test_nesting_circles_and_the_primary_group_are_resolved(self, directory: Directory) -> None:  # AUTH-5
        def names(login: str) -> set[str]:
            result = directory.authenticate(login, PASSWORD)
            return {group.name for group in result.groups} - {"Users"}

        assert names("lena") == {"sellers", "sales", "company", "Domain Users", "everybody"}
        assert names("omar") == {"sales", "company", "ring-a", "ring-b", "Domain Users", "everybody"}

    def test_a_listing_agrees_with_the_log_in(self, directory: Directory) -> None:  # AUTH-5
        groups = {group.name: group.id for group in find_groups(directory, "")}
        wanted = [groups[name] for name in ("company", "ring-a", "Domain Users", "everybody")]
        paged = Directory(dataclasses.replace(directory.settings, page_size=3))
        listing = list_everybody(paged, wanted)
        staff = {one.login: one for one in listing.people.values()}
        assert staff["disabled"].state is AccountState.DISABLED
        assert staff["left"].state is AccountState.ACCOUNT_EXPIRED

        def members(name: str) -> set[str]:
            return {listing.people[one].login for one in listing.members[groups[name]]}

        assert members("company") == {"lena", "omar"}
        assert members("ring-a") == {"omar"}
        assert {"lena", "omar", "locked"} <= members("Domain Users")


def test_every_step_of_the_diagnosis_passes(directory: Directory) -> None:  # AUTH-10
    (report,) = diagnose(directory, "lena")
    assert report.passed
    assert {"company", "Domain Users"} <= {group.name for group in report.groups}
