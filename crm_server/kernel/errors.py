"""Errors that a client can act on: each has a stable code, a status and a text in the reader's language.

The API renders them as problem+json (RFC 9457), pages as a sentence with a way out. No error carries a value of
a field: it may be sealed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from compliance.datamap.text import _

if TYPE_CHECKING:
    from compliance.datamap.text import Text


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong at one place. `pointer` is a JSON pointer (RFC 6901) into what the client sent."""

    pointer: str
    code: str
    message: Text


class AppError(Exception):
    """Base of all errors that are shown to a client. Raising one rolls the transaction back."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[Text] = _("Something went wrong on our side. Nothing was changed.")

    def __init__(self, detail: Text | None = None, **extra: Any) -> None:
        super().__init__(self.code)
        self.detail = detail
        self.extra = extra


class ValidationFailed(AppError):
    """The input does not fit; `errors` name each place, all at once."""

    status = 422
    code = "validation"
    title = _("Some values can't be accepted.")

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__()
        self.errors = errors


class BadRequest(AppError):
    """The request can't be understood."""

    status = 400
    code = "bad_request"
    title = _("The request can't be understood.")


class BadQuery(AppError):
    """A filter, sort, page or field list that does not exist or does not fit."""

    status = 400
    code = "bad_query"
    title = _("The query can't be understood.")

    def __init__(self, parameter: str, detail: Text) -> None:
        super().__init__(detail, parameter=parameter)


class NotAuthenticated(AppError):
    """Nobody is logged in, or the session has ended."""

    status = 401
    code = "not_authenticated"
    title = _("Please log in.")


class NotAllowed(AppError):
    """The actor may not do this; `reason` is a stable code for the log and the page."""

    status = 403
    code = "not_allowed"
    title = _("You may not do this.")

    def __init__(self, reason: str, detail: Text | None = None) -> None:
        super().__init__(detail, reason=reason)
        self.reason = reason


class NotFound(AppError):
    """No such record, or none that the actor may see: both look the same from outside."""

    status = 404
    code = "not_found"
    title = _("There is no such record, or you may not see it.")


class Conflict(AppError):
    """The act contradicts the state of the data."""

    status = 409
    code = "conflict"
    title = _("This contradicts the present state of the data.")


class PersonErased(Conflict):
    """Something would be sealed for a person whose keys were erased: nobody comes back unnoticed."""

    code = "person_erased"
    title = _("The data of this person was erased. Nothing about them can be written any more.")


class LostUpdate(AppError):
    """Somebody changed the record meanwhile. Carries mine, theirs and the original so that a person can decide.

    `mine` holds what the client sent, `theirs` the present values, `original` the values of the version that the
    client had read (None where the history no longer reaches back), each by field name, in API form.
    """

    status = 412
    code = "lost_update"
    title = _("Somebody else changed this record since you opened it.")

    def __init__(
        self,
        *,
        version: int,
        mine: dict[str, Any],
        theirs: dict[str, Any],
        original: dict[str, Any] | None,
    ) -> None:
        super().__init__(version=version, mine=mine, theirs=theirs, original=original)
        self.version, self.mine, self.theirs, self.original = version, mine, theirs, original


class PreconditionRequired(AppError):
    """A change without If-Match: without the version a lost update could not be noticed (RFC 6585 §3)."""

    status = 428
    code = "precondition_required"
    title = _("Say which version you are changing (If-Match).")


class TooLarge(AppError):
    """The body or file is larger than allowed."""

    status = 413
    code = "too_large"
    title = _("This is larger than what can be accepted.")


class UnsupportedMedia(AppError):
    """A media type that this address does not take."""

    status = 415
    code = "unsupported_media_type"
    title = _("This kind of content is not accepted here.")


class TooManyRequests(AppError):
    """A named limit is used up; `retry_after` in seconds."""

    status = 429
    code = "too_many_requests"
    title = _("Too many attempts. Please wait a little.")

    def __init__(self, limit: str, retry_after: int) -> None:
        super().__init__(limit=limit, retry_after=retry_after)
        self.retry_after = retry_after


class Unavailable(AppError):
    """The database can't be reached or takes no writes now. Trying again later is right."""

    status = 503
    code = "unavailable"
    title = _("The database can't be reached at the moment. Please try again shortly.")


class Outdated(Exception):
    """What a node recalled about an actor has changed since. The request begins anew; nobody ever sees this."""


class NoSpace(AppError):
    """The disk of the database is full. Nothing was changed, and nothing left without its event."""

    status = 503
    code = "no_space"
    title = _("The disk of the database is full. Your administrator has to make room, then it goes on.")


class NotRecorded(AppError):
    """PostgreSQL refuses the event that tells of a read, so what was read does not leave."""

    status = 503
    code = "not_recorded"
    title = _("This can't be shown, because the audit log does not take note of it. Tell your administrator.")


class TooSlow(AppError):
    """PostgreSQL gave up on a statement after the time that the settings allow. Nothing was changed."""

    status = 503
    code = "too_slow"
    title = _("This takes longer than is allowed. Ask for less, for example with a narrower filter.")


class OutcomeUnknown(AppError):
    """The connection was lost while committing: the change may or may not have been made.

    A client that sent an Idempotency-Key may repeat safely; a person is asked to look before repeating.
    """

    status = 503
    code = "outcome_unknown"
    title = _(
        "The connection broke while saving. Please check whether your change is there before you repeat it."
    )


@dataclass(slots=True)
class Errors:
    """Collects field errors so that all are told at once."""

    items: list[FieldError] = field(default_factory=list)

    def add(self, pointer: str, code: str, message: Text) -> None:
        """Note one problem at a JSON pointer."""
        self.items.append(FieldError(pointer, code, message))

    def raise_if_any(self) -> None:
        """Raise `ValidationFailed` with all problems, if there are any."""
        if self.items:
            raise ValidationFailed(self.items)
