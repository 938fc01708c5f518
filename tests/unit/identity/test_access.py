"""The permission map, field rules and masks."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.access import policy as p
from security.access.fields import FieldAccess, FieldRules
from security.access.identity import (
    Administrator,
    ConflictingAdministrationError,
    Grants,
    Identity,
    Method,
    RowScope,
    TokenLimits,
    merge,
)
from security.access.masks import MaskKind, mask

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
USER = UUID(int=7)
MAP = p.Policy(
    {
        "contacts:read": ((p.GRANTED, p.WITHIN_TOKEN),),
        "contacts:export": ((p.GRANTED, p.BY_PERSON, p.SECOND_FACTOR, p.stepped_up()),),
        "roles:change": (
            (p.administrator(Administrator.SECURITY), p.BY_PERSON),
            (p.GRANTED, p.stepped_up()),
        ),
        "about:read": ((p.EVERYONE,),),
    }
)


def someone(*permissions: str, **more: object) -> Identity:
    grants = Grants(permissions=frozenset(permissions), administrator=more.pop("administrator", None))  # type: ignore[arg-type]
    return Identity(USER, grants, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "who, permission, reason",
    [
        (None, "about:read", None),
        (None, "contacts:read", "permission_missing"),
        (someone(), "contacts:read", "permission_missing"),
        (someone("contacts:read"), "contacts:read", None),
        (someone("contacts:read", token=TokenLimits(frozenset())), "contacts:read", "token_scope"),
        (someone("contacts:read", token=TokenLimits(frozenset({"contacts:read"}))), "contacts:read", None),
        (someone("contacts:export"), "contacts:export", "second_factor_required"),
        (
            someone("contacts:export", methods=frozenset({Method.TOTP})),
            "contacts:export",
            "step_up_required",
        ),
        (
            someone(
                "contacts:export", methods=frozenset({Method.PASSKEY}), proved_at=NOW - timedelta(minutes=4)
            ),
            "contacts:export",
            None,
        ),
        (
            someone(
                "contacts:export", methods=frozenset({Method.PASSKEY}), proved_at=NOW - timedelta(minutes=6)
            ),
            "contacts:export",
            "step_up_required",
        ),
        (someone(administrator=Administrator.SECURITY), "roles:change", None),
        (someone(administrator=Administrator.AUDIT), "roles:change", "administrator_required"),
        (someone("roles:change"), "roles:change", "step_up_required"),
        (someone("everything"), "nobody:declared:this", "unknown_permission"),
    ],
)
def test_each_denial_names_the_obstacle_nearest_to_success(
    who: Identity | None, permission: str, reason: str | None
) -> None:
    decision = MAP.decide(who, permission, NOW)
    assert bool(decision) is (reason is None)
    assert getattr(decision, "reason", None) == reason


def test_an_allowed_decision_says_why() -> None:
    decision = MAP.decide(someone("contacts:read"), "contacts:read", NOW)
    assert decision == p.Allowed("contacts:read", ("granted_by_role", "within_token"))


@given(st.text(max_size=30), st.frozensets(st.text(max_size=10), max_size=4))
def test_what_is_not_in_the_map_is_denied_to_everybody(permission: str, held: frozenset[str]) -> None:
    if permission not in MAP.permissions:
        assert not MAP.decide(someone(*held, permission), permission, NOW)


@pytest.mark.parametrize("rule", [(), ((),), ((p.GRANTED,), ())])
def test_a_permission_without_a_condition_is_a_start_up_error(rule: p.Rule) -> None:
    with pytest.raises(ValueError, match="at least one predicate"):
        p.Policy({"x": rule})


def test_permissions_used_but_not_declared_are_found() -> None:
    assert MAP.unmapped({"contacts:read", "typo"}) == {"typo"}


def test_roles_add_up_but_never_to_two_kinds_of_administrator() -> None:
    one = Grants(
        frozenset({"sales"}), frozenset({"a"}), row_scopes={("contact", "read"): frozenset({RowScope.OWN})}
    )
    two = Grants(
        frozenset({"lead"}), frozenset({"b"}), row_scopes={("contact", "read"): frozenset({RowScope.TEAM})}
    )
    both = merge([one, two])
    assert both.permissions == {"a", "b"}
    assert both.row_scopes["contact", "read"] == {RowScope.OWN, RowScope.TEAM}
    with pytest.raises(ConflictingAdministrationError, match="audit and security"):
        merge([Grants(administrator=Administrator.AUDIT), Grants(administrator=Administrator.SECURITY)])


def test_an_identity_cannot_be_changed_and_its_repr_tells_nothing_about_grants() -> None:
    who = someone("secret:permission")
    with pytest.raises(AttributeError):
        who.grants = Grants()  # type: ignore[misc]
    assert "secret" not in repr(who)


class TestFields:
    def test_a_field_without_a_rule_is_hidden(self) -> None:
        assert FieldRules().level("contact.iban") is FieldAccess.HIDDEN

    def test_roles_combine_to_the_widest_level_field_by_field(self) -> None:
        a = FieldRules(FieldAccess.READ, {"contact.iban": FieldAccess.HIDDEN})
        b = FieldRules(FieldAccess.HIDDEN, {"contact.iban": FieldAccess.MASKED})
        both = FieldRules.widest([a, b])
        assert both.level("contact.iban") is FieldAccess.MASKED
        assert both.level("contact.name") is FieldAccess.READ
        assert FieldRules.widest([]).level("contact.name") is FieldAccess.HIDDEN

    def test_an_allow_list_only_takes_away(self) -> None:
        rules = FieldRules(FieldAccess.WRITE, {"contact.iban": FieldAccess.MASKED})
        narrow = rules.narrowed(frozenset({"contact.iban"}))
        assert narrow.level("contact.iban") is FieldAccess.MASKED
        assert narrow.level("contact.name") is FieldAccess.HIDDEN
        assert rules.narrowed(None) is rules


@pytest.mark.parametrize(
    "value, kind, shown",
    [
        ("lena@example.com", MaskKind.EMAIL, "l***@example.com"),
        ("l@example.com", MaskKind.EMAIL, "***@example.com"),
        ("not an address", MaskKind.EMAIL, "***"),
        ("+49 30 1234567", MaskKind.PHONE, "***67"),
        ("12", MaskKind.PHONE, "***"),
        ("DE89 3704 0044 0532 0130 00", MaskKind.ACCOUNT, "***3000"),
        ("Lena Vogt", MaskKind.NAME, "L*** V***"),
        ("王小明", MaskKind.NAME, "王***"),
        (date(1990, 5, 17), MaskKind.DATE, "1990-**-**"),
        ("1990", MaskKind.DATE, "***"),
        ("anything", MaskKind.FULL, "***"),
        (None, MaskKind.FULL, None),
        ("", MaskKind.EMAIL, None),
    ],
)
def test_masks_by_type(value: object, kind: MaskKind, shown: str | None) -> None:
    assert mask(value, kind) == shown


@given(st.text(min_size=6, max_size=60), st.sampled_from(MaskKind))
def test_no_mask_returns_its_value(value: str, kind: MaskKind) -> None:
    assert mask(value, kind) != value
