"""The gateway's index keeps what it was told, and nothing twice."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from hce.service.index.store import (
    Asked,
    Held,
    Index,
    IndexUnknown,
    KnownResources,
    Patient,
    PendingRecord,
    Resource,
    SeenOffer,
    WrittenRecord,
)

ADA = Patient("p1", "Ada Example", b"{}", None, b"c" * 32, b"card", b"token")
LABS = WrittenRecord(b"r" * 32, "p1", "labs", "2019-03-02", b"a" * 32, 7)


def test_what_was_written_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "index.sqlite"
    index = Index(path)
    index.put_patient(ADA)
    index.settle([(LABS, [Resource(b"d1", "Observation/1"), Resource(b"d2", "Observation/2")])])
    index.put_asked(Asked(b"n" * 32, b"a" * 32, b"request"))
    assert index.claim(Held(b"g" * 32, b"n" * 32, b"parcel", b"t" * 36, final=False))
    index.claim_is_final(b"g" * 32)
    index.close()

    again = Index(path)
    assert again.patients() == [ADA]
    assert again.patient("p1") == ADA
    assert again.patient("p2") is None
    assert again.written("p1") == [LABS]
    assert again.known_resources("p1") == KnownResources(
        {b"d1", b"d2"}, {"Observation/1": LABS.record_id, "Observation/2": LABS.record_id}
    )
    assert again.asked(b"n" * 32) == Asked(b"n" * 32, b"a" * 32, b"request")
    assert again.held() == [Held(b"g" * 32, b"n" * 32, b"parcel", b"t" * 36, final=True)] == [again.held_grant(b"g" * 32)]
    assert again.held_grant(b"x" * 32) is None
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_resource_is_indexed_once(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    index.put_patient(ADA)
    index.settle([(LABS, [Resource(b"d1", "Observation/1")])])
    index.settle([(LABS, [Resource(b"d1", "Observation/1")])])
    assert len(index.written("p1")) == 1
    index.close()


def test_a_request_is_answered_with_one_grant_until_that_is_known_to_be_dead(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    index.put_asked(Asked(b"n" * 32, b"a" * 32, b"request"))
    first, second = (Held(name * 32, b"n" * 32, b"parcel", b"t" * 36, final=False) for name in (b"g", b"h"))
    assert index.claim(first)
    assert index.claim(first)
    assert not index.claim(second)
    assert not index.claim(Held(first.grant_id, b"n" * 32, b"parcel", b"u" * 36, final=False)), "nor with a second transaction"
    assert index.held() == []
    assert index.held_grant(first.grant_id) is None
    index.drop_claim(first.grant_id)
    assert index.claim(second)
    index.claim_is_final(second.grant_id)
    index.drop_claim(second.grant_id)
    assert not index.claim(first), "what is final stays"
    index.close()


def test_what_is_on_its_way_is_remembered_until_it_is_written_or_dead(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = Index(path)
    index.put_patient(ADA)
    lost = PendingRecord(b"s" * 32, "p1", "labs", "2019-03-02", b"a" * 32, b"d2" * 16, 9)
    index.put_pending([PendingRecord(LABS.record_id, "p1", "labs", "2019-03-02", b"a" * 32, b"d1" * 16, 9), lost])
    index.close()
    index = Index(path)
    assert len(index.pending()) == 2
    assert index.pending("p2") == []
    index.settle([(LABS, [Resource(b"d1" * 16, "Observation/1")])])
    assert index.pending("p1") == [lost]
    index.settle([], [lost.record_id])
    assert index.pending() == []
    assert index.known_resources("p1").digests == {b"d1" * 16}
    index.close()


def test_offers_are_forgotten_by_age(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    old, new = SeenOffer(b"o" * 32, "malformed", 1, 1_000, True), SeenOffer(b"n" * 32, "", 2, 2_000, False)
    index.put_offer(old)
    index.put_offer(new)
    index.forget_offers(2_000)
    assert (index.offer(old.digest), index.offer(new.digest)) == (None, new)
    index.close()


def test_a_record_of_an_unknown_person_changes_nothing(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    with pytest.raises(sqlite3.IntegrityError):
        index.settle([(LABS, [Resource(b"d1", "Observation/1")])])
    assert index.written("p1") == []
    index.close()


def test_an_index_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = Index(path)
    index.put_patient(ADA)
    index.settle([(LABS, [Resource(b"d1" * 16, "Observation/1")])])
    index.put_pending([PendingRecord(b"s" * 32, "p1", "labs", "2019-03-02", b"a" * 32, b"d2" * 32, 9, ["Observation/2"])])
    index.close()
    database = sqlite3.connect(path)
    later = [f"ALTER TABLE asked DROP {column}" for column in ("patient_id", "lasts_days", "reason", "asked_ms")]
    for statement in (*later, "ALTER TABLE resource DROP name", "ALTER TABLE pending DROP names", "PRAGMA user_version = 2"):
        database.execute(statement)
    database.commit()
    database.close()
    index = Index(path)
    assert index.known_resources("p1") == KnownResources({b"d1" * 16}, {})
    (pending,) = index.pending()
    assert pending.resources == [Resource(b"d2" * 16, ""), Resource(b"d2" * 16, "")]
    index.settle([(LABS, pending.resources)])
    assert index.known_resources("p1").digests == {b"d1" * 16, b"d2" * 16}
    index.close()


def test_an_index_that_did_not_keep_why_it_asked_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = Index(path)
    index.put_asked(Asked(b"n" * 32, b"a" * 32, b"request", "p1", 7, "follow-up", 5))
    index.close()
    database = sqlite3.connect(path)
    columns = [f"ALTER TABLE asked DROP {column}" for column in ("patient_id", "lasts_days", "reason", "asked_ms")]
    for statement in (*columns, "PRAGMA user_version = 3"):
        database.execute(statement)
    database.commit()
    database.close()
    index = Index(path)
    index.put_asked(Asked(b"m" * 32, b"a" * 32, b"request", "p1", 7, "follow-up", 5))
    new, old = index.latest_asked(2)
    assert (old, new.reason) == (Asked(b"n" * 32, b"a" * 32, b"request"), "follow-up")
    assert index.latest_asked(1) == [new]
    index.close()


def test_the_latest_version_of_a_resource_is_known_by_its_name(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    index.put_patient(ADA)
    later = WrittenRecord(b"l" * 32, "p1", "labs", "2019-03-02", b"a" * 32, 9)
    index.settle([(later, [Resource(b"d2", "Observation/1")])])
    index.settle([(LABS, [Resource(b"d1", "Observation/1")])])
    assert index.known_resources("p1").latest == {"Observation/1": later.record_id}
    index.close()


def test_an_index_of_another_version_is_named_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()
    with pytest.raises(IndexUnknown):
        Index(path)
