"""What is brought and never committed is bounded and goes again; what is committed stays; damaged copies are not signed for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.store.errors import BlobCorrupt
from hce.network.hcefs.manifest import read_manifest
from hce.service.intake.errors import UnadmittedFull
from hce.service.intake.service import KEPT_WINDOWS, UNADMITTED_COST_BYTES
from hce.service.terms.genesis import Params

KEPT_BLOCKS = KEPT_WINDOWS * Params().replay_window


def bring(scene: Any, node: Any, name: bytes) -> Any:
    """A batch with ciphertexts of its own."""
    scene.ciphertexts = [name + bytes([number]) * 600 for number in range(3)]
    batch = scene.batch()
    node.intake.accept(batch)
    return batch


def size_of(batch: Any) -> int:
    return UNADMITTED_COST_BYTES + len(batch.placement) + sum(map(len, batch.blobs))


def blobs_here(node: Any, batch: Any) -> int:
    return sum(node.packs.has(cid) for cid in [cid_of_dag_cbor(batch.placement), *map(cid_of_raw, batch.blobs)])


def test_what_no_block_named_goes_when_its_commit_has_become_impossible(scene: Any, node: Any) -> None:
    batch = bring(scene, node, b"never committed")
    node.placements.expect(scene.height + KEPT_BLOCKS, [])
    assert node.intake.sweep() == 0
    node.placements.expect(scene.height + KEPT_BLOCKS + 1, [])
    assert blobs_here(node, batch) == 4
    assert node.intake.sweep() == 1
    assert blobs_here(node, batch) == 0
    assert node.placements.find(cid_of_raw(scene.ciphertexts[0])) == []
    assert node.placements.own_shards(b"", 10) == []
    assert node.placements.manifests(b"", 10) == []
    assert node.placements.held_bytes(scene.org_id) == 0


def test_what_a_block_named_stays_and_counts_no_longer(scene: Any, node: Any) -> None:
    batch = bring(scene, node, b"committed")
    assert node.placements.held_bytes(scene.org_id) == size_of(batch)
    node.placements.expect(scene.height + 1, [cid_of_dag_cbor(batch.placement)])
    assert node.placements.held_bytes(scene.org_id) == 0
    node.placements.expect(scene.height + 10 * KEPT_BLOCKS, [])
    assert node.intake.sweep() == 0
    node.intake.accept(batch)
    assert (blobs_here(node, batch), node.placements.held_bytes(scene.org_id)) == (4, 0)


def test_a_batch_that_comes_after_the_block_that_names_it_stays(scene: Any, node: Any) -> None:
    scene.ciphertexts = [b"late" * number for number in range(1, 4)]
    batch = scene.batch()
    node.placements.expect(7, [cid_of_dag_cbor(batch.placement)])
    node.intake.accept(batch)
    assert (node.placements.awaited(b"", 10), node.placements.held_bytes(scene.org_id)) == ([], 0)


def test_sending_it_again_begins_the_time_anew(scene: Any, node: Any) -> None:
    batch = bring(scene, node, b"slow")
    scene.height += KEPT_BLOCKS
    node.intake.accept(batch)
    node.placements.expect(scene.height + 1, [])
    assert node.intake.sweep() == 0
    assert node.placements.held_bytes(scene.org_id) == size_of(batch)


def test_a_shard_that_another_placement_names_stays(scene: Any, node: Any) -> None:
    first = bring(scene, node, b"shared")
    scene.ciphertexts = [*scene.ciphertexts[:2], b"another"]
    second = scene.batch()
    scene.height += KEPT_BLOCKS
    node.intake.accept(second)
    node.placements.expect(scene.height + 1, [])
    assert node.intake.sweep() == 1
    assert blobs_here(node, second) == 4
    assert blobs_here(node, first) == 2


def test_a_node_that_is_syncing_drops_nothing(scene: Any, node: Any) -> None:
    batch = bring(scene, node, b"waiting")
    node.placements.expect(scene.height + KEPT_BLOCKS + 1, [])
    scene.syncing = True
    assert node.intake.sweep() == 0
    assert blobs_here(node, batch) == 4


def test_an_organisation_that_commits_nothing_is_stopped_by_name(scene: Any, tmp_path: Path) -> None:
    scene.max_unadmitted_bytes = 2 * size_of(scene.batch())
    with scene.node(tmp_path / "node") as node:
        first = bring(scene, node, b"1")
        bring(scene, node, b"2")
        with pytest.raises(UnadmittedFull) as refused:
            bring(scene, node, b"3")
        assert refused.value.code == "intake.unadmitted_full"
        assert not any(node.packs.has(cid_of_raw(blob)) for blob in scene.batch().blobs)
        node.intake.accept(first)
        node.placements.expect(scene.height + 1, [cid_of_dag_cbor(first.placement)])
        bring(scene, node, b"3")


def test_a_damaged_copy_is_written_again_before_the_node_signs_for_it(scene: Any, node: Any, tmp_path: Path) -> None:
    batch = scene.batch()
    node.intake.accept(batch)
    (pack,) = (tmp_path / "node" / "packs").glob("pack-*")
    content = bytearray(pack.read_bytes())
    for blob in (*batch.blobs, batch.placement):
        content[content.find(blob)] ^= 1
    pack.write_bytes(content)
    with pytest.raises(BlobCorrupt):
        node.packs.get(cid_of_raw(batch.blobs[0]))
    node.intake.accept(batch)
    assert [node.packs.get(cid_of_raw(blob)) for blob in batch.blobs] == batch.blobs
    assert read_manifest(node.packs.get(cid_of_dag_cbor(batch.placement)), scene.chain)
