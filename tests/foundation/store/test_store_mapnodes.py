"""The stored map against the naive root of its whole content: batches, order, discarded work, proofs, two maps side by side."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hce.foundation.proofs.authmap import EMPTY_HASHES, EMPTY_ROOT, verify_map_proof
from hce.foundation.proofs.listhash import list_root
from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.store.mapnodes import MapStore
from hce.foundation.types.errors import Bug

HEALTH, VALUE = MapStore("health"), MapStore("value")
MAP_BYTES = 16 << 20


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def naive_root(content: dict[bytes, bytes]) -> bytes:
    """The definition, top down, over everything."""

    def top(leaves: list[bytes], depth: int) -> bytes:
        if not leaves:
            return EMPTY_HASHES[16 - depth]
        if depth == 16:
            return list_root(leaves)
        left = [leaf for leaf in leaves if not leaf[depth // 8] >> (7 - depth % 8) & 1]
        return sha256(b"\x01", top(left, depth + 1), top(leaves[len(left) :], depth + 1))

    return sha256(b"hce/map/1", top(sorted(sha256(key) + sha256(value) for key, value in content.items()), 0))


def crowded_keys(count: int) -> list[bytes]:
    """Keys that share few buckets, so that buckets hold many leaves."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        key = b"crowd %d" % number
        if sha256(key)[0] < 2 and sha256(key)[1] < 8:
            found.append(key)
        number += 1
    return found


CROWD = crowded_keys(60)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyValueStore]:
    with KeyValueStore.open(tmp_path / "state", tables=HEALTH.tables + VALUE.tables, map_size=MAP_BYTES) as opened:
        yield opened


def update(store: KeyValueStore, changes: dict[bytes, bytes | None], state: MapStore = HEALTH) -> bytes:
    with store.write() as batch:
        return state.update(batch, changes)


def root(store: KeyValueStore, state: MapStore = HEALTH) -> bytes:
    with store.read() as snapshot:
        return state.root(snapshot)


def apply_to_model(content: dict[bytes, bytes], changes: dict[bytes, bytes | None]) -> None:
    for key, value in changes.items():
        if value is None:
            content.pop(key, None)
        else:
            content[key] = value


batches = st.lists(st.dictionaries(st.sampled_from(CROWD), st.none() | st.binary(max_size=3), max_size=20), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches)
def test_the_root_after_any_batches_is_the_naive_one(store: KeyValueStore, changes: list[dict[bytes, bytes | None]]) -> None:
    update(store, dict.fromkeys(CROWD))
    content: dict[bytes, bytes] = {}
    for batch in changes:
        apply_to_model(content, batch)
        assert update(store, batch) == naive_root(content) == root(store)
    with store.read() as snapshot:
        for key in CROWD:
            value, proof = HEALTH.prove(snapshot, key)
            assert value == content.get(key)
            assert verify_map_proof(root(store), key, value, proof)


def test_a_wide_map_has_the_naive_root_and_proves_every_key(store: KeyValueStore) -> None:
    content = {b"key %d" % number: b"value %d" % number for number in range(3000)}
    changes: dict[bytes, bytes | None] = {**content}
    assert update(store, changes) == naive_root(content)
    with store.read() as snapshot:
        for number in range(0, 3000, 100):
            value, proof = HEALTH.prove(snapshot, b"key %d" % number)
            assert value == b"value %d" % number
            assert verify_map_proof(naive_root(content), b"key %d" % number, value, proof)
            assert HEALTH.prove(snapshot, b"no key %d" % number)[0] is None


def test_the_order_and_the_cut_of_updates_do_not_matter(store: KeyValueStore) -> None:
    changes: dict[bytes, bytes | None] = {key: b"v" + key for key in CROWD}
    one = update(store, changes, HEALTH)
    shuffled = random.Random(7).sample(CROWD, len(CROWD))
    for key in shuffled:
        update(store, {key: b"something else"}, VALUE)
        last = update(store, {key: b"v" + key}, VALUE)
    assert one == last


def test_removing_every_key_leaves_the_empty_root_and_no_bucket(store: KeyValueStore) -> None:
    update(store, dict.fromkeys(CROWD, b"v"))
    assert update(store, dict.fromkeys(CROWD)) == EMPTY_ROOT
    with store.read() as snapshot:
        assert snapshot.count(HEALTH.state) == snapshot.count(HEALTH.buckets) == 0


def test_changes_that_change_nothing_keep_the_root(store: KeyValueStore) -> None:
    before = update(store, {b"here": b"1"})
    assert update(store, {}) == update(store, {b"here": b"1", b"never was": None}) == before


def test_computing_a_root_writes_nothing_and_may_be_thrown_away(store: KeyValueStore) -> None:
    before = update(store, {b"a": b"1"})
    with store.read() as snapshot:
        discarded, _ = HEALTH.compute_root(snapshot, {b"a": b"2", b"b": b"3"})
        kept, delta = HEALTH.compute_root(snapshot, {b"c": b"4"})
        assert HEALTH.root(snapshot) == before
    assert root(store) == before != discarded
    with store.write() as batch:
        HEALTH.apply(batch, delta)
    assert root(store) == kept == delta.root == naive_root({b"a": b"1", b"c": b"4"})


def test_a_delta_over_another_root_is_refused(store: KeyValueStore) -> None:
    with store.read() as snapshot:
        _, stale = HEALTH.compute_root(snapshot, {b"a": b"1"})
    after = update(store, {b"b": b"2"})
    with pytest.raises(Bug), store.write() as batch:
        HEALTH.apply(batch, stale)
    assert root(store) == after


def test_two_maps_in_one_store_do_not_touch_each_other(store: KeyValueStore) -> None:
    health = update(store, {b"a": b"1"}, HEALTH)
    assert root(store, VALUE) == EMPTY_ROOT
    update(store, {b"a": b"2"}, VALUE)
    assert root(store, HEALTH) == health
    with store.read() as snapshot:
        assert (HEALTH.get(snapshot, b"a"), VALUE.get(snapshot, b"a")) == (b"1", b"2")


def test_a_value_changed_behind_the_map_is_not_proven(store: KeyValueStore) -> None:
    update(store, {b"a": b"1"})
    with store.write() as batch:
        batch.put(HEALTH.state, b"a", b"2")
    with store.read() as snapshot, pytest.raises(StoreCorrupt):
        HEALTH.prove(snapshot, b"a")


ROOT_SCRIPT = """
import sys
from pathlib import Path
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.store.mapnodes import MapStore

state = MapStore("health")
with KeyValueStore.open(Path(sys.argv[1]), tables=state.tables, map_size=1 << 24) as store, store.write() as batch:
    keys = {b"key %d" % number for number in range(500)}
    state.update(batch, {key: key * 2 for key in keys})
    print(state.update(batch, {key: None for key in keys if len(key) == 6}).hex())
"""


def test_roots_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    roots = {
        subprocess.run(
            [sys.executable, "-c", ROOT_SCRIPT, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    content = {b"key %d" % number: b"key %d" % number * 2 for number in range(500)}
    assert roots == {naive_root({key: value for key, value in content.items() if len(key) != 6}).hex() + "\n"}
