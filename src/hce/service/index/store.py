"""Tables and queries of the index. Every write is one transaction, on disk when the call returns."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import astuple

from hce.foundation.types.errors import Corrupt

SCHEMA_VERSION = 4
DIGEST_BYTES = 32
_SCHEMA = """
CREATE TABLE patient (
    patient_id TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    identity BLOB NOT NULL,
    custodial_id TEXT,
    compartment_id BLOB NOT NULL UNIQUE,
    card BLOB NOT NULL,
    token BLOB NOT NULL
) STRICT;
CREATE TABLE record (
    record_id BLOB PRIMARY KEY,
    patient_id TEXT NOT NULL REFERENCES patient,
    kind TEXT NOT NULL,
    day TEXT NOT NULL,
    author BLOB NOT NULL,
    height INTEGER NOT NULL
) STRICT;
CREATE INDEX record_by_patient ON record (patient_id, day);
CREATE TABLE resource (
    patient_id TEXT NOT NULL REFERENCES patient,
    digest BLOB NOT NULL,
    record_id BLOB NOT NULL REFERENCES record,
    name TEXT NOT NULL,
    PRIMARY KEY (patient_id, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE asked (
    reader_key BLOB PRIMARY KEY,
    credential_id BLOB NOT NULL,
    request BLOB NOT NULL,
    patient_id TEXT NOT NULL DEFAULT '',
    lasts_days INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    asked_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE held (
    grant_id BLOB PRIMARY KEY,
    reader_key BLOB NOT NULL UNIQUE REFERENCES asked,
    parcel BLOB NOT NULL,
    tx_id BLOB NOT NULL,
    final INTEGER NOT NULL
) STRICT;
CREATE TABLE pending (
    record_id BLOB PRIMARY KEY,
    patient_id TEXT NOT NULL REFERENCES patient,
    kind TEXT NOT NULL,
    day TEXT NOT NULL,
    author BLOB NOT NULL,
    digests BLOB NOT NULL,
    valid_until INTEGER NOT NULL,
    names TEXT NOT NULL
) STRICT;
CREATE TABLE offer (
    digest BLOB PRIMARY KEY,
    code TEXT NOT NULL,
    tries INTEGER NOT NULL,
    next_try_ms INTEGER NOT NULL,
    done INTEGER NOT NULL
) STRICT;
CREATE INDEX offer_by_age ON offer (next_try_ms);
"""


_FROM_2 = """
ALTER TABLE resource ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE pending ADD COLUMN names TEXT NOT NULL DEFAULT '[]';
"""
"""Version 2 did not keep the names of resources: what it knows is never written twice, and later versions of it amend nothing."""
_FROM_3 = """
ALTER TABLE asked ADD COLUMN patient_id TEXT NOT NULL DEFAULT '';
ALTER TABLE asked ADD COLUMN lasts_days INTEGER NOT NULL DEFAULT 0;
ALTER TABLE asked ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE asked ADD COLUMN asked_ms INTEGER NOT NULL DEFAULT 0;
"""
"""Version 3 did not keep of whom and why access was asked for."""


class IndexUnknown(Corrupt):
    """The index file is of another version or none of ours."""

    code = "index.unknown_version"


class Patient(Struct, frozen=True):
    patient_id: str
    label: str
    identity: bytes
    """JSON of the identity the person was enrolled with."""
    custodial_id: str | None
    """Set while this organisation keeps the person's keys for them."""
    compartment_id: bytes
    card: bytes
    token: bytes


class WrittenRecord(Struct, frozen=True):
    record_id: bytes
    patient_id: str
    kind: str
    day: str
    author: bytes
    height: int


class Resource(Struct, frozen=True):
    """One FHIR resource inside a record."""

    digest: bytes
    """SHA-256 of its exact bytes."""
    name: str
    """Its fullUrl or Type/id, as in the record; "" when an earlier version of the index wrote it."""


class KnownResources(Struct, frozen=True):
    """What a person already has from here."""

    digests: set[bytes]
    latest: dict[str, bytes]
    """Name -> id of the record that holds its latest version."""


class Asked(Struct, frozen=True):
    """An access request this organisation made for one of its people. The private reader key is in the keyring."""

    reader_key: bytes
    credential_id: bytes
    request: bytes
    patient_id: str = ""
    """Of whom; "" when that was not said."""
    lasts_days: int = 0
    """For how long it was asked; 0 when that was not said. The owner decides."""
    reason: str = ""
    asked_ms: int = 0


class Held(Struct, frozen=True):
    """A grant this organisation holds, or is about to: one for each request."""

    grant_id: bytes
    reader_key: bytes
    parcel: bytes
    tx_id: bytes
    """The transaction this organisation pays for it, the only one."""
    final: bool
    """False while the grant is being made final."""


class PendingRecord(Struct, frozen=True):
    """A record that is on its way: final, or dead for ever once the chain has passed `valid_until` without it."""

    record_id: bytes
    patient_id: str
    kind: str
    day: str
    author: bytes
    digests: bytes
    """Of the resources inside, 32 bytes each, one after another."""
    valid_until: int
    """Last block that may hold its commit."""
    names: list[str] = []
    """Of the resources inside, in the same order."""

    @property
    def resources(self) -> list[Resource]:
        digests = [self.digests[start : start + DIGEST_BYTES] for start in range(0, len(self.digests), DIGEST_BYTES)]
        return [Resource(digest, name) for digest, name in zip(digests, self.names or [""] * len(digests), strict=True)]


class SeenOffer(Struct, frozen=True):
    """What became of one inbox item, by the digest of its bytes."""

    digest: bytes
    code: str
    """Why it failed or was refused; "" when it was taken."""
    tries: int
    next_try_ms: int
    done: bool
    """Nothing more will come of it."""


class Index:
    """The open index. One connection, used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        steps = {0: _SCHEMA, 2: _FROM_2 + _FROM_3, 3: _FROM_3, SCHEMA_VERSION: ""}.get(version)
        if steps is None:
            raise IndexUnknown(expected=SCHEMA_VERSION, actual=version)
        if steps:
            with self._transaction():
                for statement in steps.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def put_patient(self, patient: Patient) -> None:
        """Adds a person, or replaces card, token and custody of a known one."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO patient VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (patient_id) DO UPDATE SET"
                " label = excluded.label, identity = excluded.identity, custodial_id = excluded.custodial_id,"
                " compartment_id = excluded.compartment_id, card = excluded.card, token = excluded.token",
                (
                    patient.patient_id,
                    patient.label,
                    patient.identity,
                    patient.custodial_id,
                    patient.compartment_id,
                    patient.card,
                    patient.token,
                ),
            )

    def put_card(self, patient_id: str, card: bytes) -> None:
        """A newer card of somebody who is here; nothing else of theirs changes."""
        with self._transaction():
            self._db.execute("UPDATE patient SET card = ? WHERE patient_id = ?", (card, patient_id))

    def patients(self) -> list[Patient]:
        return [Patient(*row) for row in self._db.execute("SELECT * FROM patient ORDER BY label, patient_id")]

    def patient(self, patient_id: str) -> Patient | None:
        row = self._db.execute("SELECT * FROM patient WHERE patient_id = ?", (patient_id,)).fetchone()
        return None if row is None else Patient(*row)

    def written(self, patient_id: str) -> list[WrittenRecord]:
        rows = self._db.execute("SELECT * FROM record WHERE patient_id = ? ORDER BY day, record_id", (patient_id,))
        return [WrittenRecord(*row) for row in rows]

    def known_resources(self, patient_id: str) -> KnownResources:
        """Every resource already written for this person: importing again writes nothing twice, and a changed one as an amendment."""
        rows = self._db.execute(
            "SELECT digest, name, record_id FROM resource JOIN record USING (record_id)"
            " WHERE resource.patient_id = ? ORDER BY height, record.rowid",
            (patient_id,),
        ).fetchall()
        return KnownResources({digest for digest, _, _ in rows}, {name: record for _, name, record in rows if name})

    def put_asked(self, asked: Asked) -> None:
        with self._transaction():
            self._db.execute("INSERT INTO asked VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(asked))

    def asked(self, reader_key: bytes) -> Asked | None:
        row = self._db.execute("SELECT * FROM asked WHERE reader_key = ?", (reader_key,)).fetchone()
        return None if row is None else Asked(*row)

    def latest_asked(self, most: int) -> list[Asked]:
        """Newest first."""
        return [Asked(*row) for row in self._db.execute("SELECT * FROM asked ORDER BY rowid DESC LIMIT ?", (most,))]

    def claim(self, held: Held) -> bool:
        """Notes which grant and transaction a request is answered with, before anything is paid; False when it is another already."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?, ?)",
                (held.grant_id, held.reader_key, held.parcel, held.tx_id, held.final),
            )
            row = self._db.execute("SELECT grant_id, tx_id FROM held WHERE reader_key = ?", (held.reader_key,)).fetchone()
        return bool(row == (held.grant_id, held.tx_id))

    def claim_is_final(self, grant_id: bytes) -> None:
        with self._transaction():
            self._db.execute("UPDATE held SET final = 1 WHERE grant_id = ?", (grant_id,))

    def drop_claim(self, grant_id: bytes) -> None:
        """The grant will never be final: its request may be answered with another."""
        with self._transaction():
            self._db.execute("DELETE FROM held WHERE grant_id = ? AND final = 0", (grant_id,))

    def held(self) -> list[Held]:
        """Grants that are final."""
        return [_held(row) for row in self._db.execute("SELECT * FROM held WHERE final = 1 ORDER BY rowid")]

    def held_grant(self, grant_id: bytes) -> Held | None:
        row = self._db.execute("SELECT * FROM held WHERE grant_id = ? AND final = 1", (grant_id,)).fetchone()
        return None if row is None else _held(row)

    def put_pending(self, records: Iterable[PendingRecord]) -> None:
        """Before their commit is sent to anybody."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(*astuple(one)[:-1], json.dumps(one.names)) for one in records],
            )

    def pending(self, patient_id: str | None = None) -> list[PendingRecord]:
        """Of one person, or of all."""
        rows = self._db.execute("SELECT * FROM pending WHERE ?1 IS NULL OR patient_id = ?1 ORDER BY rowid", (patient_id,))
        return [_pending(row) for row in rows]

    def settle(self, written: Iterable[tuple[WrittenRecord, list[Resource]]], dropped: Iterable[bytes] = ()) -> None:
        """Records that are final, each with the resources inside, and ids of those that never will be."""
        with self._transaction():
            for record, resources in written:
                self._db.execute(
                    "INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?, ?)",
                    (record.record_id, record.patient_id, record.kind, record.day, record.author, record.height),
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO resource VALUES (?, ?, ?, ?)",
                    [(record.patient_id, one.digest, record.record_id, one.name) for one in resources],
                )
                self._db.execute("DELETE FROM pending WHERE record_id = ?", (record.record_id,))
            self._db.executemany("DELETE FROM pending WHERE record_id = ?", [(name,) for name in dropped])

    def offer(self, digest: bytes) -> SeenOffer | None:
        row = self._db.execute("SELECT * FROM offer WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else SeenOffer(row[0], row[1], row[2], row[3], bool(row[4]))

    def put_offer(self, seen: SeenOffer) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO offer VALUES (?, ?, ?, ?, ?)",
                (seen.digest, seen.code, seen.tries, seen.next_try_ms, seen.done),
            )

    def forget_offers(self, before_ms: int) -> None:
        """Those whose last or next try lies before that moment."""
        with self._transaction():
            self._db.execute("DELETE FROM offer WHERE next_try_ms < ?", (before_ms,))


def _pending(row: tuple[bytes, str, str, str, bytes, bytes, int, str]) -> PendingRecord:
    return PendingRecord(*row[:7], json.loads(row[7]))


def _held(row: tuple[bytes, bytes, bytes, bytes, int]) -> Held:
    return Held(row[0], row[1], row[2], row[3], bool(row[4]))
