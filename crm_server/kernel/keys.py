"""The keys of one process: from a key id, or a data subject, to a key that opens and seals.

`Keys` is made once at start (`Keys.open`) and hangs at the registry; sessions carry it, and `keys_of(session)` gives
the same keys bound to that session's transaction, so that a data key commits with the first row that uses it (ENC-7).

Opened epochs stay in memory and the provider is asked again before their limit, so one that is away for less than
`key_away_seconds` isn't noticed; after that nothing is opened or sealed (`KeysAway`) until it is back. Data keys are
cached for minutes, and a listener drops those that are erased on any node (`crm_server.kernel.keylisten`).

Longer than most files: the order in which ring, database and other nodes are asked at the start is one story.
"""

from __future__ import annotations

import resource
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from compliance.audit.events import use_vault
from compliance.datamap.text import _
from crm_server.kernel import handover
from crm_server.kernel.clock import now
from crm_server.kernel.errors import AppError
from crm_server.kernel.firstkeys import FirstKeys, first_key
from crm_server.kernel.keyledger import Ledger
from crm_server.kernel.keylisten import KeyListener
from crm_server.kernel.keyring import KeysRefused, folder_of, horizon_of, node_of, open_ring
from crm_server.kernel.keystore import KEY_COLUMNS, SqlKeyStore
from crm_server.kernel.payloads import Payloads
from crm_server.kernel.sessionkeys import SessionKeys, keys_of
from security.crypto.cache import BoundedCache
from security.crypto.datakeys import DataKeys, KeyOwner
from security.crypto.document import DocumentKey, SealedColumn
from security.crypto.errors import (
    CryptoError,
    EpochExists,
    KeyRingError,
    ProviderUnavailable,
)
from security.crypto.keyring import EpochKeys, EpochState
from security.crypto.profile import Profile, modules
from security.crypto.providers.ring import check_of
from security.crypto.wrap import KeyContext, KeyWrapper

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

    from crm_server.settings import Settings
    from security.crypto.keyring import KeyRingProvider

log = structlog.get_logger("kontor.keys")

_ATTEST: Final = """
insert into keys.attestation as a (node, epoch, holds_at, gone_at, seen_at)
values (%s, %s, case when %s then now() end, case when %s then now() end, now())
on conflict (node, epoch) do update
set holds_at = coalesce(a.holds_at, excluded.holds_at), gone_at = coalesce(a.gone_at, excluded.gone_at), seen_at = now()
"""
_PATIENCE: Final = 30.0
"""Seconds that a node waits for another one to hand it an epoch."""
_EPOCH_SECONDS: Final = 5.0
"""How long the number of the active epoch is believed without asking again."""


class KeysAway(AppError):
    """The key ring's provider doesn't answer, and what was opened before has reached its limit."""

    status = 503
    code = "keys_away"
    title = _(
        "Sealed data can't be read or written at the moment: the key ring doesn't answer. Nothing was lost."
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """An opened epoch, and when (monotonic) the provider is asked again and must have answered."""

    keys: EpochKeys
    ask_at: float
    until: float


class Keys:
    """The keys of a process; safe to share between its threads. Never shown, never pickled."""

    def __init__(
        self, settings: Settings, engine: Engine, ring: KeyRingProvider, *, listen: bool, restored: bool
    ) -> None:
        # A process that holds keys leaves no picture of its memory behind (ENC-15).
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self.node = node_of(settings)
        self.ledger = Ledger(folder_of(settings))
        self.modules: tuple[str, ...] = ()
        """The modules that passed the self-check, with their versions."""
        self._restored = restored
        self.profile = Profile(settings.crypto_profile)
        self.ring = ring
        self.cache: BoundedCache[bytes, DocumentKey] = BoundedCache(
            settings.key_cache_entries, settings.key_cache_seconds
        )
        self._away_seconds: int = settings.key_away_seconds
        self._engine = engine
        self._lock = threading.RLock()
        self._epochs: dict[int, _Opened] = {}
        self._columns: dict[tuple[int, str], SealedColumn] = {}
        self._tenant: UUID | None = None
        self._active: tuple[int, float] | None = None
        self._prepared = False
        self._taking = threading.Lock()
        self.first = FirstKeys(self)
        self.payloads = Payloads(self, engine)
        use_vault(engine, self.payloads)
        self._listener = (
            KeyListener(settings.database_url, self.cache, self._epochs_changed, self.answer_handovers)
            if listen
            else None
        )

    @classmethod
    def open(cls, settings: Settings, engine: Engine, *, listen: bool = True, restored: bool = False) -> Keys:
        """Open the key ring at the start of a process, so that a missing provider is told before anything is served.

        A database that doesn't answer is no reason to refuse: the rest is done at first use.

        Args:
            listen: Drop what other processes erase, by a listener thread; False for short commands.
            restored: Also where a restored database waits for its erasures to be replayed; for the command that does
                that, and no other.

        Raises:
            KeysRefused: with the reason and the way out.
        """
        try:
            checked = _checked(Profile(settings.crypto_profile))
            horizon_of(settings)
            keys = cls(settings, engine, open_ring(settings), listen=listen, restored=restored)
            keys.modules = checked
            try:
                keys._prepare()
            except (OperationalError, ProgrammingError):
                # The database is away, or not migrated yet: the process isn't ready, but has no reason to refuse.
                for info in reversed(keys.ring.list()):
                    if info.state is EpochState.LIVE:
                        keys.epoch_keys(info.number)
                        break
        except (CryptoError, KeysAway) as error:
            cause = error.__cause__ if isinstance(error, KeysAway) else error
            raise KeysRefused(_refusal(settings, cause or error)) from None
        return keys

    def announce(self) -> None:
        """Say in the log which provider and profile are in force, and which modules compute the algorithms."""
        name = self.ring.capabilities.name
        log.info("keys opened", provider=name, profile=self.profile.value, modules=list(self.modules))

    def close(self) -> None:
        """Forget all keys and stop listening."""
        if self._listener is not None:
            self._listener.stop()
        self.cache.clear()
        self._epochs.clear()

    @property
    def tenant(self) -> UUID:
        """The installation that is bound into every sealed document."""
        found = self._tenant
        return self._prepare() if found is None else found

    def column(self, table: int, key_class: str) -> SealedColumn:
        """The place of sealed documents of a table and key class, with the suite of the profile in force."""
        found = self._columns.get((table, key_class))
        if found is None:
            found = SealedColumn(
                self.tenant, table, str(key_class), suite=self.profile.suite, suites=self.profile.suites
            )
            self._columns[table, key_class] = found
        return found

    def listen(self) -> None:
        """Hear from now on what other processes say about keys and epochs, unless these keys were opened not to."""
        if self._listener is not None:
            self._listener.start()

    def in_session(self, session: Session) -> DataKeys:
        """The data keys, read and written in the session's transaction."""
        return self.on(session.connection)

    def on(self, connection: Any) -> DataKeys:
        """The same through `connection()`, a function that gives the connection of the transaction at that moment."""
        self.listen()
        return DataKeys(
            SqlKeyStore(connection), self.wrapper, lambda: self.active_epoch(connection), now, self.cache
        )

    def unwrap(
        self, rows: Iterable[Sequence[Any]], mark: int | None = None
    ) -> dict[bytes, DocumentKey | None]:
        """Open many rows of `keys.data_key` (`KEY_COLUMNS` in order) at once: key id to key, None for an erased one.

        Args:
            mark: `cache.mark()` taken before the rows were read; the keys are then kept in the cache.

        Raises:
            KeyCorrupt: a key doesn't unwrap. KeysAway: its epoch can't be opened.
        """
        self.listen()
        opened: dict[bytes, DocumentKey | None] = {}
        contexts: dict[tuple[bytes, str, int], KeyContext] = {}
        for row in rows:
            kid = bytes(row[0])
            if row[7] is None:
                opened[kid] = None
                continue
            named = row[1].bytes, row[3], row[4]
            context = contexts.get(named) or contexts.setdefault(named, KeyContext(*named))
            key = self.wrapper(row[5]).open(bytes(row[7]), context, row[2].bytes, kid, bytes(row[8]))
            opened[kid] = key
            if mark is not None:
                self.cache.put(kid, key, mark)
        return opened

    def for_sealing_many(
        self, connection: Connection, subjects: Iterable[UUID], key_class: str
    ) -> dict[UUID, DocumentKey | None]:
        """The keys of many subjects for new documents, in two statements; None for those who were erased."""
        wanted, word, tenant = list(dict.fromkeys(subjects)), str(key_class), self.tenant
        store = SqlKeyStore(lambda: connection)
        records = store.newest(tenant, word, wanted)
        fresh, made = [], {}
        epoch = self.active_epoch(lambda: connection)
        wrapper = self.wrapper(epoch)
        moment = now()
        for subject in wanted:
            if subject in records:
                continue
            record, made[subject] = first_key(wrapper, epoch, KeyOwner(tenant, subject, word), moment)
            fresh.append(record)
        beaten = store.add_many(fresh)
        if beaten:
            records |= store.newest(tenant, word, [owner.subject for owner in beaten])
        data = self.on(lambda: connection)
        known: dict[UUID, DocumentKey | None] = {}
        for subject, record in records.items():
            if record.wrapped is None:
                known[subject] = None
                continue
            mark = self.cache.mark()
            key = self.cache.get(record.kid)
            if key is None:
                key = data.open(record)
                self.cache.put(record.kid, key, mark)
            known[subject] = key
        return {**made, **known}

    # Epochs ----------------------------------------------------------------------------------------------------------

    def wrapper(self, epoch: int) -> KeyWrapper:
        """The wrapper of an epoch's data keys."""
        return self.epoch_keys(epoch).wrapper

    def epoch_keys(self, epoch: int) -> EpochKeys:
        """The opened epoch; its `index_key` is the root of blind indexes.

        Raises:
            KeysAway: the provider doesn't answer, and the limit of what was opened before has passed.
            EpochUnknown, EpochDestroyed, RingCorrupt: it isn't in this ring.
        """
        found, clock = self._epochs.get(epoch), time.monotonic()
        if found is not None and clock < found.ask_at:
            return found.keys
        with self._lock:
            try:
                keys = self.ring.open_epoch(epoch)
            except KeyRingError as error:
                away = isinstance(error, ProviderUnavailable)
                if away and found is not None and clock < found.until:
                    log.warning("key ring away", code=error.code, seconds_left=round(found.until - clock))
                    self._epochs[epoch] = _Opened(found.keys, clock + _EPOCH_SECONDS, found.until)
                    return found.keys
                self._epochs.pop(epoch, None)
                if away:
                    raise KeysAway from error
                raise
            # Asked again at half of the limit, so that a short absence is never noticed.
            self._epochs[epoch] = _Opened(keys, clock + self._away_seconds / 2, clock + self._away_seconds)
            return keys

    def active_epoch(self, connection: Any = None) -> int:
        """The number of the epoch for new data keys, at most five seconds old."""
        clock = time.monotonic()
        known = self._active
        if known is not None and clock < known[1]:
            return known[0]
        if not self._prepared:
            self._prepare()
        if connection is None:
            with self._engine.connect() as own:
                number = _active_epoch(own)
        else:
            number = _active_epoch(connection())
        if number is None:
            raise KeysRefused(
                "The database has no active epoch. Restore the table keys.epoch from the escrow."
            )
        self._active = (number, clock + _EPOCH_SECONDS)
        return number

    def live_epochs(self, connection: Any = None) -> tuple[int, ...]:
        """The active epoch and those before it that aren't destroyed, newest first: a search asks the tokens of all."""
        statement = "select number from keys.epoch where state in ('active', 'retired') order by number desc"
        if connection is not None:
            return tuple(row[0] for row in connection().exec_driver_sql(statement))
        with self._engine.connect() as own:
            return tuple(row[0] for row in own.exec_driver_sql(statement))

    def forget_epochs(self) -> None:
        """Look anew which epoch is active, and forget those that were destroyed."""
        self._active = None
        if self._prepared:
            self.attest()
        with self._lock:
            live = {info.number for info in self.ring.list() if info.state is EpochState.LIVE}
            self._epochs = {
                number: _Opened(opened.keys, 0, opened.until)
                for number, opened in self._epochs.items()
                if number in live
            }

    def answer_handovers(self) -> None:
        """Hand epochs to other nodes that ask and prove that they hold an earlier one."""
        if self._prepared:
            handover.answer(self._engine, self.ring, self.node, self.epoch_keys)

    def _epochs_changed(self) -> None:
        self.forget_epochs()
        # In a thread of its own: an answer and the device take a while, and erasures must be heard meanwhile.
        if self._prepared and not self._restored and not self._taking.locked():
            threading.Thread(target=self._take_over_quietly, name="kontor-handover", daemon=True).start()

    def _take_over_quietly(self) -> None:
        try:
            self.take_over()
        except (KeyRingError, KeysAway, SQLAlchemyError) as error:
            log.warning("an epoch can't be taken over", error=type(error).__name__)

    def take_over(self, patience: float = _PATIENCE) -> None:
        """Ask the other nodes for the epochs that this ring lacks, and attest those that came (ENC-9).

        Nothing is asked for while this ring has no epoch in common with the database, or nobody else holds what it
        lacks.

        Raises:
            KeyRingError: an answer doesn't open, or the ring refuses it.
        """
        with self._taking:
            with self._engine.connect() as connection:
                wanted = {
                    number: fingerprint
                    for number, fingerprint in handover.missing(connection, self.ring).items()
                    if handover.held_elsewhere(connection, self.node, number)
                }
                common = self._common(connection) if wanted else None
            if common is None:
                return
            secret = self.epoch_keys(common).handover_secret()
            if handover.take_over(
                self._engine, self.ring, self.node, wanted, secret, held=common, patience=patience
            ):
                self.attest()

    def _common(self, connection: Connection) -> int | None:
        """The newest epoch that is both in this ring and, with the same keys, in the database."""
        rows = connection.exec_driver_sql(
            "select number, fingerprint from keys.epoch where state in ('active', 'retired') order by number desc"
        )
        here = {info.number for info in self.ring.list() if info.state is EpochState.LIVE}
        for number, fingerprint in rows:
            if number in here and check_of(self.epoch_keys(number)) == fingerprint:
                return int(number)
        return None

    # Start -----------------------------------------------------------------------------------------------------------

    def _prepare(self) -> UUID:
        """Return the tenant, and see that ring and database belong together; make the first epoch of a trial."""
        with self._lock:
            if self._prepared and self._tenant is not None:
                return self._tenant
            with self._engine.begin() as connection:
                tenant: UUID = connection.exec_driver_sql(
                    "select tenant from kontor.installation"
                ).scalar_one()
                row = connection.exec_driver_sql(
                    "select number, fingerprint from keys.epoch where state = 'active'"
                ).one_or_none()
            if row is None:
                self._found()
            elif not self._restored:
                self._match(*row)
            if not self._restored:
                self._refuse_quarantine()
                self.attest()
            self._tenant, self._prepared = tenant, True
            return tenant

    def _refuse_quarantine(self) -> None:
        """Serve nothing from a restored database before the erasures since its backup are replayed (ENC-11)."""
        with self._engine.connect() as connection:
            alive = self.ledger.alive(connection)
        if alive:
            self.ledger.quarantine(f"{len(alive)} keys that were erased are alive in this database")
        reason = self.ledger.quarantined()
        if reason is not None:
            raise KeysRefused(
                f"This database is in quarantine: {reason}. It was restored from a backup; replay the erasures "
                "since then: kontor keys replay"
            )

    def attest(self) -> None:
        """Say for this node which epochs it holds, and destroy here what was destroyed elsewhere (ENC-9, ENC-13).

        Raises:
            KeyRingError: an epoch that was destroyed elsewhere can't be destroyed here; this node must not serve.
        """
        here = {info.number: info.state for info in self.ring.list()}
        with self._engine.begin() as connection:
            rows = connection.exec_driver_sql("select number, state from keys.epoch").all()
        for number, state in rows:
            if state == "destroyed" and here.get(number) in (EpochState.LIVE, EpochState.DESTROYING):
                self.ring.destroy(number)
        with self._engine.begin() as connection:
            for number, state in rows:
                holds = state in ("prepared", "active", "retired") and here.get(number) is EpochState.LIVE
                if holds or state == "destroyed":
                    connection.exec_driver_sql(_ATTEST, (self.node, number, holds, not holds))

    def _match(self, number: int, fingerprint: str) -> None:
        if all(info.number != number for info in self.ring.list()):
            self.take_over()
        if all(info.number != number for info in self.ring.list()):
            raise KeysRefused(
                f"The database uses epoch {number}, which isn't in this key ring: another site's, an old copy, "
                "or a new node's. Check KONTOR_KEY_RING, or take the keys over: kontor keys join"
            )
        if check_of(self.epoch_keys(number)) != fingerprint:
            raise KeysRefused(
                f"Epoch {number} of this key ring isn't the one that the database uses: another site's ring. "
                "Check KONTOR_KEY_RING."
            )

    def _found(self) -> None:
        """Register the ring's newest epoch with a new database. Only a passphrase ring makes one by itself."""
        live = [info for info in self.ring.list() if info.state is EpochState.LIVE]
        if not live:
            if self.ring.capabilities.hardware:
                raise KeysRefused(
                    "The key ring has no epoch yet. Make the first one with two persons present: kontor keys init"
                )
            try:
                live = [self.ring.create_epoch(len(self.ring.list()) + 1)]
            except EpochExists:  # Another process was quicker.
                live = [info for info in self.ring.list() if info.state is EpochState.LIVE]
        newest = live[-1]
        fingerprint = check_of(self.epoch_keys(newest.number))
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                "insert into keys.epoch (number, state, fingerprint, provider, created_at) "
                "values (%s, 'active', %s, %s, %s) on conflict do nothing",
                (newest.number, fingerprint, self.ring.capabilities.name, newest.created_at),
            )
            row = connection.exec_driver_sql(
                "select number, fingerprint from keys.epoch where state = 'active'"
            ).one()
        self._match(*row)

    def __repr__(self) -> str:
        return f"Keys({self.ring.capabilities.name})"


@cache
def _checked(profile: Profile) -> tuple[str, ...]:
    """Test every algorithm of the profile once in a process; returns the modules that compute them.

    Raises:
        ProfileRefused: one gives a wrong answer, or is missing.
    """
    return modules(profile)


def _active_epoch(connection: Connection) -> int | None:
    found: int | None = connection.exec_driver_sql(
        "select number from keys.epoch where state = 'active'"
    ).scalar()
    return found


def _refusal(settings: Settings, error: BaseException) -> str:
    """Why the start is refused, and what to do."""
    way_out = {
        "provider-unavailable": "Bring the device back, or mend KONTOR_KEY_PROVIDER and its settings.",
        "provider-refused": "Mend the passphrase, PIN or token in the settings. Nothing was changed.",
        "ring-corrupt": "Restore the folder of the ring from a copy; docs/runbooks/keys.md says how.",
        "ring-storage": "Make room, or give the folder back to the user that Kontor runs as.",
        "epoch-destroyed": "The database is older than that: it was restored. Run: kontor keys replay --escrow FILE",
        "profile-refused": "Change KONTOR_CRYPTO_PROFILE, or the provider of the key ring.",
    }.get(getattr(error, "code", ""), "docs/runbooks/keys.md says what to do.")
    return f"Kontor can't start without its keys ({settings.key_provider}). {error} {way_out}"


__all__ = ["KEY_COLUMNS", "Keys", "KeysAway", "KeysRefused", "SessionKeys", "keys_of"]
