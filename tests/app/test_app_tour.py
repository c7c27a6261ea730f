"""The tour's own judgement: it must not call a broken promise kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from hce.app.devnet.people import demo_bundles
from hce.app.tour.canary import canaries_of, find_in_files
from hce.app.tour.patient import choose_bundle, patient_of, resources_of
from hce.app.tour.story import EXPECTED, percentile, promises_broken

KEPT = {key: min(value) if isinstance(value, frozenset) else value for key, value in EXPECTED.items()} | {
    "nodes": 1,
    "records_written": 3,
    "log_entries_on_chain": 2,
    "log_entries_opened": 2,
    "finality_ms": {"p50": 900, "p95": 1_000},
}


def test_a_result_with_every_promise_is_kept() -> None:
    assert promises_broken(KEPT) == []


@pytest.mark.parametrize("key", sorted(KEPT.keys() - {"nodes"}))
def test_each_promise_alone_breaks_the_tour(key: str) -> None:
    assert promises_broken(KEPT | {key: "accepted"}) != []
    assert promises_broken({name: value for name, value in KEPT.items() if name != key}) != []
    assert promises_broken(KEPT | {key: None}) != []


def test_either_way_of_refusing_after_a_revocation_is_kept() -> None:
    for code in ("release.grant_revoked", "release.revoke_seen"):
        assert promises_broken(KEPT | {"release_after_revoke": code}) == []


def test_a_tour_that_timed_nothing_is_broken() -> None:
    assert promises_broken(KEPT | {"finality_ms": {"p50": None, "p95": None}}) == ["finality_ms"]


def test_a_finding_in_the_log_breaks_the_tour_though_all_entries_are_explained() -> None:
    assert promises_broken(KEPT | {"log_complete": False}) == ["log_complete"]


def test_an_empty_log_is_not_a_complete_one() -> None:
    assert promises_broken(KEPT | {"log_entries_on_chain": 0, "log_entries_opened": 0}) == ["log_entries_opened"]


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([30, 10, 20], 50) == 20
    assert percentile([30, 10, 20], 95) == 30
    assert percentile([], 50) is None


def test_a_patients_words_are_found_wherever_they_lie(tmp_path: Path) -> None:
    words = canaries_of([b'{"name": "Fictional Person", "system": "http://loinc.org", "code": "x"}'])
    assert words == [b"Fictional Person"]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\x00" * 10_000 + b"Fictional Person")
    (tmp_path / "clean").write_bytes(b"Fictional Perso")
    assert find_in_files(tmp_path, words) == ["deep/file"]


def test_without_shared_data_a_bundle_of_hce_itself_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCE_SHARED", str(tmp_path / "nothing"))
    name, bundle = choose_bundle(tmp_path)
    assert (name, bundle) == demo_bundles()[0]
    assert patient_of(bundle)["resourceType"] == "Patient"
    assert len(resources_of(bundle)) > 5
