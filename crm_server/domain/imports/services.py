"""Changing imports: upload, mapping, check, run, stop, undo, delete.

Called by pages, API and command line, in their transaction. The work itself is done by the job (``jobs``);
here it is only asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from sqlalchemy import delete, select

from compliance.audit.events import Event, write
from compliance.datamap import DataMap, EntityDef
from crm_server.domain.imports.custom import widened
from crm_server.domain.imports.models import Import, SavedMapping
from crm_server.domain.imports.sealing import erase_keys, forget_made
from crm_server.domain.imports.storage import drop_file, open_file, store_file
from crm_server.importing.detect import FileProfile, inspect_file, redo_profile
from crm_server.importing.errors import ImportFileError, _
from crm_server.importing.mapping import FULL_NAME, FieldProblem, ImportMapping, check_mapping
from crm_server.importing.presets import preset_named
from crm_server.importing.propose import Proposal, propose_mapping
from crm_server.importing.readers import open_rows
from crm_server.importing.values.convert import Options
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import Conflict, NotAllowed, NotFound, TooLarge
from crm_server.kernel.ids import new_id
from crm_server.permissions import Action, record_permission

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.kernel.actor import Actor

__all__ = ["IMPORTABLE", "ImportLimits", "ImportService", "importable"]

IMPORTABLE = ("contact", "account", "lead", "opportunity")
"""Kinds of records that can be imported; others need rules that bulk writing doesn't know."""

_SAMPLE = 100
_RUNNING = frozenset({"queued", "working"})
Enqueue = Callable[["Session", "UUID"], None]
Translate = Callable[[object, str], str]


@dataclasses.dataclass(frozen=True, slots=True)
class ImportLimits:
    """What the installation says: largest file in bytes, country and currency where a file names none."""

    size: int
    country: str = "DE"
    currency: str = "EUR"


def importable(actor: Actor) -> list[str]:
    """The kinds of records that the actor may import, in the order in which they are offered."""
    return [name for name in IMPORTABLE if actor.may(record_permission(name, Action.IMPORT))]


class ImportService:
    """Imports of the session's actor. Others' imports look as if they weren't there."""

    def __init__(
        self,
        session: Session,
        datamap: DataMap,
        limits: ImportLimits,
        enqueue: Enqueue,
        *,
        translate: Translate | None = None,
    ) -> None:
        self._session = session
        self._datamap = datamap
        self._limits = limits
        self._enqueue = enqueue
        self._translate = translate
        self._actor = actor_of(session)

    def upload(
        self,
        file: BinaryIO,
        filename: str,
        entity: str,
        *,
        preset: str | None = None,
        mapping: ImportMapping | None = None,
        **reading: Any,
    ) -> Import:
        """Takes a file in: finds out what it is, proposes a mapping, keeps both.

        ``reading`` may name encoding, delimiter, sheet or header. Raises ImportFileError with the reason in
        the owner's words, TooLarge, NotAllowed.
        """
        self._require(entity)
        profile = inspect_file(file, **reading)
        if mapping is None:
            mapping = self._propose(file, profile, entity, preset)[0]
        job = Import(
            id=new_id(),
            entity=entity,
            filename=_short(filename),
            size=0,
            sha256=b"",
            profile=profile.to_json(),
            mapping=mapping.to_json(),
            created_by=None if self._actor.id == SYSTEM_ID else self._actor.id,
        )
        self._session.add(job)
        self._session.flush()
        try:
            job.size, job.sha256 = store_file(self._session, job.id, file, self._limits.size)
        except ValueError:
            text = _("The file is larger than ${limit} MB. Split it into several files.",
                     mapping={"limit": self._limits.size >> 20})  # fmt: skip
            raise TooLarge(text) from None
        self._tell("import_upload", job, {"size": job.size, "sha256": job.sha256.hex()})
        return job

    def get(self, import_id: UUID) -> Import:
        """The import, locked for a change. Raises NotFound."""
        job = self._session.get(Import, import_id, with_for_update=True)
        if job is None or not self._mine(job.created_by):
            raise NotFound
        return job

    def reread(self, import_id: UUID, **reading: Any) -> Import:
        """Reads the file once more with another encoding, delimiter, sheet or header, and proposes a new
        mapping.
        """
        job = self._idle(import_id)
        file = open_file(self._session, job.id, job.size)
        profile = redo_profile(file, FileProfile.from_json(job.profile), **reading)
        options = ImportMapping.from_json(job.mapping).options
        mapping = self._propose(file, profile, job.entity, None)[0]
        job.profile, job.mapping = profile.to_json(), dataclasses.replace(mapping, options=options).to_json()
        self._reset(job)
        return job

    def proposals(self, import_id: UUID) -> list[Proposal]:
        """What each column was taken for, for the page that lets a person correct it."""
        job = self.get(import_id)
        file = open_file(self._session, job.id, job.size)
        return self._propose(file, FileProfile.from_json(job.profile), job.entity, None)[1]

    def set_mapping(self, import_id: UUID, mapping: ImportMapping) -> list[FieldProblem]:
        """Keeps another mapping; returns what is still wrong with it."""
        job = self._idle(import_id)
        mapping = dataclasses.replace(mapping, entity=job.entity)
        job.mapping = mapping.to_json()
        self._reset(job)
        return self.problems(job)

    def problems(self, job: Import) -> list[FieldProblem]:
        """Why the import can't run as it is: wrong mapping, or fields and records that the actor may not
        write.
        """
        entity = widened(self._session, self._datamap, self._datamap[job.entity])
        mapping = ImportMapping.from_json(job.mapping)
        found = check_mapping(mapping, entity, FileProfile.from_json(job.profile).columns)
        denied = _("You may not change this field.")
        for feed in mapping.feeds:
            names = ("given_name", "family_name") if feed.field == FULL_NAME else (feed.field,)
            for name in names:
                item = entity.fields.get(name)
                if item is not None and self._actor.field_level(item.policy.handling.access) != "write":
                    found.append(FieldProblem(name, "not_allowed", denied, feed.columns))
        found += self._missing_rights(entity, mapping)
        return found

    def check(self, import_id: UUID) -> Import:
        """Asks for a dry run."""
        return self._queue(self._idle(import_id), "check")

    def start(self, import_id: UUID) -> Import:
        """Asks for the run. An import that is done can't be run again; the file can be uploaded again."""
        job = self._idle(import_id)
        return self._queue(job, "run")

    def resume(self, import_id: UUID) -> Import:
        """Goes on with a run that was stopped or failed half-way; committed rows are not done again."""
        job = self.get(import_id)
        if job.state not in {"stopped", "failed"} or job.phase != "run" or not job.has_file:
            raise Conflict(_("There is nothing to go on with."))
        job.state = "working" if job.rows_done else "queued"
        job.error = job.error_line = None
        self._enqueue(self._session, job.id)
        return job

    def stop(self, import_id: UUID) -> Import:
        """Stops a run after the batch that it is at; what is done stays and can be undone."""
        job = self.get(import_id)
        if job.state not in _RUNNING or job.phase == "undo":
            raise Conflict(_("The import is not running."))
        job.state, job.finished_at = "stopped", now()
        # After the batch that is being written, which holds the import.
        self._session.flush()
        forget_made(self._session, import_id)
        return job

    def undo(self, import_id: UUID) -> Import:
        """Asks for the import to be taken back."""
        job = self.get(import_id)
        if job.phase not in {"run", "undo"} or job.state not in {"done", "stopped", "failed", "undone"}:
            raise Conflict(_("Only an import that has run can be undone."))
        entity = self._datamap[job.entity]
        for action in (Action.UPDATE, Action.DELETE):
            permission = record_permission(entity.name, action)
            if not self._actor.may(permission):
                raise NotAllowed(permission)
        job.state, job.phase, job.queued_at, job.finished_at = "queued", "undo", now(), None
        self._enqueue(self._session, job.id)
        return job

    def forget_file(self, import_id: UUID) -> Import:
        """Deletes the uploaded file; the counts stay, the error file is no longer to be had."""
        job = self.get(import_id)
        if job.state in _RUNNING:
            raise Conflict(_("Stop the import first."))
        drop_file(self._session, job)
        return job

    def delete(self, import_id: UUID) -> None:
        """Removes the import with its file and its notes; the imported records stay."""
        job = self.get(import_id)
        if job.state in _RUNNING:
            raise Conflict(_("Stop the import first."))
        self._tell("import_delete", job, {})
        erase_keys(self._session, job, job.file_id, job.id)
        self._session.delete(job)
        self._session.flush()

    def save_mapping(self, name: str, mapping: ImportMapping) -> SavedMapping:
        """Keeps a mapping under a name for everybody who imports such records; one of the same name is
        replaced.
        """
        self._require(mapping.entity)
        name = " ".join(name.split())[:100] or mapping.entity
        found = self._session.scalars(
            select(SavedMapping).where(SavedMapping.entity == mapping.entity, SavedMapping.name == name)
        ).one_or_none()
        if found is None:
            author = None if self._actor.id == SYSTEM_ID else self._actor.id
            found = SavedMapping(entity=mapping.entity, name=name, mapping={}, created_by=author)
            self._session.add(found)
        found.mapping = mapping.to_json()
        self._session.flush()
        return found

    def saved_mapping(self, entity: str, name: str) -> ImportMapping:
        """A mapping that was kept. Raises NotFound."""
        found = self._session.scalars(
            select(SavedMapping).where(SavedMapping.entity == entity, SavedMapping.name == name)
        ).one_or_none()
        if found is None:
            raise NotFound(_("There is no mapping of that name."))
        return ImportMapping.from_json(found.mapping)

    def delete_mapping(self, mapping_id: UUID) -> None:
        """Removes a saved mapping."""
        found = self._session.get(SavedMapping, mapping_id)
        if found is None:
            raise NotFound
        self._require(found.entity)
        self._session.execute(delete(SavedMapping).where(SavedMapping.id == mapping_id))

    def _propose(
        self, file: BinaryIO, profile: FileProfile, entity: str, preset: str | None
    ) -> tuple[ImportMapping, list[Proposal]]:
        target = widened(self._session, self._datamap, self._datamap[entity], actor=self._actor)
        options = Options(
            country=self._limits.country, currency=self._limits.currency, zone=self._actor.timezone
        )
        if preset is not None:
            chosen = preset_named(preset)
            if chosen is None or chosen.entity != entity:
                raise ImportFileError("mapping.preset", _("There is no such preset for this kind of record."))
            return chosen.mapping(profile.columns, target, options), []
        sample = list(islice(open_rows(file, profile), _SAMPLE))
        return propose_mapping(target, profile.columns, sample, options=options, translate=self._translate)

    def _queue(self, job: Import, phase: str) -> Import:
        problems = self.problems(job)
        if problems:
            raise Conflict(
                _("The mapping is not complete yet. Correct it first."), problems=[p.code for p in problems]
            )
        self._reset(job)
        job.state, job.phase, job.queued_at = "queued", phase, now()
        self._tell(f"import_{phase}", job, {})
        self._enqueue(self._session, job.id)
        return job

    @staticmethod
    def _reset(job: Import) -> None:
        job.state, job.phase, job.counts, job.styles = "draft", None, {}, None
        job.rows_total, job.rows_done, job.error, job.error_line = None, 0, None, None
        job.started_at = job.finished_at = None

    def _idle(self, import_id: UUID) -> Import:
        """An import that neither runs nor has run."""
        job = self.get(import_id)
        if job.state in _RUNNING:
            raise Conflict(_("The import is running. Wait for it or stop it."))
        if job.phase in {"run", "undo"}:
            raise Conflict(_("The import has run already. Upload the file again."))
        if not job.has_file:
            raise Conflict(_("The file was deleted. Upload it again."))
        return job

    def _missing_rights(self, entity: EntityDef, mapping: ImportMapping) -> list[FieldProblem]:
        """Imports may do nothing that their owner couldn't do by hand."""
        needed = [(entity.name, Action.CREATE)]
        if mapping.key and mapping.duplicates == "update":
            needed.append((entity.name, Action.UPDATE))
        needed += [
            (entity.fields[feed.field].policy.target or "", Action.CREATE)
            for feed in mapping.feeds
            if feed.missing == "create" and feed.field in entity.fields
        ]
        text = _("You may not do this: ${permission}")
        return [
            FieldProblem("", "not_allowed", text % {"permission": permission})
            for name, action in needed
            if not self._actor.may(permission := record_permission(name, action))
        ]

    def _require(self, entity: str) -> None:
        if entity not in IMPORTABLE:
            raise NotFound(_("Records of this kind can't be imported."))
        permission = record_permission(entity, Action.IMPORT)
        if not self._actor.may(permission):
            raise NotAllowed(permission)

    def _mine(self, owner: UUID | None) -> bool:
        return self._actor.all_permissions or (owner is not None and owner == self._actor.id)

    def _tell(self, action: str, job: Import, meta: Mapping[str, Any]) -> None:
        self._session.flush()
        event = Event("job", action, object_type=25, object_ref=job.id, meta={"entity": job.entity, **meta})
        write(self._session.connection(), self._actor, [event])


def _short(filename: str) -> str:
    """The last part of the name that the sender gave, at most 200 characters, without control characters."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in name if char.isprintable())[-200:] or "file"
