"""The gateway's index keeps what it was told, and nothing twice."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from hce.service.index.store import Asked, Held, Index, IndexUnknown, Patient, WrittenRecord

ADA = Patient("p1", "Ada Example", b"{}", None, b"c" * 32, b"card", b"token")
LABS = WrittenRecord(b"r" * 32, "p1", "labs", "2019-03-02", b"a" * 32, 7)


def test_what_was_written_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "index.sqlite"
    index = Index(path)
    index.put_patient(ADA)
    index.put_written([(LABS, [b"d1", b"d2"])])
    index.put_asked(Asked(b"n" * 32, b"a" * 32, b"request"))
    index.put_held(Held(b"g" * 32, b"n" * 32, b"parcel"))
    index.set_mark("inbox", 3)
    index.close()

    again = Index(path)
    assert again.patients() == [ADA]
    assert again.patient("p1") == ADA
    assert again.patient("p2") is None
    assert again.written("p1") == [LABS]
    assert again.known_resources("p1") == {b"d1", b"d2"}
    assert again.asked(b"n" * 32) == Asked(b"n" * 32, b"a" * 32, b"request")
    assert again.held_grant(b"g" * 32) == again.held()[0]
    assert again.held_grant(b"x" * 32) is None
    assert again.mark("inbox") == 3
    assert again.mark("other") == 0
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_resource_is_indexed_once(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    index.put_patient(ADA)
    index.put_written([(LABS, [b"d1"])])
    index.put_written([(LABS, [b"d1"])])
    assert len(index.written("p1")) == 1
    index.close()


def test_a_record_of_an_unknown_person_changes_nothing(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    with pytest.raises(sqlite3.IntegrityError):
        index.put_written([(LABS, [b"d1"])])
    assert index.written("p1") == []
    index.close()


def test_an_index_of_another_version_is_named_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()
    with pytest.raises(IndexUnknown):
        Index(path)
