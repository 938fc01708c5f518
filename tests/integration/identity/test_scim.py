"""SCIM 2.0: checked by scim2-tester, used through scim2-client, and fuzzed (AUTH-8; RFC 7643, RFC 7644)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scim2_client.engines.wsgi import WSGISCIMClient
from scim2_tester import Status, check_server
from sqlalchemy import delete, select
from werkzeug.test import Client
from werkzeug.wrappers import Response

from crm_server.app import main
from crm_server.domain.identity.directory_models import GroupMapping
from crm_server.domain.identity.models import LoginSession, Role, User
from crm_server.domain.identity.queries import role_names
from crm_server.domain.identity.services.sso import source_of
from crm_server.domain.identity.sso_models import ScimGroup, ScimToken, ScimUser, SsoProvider
from crm_server.kernel.clock import now
from crm_server.settings import Settings
from tests.conftest import close
from tests.integration.identity.conftest import CLIENT, World

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_WORDS = [
    "userName",
    "emails",
    "[",
    "]",
    "(",
    ")",
    "eq",
    "co",
    "pr",
    "not",
    "and",
    "or",
    ".value",
    '"',
    "1",
    "true",
    "null",
    "*)(uid=*",
    "%",
    "\\",
    "id",
    "gt",
    ";",
    "--",
]
BASE = "https://localhost/scim/v2"


@pytest.fixture(scope="module")
def application(identity_settings: Settings) -> Iterator[Any]:
    made = main(identity_settings)
    yield made
    close(made)


class Scim:
    """Requests with the provider's token."""

    def __init__(self, application: Any, token: str) -> None:
        self.client = Client(application, Response)
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(
            f"/scim/v2{path}",
            method=method,
            base_url="https://localhost",
            json=body,
            headers={**self.headers, **more},
        )

    def user(self, login: str, **more: Any) -> dict[str, Any]:
        answer = self("POST", "/Users", {"schemas": [USER], "userName": login} | more)
        assert answer.status_code == 201, answer.text
        return answer.json

    def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> Any:
        return self("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)


@pytest.fixture
def provider(world: World) -> SsoProvider:
    with world.session() as session:
        session.execute(delete(GroupMapping).where(GroupMapping.source.like("sso:%")))
        session.execute(delete(SsoProvider))
        for user in session.scalars(select(User).where(User.source.like("sso:%"))):
            user.login = f"gone {user.id}"
        row = SsoProvider(
            name="Company",
            enabled=True,
            issuer="https://sso.example.test",
            client_id="kontor",
            provisioning="scim",
        )
        session.add(row)
        session.commit()
        return row


@pytest.fixture
def token(world: World, provider: SsoProvider) -> str:
    with world.session() as session:
        text = world.services.scim.make_token(session, session.get_one(SsoProvider, provider.id), "Tests", 30)
        session.commit()
        return text


@pytest.fixture
def scim(application: Any, token: str) -> Scim:
    return Scim(application, token)


def account(world: World, key: str) -> User:
    with world.session() as session:
        return session.get_one(User, key)


class TestConformance:
    def test_every_check_of_the_conformance_suite_passes(
        self, application: Any, token: str, world: World
    ) -> None:
        def app(environ: dict[str, Any], start: Any) -> Any:
            return application(environ | {"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"}, start)

        with world.session() as session:
            # The suite removes more accounts than the brake would let go.
            session.scalars(select(SsoProvider)).one().brake_released_until = now() + timedelta(hours=1)
            session.commit()
        client = WSGISCIMClient(
            app,
            base_url=BASE,
            headers={"Authorization": f"Bearer {token}"},
        )
        client.discover()
        results = check_server(client, raise_exceptions=False)
        bad = [
            f"{one.title} {one.resource_type}: {one.reason}"
            for one in results
            if one.status not in {Status.SUCCESS, Status.SKIPPED, Status.ACCEPTABLE, Status.COMPLIANT}
        ]
        assert not bad, "\n".join(bad)
        assert sum(one.status is Status.SUCCESS for one in results) > 40


class TestAccounts:
    def test_a_person_is_made_found_changed_and_taken_away(self, scim: Scim, world: World) -> None:
        made = scim.user(
            "lena",
            externalId="ext-1",
            name={"givenName": "Lena", "familyName": "Lang"},
            title="Seller",
            emails=[{"value": "l@home.test"}, {"value": "lena@example.test", "primary": True}],
        )
        user = account(world, made["id"])
        assert (user.login, user.name, user.email) == ("lena", "Lena Lang", "lena@example.test")
        assert (user.state, user.source_key) == ("active", "ext-1")
        for query in (
            'userName eq "LENA"',
            'externalId eq "ext-1"',
            'emails.value co "example" and active eq true',
        ):
            found = scim("GET", "/Users?filter=" + query.replace(" ", "%20").replace('"', "%22")).json
            assert [one["id"] for one in found["Resources"]] == [made["id"]]
        changed = scim.patch(
            f"/Users/{made['id']}",
            {"op": "Replace", "path": "displayName", "value": "Lena Lund"},
            {"op": "replace", "path": "name.givenName", "value": "Ignored"},
            {"op": "replace", "value": {"userName": "lund"}},
        )
        assert changed.status_code == 200, changed.text
        assert (account(world, made["id"]).login, account(world, made["id"]).name) == ("lund", "Lena Lund")
        assert scim("DELETE", f"/Users/{made['id']}").status_code == 204
        assert scim("GET", f"/Users/{made['id']}").status_code == 404
        assert account(world, made["id"]).state == "disabled"
        actions = world.actions(user)
        assert {"user_made_by_sso", "scim_user_added", "scim_user_removed", "user_disabled"} <= set(actions)

    def test_a_disabled_person_loses_sessions_at_once_and_comes_back_as_the_same(  # AUTH-8
        self, scim: Scim, world: World
    ) -> None:
        made = scim.user("mila", externalId="ext-2")
        with world.session() as session:
            user = session.get_one(User, made["id"])
            world.services.sessions.begin(session, user, "sso", CLIENT)
            session.commit()
        scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": False})
        with world.session() as session:
            rows = session.scalars(select(LoginSession).where(LoginSession.user_id == user.id)).all()
            assert all(one.revoked_at is not None for one in rows)
        assert account(world, made["id"]).state == "disabled"
        scim("DELETE", f"/Users/{made['id']}")
        again = scim.user("mila", externalId="ext-2")
        assert again["id"] == made["id"]
        assert account(world, made["id"]).state == "active"
        # Under the same name but with another lasting id, it is somebody else (AUTH-3).
        scim("DELETE", f"/Users/{made['id']}")
        other = scim.user("mila", externalId="ext-3")
        assert other["id"] != made["id"]

    def test_an_account_that_an_administrator_disabled_stays_so(self, scim: Scim, world: World) -> None:
        made = scim.user("nora", externalId="ext-4")
        with world.session() as session:
            world.services.users.set_state(session, account(world, made["id"]).id, enabled=False)
            session.commit()
        scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": True})
        assert account(world, made["id"]).state == "disabled"

    def test_names_and_ids_that_are_taken_are_refused(self, scim: Scim, world: World) -> None:
        local = world.user()
        first = scim.user("olga", externalId="ext-5")
        for body in (
            {"userName": "OLGA"},
            {"userName": local.login},
            {"userName": "olga2", "externalId": "ext-5"},
        ):
            answer = scim("POST", "/Users", {"schemas": [USER]} | body)
            assert (answer.status_code, answer.json["scimType"]) == (409, "uniqueness")
        assert account(world, str(local.id)).source == "local"
        second = scim.user("olga3")
        answer = scim.patch(f"/Users/{second['id']}", {"op": "replace", "path": "userName", "value": "olga"})
        assert answer.status_code == 409
        assert first["id"] != second["id"]

    def test_nobody_reaches_accounts_of_others(self, scim: Scim, world: World) -> None:
        local = world.user("User")
        assert scim("GET", f"/Users/{local.id}").status_code == 404
        assert (
            scim.patch(f"/Users/{local.id}", {"op": "replace", "path": "active", "value": False}).status_code
            == 404
        )
        assert scim("DELETE", f"/Users/{local.id}").status_code == 404
        body = {"schemas": [GROUP], "displayName": "g", "members": [{"value": str(local.id)}]}
        assert scim("POST", "/Groups", body).status_code == 404
        assert account(world, str(local.id)).state == "active"

    def test_a_stale_version_changes_nothing(self, scim: Scim) -> None:
        answer = scim("POST", "/Users", {"schemas": [USER], "userName": "petra"})
        version, path = answer.headers["ETag"], f"/Users/{answer.json['id']}"
        assert scim("GET", path, If_None_Match=version).status_code == 304
        operation = {"op": "replace", "path": "displayName", "value": "Petra"}
        assert scim.patch(path, operation, If_Match=version).status_code == 200
        operation = {"op": "replace", "path": "displayName", "value": "Lost"}
        assert scim.patch(path, operation, If_Match=version).status_code == 412
        assert scim("DELETE", path, If_Match=version).status_code == 412
        assert scim("GET", path).json["displayName"] == "Petra"

    def test_lists_come_in_pages_sorted_and_projected(self, scim: Scim) -> None:
        for number in range(5):
            scim.user(f"page{4 - number}")
        first = scim("GET", "/Users?sortBy=userName&startIndex=2&count=2&attributes=userName").json
        assert (first["totalResults"], first["startIndex"], first["itemsPerPage"]) == (5, 2, 2)
        assert [one["userName"] for one in first["Resources"]] == ["page1", "page2"]
        assert "active" not in first["Resources"][0]
        assert scim("GET", "/Users?count=0").json["totalResults"] == 5
        body = {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
            "filter": 'userName sw "page3"',
        }
        assert scim("POST", "/Users/.search", body).json["totalResults"] == 1


class TestGroups:
    def test_membership_gives_and_takes_what_the_group_means_at_once(
        self, scim: Scim, world: World, provider: SsoProvider
    ) -> None:
        person = scim.user("rosa", externalId="ext-9")
        group = scim("POST", "/Groups", {"schemas": [GROUP], "displayName": "Sellers"}).json
        with world.session() as session:
            row = session.get_one(SsoProvider, provider.id)
            key, name = world.services.sso.group_named(session, row, "Sellers")
            role = session.scalars(select(Role.id).where(Role.name == "User")).one()
            world.services.groups.map_group(session, source_of(row), key, name, "role", role)
            session.commit()
        user = account(world, person["id"])
        added = scim.patch(
            f"/Groups/{group['id']}", {"op": "add", "path": "members", "value": [{"value": person["id"]}]}
        )
        assert added.json["members"][0]["value"] == person["id"]
        with world.session() as session:
            assert role_names(session, user.id) == ["User"]
        assert scim("GET", f"/Users/{person['id']}").json["groups"][0]["display"] == "Sellers"
        path = f'members[value eq "{person["id"]}"]'
        assert scim.patch(f"/Groups/{group['id']}", {"op": "remove", "path": path}).status_code == 200
        with world.session() as session:
            assert role_names(session, user.id) == []
        assert [one for one in world.actions(user) if one.startswith("role")] == ["role_given", "role_taken"]
        scim.patch(
            f"/Groups/{group['id']}", {"op": "add", "path": "members", "value": [{"value": person["id"]}]}
        )
        assert scim("DELETE", f"/Groups/{group['id']}").status_code == 204
        with world.session() as session:
            assert role_names(session, user.id) == []
            assert session.scalars(select(ScimGroup).where(ScimGroup.provider_id == provider.id)).all() == []


class TestTheBrake:
    def test_more_than_the_brake_allows_are_not_disabled_until_an_administrator_says_so(  # AUTH-8
        self, scim: Scim, world: World, provider: SsoProvider
    ) -> None:
        people = [scim.user(f"brake{number}")["id"] for number in range(8)]
        answers = [
            scim.patch(f"/Users/{key}", {"op": "replace", "path": "active", "value": False}) for key in people
        ]
        assert [one.status_code for one in answers] == [200] * 5 + [429] * 3
        assert answers[-1].headers["Retry-After"]
        assert [account(world, key).state for key in people] == ["disabled"] * 5 + ["active"] * 3
        assert scim("DELETE", f"/Users/{people[6]}").status_code == 429
        assert account(world, people[6]).state == "active"
        assert world.reasons("scim_deprovisioning_held")[-1:] == ["too_many_to_disable"]
        told = len(world.reasons("scim_deprovisioning_held"))
        with world.session() as session:
            world.services.scim.release_brake(session, session.get_one(SsoProvider, provider.id))
            session.commit()
        assert scim("DELETE", f"/Users/{people[6]}").status_code == 204
        assert len(world.reasons("scim_deprovisioning_held")) == told


class TestTokens:
    def test_without_a_token_that_works_nothing_is_answered(
        self, application: Any, scim: Scim, world: World, provider: SsoProvider, token: str
    ) -> None:
        for text in ("", "nonsense", token[:-1] + ("a" if token[-1] != "a" else "b")):
            answer = Scim(application, text)("GET", "/Users")
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert scim("GET", "/ServiceProviderConfig").status_code == 200
        with time_machine.travel(now() + timedelta(days=31)):
            assert scim("GET", "/Users").status_code == 401
        with world.session() as session:
            row = session.get_one(SsoProvider, provider.id)
            world.services.scim.revoke_token(session, row, session.scalars(select(ScimToken.id)).one())
            session.commit()
        assert scim("GET", "/Users").status_code == 401

    def test_a_token_opens_scim_and_nothing_else_and_is_kept_as_a_hash(
        self, application: Any, token: str, world: World
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        answer = Client(application, Response).open(
            "/api/v1/me", base_url="https://localhost", headers=headers
        )
        assert answer.status_code == 401
        with world.session() as session:
            row = session.scalars(select(ScimToken)).one()
            assert token.encode() not in row.token_hash

    def test_guessing_tokens_is_limited(self, application: Any, world: World) -> None:  # AUTH-18
        guess = Scim(application, "wrong")
        codes = [guess("GET", "/Users").status_code for _ in range(103)]
        assert codes[0] == 401
        assert codes[-1] == 429
        world.forget_limits()

    def test_a_provider_whose_people_come_at_log_in_takes_no_accounts(
        self, scim: Scim, world: World, provider: SsoProvider
    ) -> None:
        with world.session() as session:
            session.get_one(SsoProvider, provider.id).provisioning = "login"
            session.commit()
        assert scim("POST", "/Users", {"schemas": [USER], "userName": "x"}).status_code == 401


class TestBadInput:
    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"schemas": [USER]},
            {"schemas": [GROUP], "userName": "x"},
            {"schemas": [USER], "userName": ""},
            {"schemas": [USER], "userName": "x" * 101},
            {"schemas": [USER], "userName": "a\u0000b"},
            {"schemas": [USER], "userName": 7},
            {"schemas": [USER], "userName": "x", "active": "perhaps"},
            {"schemas": [USER], "userName": "x", "emails": {"value": 1}},
            {"schemas": [USER], "userName": "x", "emails": [{"value": "y" * 300}]},
            {"schemas": [USER], "userName": "x", "externalId": "y" * 201},
            [],
            "text",
        ],
    )
    def test_bodies_that_cannot_be_right_are_refused_in_the_words_of_the_standard(
        self, scim: Scim, body: Any
    ) -> None:
        answer = scim("POST", "/Users", body)
        assert answer.status_code == 400, answer.text
        assert answer.json["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
        assert answer.json["scimType"] in {"invalidValue", "invalidSyntax"}

    @pytest.mark.parametrize(
        "method,path,status",
        [
            ("GET", "/Users/not-an-id", 404),
            ("GET", "/Nothing", 404),
            ("GET", "/", 404),
            ("POST", "/ServiceProviderConfig", 405),
            ("GET", "/Schemas?filter=id%20pr", 403),
            ("GET", "/Users?filter=nonsense%20eq%201", 400),
            ("GET", "/Users?count=many", 400),
            ("PUT", "/Users", 405),
        ],
    )
    def test_other_addresses_and_parameters(self, scim: Scim, method: str, path: str, status: int) -> None:
        answer = scim(method, path, {} if method in {"POST", "PUT"} else None)
        assert answer.status_code == status
        assert answer.content_type.startswith("application/scim+json")

    def test_bulk_is_declared_as_missing_and_refused(self, scim: Scim) -> None:
        assert scim("GET", "/ServiceProviderConfig").json["bulk"]["supported"] is False
        assert scim("POST", "/Bulk", {"Operations": []}).status_code in {404, 501}

    def test_a_body_that_is_too_large_is_refused(self, scim: Scim) -> None:
        body = {"schemas": [USER], "userName": "x", "title": "y" * 1_100_000}
        assert scim("POST", "/Users", body).status_code == 413

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        text=st.one_of(
            st.text(max_size=60),
            st.lists(
                st.sampled_from(_WORDS),
                max_size=14,
            ).map(" ".join),
        )
    )
    def test_no_filter_breaks_anything(self, scim: Scim, text: str) -> None:
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": text}
        answer = scim("POST", "/Users/.search", body)
        assert answer.status_code in {200, 400}
        if answer.status_code == 400:
            assert answer.json["scimType"] in {
                "invalidFilter",
                "invalidValue",
                "invalidSyntax",
                "invalidPath",
            }

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        operations=st.lists(
            st.fixed_dictionaries(
                {"op": st.sampled_from(["add", "replace", "remove", "move", "", 1])},
                optional={
                    "path": st.one_of(
                        st.text(max_size=20),
                        st.sampled_from(
                            ["active", "emails", 'emails[type eq "work"].value', "groups", "id", "meta"]
                        ),
                    ),
                    "value": st.recursive(
                        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
                        lambda inner: (
                            st.lists(inner, max_size=3)
                            | st.dictionaries(
                                st.sampled_from(["value", "userName", "active", "x"]), inner, max_size=3
                            )
                        ),
                        max_leaves=6,
                    ),
                },
            ),
            max_size=4,
        )
    )
    def test_no_patch_breaks_anything(
        self, scim: Scim, world: World, provider: SsoProvider, operations: list[dict[str, Any]]
    ) -> None:
        with world.session() as session:
            found = session.scalars(
                select(ScimUser.user_id).where(ScimUser.provider_id == provider.id)
            ).first()
        key = found or scim.user("patched")["id"]
        answer = scim.patch(f"/Users/{key}", *operations)
        assert answer.status_code in {200, 204, 400, 409, 429}
