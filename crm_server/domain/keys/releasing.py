"""What takes two persons beside the destruction of an epoch: erasure, the end of a legal hold, a restore (AUTH-15).

Putting keys under a hold takes nobody else: it protects. A restore brings back what was erased, so it is asked for
before it begins; where the database is lost there is nobody to ask, and the quarantine keeps all keys closed until the
erasures are replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from compliance.datamap.text import _
from crm_server.domain.approvals.services import ApprovalService, Kind, register
from crm_server.domain.keys import services
from crm_server.kernel.errors import Conflict, Errors
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.orm import Session

    from compliance.datamap.text import Text
    from crm_server.domain.approvals.services import Approval, Release

ERASE: Final = "persons.erase"
END_HOLD: Final = "holds.end"
RESTORE: Final = "restores.run"


def ask_to_erase(session: Session, subject: UUID, classes: Collection[str] | None, reason: str) -> Approval:
    """Ask for the erasure of a person's keys.

    Args:
        session: Of whoever asks.
        subject: The data subject.
        classes: Key classes such as "identity"; all if None.
        reason: Why.

    Raises:
        Conflict: there are no such keys, or some are under a legal hold.
        ValidationFailed: no reason.
    """
    found = services.preview(session, subject, classes)
    if not found.number:
        raise Conflict(_("This person has no keys of these classes."))
    if found.held:
        raise Conflict(_("Keys of this person are under a legal hold. Ask for its end first."))
    return ApprovalService(session).request(ERASE, _parameters(subject, classes), reason)


def ask_to_end_hold(
    session: Session, subject: UUID, classes: Collection[str] | None, reason: str
) -> Approval:
    """Ask for the end of a legal hold of a person's keys; arguments and errors as those of `ask_to_erase`."""
    if not services.preview(session, subject, classes).held:
        raise Conflict(_("No keys of this person are under a legal hold."))
    return ApprovalService(session).request(END_HOLD, _parameters(subject, classes), reason)


def ask_to_restore(session: Session, backup: str, reason: str) -> Approval:
    """Ask for a restore from a backup, by the name that its operator gives it.

    Raises:
        ValidationFailed: no name, or no reason.
    """
    return ApprovalService(session).request(RESTORE, _backup(backup), reason)


def begin_restore(session: Session, backup: str) -> Release:
    """Use up the release of a restore. Call it before anything is put back. Raises ApprovalRequired."""
    return ApprovalService(session).claim(RESTORE, _backup(backup))


def _backup(name: str) -> dict[str, Any]:
    wanted, errors = " ".join(name.split()), Errors()
    if not wanted or len(wanted) > 200:
        errors.add("/backup", "required", _("Name the backup, in at most 200 characters."))
    errors.raise_if_any()
    return {"backup": wanted}


def _parameters(subject: UUID, classes: Collection[str] | None) -> dict[str, Any]:
    return {"subject": str(subject), "classes": sorted(classes) if classes is not None else None}


def _erase(session: Session, release: Release) -> Mapping[str, Any]:
    subject, classes = _meant(release.parameters)
    done = services.erase_subject(session, subject, classes)
    return {"keys": done.number, "epochs": list(done.epochs)}


def _end_hold(session: Session, release: Release) -> Mapping[str, Any]:
    subject, classes = _meant(release.parameters)
    return {"keys": services.release(session, subject, classes)}


def _meant(parameters: Mapping[str, Any]) -> tuple[UUID, Collection[str] | None]:
    return UUID(parameters["subject"]), parameters["classes"]


def _describe(session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    """Whose keys, how many of each class, and how long backups still hold them."""
    found = services.preview(session, *_meant(parameters))
    counted = (f"{name}: {number}" for name, number in sorted(found.classes.items()))
    return [
        (_("Data subject"), str(found.subject)),
        (_("Keys"), ", ".join(counted) or _("none")),
        (_("Of them under a legal hold"), str(sum(found.held.values()))),
        (_("Epochs of backups that can still read them"), ", ".join(map(str, found.epochs)) or "–"),
    ]


def _describe_restore(_session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    return [
        (_("Backup"), parameters["backup"]),
        (
            _("What is lost"),
            _("Everything that happened since. Erasures are done again before anybody reads."),
        ),
    ]


register(
    Kind(
        ERASE,
        _("Erasure of a person"),
        str(Permission.ERASURES_RELEASE),
        execute=_erase,
        describe=_describe,
    )
)
register(
    Kind(
        END_HOLD,
        _("End of a legal hold"),
        str(Permission.HOLDS_RELEASE),
        execute=_end_hold,
        describe=_describe,
    )
)
register(
    Kind(
        RESTORE,
        _("Restore from a backup"),
        str(Permission.RESTORES_RELEASE),
        describe=_describe_restore,
    )
)
