"""The words for an event's facts, for those in the log and for those in its sealed payload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import _
from crm_server.domain.approvals.services import known
from crm_server.domain.audit import alerts, words
from crm_server.domain.sharing.services import LEVELS

if TYPE_CHECKING:
    from compliance.datamap import DataMap
    from compliance.datamap.text import Text

FACTS: dict[str, Text] = {
    "action": _("Action"),
    "active": _("Active accounts"),
    "address": _("Network address"),
    "approvals": _("Persons who released it"),
    "before": _("Earlier"),
    "behind": _("Keys of earlier epochs"),
    "by_code": _("Recovered by a code"),
    "changed": _("What was changed"),
    "capture": _("Told by"),
    "class": _("Class"),
    "classes": _("Keys by class"),
    "corrupt": _("Damaged"),
    "count": _("Count"),
    "created": _("Newly made"),
    "database_size": _("Events in the database"),
    "demo": _("Made-up data of a trial"),
    "digest": _("Fingerprint of what was asked"),
    "entity": _("Kind of record"),
    "epoch": _("Epoch of keys"),
    "epochs": _("Epochs of keys"),
    "erased": _("Erased"),
    "events": _("Events"),
    "failed": _("Failed"),
    "field_count": _("Number of fields"),
    "fields": _("Fields"),
    "filter": _("Filter"),
    "filters": _("Filters"),
    "first_index": _("First number"),
    "format": _("Format"),
    "from": _("From"),
    "gained": _("Newly granted"),
    "index": _("Number"),
    "key_class": _("Class of keys"),
    "keys": _("Keys"),
    "kind": _("Kind"),
    "known": _("Known"),
    "last_index": _("Last number"),
    "leaving": _("Leaving"),
    "left": _("Left over"),
    "level": _("Level"),
    "log": _("Log"),
    "login": _("Fingerprint of the log-in name"),
    "lost": _("Taken away"),
    "members": _("People who hold it"),
    "merged": _("Merged"),
    "method": _("Way of asking"),
    "minutes": _("Minutes"),
    "name": _("Name"),
    "node": _("Node"),
    "page": _("Page"),
    "payload": _("Old and new values"),
    "parameters": _("What was asked"),
    "passed": _("Passed"),
    "permissions": _("Permissions"),
    "person": _("Person"),
    "previous_checkpoint": _("Last checkpoint of the log before"),
    "proven": _("Proven"),
    "provider": _("Provider of the key ring"),
    "q": _("Text searched for"),
    "ranges": _("Numbers, from and to"),
    "readable": _("Readable"),
    "reason": _("Reason"),
    "referenced": _("Companies made for them"),
    "refs": _("Records"),
    "release": _("Release by two persons"),
    "role": _("Role"),
    "root": _("Root of the log"),
    "route": _("Address"),
    "row_sha256": _("Fingerprint of the row"),
    "rows": _("Rows"),
    "rule": _("Rule"),
    "scopes": _("Which records"),
    "sent": _("Sent"),
    "sha256": _("Fingerprint of the file"),
    "since": _("Since"),
    "size": _("Size in bytes"),
    "skipped": _("Left out"),
    "sort": _("Sorted by"),
    "suite": _("Algorithms"),
    "tag": _("Tag"),
    "text": _("Text"),
    "to": _("To"),
    "token": _("Token"),
    "tree_size": _("Size of the log"),
    "undo_deleted": _("Deleted again"),
    "undo_kept": _("Kept, since they were changed later"),
    "undo_restored": _("Set back"),
    "unreadable": _("Unreadable"),
    "until": _("Until"),
    "updated": _("Updated"),
    "user": _("User"),
    "version": _("Version"),
    "wrapped": _("Keys wrapped anew"),
}


def value_word(datamap: DataMap, name: str, value: object) -> Text | None:
    """The words for the value of a fact that is a code; None where it is none."""
    if not isinstance(value, str):
        return None
    if name == "entity":
        entity = datamap.entities.get(value)
        return entity.policy.label if entity else None
    if name == "kind":
        kind = known().get(value)
        return kind.label if kind else words.METHODS.get(value)
    if name == "rule":
        rule = alerts.RULES.get(value)
        return rule.label if rule else None
    codes = {
        "class": words.CLASSES,
        "level": LEVELS,
        "payload": {"left_out": _("Not kept")},
        "person": {"new": _("Newly made")},
    }
    return codes.get(name, {}).get(value)
