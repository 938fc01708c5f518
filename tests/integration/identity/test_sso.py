"""Single sign-on by OpenID Connect: through a whole provider, and against one that lies (AUTH-7, AUTH-10, AUTH-11)."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import time_machine
from joserfc.jwk import RSAKey
from sqlalchemy import delete, select
from webtest import TestApp, TestResponse

from crm_server.app import main
from crm_server.domain.identity.authentication import COOKIE
from crm_server.domain.identity.directory_models import GroupMapping
from crm_server.domain.identity.factor_models import Passkey
from crm_server.domain.identity.labels import provider_trouble
from crm_server.domain.identity.models import LoginSession, Role, Team, TeamMember, User, UserRole
from crm_server.domain.identity.queries import role_names
from crm_server.domain.identity.services.sso import source_of
from crm_server.domain.identity.sso_models import LoginRequest, SsoProvider, SsoSession
from crm_server.kernel.errors import Conflict
from crm_server.settings import Settings
from security.identity.oidc.diagnosis import diagnose
from security.web.outgoing import Outgoing
from tests.conftest import close
from tests.integration.identity.conftest import World
from tests.integration.identity.providers import SECRET, CanailleServer, Liar
from tests.integration.identity.test_identity_pages import alert, code_of, new_browser

LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture(scope="module")
def application(identity_settings: Settings) -> Iterator[Any]:
    made = main(identity_settings)
    made.registry.identity.login._refusal_seconds = 0
    yield made
    close(made)


@pytest.fixture
def browser(application: Any) -> TestApp:
    return new_browser(application)


def connect(world: World, issuer: str, ca: str, **more: Any) -> SsoProvider:
    """A provider whose group "sellers" gives log-in, the role User and a team."""
    with world.session() as session:
        session.execute(delete(GroupMapping).where(GroupMapping.source.like("sso:%")))
        session.execute(delete(SsoProvider))
        for user in session.scalars(select(User).where(User.source.like("sso:%"))):
            user.login = f"gone {user.id}"
        values = {
            "name": "Company",
            "enabled": True,
            "issuer": issuer,
            "client_id": "kontor",
            "authorities": ca,
        }
        row = SsoProvider(**(values | more))
        session.add(row)
        session.flush()
        world.services.sso.set_secret(session, row, SECRET)
        team = session.scalars(select(Team).where(Team.name == "Single")).first() or Team(name="Single")
        session.add(team)
        session.flush()
        role = session.scalars(select(Role.id).where(Role.name == "User")).one()
        for kind, target in (("login", None), ("role", role), ("team", team.id)):
            world.services.groups.map_group(session, source_of(row), "sellers", "sellers", kind, target)
        session.commit()
        return row


@pytest.fixture
def company(world: World, canaille: CanailleServer) -> SsoProvider:
    """Canaille, with alice who sells and bob who doesn't."""
    row = connect(
        world,
        canaille.issuer,
        canaille.authority.ca_file.read_text(),
        scopes="openid profile email groups",
        # Canaille's preferred_username is what a person wants to be called.
        login_claim="sub",
    )
    canaille.register("kontor", f"https://localhost/sso/{row.id}/callback")
    canaille.person("alice", "sellers")
    canaille.person("bob")
    return row


@pytest.fixture
def lying(world: World, liar: Liar) -> SsoProvider:
    return connect(world, liar.issuer, liar_ca(world), name="Liar")


_CA: list[str] = []


def liar_ca(_world: World) -> str:
    return _CA[0]


@pytest.fixture(autouse=True)
def certificate_authority(authority: Any) -> None:
    _CA[:] = [authority.ca_file.read_text()]


def through(
    browser: TestApp, canaille: CanailleServer, row: SsoProvider, login: str, **query: str
) -> TestResponse:
    """Log in as a person does: the button, the provider's pages, back."""
    start = browser.get(f"/sso/{row.id}", params=query)
    assert start.status_int == 303
    back = canaille.visit(start.location, login)
    return browser.get(back.removeprefix("https://localhost"), expect_errors=True)


def lied(browser: TestApp, liar: Liar, row: SsoProvider, **more: str) -> TestResponse:
    """Log in at the liar; `more` changes what the browser brings back."""
    start = browser.get(f"/sso/{row.id}")
    return browser.get(f"/sso/{row.id}/callback?{liar.answer_to(start.location, **more)}", expect_errors=True)


def user_of(world: World, row: SsoProvider, login: str) -> User | None:
    with world.session() as session:
        query = select(User).where(User.source == source_of(row), User.login == login)
        return session.scalars(query).one_or_none()


class TestAWholeProvider:
    def test_a_person_logs_in_and_gets_account_role_and_team(  # AUTH-7
        self, browser: TestApp, world: World, canaille: CanailleServer, company: SsoProvider
    ) -> None:
        assert "Log in with Company" in browser.get("/login").text
        done = through(browser, canaille, company, "alice", next="/profile/security")
        assert done.status_int == 303
        assert done.location == "https://localhost/profile/security"
        assert "Single sign-on" in browser.get("/profile/security").text
        user = user_of(world, company, "alice")
        assert user is not None
        assert (user.name, user.email) == ("Alice", "alice@example.test")
        with world.session() as session:
            assert role_names(session, user.id) == ["User"]
            assert session.scalars(select(TeamMember).where(TeamMember.user_id == user.id)).one()
        assert {"user_made_by_sso", "role_given", "team_joined", "login"} <= set(world.actions(user))

    def test_who_is_in_no_allowed_group_stays_out_without_an_account(  # AUTH-7
        self, browser: TestApp, world: World, canaille: CanailleServer, company: SsoProvider
    ) -> None:
        done = through(browser, canaille, company, "bob")
        assert done.status_int == 422
        assert "did not succeed" in alert(done)
        assert user_of(world, company, "bob") is None
        assert world.reasons("sso")[-1] == "not_in_an_allowed_group"

    def test_leaving_the_group_takes_the_role_at_the_next_log_in(
        self, browser: TestApp, world: World, canaille: CanailleServer, company: SsoProvider
    ) -> None:
        with world.session() as session:
            world.services.groups.map_group(session, source_of(company), "staff", "staff", "login")
            session.commit()
        canaille.person("carol", "sellers", "staff")
        assert through(browser, canaille, company, "carol").status_int == 303
        canaille.person("carol", "staff")
        assert through(browser, canaille, company, "carol").status_int == 303
        user = user_of(world, company, "carol")
        assert user is not None
        with world.session() as session:
            assert role_names(session, user.id) == []
        assert "role_taken" in world.actions(user)

    def test_the_own_second_factor_is_asked_of_people_of_a_provider_too(  # AUTH-11
        self, browser: TestApp, world: World, canaille: CanailleServer, company: SsoProvider
    ) -> None:
        canaille.person("dora", "sellers")
        through(browser, canaille, company, "dora")
        user = user_of(world, company, "dora")
        assert user is not None
        seed, _codes = world.enrol_app(user)
        browser.reset()
        step = through(browser, canaille, company, "dora", next="/profile/security")
        assert step.location.startswith("https://localhost/login/code")
        assert browser.get("/profile/security", expect_errors=True).status_int in (303, 401, 403)
        page = browser.get(step.location.removeprefix("https://localhost"))
        filled = next(one for one in page.forms.values() if "code" in one.fields)
        filled["code"] = code_of(seed)
        assert filled.submit().location == "https://localhost/profile/security"
        assert "Single sign-on + Authenticator app" in browser.get("/profile/security").text
        with world.session() as session:
            assert session.scalars(select(SsoSession).where(SsoSession.user_id == user.id)).all()

    def test_a_provider_that_is_trusted_for_it_replaces_the_second_factor(
        self, browser: TestApp, world: World, canaille: CanailleServer, company: SsoProvider
    ) -> None:
        canaille.person("erik", "sellers")
        through(browser, canaille, company, "erik")
        user = user_of(world, company, "erik")
        assert user is not None
        world.enrol_app(user)
        with world.session() as session:
            # Canaille says amr=pwd for a password alone; a site would name "mfa" here.
            session.get_one(SsoProvider, company.id).trusted_methods = ["pwd"]
            session.commit()
        browser.reset()
        done = through(browser, canaille, company, "erik", next="/profile/security")
        assert done.location == "https://localhost/profile/security"
        assert "Single sign-on + Second factor of the provider" in browser.get("/profile/security").text

    def test_a_role_that_asks_for_a_passkey_takes_no_word_of_a_provider_for_it(  # AUTH-11
        self, browser: TestApp, world: World, canaille: CanailleServer, company: SsoProvider
    ) -> None:
        canaille.person("fritz", "sellers")
        through(browser, canaille, company, "fritz")
        user = user_of(world, company, "fritz")
        assert user is not None
        with world.session() as session:
            session.get_one(SsoProvider, company.id).trusted_methods = ["pwd"]
            role = Role(name=f"Careful {user.id}", permissions=[], factors="passkey", factor_grace=0)
            session.add(role)
            session.flush()
            session.add(UserRole(user_id=user.id, role_id=role.id))
            session.add(Passkey(user_id=user.id, name="k", credential_id=user.id.bytes, public_key=b"k"))
            session.commit()
        browser.reset()
        assert through(browser, canaille, company, "fritz").location.startswith(
            "https://localhost/login/code"
        )

    def test_log_out_offers_to_log_out_at_the_provider(
        self, browser: TestApp, canaille: CanailleServer, company: SsoProvider
    ) -> None:
        through(browser, canaille, company, "alice")
        page = browser.get("/profile/security")
        form = next(one for one in page.forms.values() if one.action.endswith("/logout"))
        done = form.submit()
        link = done.html.select_one("main a.btn-primary")["href"]
        assert link.startswith(f"{canaille.issuer}/oauth/end_session?id_token_hint=")
        assert "post_logout_redirect_uri=https%3A%2F%2Flocalhost%2Flogin" in link
        assert COOKIE not in browser.cookies

    def test_step_up_asks_the_provider_for_a_fresh_proof(  # AUTH-15
        self, browser: TestApp, world: World, canaille: CanailleServer, company: SsoProvider
    ) -> None:
        through(browser, canaille, company, "alice")
        with world.session() as session, time_machine.travel(time.time() - 3600, tick=False):
            user = user_of(world, company, "alice")
            assert user is not None
            row = session.scalars(
                select(LoginSession).where(LoginSession.user_id == user.id, LoginSession.revoked_at.is_(None))
            ).all()[-1]
            before = row.authenticated_at = row.created_at.replace(year=row.created_at.year - 1)
            session.commit()
        asked = browser.get("/profile/security/app")
        assert "/confirm" in asked.location
        page = browser.get(asked.location.removeprefix("https://localhost"))
        assert page.html.select_one("#proof") is None
        start = browser.get(f"/sso/{company.id}?step_up=true&next=/profile/security/app")
        assert "prompt=login" in start.location
        back = canaille.visit(start.location, "alice")
        done = browser.get(back.removeprefix("https://localhost"))
        assert done.location == "https://localhost/profile/security/app"
        assert browser.get("/profile/security/app").status_int == 200
        with world.session() as session:
            assert session.get_one(LoginSession, row.id).authenticated_at > before

    def test_every_step_of_the_test_passes(self, world: World, company: SsoProvider) -> None:  # AUTH-10
        with world.session() as session:
            client = world.services.sso.client(session.get_one(SsoProvider, company.id))
        steps = diagnose(client, world.services.sso.outgoing)
        assert [(one.code, one.passed) for one in steps] == [
            ("address", True),
            ("metadata", True),
            ("keys", True),
            ("authorization", True),
        ]

    def test_the_step_that_fails_is_named_with_what_to_do(
        self, world: World, company: SsoProvider
    ) -> None:  # AUTH-10
        with world.session() as session:
            client = world.services.sso.client(session.get_one(SsoProvider, company.id))
        (step,) = diagnose(client, Outgoing())
        assert (step.code, step.passed) == ("address", False)
        assert "KONTOR_OUTGOING_NETWORKS" in str(provider_trouble(step))


class TestAProviderThatLies:
    def test_the_honest_answer_is_believed_so_that_the_lies_below_fail_for_their_own_reason(
        self, browser: TestApp, liar: Liar, lying: SsoProvider
    ) -> None:
        done = lied(browser, liar, lying)
        assert (done.status_int, done.location) == (303, "https://localhost/")
        assert liar.asked["code_challenge_method"] == "S256"
        assert liar.bodies[0]["code_verifier"]

    @pytest.mark.parametrize(
        "change,reason",
        [
            ({"nonce": "another"}, "sso_claim_nonce"),
            ({"nonce": None}, "sso_claim_nonce"),
            ({"iss": "https://evil.example"}, "sso_claim_iss"),
            ({"aud": "another client"}, "sso_claim_aud"),
            ({"aud": ["kontor", "other"]}, "sso_claim_azp"),
            ({"aud": ["kontor", "other"], "azp": "other"}, "sso_claim_azp"),
            ({"exp": 1000}, "sso_claim_exp"),
            ({"exp": None}, "sso_claim_exp"),
            ({"iat": int(time.time()) + 3600}, "sso_claim_iat"),
            ({"iat": 1000}, "sso_token_too_old"),
            ({"nbf": int(time.time()) + 3600}, "sso_claim_nbf"),
            ({"sub": None}, "sso_claim_sub"),
            ({"sub": ["a"]}, "sso_claim_sub"),
            ({"sub": "subject-2", "name": None}, "sso_userinfo_of_somebody_else"),
            ({"at_hash": "bm90IHRoZSBoYXNo"}, "sso_claim_at_hash"),
            ({"preferred_username": "a\u0000b"}, "sso_no_login_name"),
            ({"groups": ["others"]}, "not_in_an_allowed_group"),
            ({"groups": {"sellers": True}}, "not_in_an_allowed_group"),
        ],
    )
    def test_a_token_with_a_wrong_claim_is_refused_and_told_apart_in_the_audit_log_alone(
        self,
        browser: TestApp,
        world: World,
        liar: Liar,
        lying: SsoProvider,
        change: dict[str, Any],
        reason: str,
    ) -> None:
        liar.change = lambda claims: {
            name: value for name, value in (claims | change).items() if value is not None
        }
        done = lied(browser, liar, lying)
        assert done.status_int == 422
        assert "did not succeed" in alert(done)
        assert world.reasons("sso")[-1] == reason
        assert COOKIE not in browser.cookies

    def test_the_clock_of_the_provider_may_be_half_a_minute_off(
        self, browser: TestApp, liar: Liar, lying: SsoProvider
    ) -> None:
        liar.change = lambda claims: claims | {"iat": claims["iat"] + 30, "exp": claims["iat"] - 30}
        assert lied(browser, liar, lying).status_int == 303

    def test_unsigned_and_symmetric_tokens_are_refused(
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        def compact(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
            encoded = [
                base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (header, claims)
            ]
            text = b".".join(encoded)
            mac = b"" if secret is None else hmac.digest(secret, text, "sha256")
            return f"{text.decode()}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

        liar.metadata = {"id_token_signing_alg_values_supported": ["RS256", "none", "HS256"]}
        public = liar.key.as_pem(private=False)
        for forge in (
            lambda claims: compact({"alg": "none"}, claims),
            lambda claims: compact({"alg": "HS256"}, claims, SECRET.encode()),
            # The public key as an HMAC secret, the classic confusion of algorithms.
            lambda claims: compact({"alg": "HS256", "kid": "one"}, claims, public),
            lambda claims: liar.sign(claims, None, RSAKey.generate_key(2048, {"kid": "one"})),
            lambda claims: liar.sign(claims)[:-4] + "AAAA",
            lambda _claims: "not a token",
        ):
            liar.forge = forge
            liar.used.clear()
            assert lied(browser, liar, lying).status_int == 422
            assert world.reasons("sso")[-1] == "sso_signature"

    def test_a_rotated_key_is_fetched_once_and_strangers_keys_do_not_flood_the_provider(
        self, browser: TestApp, liar: Liar, lying: SsoProvider, application: Any
    ) -> None:
        assert lied(browser, liar, lying).status_int == 303
        fresh = RSAKey.generate_key(2048, {"kid": "two"})
        liar.key, liar.header = fresh, {"alg": "RS256", "kid": "two"}
        liar.used.clear()
        source = application.registry.identity.sso._clients[lying.id][1].source
        source._keys = (source._keys[0] - 61, source._keys[1])
        assert lied(browser, liar, lying).status_int == 303
        calls = liar.calls.count("/keys")
        liar.header = {"alg": "RS256", "kid": "three"}
        for _ in range(5):
            liar.used.clear()
            assert lied(browser, liar, lying).status_int == 422
        assert liar.calls.count("/keys") == calls

    def test_an_answer_counts_once(
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        start = browser.get(f"/sso/{lying.id}")
        cookies = dict(browser.cookies)
        answer = f"/sso/{lying.id}/callback?{liar.answer_to(start.location)}"
        assert browser.get(answer).status_int == 303
        for name, value in cookies.items():
            browser.set_cookie(name, value)
        assert browser.get(answer, expect_errors=True).status_int == 422
        assert world.reasons("sso")[-1] == "sso_not_begun_here"
        # The same code in a fresh log-in: the provider refuses it.
        assert lied(browser, liar, lying).status_int == 422
        assert world.reasons("sso")[-1] == "sso_token_invalid_grant"

    def test_an_answer_without_the_browser_that_began_or_with_another_state_is_refused(
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider, application: Any
    ) -> None:
        start = browser.get(f"/sso/{lying.id}")
        answer = f"/sso/{lying.id}/callback?{liar.answer_to(start.location)}"
        victim = new_browser(application)
        assert victim.get(answer, expect_errors=True).status_int == 422
        assert world.reasons("sso")[-1] == "sso_not_begun_here"
        assert lied(browser, liar, lying, state="another").status_int == 422
        assert world.reasons("sso")[-1] == "sso_wrong_state"
        assert liar.bodies == []

    def test_mixed_up_providers_are_noticed(  # RFC 9207
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        assert lied(browser, liar, lying, iss="https://honest.example").status_int == 422
        assert world.reasons("sso")[-1] == "sso_other_issuer"
        assert lied(browser, liar, lying, iss="").status_int == 422
        assert world.reasons("sso")[-1] == "sso_issuer_missing"
        assert liar.bodies == []

    def test_an_error_of_the_provider_is_told_as_such(
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        for said, reason in (("access_denied", "access_denied"), ("made_up<script>", "error")):
            assert lied(browser, liar, lying, code="", error=said).status_int == 422
            assert world.reasons("sso")[-1] == f"sso_provider_{reason}"

    @pytest.mark.parametrize(
        "metadata",
        [
            {"issuer": "https://evil.example"},
            {"token_endpoint": "http://localhost/token"},
            {"id_token_signing_alg_values_supported": ["HS256", "none"]},
            {"jwks_uri": 7},
        ],
    )
    def test_metadata_that_cannot_be_right_stops_before_anybody_goes_there(
        self, browser: TestApp, liar: Liar, lying: SsoProvider, metadata: dict[str, Any]
    ) -> None:
        liar.metadata = metadata
        assert browser.get(f"/sso/{lying.id}", expect_errors=True).status_int == 503

    def test_a_provider_that_is_down_or_slow_is_left_in_time_and_log_in_goes_on(  # AUTH-9
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        liar.down = True
        done = browser.get(f"/sso/{lying.id}", expect_errors=True)
        assert done.status_int == 503
        assert "can't be reached" in alert(done)
        liar.down = False
        start = browser.get(f"/sso/{lying.id}")
        answer = f"/sso/{lying.id}/callback?{liar.answer_to(start.location)}"
        liar.delay = 12
        begun = time.monotonic()
        assert browser.get(answer, expect_errors=True).status_int == 422
        assert time.monotonic() - begun < 10
        assert world.reasons("sso")[-1] == "sso_provider_unavailable"
        from tests.integration.identity.test_identity_pages import log_in

        assert log_in(browser, world.user("User").login).status_int == 303

    def test_a_certificate_of_somebody_else_is_refused(
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        with world.session() as session:
            session.get_one(SsoProvider, lying.id).authorities = None
            session.commit()
        assert browser.get(f"/sso/{lying.id}", expect_errors=True).status_int == 503
        assert liar.calls == []

    def test_a_local_account_of_the_same_name_is_never_taken_over(
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        victim = world.user("User")
        liar.change = lambda claims: claims | {"preferred_username": victim.login, "sub": "other"}
        liar.userinfo = {"sub": "other"}
        assert lied(browser, liar, lying).status_int == 422
        assert world.reasons("sso")[-1] == "login_taken"

    def test_a_renamed_person_keeps_the_account_and_another_id_is_another_person(  # AUTH-3
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        lied(browser, liar, lying)
        first = user_of(world, lying, "liar1")
        assert first is not None
        liar.change = lambda claims: claims | {"preferred_username": "liar2"}
        liar.used.clear()
        lied(browser, liar, lying)
        renamed = user_of(world, lying, "liar2")
        assert renamed is not None
        assert renamed.id == first.id
        liar.change = lambda claims: claims | {"sub": "subject-9", "preferred_username": "liar2"}
        liar.userinfo = {"sub": "subject-9"}
        liar.used.clear()
        lied(browser, liar, lying)
        newcomer = user_of(world, lying, "liar2")
        assert newcomer is not None
        assert newcomer.id != first.id

    def test_no_group_makes_administrators(self, world: World, lying: SsoProvider) -> None:  # AUTH-7
        with world.session() as session:
            for name in ("System administrator", "Security administrator", "Audit administrator"):
                role = session.scalars(select(Role.id).where(Role.name == name)).one()
                with pytest.raises(Conflict):
                    world.services.groups.map_group(session, source_of(lying), "x", "x", "role", role)

    def test_step_up_by_somebody_else_or_by_an_old_proof_is_refused(  # AUTH-15
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        lied(browser, liar, lying)
        for change, reason in (
            ({"auth_time": int(time.time()) - 3600}, "sso_proof_too_old"),
            ({"sub": "subject-7"}, "sso_somebody_else"),
        ):
            liar.change = lambda claims, change=change: claims | change
            liar.userinfo = {"sub": change.get("sub", "subject-1")}
            liar.used.clear()
            start = browser.get(f"/sso/{lying.id}?step_up=true&next=/profile")
            done = browser.get(
                f"/sso/{lying.id}/callback?{liar.answer_to(start.location)}", expect_errors=True
            )
            assert done.status_int == 422
            assert world.reasons("sso")[-1] == reason

    def test_secrets_of_a_log_in_under_way_are_not_kept_in_clear_and_go_away(
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        start = browser.get(f"/sso/{lying.id}")
        liar.answer_to(start.location)
        with world.session() as session:
            row = session.scalars(select(LoginRequest)).all()[-1]
            assert liar.asked["state"].encode() not in row.challenge
            provider = session.get_one(SsoProvider, lying.id)
            assert provider.client_secret is not None
            assert SECRET.encode() not in provider.client_secret


class TestLogOutFromTheProvider:
    def logout(self, browser: TestApp, liar: Liar, row: SsoProvider, **more: Any) -> int:
        moment = int(time.time())
        claims = {
            "iss": liar.issuer,
            "aud": "kontor",
            "iat": moment,
            "exp": moment + 120,
            "jti": f"id {time.monotonic_ns()}",
            "sub": "subject-1",
            "events": {LOGOUT: {}},
        } | more
        token = liar.sign({name: value for name, value in claims.items() if value is not None})
        return browser.post(f"/sso/{row.id}/logout", {"logout_token": token}, expect_errors=True).status_int

    def test_it_ends_the_sessions_of_the_person_or_the_one_that_is_named(
        self, application: Any, liar: Liar, lying: SsoProvider
    ) -> None:
        browsers = []
        for session in ("first", "second"):
            one = new_browser(application)
            liar.change = lambda claims, session=session: claims | {"sid": session}
            liar.used.clear()
            lied(one, liar, lying)
            assert one.get("/profile/security").status_int == 200
            browsers.append(one)
        server = new_browser(application)
        assert self.logout(server, liar, lying, sid="first", sub=None) == 200
        assert browsers[0].get("/profile/security", expect_errors=True).status_int != 200
        assert browsers[1].get("/profile/security").status_int == 200
        assert self.logout(server, liar, lying) == 200
        assert browsers[1].get("/profile/security", expect_errors=True).status_int != 200

    @pytest.mark.parametrize(
        "change",
        [
            {"iss": "https://evil.example"},
            {"aud": "another"},
            {"iat": 1000},
            {"exp": 1000},
            {"events": None},
            {"events": {"other": {}}},
            {"nonce": "one"},
            {"jti": None},
            {"sub": None},
        ],
    )
    def test_a_token_that_is_none_ends_nothing(
        self, browser: TestApp, liar: Liar, lying: SsoProvider, application: Any, change: dict[str, Any]
    ) -> None:
        lied(browser, liar, lying)
        assert self.logout(new_browser(application), liar, lying, **change) == 400
        assert browser.get("/profile/security").status_int == 200

    def test_a_token_counts_once(self, browser: TestApp, liar: Liar, lying: SsoProvider) -> None:
        assert self.logout(browser, liar, lying, jti="the same") == 200
        assert self.logout(browser, liar, lying, jti="the same") == 400

    def test_leaving_a_provider_out_ends_its_sessions(
        self, browser: TestApp, world: World, liar: Liar, lying: SsoProvider
    ) -> None:
        lied(browser, liar, lying)
        with world.session() as session:
            world.services.sso.set_state(session, session.get_one(SsoProvider, lying.id), enabled=False)
            session.commit()
        assert browser.get("/profile/security", expect_errors=True).status_int != 200
        assert browser.get(f"/sso/{lying.id}", expect_errors=True).status_int == 404
        assert browser.get(f"/sso/{UUID(int=7)}", expect_errors=True).status_int == 404
