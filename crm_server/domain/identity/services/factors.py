"""Second factors: authenticator apps and recovery codes (AUTH-11 to AUTH-13).

They belong to the user and not to the source of the password, so directory and single-sign-on users have them
too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from crm_server.domain.identity import events, seeds
from crm_server.domain.identity.factor_models import Passkey, RecoveryCode, TotpFactor
from crm_server.domain.identity.services import factor_policy
from crm_server.kernel.clock import now
from security.identity import recovery, totp

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.limits import LoginLimits

ISSUER = "Kontor"
BY_OWNER = "by_owner"
"""The reason when people remove a factor of their own; roles may ask them to keep one."""


@dataclass(frozen=True, slots=True)
class CodeCheck:
    """Outcome of checking a code: `method` says which factor it was, else `reason` why not."""

    method: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a person needs to enrol an app: the URI for the picture and the seed to type."""

    uri: str
    seed_text: str


@dataclass(frozen=True, slots=True)
class FactorState:
    """Which factors a user has."""

    totp: bool
    passkeys: int
    recovery_codes: int

    @property
    def any(self) -> bool:
        """True if log-in asks for a second step."""
        return self.totp or self.passkeys > 0


class FactorService:
    """Enrols, checks and removes second factors."""

    def __init__(self, limits: LoginLimits) -> None:
        self._limits = limits

    def state(self, db: Session, user_id: UUID) -> FactorState:
        """Which factors a user has."""
        return FactorState(
            totp=db.scalar(
                select(func.count()).where(
                    TotpFactor.user_id == user_id, TotpFactor.confirmed_at.is_not(None)
                )
            )
            == 1,
            passkeys=db.scalar(select(func.count()).where(Passkey.user_id == user_id)) or 0,
            recovery_codes=db.scalar(select(func.count()).where(RecoveryCode.user_id == user_id)) or 0,
        )

    def has_second_factor(self, db: Session, user_id: UUID) -> bool:
        """Whether log-in asks this user for a second step."""
        return self.state(db, user_id).any

    def begin_totp(self, db: Session, user_id: UUID, account: str) -> Enrolment:
        """Make a fresh seed that waits for its first code. A confirmed app keeps working until then."""
        found = db.get(TotpFactor, user_id)
        if found is not None and found.confirmed_at is not None:
            raise ValueError("totp: an app is enrolled already; remove it first")
        seed = totp.new_seed()
        statement = insert(TotpFactor).values(
            user_id=user_id, seed=seeds.seal(db, user_id, seed), last_step=0
        )
        db.execute(
            statement.on_conflict_do_update(
                index_elements=[TotpFactor.user_id],
                set_={"seed": statement.excluded.seed, "last_step": 0},
                where=TotpFactor.confirmed_at.is_(None),
            )
        )
        return self._enrolment(seed, account)

    def pending_totp(self, db: Session, user_id: UUID, account: str) -> Enrolment | None:
        """The enrolment that waits for its first code, to show it again."""
        found = db.get(TotpFactor, user_id)
        if found is None or found.confirmed_at is not None:
            return None
        return self._enrolment(seeds.unseal(db, user_id, found.seed), account)

    def confirm_totp(self, db: Session, user_id: UUID, code: str) -> tuple[str, ...] | None:
        """Take the first code of a new app. Counts as its use (AUTH-12).

        Returns:
            Ten fresh recovery codes to show once, or None when the code is wrong or the limit is used up.
        """
        if not self._limits.second_step.hit(str(user_id)).allowed:
            return None
        found = db.get(TotpFactor, user_id)
        if found is None or found.confirmed_at is not None or not self._use_totp(db, found, code).method:
            return None
        db.execute(update(TotpFactor).where(TotpFactor.user_id == user_id).values(confirmed_at=now()))
        events.record(db, events.account("factor_added", user_id, kind="totp"))
        factor_policy.enrolled(db, user_id)
        return self.new_recovery_codes(db, user_id)

    def remove_totp(self, db: Session, user_id: UUID, reason: str) -> None:
        """Remove the app, and the recovery codes if no other factor is left."""
        gone = db.execute(delete(TotpFactor).where(TotpFactor.user_id == user_id))
        if gone.rowcount:  # type: ignore[attr-defined]
            events.record(db, events.account("factor_removed", user_id, reason, kind="totp"))
        if reason == BY_OWNER:
            factor_policy.check_enough_left(db, user_id)
        if not self.has_second_factor(db, user_id):
            db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))

    def remove_all(self, db: Session, user_id: UUID, reason: str) -> None:
        """Remove every factor of a user who lost them; an administrator's act, and told to the user."""
        passkeys = db.execute(delete(Passkey).where(Passkey.user_id == user_id))
        if passkeys.rowcount:  # type: ignore[attr-defined]
            events.record(db, events.account("factor_removed", user_id, reason, kind="passkey"))
        self.remove_totp(db, user_id, reason)

    def new_recovery_codes(self, db: Session, user_id: UUID) -> tuple[str, ...]:
        """Make ten codes and forget the old ones. The return value is shown once (AUTH-13)."""
        made = recovery.new_recovery_codes()
        db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
        db.add_all(RecoveryCode(user_id=user_id, digest=digest, salt=made.salt) for digest in made.digests)
        db.flush()
        events.record(db, events.account("recovery_codes_made", user_id))
        return made.codes

    def use_code(self, db: Session, user_id: UUID, code: str) -> CodeCheck:
        """Check and use up a code: of the app if it has six digits, else a recovery code.

        The caller has asked the limit. Each code works once, however many requests bring it at the same time.
        """
        found = db.get(TotpFactor, user_id)
        if found is not None and found.confirmed_at is not None:
            check = self._use_totp(db, found, code)
            if check.method and factor_policy.passkey_only(db, user_id):
                return CodeCheck(reason="passkey_required")
            if check.method or check.reason != totp.TotpState.MALFORMED.value:
                return check
        return self._use_recovery_code(db, user_id, code)

    def _use_totp(self, db: Session, factor: TotpFactor, code: str) -> CodeCheck:
        verdict = totp.match(
            seeds.unseal(db, factor.user_id, factor.seed), code, now(), last_step=factor.last_step
        )
        if not verdict.matched:
            return CodeCheck(reason=verdict.state.value)
        used = db.execute(
            update(TotpFactor)
            .where(TotpFactor.user_id == factor.user_id, TotpFactor.last_step < verdict.step)
            .values(last_step=verdict.step)
            .execution_options(synchronize_session=False)
        )
        if used.rowcount != 1:  # type: ignore[attr-defined]
            return CodeCheck(reason=totp.TotpState.REPLAYED.value)
        return CodeCheck(method="totp")

    def _use_recovery_code(self, db: Session, user_id: UUID, code: str) -> CodeCheck:
        rows = list(db.scalars(select(RecoveryCode).where(RecoveryCode.user_id == user_id)))
        salt = rows[0].salt if rows else b"\x00" * 16
        digest = recovery.matching_digest(code, salt, [row.digest for row in rows])
        if digest is None:
            return CodeCheck(reason="wrong_code")
        used = db.execute(
            delete(RecoveryCode)
            .where(RecoveryCode.user_id == user_id, RecoveryCode.digest == digest)
            .execution_options(synchronize_session=False)
        )
        if used.rowcount != 1:  # type: ignore[attr-defined]
            return CodeCheck(reason=totp.TotpState.REPLAYED.value)
        events.record(db, events.account("recovery_code_used", user_id, left=len(rows) - 1))
        return CodeCheck(method="recovery_code")

    def _enrolment(self, seed: bytes, account: str) -> Enrolment:
        return Enrolment(totp.provisioning_uri(seed, account, ISSUER), totp.seed_as_text(seed))
