"""Messages that one page leaves for the next: "Saved", "Moved to the bin – Undo".

They travel in a cookie as a code of the closed list below and a record's key, never as text: nothing personal leaves
the server, and nothing foreign can be shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap.text import Text

COOKIE = "__Host-kontor-said"
_ONE = re.compile(r"([a-z_]+)(?:~([a-z_]+)(?:~([0-9a-f-]{36}))?(?:~(\d{1,9}))?)?")

TEXTS: dict[str, tuple[str, Text]] = {
    "saved": ("success", _("Saved.")),
    "created": ("success", _("Created.")),
    "deleted": ("success", _("Moved to the bin.")),
    "deleted_many": ("success", _("${n} records moved to the bin.")),
    "owner_many": ("success", _("The owner of ${n} records was changed.")),
    "tagged_many": ("success", _("${n} records were tagged.")),
    "some_failed": ("warning", _("${n} records could not be changed.")),
    "none_chosen": ("warning", _("Choose at least one row first.")),
    "restored": ("success", _("Restored from the bin.")),
    "purged": ("success", _("Removed for good.")),
    "removed": ("success", _("Removed.")),
    "search_without_name": ("warning", _("Nothing was saved: the search needs a name.")),
    "too_many_searches": ("warning", _("Nothing was saved: you have ${n} searches. Remove one first.")),
    "converted": ("success", _("The lead was converted.")),
    "reverted": ("success", _("The conversion was taken back. What it had made lies in the bin.")),
    "moved": ("success", _("Moved to another stage.")),
    "moved_meanwhile": (
        "warning",
        _("Somebody else moved or changed this deal meanwhile. This is how it stands now."),
    ),
    "task_done": ("success", _("Done.")),
    "field_made": (
        "success",
        _("The field was added. It appears on forms, lists and in the API from now on."),
    ),
    "field_retired": ("success", _("The field was retired. Its values are kept.")),
    "uploaded": ("success", _("The file was added.")),
    "upload_bad_request": ("danger", _("No file was added: choose one that is not empty.")),
    "upload_too_large": ("danger", _("The file was not added: it is too large.")),
    "upload_unsupported_media_type": (
        "danger",
        _("The file was not added: files of this type are refused, or it is not what its name says."),
    ),
    "shared": ("success", _("The record was shared.")),
    "unshared": ("success", _("The share was ended.")),
    "handed_over": ("success", _("The record was handed over.")),
    "view_saved": ("success", _("The view was saved.")),
    "view_deleted": ("success", _("The view was deleted.")),
    "keys_working": ("success", _("The work on the keys has begun. This page shows how far it is.")),
    "destruction_asked": (
        "success",
        _("The destruction was asked for. A second person releases or refuses it under Approvals."),
    ),
    "keys_refused": ("warning", _("This can't be done with the keys at the moment. Nothing was changed.")),
    "profile": ("success", _("Your profile was saved.")),
    "logged_out": ("success", _("You are logged out.")),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its level, text, and the record that an undo would bring back."""

    level: str
    text: Text
    code: str
    entity: str | None = None
    record: str | None = None


def add(
    request: Request, code: str, *, entity: str | None = None, record: Any = None, n: int | None = None
) -> None:
    """Leave a message for the next page."""
    parts = [code, entity or ("none" if n is not None else None), str(record) if record else None]
    one = "~".join(part for part in parts if part) + (f"~{n}" if n is not None else "")
    pending: list[str] = request.environ.setdefault("kontor.flash", [])
    if not pending:
        request.add_response_callback(_send)
    pending.append(one)


def _send(request: Request, response: Any) -> None:
    value = ".".join(request.environ["kontor.flash"])
    response.set_cookie(COOKIE, value, max_age=60, secure=True, httponly=True, samesite="Lax", path="/")


def take(request: Request) -> list[Message]:
    """The messages left for this page; the cookie goes."""
    raw = request.cookies.get(COOKIE, "")
    if not raw:
        return []
    request.add_response_callback(_forget)
    found = []
    for part in raw.split(".")[:5]:
        match = _ONE.fullmatch(part)
        if match and match[1] in TEXTS:
            level, text = TEXTS[match[1]]
            mapped = text % {"n": match[4]} if match[4] else text
            found.append(Message(level, mapped, match[1], match[2], match[3]))
    return found


def _forget(request: Request, response: Any) -> None:
    if "kontor.flash" not in request.environ:
        # Browsers refuse to change a cookie of this prefix by a header without "Secure", so delete_cookie won't do.
        response.set_cookie(COOKIE, "", max_age=0, secure=True, httponly=True, samesite="Lax", path="/")
