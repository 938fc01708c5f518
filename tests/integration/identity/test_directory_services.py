"""Directory users in the application: log-in, accounts made just in time, groups, comparison (AUTH-2 to
AUTH-9).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from click.testing import CliRunner
from sqlalchemy import delete, select, update

from crm_server.cli.directory import directory as command
from crm_server.domain.identity import queries
from crm_server.domain.identity.authentication import Authenticator
from crm_server.domain.identity.directory_models import CompanyDirectory, GroupMapping
from crm_server.domain.identity.jobs import directory_sync, identity_purge
from crm_server.domain.identity.models import LoginSession, Role, Team, User
from crm_server.domain.identity.services.directories import brake, parse_server, source_of
from crm_server.domain.identity.services.login import Step
from crm_server.kernel.actor import Actor, Origin, system_actor
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict, NotAllowed
from crm_server.kernel.jobs import Job
from crm_server.settings import Settings
from security.identity.ldap import DirectoryFailure
from security.identity.ldap.listing import find_groups
from tests.integration.identity.conftest import CLIENT, GOOD, World
from tests.integration.identity.openldap_data import GROUPS, PEOPLE, group_dn, person_dn
from tests.integration.identity.servers import PASSWORD, SERVICE_DN, SERVICE_PASSWORD, Slapd


@pytest.fixture
def company(world: World, slapd: Slapd) -> Iterator[CompanyDirectory]:
    """An enabled directory: "company" may log in, "sellers" are users of the team "Sellers"."""
    with world.session() as session:
        row = CompanyDirectory(
            name="Company", enabled=True, flavour="openldap", bind_dn=SERVICE_DN, user_base=PEOPLE, group_base=GROUPS,
            servers=[f"ldaps://localhost:{slapd.ldaps_port}"], authorities=slapd.authority.ca_file.read_text(),
            user_filter="(&(objectClass=inetOrgPerson)(!(uid=huge)))",
        )  # fmt: skip
        session.add(row)
        session.flush()
        service = world.services.directories
        service.set_password(session, row, SERVICE_PASSWORD)
        groups = {one.name: one for one in find_groups(service.client(row), "")}
        team = Team(name="Sellers")
        session.add(team)
        session.flush()
        role = session.scalars(select(Role.id).where(Role.name == "User")).one()
        for name, kind, target in (
            ("company", "login", None),
            ("sellers", "role", role),
            ("sellers", "team", team.id),
        ):
            key = str(groups[name].id)
            world.services.groups.map_group(session, source_of(row), key, name, kind, target)
        session.commit()
    yield row
    with world.session() as session:
        session.execute(delete(User).where(User.source == f"directory:{row.id}"))
        session.execute(delete(CompanyDirectory).where(CompanyDirectory.id == row.id))
        session.execute(delete(Team).where(Team.name == "Sellers"))
        session.commit()


def account(world: World, login: str) -> User | None:
    with world.session() as session:
        return session.scalars(select(User).where(User.login == login)).one_or_none()


def groups_of(world: World, user: User) -> tuple[list[str], bool]:
    with world.session() as session:
        team = session.scalars(select(Team.id).where(Team.name == "Sellers")).one()
        return queries.role_names(session, user.id), (user.id, user.login, user.name) in queries.team_members(
            session, team
        ).first


@pytest.mark.usefixtures("company")
class TestLogIn:
    def test_a_member_of_an_allowed_group_gets_an_account_at_the_first_log_in(
        self, world: World
    ) -> None:  # AUTH-7
        assert account(world, "omar") is None
        result = world.services.login.password("omar", PASSWORD, CLIENT)
        assert result.step is Step.SIGNED_IN
        assert result.actor is not None
        assert result.actor.auth_method == "directory"
        omar = account(world, "omar")
        assert omar is not None
        assert (omar.name, omar.email, omar.password_hash) == ("Omar Haddad", "user2@example.test", None)
        assert groups_of(world, omar) == (["User"], True)
        assert "user_made_by_directory" in world.actions(omar)
        again = world.services.login.password("OMAR", PASSWORD, CLIENT)
        assert again.actor is not None
        assert again.actor.id == omar.id

    @pytest.mark.parametrize(
        "login,password,reason",
        [
            ("omar", "wrong", "wrong_password"),
            ("mustchange", PASSWORD, "must_change_password"),
            ("disabled", PASSWORD, "account_disabled"),
            ("王小明", PASSWORD, "not_in_an_allowed_group"),
            ("nobody-there", PASSWORD, "unknown_user"),
            ("twin", PASSWORD, "ambiguous_user"),
            ("omar", "", "empty_password"),
        ],
    )
    def test_refusals_look_alike_and_differ_in_the_audit_log(  # AUTH-2, AUTH-6, AUTH-7
        self, world: World, login: str, password: str, reason: str
    ) -> None:
        result = world.services.login.password(login, password, CLIENT)
        assert (result.step, result.token) == (Step.REFUSED, None)
        assert world.reasons("login")[-1] == reason
        assert account(world, login) is None

    def test_guessing_here_locks_nobody_out_of_the_directory(self, world: World, slapd: Slapd) -> None:
        """slapd locks after five wrong passwords; however the name is written, fewer arrive there (AUTH-18)."""
        guesses = ["lena", "LENA", " lena", "Lena ", "lEna", "leNa", "lenA", "lena  "]
        for guess in guesses:
            assert world.services.login.password(guess, "wrong", CLIENT).step is Step.REFUSED
            with world.engine.begin() as connection:
                # As if the minutes of the account's own limit were over.
                connection.exec_driver_sql(
                    "delete from identity.rate_limit where limit_name like 'login/account%%'"
                )
        reasons = world.reasons("login")[-len(guesses) :]
        assert reasons == ["wrong_password"] * 4 + ["rate_limited_before_directory"] * 4
        # The right password waits here as well, and looks like a wrong one.
        assert world.services.login.password("lena", PASSWORD, CLIENT).step is Step.REFUSED
        with time_machine.travel(now() + timedelta(minutes=31)):
            assert world.services.login.password("lena", PASSWORD, CLIENT).step is Step.SIGNED_IN
            # Whoever came in may mistype anew.
            assert world.services.login.password("lena", "wrong", CLIENT).step is Step.REFUSED
            assert world.reasons("login")[-1] == "wrong_password"

    def test_a_second_factor_is_asked_of_directory_users_too(self, world: World) -> None:  # AUTH-11
        world.services.login.password("omar", PASSWORD, CLIENT)
        omar = account(world, "omar")
        assert omar is not None
        _, codes = world.enrol_app(omar)
        first = world.services.login.password("omar", PASSWORD, CLIENT)
        assert first.step is Step.SECOND_STEP
        second = world.services.login.code(str(first.token), codes[0], CLIENT)
        assert second.actor is not None
        assert second.actor.auth_method == "directory+recovery_code"

    def test_a_renamed_person_keeps_the_account(self, world: World, slapd: Slapd) -> None:  # AUTH-3
        world.services.login.password("omar", PASSWORD, CLIENT)
        before = account(world, "omar")
        assert before is not None
        rename = f"dn: {person_dn(2)}\nchangetype: modify\nreplace: uid\nuid: %s\n\n"
        slapd.modify(rename % "omar.h")
        try:
            result = world.services.login.password("omar.h", PASSWORD, CLIENT)
            assert result.actor is not None
            assert result.actor.id == before.id
            assert account(world, "omar") is None
        finally:
            slapd.modify(rename % "omar")

    def test_leaving_a_group_takes_the_role_at_the_next_log_in(
        self, world: World, slapd: Slapd
    ) -> None:  # AUTH-5
        world.services.login.password("omar", PASSWORD, CLIENT)
        change = f"dn: {group_dn('sellers')}\nchangetype: modify\n%s: member\nmember: {person_dn(2)}\n\n"
        stay = f"dn: {group_dn('company')}\nchangetype: modify\n%s: member\nmember: {person_dn(2)}\n\n"
        slapd.modify(change % "delete" + stay % "add")
        try:
            assert world.services.login.password("omar", PASSWORD, CLIENT).step is Step.SIGNED_IN
            omar = account(world, "omar")
            assert omar is not None
            assert groups_of(world, omar) == ([], False)
            assert {"role_taken", "team_left"} <= set(world.actions(omar))
        finally:
            slapd.modify(change % "add" + stay % "delete")

    def test_a_local_account_of_the_same_name_is_never_taken_over(self, world: World) -> None:
        with world.session() as session:
            local = world.services.users.create(session, "lena", "Local Lena")
            token = world.services.links.make(session, local)
            session.commit()
        world.services.links.redeem(token, GOOD + " here", CLIENT)
        try:
            assert world.services.login.password("lena", PASSWORD, CLIENT).step is Step.REFUSED
            result = world.services.login.password("lena", GOOD + " here", CLIENT)
            assert result.actor is not None
            assert result.actor.id == local.id
        finally:
            with world.session() as session:
                session.execute(delete(User).where(User.id == local.id))
                session.commit()

    def test_with_the_directory_down_sessions_and_local_accounts_live_on(  # AUTH-9
        self, world: World, slapd: Slapd
    ) -> None:
        world.services.login.password("omar", PASSWORD, CLIENT)
        omar, local = account(world, "omar"), world.user()
        assert omar is not None
        slapd.stop()
        try:
            assert world.services.login.password("omar", PASSWORD, CLIENT).step is Step.REFUSED
            assert world.reasons("login")[-1] == "directory_unavailable"
            assert world.services.login.password(local.login, GOOD, CLIENT).step is Step.SIGNED_IN
            with world.session() as session:
                live = session.scalars(
                    select(LoginSession).where(
                        LoginSession.user_id == omar.id, LoginSession.revoked_at.is_(None)
                    )
                ).all()
                assert len(live) == 1
        finally:
            slapd.start()


class TestMapping:
    def test_no_group_makes_administrators(self, world: World, company: CompanyDirectory) -> None:  # AUTH-7
        with world.session() as session:
            for name in ("System administrator", "Security administrator", "Audit administrator"):
                role = session.scalars(select(Role.id).where(Role.name == name)).one()
                with pytest.raises(Conflict):
                    world.services.groups.map_group(session, source_of(company), "x", "x", "role", role)

    def test_a_role_that_became_an_administrators_after_it_was_mapped_is_not_given(  # AUTH-7
        self, world: World, company: CompanyDirectory
    ) -> None:
        user = world.user()
        with world.session() as session:
            role = Role(name="Grows", permissions=["crm:contact:read"])
            session.add(role)
            session.flush()
            world.services.groups.map_group(session, source_of(company), "g", "g", "role", role.id)
            mappings = world.services.groups.of(session, source_of(company))
            govern = world.services.groups.govern
            given, _taken = govern(session, user, mappings, {"g"}, apply=False)
            assert given == (f"role:{role.id}",)
            role.permissions = ["system:users:manage"]
            session.flush()
            assert govern(session, user, mappings, {"g"}, apply=True) == ((), ())
            session.rollback()

    def test_nobody_gives_themselves_roles_by_way_of_a_mapping(
        self, world: World, company: CompanyDirectory
    ) -> None:
        user = world.user()
        actor = Actor(id=user.id, name="x", all_permissions=True)
        with world.session(actor) as session:
            role = session.scalars(select(Role.id).where(Role.name == "Manager")).one()
            world.services.groups.map_group(session, source_of(company), "g", "g", "role", role)
            mappings = world.services.groups.of(session, source_of(company))
            with pytest.raises(NotAllowed):
                world.services.groups.govern(session, user, mappings, {"g"}, apply=True)
            session.rollback()

    def test_log_in_goes_on_at_the_second_server_and_the_first_rests(  # AUTH-9
        self, world: World, company: CompanyDirectory, slapd: Slapd
    ) -> None:
        with world.session() as session:
            row = session.get_one(CompanyDirectory, company.id)
            dead, alive = "ldaps://localhost:1", f"ldaps://localhost:{slapd.ldaps_port}"
            row.servers = [dead, alive]
            session.flush()
            client = world.services.directories.client(row)
            for _ in range(3):
                found, reason = world.services.directories.authenticate(session, None, "lena", PASSWORD)
                assert (found is not None, reason) == (True, None)
            assert [client.breakers[one].resting for one in client.settings.servers] == [True, False]
            session.rollback()

    def test_the_service_password_is_sealed(self, world: World, company: CompanyDirectory) -> None:
        with world.session() as session:
            stored = session.get_one(CompanyDirectory, company.id).bind_password
        assert stored is not None
        assert SERVICE_PASSWORD.encode() not in stored

    @pytest.mark.parametrize("text", ["ldap://host", "host", "ldaps://", "ldaps://host:port", ""])
    def test_servers_without_tls_cannot_be_written(self, text: str) -> None:  # AUTH-1
        with pytest.raises(ValueError, match="ldaps:"):
            parse_server(text)
        assert str(parse_server("ldaps://dc1.example.com")) == "ldaps://dc1.example.com:636"
        assert str(parse_server("starttls://dc1.example.com")) == "starttls://dc1.example.com:389"


class TestComparison:
    @pytest.fixture
    def staff(self, world: World, company: CompanyDirectory) -> list[User]:
        for login in ("lena", "omar", "wanderer"):
            world.services.login.password(login, PASSWORD, CLIENT)
        found = (account(world, login) for login in ("lena", "omar", "wanderer"))
        return [one for one in found if one is not None]

    def compare(self, world: World, company: CompanyDirectory, **options: bool) -> dict[str, object]:
        with world.session() as session:
            row = session.get_one(CompanyDirectory, company.id)
            result = world.services.directories.compare(session, row, **({"apply": True} | options))
            session.commit()
            return result.plain()

    def ghosts(self, world: World, company: CompanyDirectory, count: int) -> None:
        """Active accounts whose people are no longer in the directory."""
        with world.session() as session:
            for number in range(count):
                key = f"00000000-0000-0000-0000-{number:012}"
                source = f"directory:{company.id}"
                ghost = User(
                    login=f"ghost{number}", name="Ghost", state="active", source=source, source_key=key
                )
                session.add(ghost)
            session.commit()

    def test_who_left_is_disabled_with_all_sessions(  # AUTH-8
        self, world: World, company: CompanyDirectory, staff: list[User]
    ) -> None:
        assert len(staff) == 3
        self.ghosts(world, company, 2)
        preview = self.compare(world, company, apply=False)
        assert (preview["active"], preview["to_disable"], preview["applied"]) == (5, 2, False)
        assert account(world, "ghost0").state == "active"  # type: ignore[union-attr]
        done = self.compare(world, company)
        assert (done["to_disable"], done["held"]) == (2, False)
        assert account(world, "ghost0").state == "disabled"  # type: ignore[union-attr]
        assert account(world, "lena").state == "active"  # type: ignore[union-attr]
        assert self.compare(world, company)["to_disable"] == 0

    def test_the_brake_holds_when_too_many_would_go(  # AUTH-8
        self, world: World, company: CompanyDirectory, staff: list[User]
    ) -> None:
        assert [brake(count) for count in (0, 49, 60, 5000)] == [5, 5, 6, 500]
        self.ghosts(world, company, 6)
        held = self.compare(world, company)
        assert (held["to_disable"], held["held"]) == (6, True)
        assert account(world, "ghost0").state == "active"  # type: ignore[union-attr]
        assert world.reasons("directory_comparison_held")[-1] == "too_many_to_disable"
        assert self.compare(world, company, force=True)["held"] is False
        assert account(world, "ghost0").state == "disabled"  # type: ignore[union-attr]

    def test_a_listing_that_cannot_be_completed_changes_nothing(  # AUTH-8
        self, world: World, company: CompanyDirectory, staff: list[User]
    ) -> None:
        with world.session() as session:
            session.execute(
                update(CompanyDirectory)
                .where(CompanyDirectory.id == company.id)
                .values(
                    user_filter=None, version=CompanyDirectory.version + 1
                )  # Now it contains ten megabytes.
            )
            session.commit()
        with pytest.raises(DirectoryFailure):
            self.compare(world, company)
        assert account(world, "lena").state == "active"  # type: ignore[union-attr]

    def test_roles_given_by_hand_stay(
        self, world: World, company: CompanyDirectory, staff: list[User]
    ) -> None:  # AUTH-5
        wanderer = staff[2]
        with world.session() as session:
            roles = session.scalars(select(Role.id).where(Role.name.in_(["Reader", "User"]))).all()
            world.services.users.set_roles(session, wanderer.id, roles)
            session.commit()
        self.compare(world, company)
        assert groups_of(world, wanderer) == (["Reader"], False)


class TestCommand:
    def test_a_directory_is_added_tested_mapped_and_compared(
        self, monkeypatch: pytest.MonkeyPatch, world: World, identity_settings: Settings, slapd: Slapd
    ) -> None:  # AUTH-10
        url = identity_settings.database_url.replace("postgresql+psycopg2", "postgresql")
        monkeypatch.setenv("KONTOR_DATABASE_URL", url)
        monkeypatch.setenv("KONTOR_STATE_DIR", str(identity_settings.state_dir))
        kontor = CliRunner()
        arguments = [
            "add", "Test", "--kind", "openldap", "--bind-dn", SERVICE_DN, "--user-base", PEOPLE, "--group-base", GROUPS,
            "--ca-file", str(slapd.authority.ca_file), "--user-filter", "(&(objectClass=inetOrgPerson)(!(uid=huge)))",
        ]  # fmt: skip
        wrong = kontor.invoke(command, [*arguments, "--server", "ldap://localhost"], input=SERVICE_PASSWORD)
        assert wrong.exit_code == 1
        assert "starttls://dc1.example.com is expected here" in wrong.output
        server = f"ldaps://localhost:{slapd.ldaps_port}"
        made = kontor.invoke(command, [*arguments, "--server", server], input=SERVICE_PASSWORD + "\n")
        assert made.exit_code == 0, made.output
        (report,) = json.loads(kontor.invoke(command, ["test", "omar", "--json"]).output)
        assert report["passed"]
        groups = {one["name"]: one["id"] for one in report["groups"]}
        assert set(groups) == {"company", "sales-department", "sellers"}
        mapped = kontor.invoke(command, ["map", "Test", groups["sellers"], "role", "User"])
        assert mapped.output == "sellers gives role User.\n"
        (report,) = json.loads(kontor.invoke(command, ["test", "omar", "--json"]).output)
        assert report["gives"] == [["role", "User"]]
        assert kontor.invoke(command, ["enable", "Test"]).output == "Test is enabled.\n"
        synced = json.loads(kontor.invoke(command, ["sync", "Test", "--json"]).output)
        assert synced["active"] == 0
        kontor.invoke(command, ["disable", "Test"])
        assert kontor.invoke(command, ["test", "--directory", "Nowhere"]).exit_code == 1
        with world.session() as session:
            session.execute(delete(GroupMapping))
            session.execute(delete(CompanyDirectory))
            session.commit()


class TestJobs:
    def job(self, world: World, settings: Settings) -> Job:
        return Job(1, 1, system_actor(Origin.JOB), world.factory, settings)

    def test_whoever_leaves_the_directory_is_out_after_the_next_comparison(  # AUTH-8
        self, world: World, identity_settings: Settings, company: CompanyDirectory, slapd: Slapd
    ) -> None:
        result = world.services.login.password("omar", PASSWORD, CLIENT)
        change = f"dn: {person_dn(2)}\nchangetype: modify\n%s: pwdAccountLockedTime\n%s\n"
        slapd.modify(change % ("add", "pwdAccountLockedTime: 000001010000Z\n"))
        try:
            directory_sync(self.job(world, identity_settings))
        finally:
            slapd.modify(change % ("delete", ""))
        authenticator = Authenticator(world.hot, identity_settings)
        assert authenticator.by_session(str(result.token), CLIENT.request_id) is None  # type: ignore[arg-type]
        with world.session() as session:
            assert (session.get_one(CompanyDirectory, company.id).last_sync or {})["to_disable"] == 1

    def test_an_outage_is_told_once_and_disables_nobody(
        self, world: World, identity_settings: Settings, company: CompanyDirectory, slapd: Slapd
    ) -> None:
        world.services.login.password("omar", PASSWORD, CLIENT)
        slapd.stop()
        try:
            for _ in range(2):
                directory_sync(self.job(world, identity_settings))
        finally:
            slapd.start()
        assert world.reasons("directory_comparison_failed").count("directory_unavailable") == 1
        assert account(world, "omar").state == "active"  # type: ignore[union-attr]

    def test_what_is_over_is_forgotten(self, world: World, identity_settings: Settings) -> None:
        user = world.user()
        world.services.login.password(user.login, GOOD, CLIENT)
        with time_machine.travel(now() + timedelta(days=91)):
            identity_purge(self.job(world, identity_settings))
        with world.session() as session:
            assert (
                session.scalars(select(LoginSession).where(LoginSession.user_id == user.id)).first() is None
            )
