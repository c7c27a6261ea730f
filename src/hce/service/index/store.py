"""Tables and queries of the index. Every write is one transaction, on disk when the call returns."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from hce.foundation.types.errors import Corrupt

SCHEMA_VERSION = 1
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
    PRIMARY KEY (patient_id, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE asked (
    reader_key BLOB PRIMARY KEY,
    credential_id BLOB NOT NULL,
    request BLOB NOT NULL
) STRICT;
CREATE TABLE held (
    grant_id BLOB PRIMARY KEY,
    reader_key BLOB NOT NULL REFERENCES asked,
    parcel BLOB NOT NULL
) STRICT;
CREATE TABLE mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""


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


class Asked(Struct, frozen=True):
    """An access request this organisation made for one of its people. The private reader key is in the keyring."""

    reader_key: bytes
    credential_id: bytes
    request: bytes


class Held(Struct, frozen=True):
    """A grant this organisation holds."""

    grant_id: bytes
    reader_key: bytes
    parcel: bytes


class Index:
    """The open index. One connection, used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise IndexUnknown(expected=SCHEMA_VERSION, actual=version)

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

    def patients(self) -> list[Patient]:
        return [Patient(*row) for row in self._db.execute("SELECT * FROM patient ORDER BY label, patient_id")]

    def patient(self, patient_id: str) -> Patient | None:
        row = self._db.execute("SELECT * FROM patient WHERE patient_id = ?", (patient_id,)).fetchone()
        return None if row is None else Patient(*row)

    def put_written(self, records: Iterable[tuple[WrittenRecord, list[bytes]]]) -> None:
        """Records that are final, each with the digests of the resources inside."""
        with self._transaction():
            for record, digests in records:
                self._db.execute(
                    "INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?, ?)",
                    (record.record_id, record.patient_id, record.kind, record.day, record.author, record.height),
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO resource VALUES (?, ?, ?)",
                    [(record.patient_id, digest, record.record_id) for digest in digests],
                )

    def written(self, patient_id: str) -> list[WrittenRecord]:
        rows = self._db.execute("SELECT * FROM record WHERE patient_id = ? ORDER BY day, record_id", (patient_id,))
        return [WrittenRecord(*row) for row in rows]

    def known_resources(self, patient_id: str) -> set[bytes]:
        """Digests of every resource already written for this person: importing again writes nothing twice."""
        return {row[0] for row in self._db.execute("SELECT digest FROM resource WHERE patient_id = ?", (patient_id,))}

    def put_asked(self, asked: Asked) -> None:
        with self._transaction():
            self._db.execute("INSERT INTO asked VALUES (?, ?, ?)", (asked.reader_key, asked.credential_id, asked.request))

    def asked(self, reader_key: bytes) -> Asked | None:
        row = self._db.execute("SELECT * FROM asked WHERE reader_key = ?", (reader_key,)).fetchone()
        return None if row is None else Asked(*row)

    def put_held(self, held: Held) -> None:
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO held VALUES (?, ?, ?)", (held.grant_id, held.reader_key, held.parcel))

    def held(self) -> list[Held]:
        return [Held(*row) for row in self._db.execute("SELECT * FROM held ORDER BY rowid")]

    def held_grant(self, grant_id: bytes) -> Held | None:
        row = self._db.execute("SELECT * FROM held WHERE grant_id = ?", (grant_id,)).fetchone()
        return None if row is None else Held(*row)

    def mark(self, name: str) -> int:
        """A remembered position (the last inbox item seen), 0 when none."""
        row = self._db.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def set_mark(self, name: str, value: int) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT INTO mark VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
            )
