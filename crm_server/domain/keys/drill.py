"""The drill of erasure (ENC-10): back up, erase, rotate, destroy, restore, prove – on a PostgreSQL of its own.

It touches nothing of the installation: a private cluster and a private key ring are made in a scratch folder and
removed at the end. What it leaves is evidence: which step did what, when, and whether those who were erased are
unreadable and all others readable after the restore of a backup that is older than the erasure.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from compliance.datamap import KeyClass
from crm_server.domain.keys import destruction, escrow, events, rotation, services
from crm_server.domain.keys.replay import replay
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel import db
from crm_server.kernel.actor import Origin, system_actor
from crm_server.kernel.clock import now
from crm_server.kernel.errors import AppError
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import Keys, KeysRefused, keys_of
from crm_server.local import postgres
from crm_server.local.errors import LocalError
from crm_server.migrations import manage
from crm_server.settings import Settings, SettingsError
from monitoring import metrics
from security.crypto.document import document_kid
from security.crypto.errors import CryptoError, EpochDestroyed, KeyErased

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.kernel.actor import Actor
    from crm_server.local.postgres import Cluster

_TABLE: Final = 99
_CONTENT: Final = {1: "drill"}
Told = Callable[[str], None]
_BREAKS: Final = (
    AppError,
    CryptoError,
    SettingsError,
    SQLAlchemyError,
    OSError,
    LocalError,
    subprocess.SubprocessError,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what was done, what came of it, and how long it took."""

    name: str
    found: str
    seconds: float


@dataclass(slots=True)
class Evidence:
    """What a drill showed. `passed` is the verdict."""

    started_at: str
    provider: str
    people: int
    erased: int
    steps: list[Step] = field(default_factory=list)
    unreadable: int = 0
    readable: int = 0
    passed: bool = False

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Site:
    settings: Settings
    engine: Engine
    keys: Keys
    factory: sessionmaker[Session]

    def work(self) -> KeyWork:
        return KeyWork(self.keys, self.engine, self.settings, system_actor(Origin.CLI))

    def session(self) -> Session:
        return db.open_session(self.factory, system_actor(Origin.CLI))


def drill(
    settings: Settings, *, people: int = 200, erased: int = 20, tell: Told = lambda _word: None
) -> Evidence:
    """Run the whole drill and write the evidence to `drills` in the state folder.

    A drill that breaks off has failed; the evidence says after which step, and why.

    Args:
        people: How many made-up persons have a sealed document.
        erased: How many of them are erased after the backup.
        tell: Told of each step when it is done.
    """
    evidence = Evidence(now().isoformat(), "", people, erased)
    with tempfile.TemporaryDirectory(prefix="kontor-drill-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user; the ring inside is closed to it.
        try:
            _run(Path(folder), settings, evidence, tell)
        except _BREAKS as error:
            # A drill that can't be run proves nothing, and that must be seen.
            evidence.steps.append(Step("broken off", f"FAILED: {type(error).__name__}", 0))
            tell(f"broken off: {error}")
    place = Path(settings.state_dir) / "drills"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (place / f"keys-{now():%Y%m%dT%H%M%S}.json").write_text(
        json.dumps(evidence.plain(), indent=1) + "\n", encoding="utf-8"
    )
    return evidence


def keep(connection: Connection, actor: Actor, node: str, evidence: Evidence) -> None:
    """Note the evidence where every node sees it, with an audit event; an alarm if the drill failed."""
    connection.exec_driver_sql(
        "insert into keys.drill (id, at, node, passed, evidence) values (%s, now(), %s, %s, %s)",
        (new_id(), node, evidence.passed, json.dumps(evidence.plain())),
    )
    told = events.epoch(
        "drill_passed" if evidence.passed else "drill_failed",
        "success" if evidence.passed else "failure",
        erased=evidence.erased,
        unreadable=evidence.unreadable,
        readable=evidence.readable,
    )
    events.record(connection, actor, told)
    if not evidence.passed:
        metrics.KEY_ALARMS.labels("drill-failed").inc()


def _run(folder: Path, settings: Settings, evidence: Evidence, tell: Told) -> None:
    clock = time.monotonic()

    def done(name: str, found: str) -> None:
        nonlocal clock
        evidence.steps.append(Step(name, found, round(time.monotonic() - clock, 2)))
        clock = time.monotonic()
        tell(f"{name}: {found}")

    live, copy, ring = folder / "live", folder / "backup", folder / "keyring"
    with _cluster(live, fresh=True) as cluster, _site(cluster, settings, ring, folder) as site:
        evidence.provider = site.keys.ring.capabilities.name
        sealed = _people(site, cluster, evidence.people)
        done("prepare", f"{evidence.people} persons with a sealed document each, epoch 1")
    # As `cp -a`: where the drill runs as root, the files belong to the user that PostgreSQL runs as.
    subprocess.run(["cp", "-a", str(live), str(copy)], check=True)
    shutil.rmtree(copy / "run", ignore_errors=True)
    done("back up", "a copy of the whole database, made under epoch 1")
    with _cluster(live) as cluster, _site(cluster, settings, ring, folder) as site:
        gone = list(sealed)[: evidence.erased]
        for subject in gone:
            _erase(site, subject)
        done("erase", f"{len(gone)} persons")
        work = site.work()
        turned = rotation.rotate(work)
        done(
            "rotate",
            f"{turned.wrapped} keys wrapped and verified under epoch {turned.epoch}, {turned.left} left",
        )
        kept = escrow.open_scratch(work, escrow.export(work, folder / "escrow").file)
        done("escrow", f"{kept.keys} keys, opened in a scratch place")
        _agree(site, 1)
        proof = destruction.destroy(work, 1)
        done("destroy", f"epoch 1 by {evidence.provider}, proven: {'yes' if proof.proven else 'no'}")
    with _cluster(copy) as cluster:
        done("restore", "the backup runs")
        try:
            with _site(cluster, settings, ring, folder):
                done("quarantine", "FAILED: the restored database served keys")
                return
        except KeysRefused:
            done("quarantine", "the restored database serves no key")
        with _site(cluster, settings, ring, folder, restored=True) as site:
            if not _is_gone(site):
                done("destroyed is destroyed", "FAILED: epoch 1 opens")
                return
            done("destroyed is destroyed", "epoch 1 opens no more, so no key of the backup does")
            again = replay(site.work(), kept.file)
            done("replay", f"{again.restored} keys from the escrow, {again.erased} erased again")
        with _site(cluster, settings, ring, folder) as site:
            readable = {subject for subject in sealed if _reads(site, subject)}
    evidence.unreadable = sum(1 for subject in gone if subject not in readable)
    evidence.readable = len(readable - set(gone))
    evidence.passed = readable == set(sealed) - set(gone)
    done("prove", f"{evidence.unreadable} of {len(gone)} erased persons are unreadable, "
         f"{evidence.readable} of {len(sealed) - len(gone)} others readable")  # fmt: skip


@contextmanager
def _cluster(state: Path, *, fresh: bool = False) -> Iterator[Cluster]:
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    cluster = postgres.start(state, durable=False)
    try:
        if fresh:
            passwords = {role: cluster.password_of(role) for role in manage.ROLES}
            manage.init(cluster.superuser_url, "drill", passwords)
            manage.upgrade(cluster.url_for(manage.OWNER, "drill"))
        yield cluster
    finally:
        postgres.stop(state)


@contextmanager
def _site(
    cluster: Cluster, settings: Settings, ring: Path, folder: Path, *, restored: bool = False
) -> Iterator[_Site]:
    """The drill's own installation: its database, and a passphrase ring, for an HSM's epochs are not for practice."""
    url = cluster.url_for(manage.APP, "drill").replace("postgresql://", "postgresql+psycopg2://", 1)
    own = Settings(
        {
            **settings.values,
            "database_url": url,
            "key_provider": "passphrase",
            "key_passphrase": "",
            "key_ring": ring,
            "key_escrow": folder / "escrow",
            "state_dir": folder,
        }
    )
    engine = db.create_app_engine(own)
    try:
        keys = Keys.open(own, engine, listen=False, restored=restored)
        yield _Site(own, engine, keys, db.session_factory(engine, own, keys))
    finally:
        engine.dispose()


def _people(site: _Site, cluster: Cluster, number: int) -> list[UUID]:
    """Persons with a sealed document each, in a table that only the drill has."""
    owner = manage.owner_engine(cluster.url_for(manage.OWNER, "drill"))
    with owner.begin() as connection:
        connection.execute(text("create table crm.drill (subject uuid primary key, document bytea not null)"))
        connection.execute(text(f"grant select, insert on crm.drill to {manage.APP}"))
    owner.dispose()
    subjects = [uuid4() for _ in range(number)]
    with site.session() as session:
        keys = keys_of(session)
        found = keys.for_sealing_many(subjects, KeyClass.IDENTITY)
        column = keys.column(_TABLE, KeyClass.IDENTITY)
        for subject in subjects:
            key = found[subject]
            if key is None:
                raise LookupError("a fresh person has no key")
            blob = column.seal(key, _CONTENT, subject.bytes, subject.bytes, 1)
            session.execute(
                text("insert into crm.drill values (:subject, :blob)"), {"subject": subject, "blob": blob}
            )
        db.commit(session)
    return subjects


def _erase(site: _Site, subject: UUID) -> None:
    with site.session() as session:
        services.erase_subject(session, subject)
        db.commit(session)
        for callback in session.info.pop(db.AFTER_COMMIT, ()):
            callback()


def _agree(site: _Site, epoch: int) -> None:
    """The release that two persons give in an installation."""
    with site.engine.begin() as connection:
        connection.execute(
            text(
                "insert into keys.destruction (id, epoch, agreed_at, released_by) values (:id, :epoch, now(), 2)"
            ),
            {"id": new_id(), "epoch": epoch},
        )


def _is_gone(site: _Site) -> bool:
    try:
        site.keys.epoch_keys(1)
    except EpochDestroyed:
        return True
    return False


def _reads(site: _Site, subject: UUID) -> bool:
    with site.session() as session:
        blob = bytes(
            session.execute(
                text("select document from crm.drill where subject = :subject"), {"subject": subject}
            ).scalar_one()
        )
        keys = keys_of(session)
        try:
            key = keys.by_id(document_kid(blob))
        except KeyErased:
            return False
        found = keys.column(_TABLE, KeyClass.IDENTITY).open(key, blob, subject.bytes, subject.bytes, 1)
        return found == _CONTENT
