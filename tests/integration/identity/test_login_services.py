"""Logging in against a real PostgreSQL: steps, limits, factors, links (AUTH-2, AUTH-11 to AUTH-13, AUTH-16 to
AUTH-18).
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select, update

from crm_server.domain.identity import seeds
from crm_server.domain.identity.authentication import Authenticator
from crm_server.domain.identity.factor_models import OneTimeLink, RecoveryCode, TotpFactor
from crm_server.domain.identity.limits import PostgresThrottleStore
from crm_server.domain.identity.models import LoginSession, User
from crm_server.domain.identity.services.login import LoginService, Step, canonical_login
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict, NotAllowed, NotFound, TooManyRequests, ValidationFailed
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import keys_of
from crm_server.settings import Settings
from security.crypto.document import document_kid
from security.crypto.errors import DocumentMoved, KeyErased
from security.identity import totp
from security.identity.password import HashProfile, PasswordHasher
from security.identity.throttle import Throttle, ThrottleState
from tests.integration.identity.conftest import CLIENT, GOOD, World


def code_now(seed: bytes, offset: int = 0) -> str:
    return totp.code_at(seed, int(now().timestamp()) // 30 + offset)


def in_parallel(count: int, action: Callable[[], object]) -> list[object]:
    results: list[object] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        results.append(action())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class TestPassword:
    def test_the_right_password_begins_a_session_that_the_application_accepts(  # AUTH-16
        self, world: World, identity_settings: Settings
    ) -> None:
        user = world.user("User")
        result = world.services.login.password(user.login.upper() + " ", GOOD, CLIENT)
        assert result.step is Step.SIGNED_IN
        assert result.token is not None
        actor = Authenticator(world.hot, identity_settings).by_session(result.token, CLIENT.request_id)  # type: ignore[arg-type]
        assert actor is not None
        assert actor.id == user.id
        assert actor.auth_method == "password"
        with world.session() as session:
            (row,) = session.scalars(select(LoginSession).where(LoginSession.user_id == user.id))
            assert result.token.encode() not in row.token_hash
            assert len(row.token_hash) == 32
        assert world.reasons("login", user) == [None]

    @pytest.mark.parametrize("case", ["unknown", "wrong", "disabled", "invited", "directory"])
    def test_refusals_look_alike_outside_and_differ_in_the_audit_log(
        self, world: World, case: str
    ) -> None:  # AUTH-2
        user = world.user(password=None if case == "invited" else GOOD)
        changes = {"disabled": {"state": "disabled"}, "directory": {"source": "directory"}}
        with world.session() as session:
            if case in changes:
                session.execute(update(User).where(User.id == user.id).values(**changes[case]))
            session.commit()
        login = "nobody-of-that-name" if case == "unknown" else user.login
        result = world.services.login.password(login, "wrong" if case == "wrong" else GOOD, CLIENT)
        assert (result.step, result.token, result.actor, result.retry_after) == (Step.REFUSED, None, None, 0)
        expected = {
            "unknown": "unknown_user", "wrong": "wrong_password", "disabled": "account_disabled",
            "invited": "no_password", "directory": "other_source",
        }  # fmt: skip
        assert world.reasons("login")[-1] == expected[case]

    def test_a_refusal_comes_at_the_same_moment_whatever_was_found(self, world: World) -> None:  # AUTH-2
        login = world.services.login
        pauses: list[float] = []
        timed = LoginService(
            login._factory, login._hasher, login._limits, login._sessions, login._factors,
            login._directories, login._passkeys, login._sso_sessions,
            refusal_seconds=5, pause=pauses.append,
        )  # fmt: skip
        user = world.user()
        for name in (user.login, "nobody-of-that-name"):
            start = time.monotonic()
            timed.password(name, "wrong", CLIENT)
            assert time.monotonic() - start + pauses[-1] == pytest.approx(5, abs=0.1)

    def test_the_sixth_guess_waits_and_the_right_password_too(self, world: World) -> None:  # AUTH-18
        user = world.user()
        variants = [user.login, user.login.upper(), f" {user.login}", f"{user.login}  ", user.login.title()]
        for name in variants:
            assert world.services.login.password(name, "wrong", CLIENT).step is Step.REFUSED
        result = world.services.login.password(user.login, GOOD, CLIENT)
        assert result.step is Step.WAIT
        assert 0 < result.retry_after <= 300
        assert world.reasons("login")[-1] == "rate_limited"

    def test_fifty_parallel_guesses_get_five_answers(self, world: World) -> None:  # AUTH-12, AUTH-18
        user = world.user()
        steps = [
            result.step  # type: ignore[attr-defined]
            for result in in_parallel(50, lambda: world.services.login.password(user.login, "wrong", CLIENT))
        ]
        assert steps.count(Step.REFUSED) == 5
        assert steps.count(Step.WAIT) == 45

    def test_a_hash_of_another_profile_is_replaced_at_log_in(self, world: World) -> None:  # ENC-19
        user = world.user()
        old = PasswordHasher(HashProfile.PBKDF2_SHA256).hash(GOOD)
        with world.session() as session:
            session.get_one(User, user.id).password_hash = old
            session.commit()
        assert world.services.login.password(user.login, GOOD, CLIENT).step is Step.SIGNED_IN
        with world.session() as session:
            assert str(session.get_one(User, user.id).password_hash).startswith("$argon2id$")

    def test_an_unreachable_store_of_limits_lets_nobody_in(
        self, world: World, identity_settings: Settings
    ) -> None:  # AUTH-18
        class Lost:
            def run(self, *_: object) -> list[tuple[object, ...]]:
                raise ConnectionError

        verdict = Throttle("login/account", "5 per minute", PostgresThrottleStore(Lost())).hit("x")  # type: ignore[arg-type]
        assert verdict.state is ThrottleState.UNAVAILABLE

    @pytest.mark.parametrize("login", ["", " ", "\x00", "\ud800", "x" * 10_000, "' or 1=1 --", "%"])
    def test_strange_log_in_names_are_refused_and_nothing_breaks(self, world: World, login: str) -> None:
        assert world.services.login.password(login, GOOD, CLIENT).step is Step.REFUSED

    def test_canonical_names(self) -> None:
        assert canonical_login("  Ｌena\u00a0 VOGT ") == "lena vogt"


class TestLimits:
    def test_the_window_slides_exactly_in_postgresql_as_in_memory(self, world: World) -> None:
        moment = [now()]
        throttle = Throttle("t", "3 per 5 minutes", PostgresThrottleStore(world.hot), clock=lambda: moment[0])
        start = moment[0]
        for minute in (0, 1, 2):
            moment[0] = start + timedelta(minutes=minute)
            assert throttle.hit("a").allowed
        moment[0] = start + timedelta(minutes=4)
        refused = throttle.hit("a")
        assert (refused.state, refused.retry_after) == (ThrottleState.LIMITED, 60)
        assert throttle.hit("b").allowed
        moment[0] = start + timedelta(minutes=5)
        assert throttle.hit("a").allowed
        assert not throttle.hit("a").allowed
        throttle.forgive("a")
        assert throttle.hit("a").allowed

    def test_keys_are_not_stored_in_clear_and_old_rows_go(self, world: World) -> None:
        store = PostgresThrottleStore(world.hot)
        Throttle("t", "3 per minute", store).hit("192.0.2.99")
        with world.engine.connect() as connection:
            rows = connection.exec_driver_sql("select key from identity.rate_limit").all()
            assert all(b"192.0.2.99" not in bytes(row[0]) for row in rows)
        store.purge(now() + timedelta(hours=1))
        with world.engine.connect() as connection:
            assert connection.exec_driver_sql("select count(*) from identity.rate_limit").scalar() == 0


class TestSecondStep:
    def test_app_and_recovery_codes_open_the_second_step_once(self, world: World) -> None:  # AUTH-11, AUTH-13
        user = world.user()
        seed, recovery_codes = world.enrol_app(user)
        for code, method in (
            (code_now(seed), "password+totp"),
            (recovery_codes[0], "password+recovery_code"),
        ):
            first = world.services.login.password(user.login, GOOD, CLIENT)
            assert first.step is Step.SECOND_STEP
            assert first.token is not None
            second = world.services.login.code(first.token, code, CLIENT)
            assert second.step is Step.SIGNED_IN
            assert second.actor is not None
            assert second.actor.auth_method == method
            # The first step is used up, and so is the code.
            assert world.services.login.code(first.token, code, CLIENT).token is None
            again = world.services.login.password(user.login, GOOD, CLIENT)
            assert world.services.login.code(str(again.token), code, CLIENT).step is Step.REFUSED
        with world.session() as session:
            left = list(session.scalars(select(RecoveryCode).where(RecoveryCode.user_id == user.id)))
            assert len(left) == 9
        assert "recovery_code_used" in world.actions(user)

    def test_the_token_of_the_first_step_opens_no_page(
        self, world: World, identity_settings: Settings
    ) -> None:  # AUTH-11
        user = world.user()
        world.enrol_app(user)
        first = world.services.login.password(user.login, GOOD, CLIENT)
        assert first.token is not None
        assert Authenticator(world.hot, identity_settings).by_session(first.token, CLIENT.request_id) is None  # type: ignore[arg-type]

    def test_fifty_requests_with_the_same_right_code_sign_in_once(self, world: World) -> None:  # AUTH-12
        user = world.user()
        seed, _ = world.enrol_app(user)
        first = world.services.login.password(user.login, GOOD, CLIENT)
        code = code_now(seed)
        results = in_parallel(50, lambda: world.services.login.code(str(first.token), code, CLIENT))
        assert [result.step for result in results].count(Step.SIGNED_IN) == 1  # type: ignore[attr-defined]

    def test_fifty_wrong_codes_get_five_tries(self, world: World) -> None:  # AUTH-12
        user = world.user()
        seed, _ = world.enrol_app(user)
        first = world.services.login.password(user.login, GOOD, CLIENT)
        results = in_parallel(50, lambda: world.services.login.code(str(first.token), "000000", CLIENT))
        steps = [result.step for result in results]  # type: ignore[attr-defined]
        assert steps.count(Step.REFUSED) == 5
        assert world.services.login.code(str(first.token), code_now(seed), CLIENT).step is Step.WAIT

    def test_an_old_first_step_has_to_be_repeated(self, world: World) -> None:
        user = world.user()
        seed, _ = world.enrol_app(user)
        first = world.services.login.password(user.login, GOOD, CLIENT)
        with time_machine.travel(now() + timedelta(minutes=11)):
            result = world.services.login.code(str(first.token), code_now(seed), CLIENT)
        assert (result.step, result.token) == (Step.REFUSED, None)

    def test_enrolment_counts_as_use(self, world: World) -> None:  # AUTH-12
        user = world.user()
        with world.session() as session:
            enrolment = world.services.factors.begin_totp(session, user.id, user.login)
            text = enrolment.seed_text.replace(" ", "")
            seed = base64.b32decode(text + "=" * (-len(text) % 8))
            code = code_now(seed)
            assert world.services.factors.confirm_totp(session, user.id, "000000") is None
            assert world.services.factors.confirm_totp(session, user.id, code)
            session.commit()
        first = world.services.login.password(user.login, GOOD, CLIENT)
        world.services.login.code(str(first.token), code, CLIENT)
        assert world.reasons("second_step", user) == ["code_used_before"]

    def test_seeds_are_sealed_and_open_for_their_user_alone(self, world: World) -> None:  # AUTH-12
        one, other = world.user(), world.user()
        seed, _ = world.enrol_app(one)
        with world.session() as session:
            stored = session.get_one(TotpFactor, one.id).seed
            assert seed not in stored
            assert seeds.unseal(session, one.id, stored) == seed
            with pytest.raises(DocumentMoved):
                seeds.unseal(session, other.id, stored)

    def test_a_seed_dies_with_the_key_of_its_user(self, world: World) -> None:
        user = world.user()
        world.enrol_app(user)
        with world.session() as session:
            stored = session.get_one(TotpFactor, user.id).seed
            data = keys_of(session).data
            data.erase(document_kid(stored), new_id())
            with pytest.raises(KeyErased):
                seeds.unseal(session, user.id, stored)
            session.commit()
        with world.session() as session, pytest.raises(KeyErased):
            seeds.seal(session, user.id, b"another seed")

    def test_a_user_disabled_between_the_steps_stays_out(self, world: World) -> None:
        user = world.user()
        seed, _ = world.enrol_app(user)
        first = world.services.login.password(user.login, GOOD, CLIENT)
        with world.session() as session:
            world.services.users.set_state(session, user.id, enabled=False)
            session.commit()
        assert world.services.login.code(str(first.token), code_now(seed), CLIENT).step is Step.REFUSED


class TestLinks:
    def test_an_invitation_sets_the_first_password_once(self, world: World) -> None:
        with world.session() as session:
            user = world.services.users.create(session, "invited-once", "Invited Once", "Once@Example.test")
            token = world.services.links.make(session, user)
            session.commit()
            assert session.scalars(select(OneTimeLink.token_hash)).first() != token.encode()
        assert world.services.links.look(token, CLIENT) == "invite"
        with pytest.raises(ValidationFailed) as caught:
            world.services.links.redeem(token, "too short", CLIENT)
        assert caught.value.errors[0].code == "too_short"
        world.services.links.redeem(token, GOOD, CLIENT)
        with pytest.raises(NotFound):
            world.services.links.redeem(token, GOOD, CLIENT)
        assert world.services.login.password("invited-once", GOOD, CLIENT).step is Step.SIGNED_IN

    def test_a_link_is_redeemed_by_one_of_many_at_once(self, world: World) -> None:
        user = world.user()
        with world.session() as session:
            token = world.services.links.make(session, session.get_one(User, user.id))
            session.commit()

        def redeem() -> bool:
            try:
                world.services.links.redeem(token, GOOD + " again", CLIENT)
            except (NotFound, TooManyRequests):
                return False
            return True

        assert in_parallel(8, redeem).count(True) == 1

    def test_a_newer_link_replaces_an_older_and_time_ends_both(self, world: World) -> None:
        user = world.user()
        with world.session() as session:
            loaded = session.get_one(User, user.id)
            first = world.services.links.make(session, loaded)
            second = world.services.links.make(session, loaded)
            session.commit()
        assert world.services.links.look(first, CLIENT) is None
        assert world.services.links.look(second, CLIENT) == "reset"
        with time_machine.travel(now() + timedelta(hours=2, seconds=1)):
            assert world.services.links.look(second, CLIENT) is None

    def test_a_reset_ends_every_session(self, world: World) -> None:  # AUTH-16
        user = world.user()
        world.services.login.password(user.login, GOOD, CLIENT)
        with world.session() as session:
            token = world.services.links.make(session, session.get_one(User, user.id))
            session.commit()
        world.services.links.redeem(token, GOOD + " again", CLIENT)
        with world.session() as session:
            rows = list(session.scalars(select(LoginSession).where(LoginSession.user_id == user.id)))
            assert rows
            assert all(row.revoked_at is not None for row in rows)

    def test_guessing_links_is_limited(self, world: World) -> None:  # AUTH-18
        for _ in range(20):
            world.services.links.look("x" * 43, CLIENT)
        with pytest.raises(TooManyRequests):
            world.services.links.look("x" * 43, CLIENT)


class TestUsers:
    def test_log_in_names_are_unique_however_they_are_written(self, world: World) -> None:
        with world.session() as session:
            world.services.users.create(session, "Unique.Name", "One")
            with pytest.raises(ValidationFailed) as caught:
                world.services.users.create(session, " unique.name ", "", "not an address")
            assert {error.code for error in caught.value.errors} == {"taken", "required", "email"}

    def test_no_account_is_two_kinds_of_administrator(self, world: World) -> None:  # AUTH-7
        with pytest.raises(Conflict):
            world.user("System administrator", "Audit administrator")

    def test_nobody_changes_their_own_roles_or_disables_themselves(self, world: World) -> None:
        user = world.user("System administrator")
        result = world.services.login.password(user.login, GOOD, CLIENT)
        with world.session(result.actor) as session:
            with pytest.raises(NotAllowed):
                world.services.users.set_roles(session, user.id, [])
            with pytest.raises(NotAllowed):
                world.services.users.set_state(session, user.id, enabled=False)

    def test_a_disabled_person_loses_sessions_and_tokens_at_once(  # AUTH-8
        self, world: World, identity_settings: Settings
    ) -> None:
        user = world.user("User")
        result = world.services.login.password(user.login, GOOD, CLIENT)
        authenticator = Authenticator(world.hot, identity_settings)
        actor = authenticator.by_session(str(result.token), CLIENT.request_id)  # type: ignore[arg-type]
        assert actor is not None
        with world.session(actor) as session:
            token = world.services.sessions.make_token(
                session, actor, "nightly", ["crm:contact:read"], timedelta(days=30)
            )
            session.commit()
        assert authenticator.by_token(token.text, CLIENT.request_id) is not None  # type: ignore[arg-type]
        with world.session() as session:
            world.services.users.set_state(session, user.id, enabled=False)
            session.commit()
        assert authenticator.by_session(str(result.token), CLIENT.request_id) is None  # type: ignore[arg-type]
        assert authenticator.by_token(token.text, CLIENT.request_id) is None  # type: ignore[arg-type]
        assert {"user_disabled", "session_ended", "token_created", "token_revoked"} <= set(
            world.actions(user)
        )

    def test_a_token_holds_no_more_than_its_owner(
        self, world: World, identity_settings: Settings
    ) -> None:  # AUTH-18
        user = world.user("Reader")
        result = world.services.login.password(user.login, GOOD, CLIENT)
        actor = Authenticator(world.hot, identity_settings).by_session(str(result.token), CLIENT.request_id)  # type: ignore[arg-type]
        assert actor is not None
        with world.session(actor) as session:
            for permissions, days in ((["crm:contact:delete"], 30), ([], 30), (["crm:contact:read"], 400)):
                with pytest.raises(ValidationFailed):
                    world.services.sessions.make_token(session, actor, "x", permissions, timedelta(days=days))

    def test_the_last_manager_of_users_cannot_be_removed(self, world: World) -> None:
        manager = world.user("System administrator")
        with world.session() as session:
            for other in session.scalars(select(User).where(User.id != manager.id)):
                other.state = "disabled"
            session.flush()
            with pytest.raises(Conflict):
                world.services.users.set_state(session, manager.id, enabled=False)
            with pytest.raises(Conflict):
                world.services.users.set_roles(session, manager.id, [])
            session.rollback()

    def test_changing_the_own_password_ends_other_sessions(self, world: World) -> None:  # AUTH-16
        user = world.user()
        first = world.services.login.password(user.login, GOOD, CLIENT)
        second = world.services.login.password(user.login, GOOD, CLIENT)
        assert second.actor is not None
        with world.session(second.actor) as session:
            assert not world.services.login.check_again(session, user.id, "wrong")
            assert world.services.login.check_again(session, user.id, GOOD)
            world.services.users.change_own_password(
                session, user.id, GOOD + " again", second_factor=False, keep_session=second.actor.session_ref
            )
            session.commit()
            live = session.scalars(
                select(LoginSession.id).where(
                    LoginSession.user_id == user.id, LoginSession.revoked_at.is_(None)
                )
            ).all()
        assert first.actor is not None
        assert live == [second.actor.session_ref]

    def test_territories_stay_a_tree(self, world: World) -> None:
        with world.session() as session:
            users = world.services.users
            world_ = users.create_territory(session, "World", None)
            europe = users.create_territory(session, "Europe", world_.id)
            germany = users.create_territory(session, "Germany", europe.id)
            for parent in (europe.id, germany.id):
                with pytest.raises(Conflict):
                    users.move_territory(session, europe.id, parent)
            users.move_territory(session, germany.id, world_.id)
            session.rollback()

    def test_members_come_and_go_with_an_event_each(self, world: World) -> None:
        one, two = world.user(), world.user()
        with world.session() as session:
            team = world.services.users.create_team(session, "Sales north")
            world.services.users.change_team(session, team.id, joining=[one.id, two.id])
            world.services.users.change_team(session, team.id, leaving=[one.id])
            session.commit()
        assert [action for action in world.actions(one) if action.startswith("team")] == [
            "team_joined",
            "team_left",
        ]
