"""A batch is taken in whole, for certified organisations only, and a kill between any two flushes leaves it in or out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import verify
from hce.foundation.types.errors import HceError, Malformed
from hce.network.hcefs.errors import PlacementInvalid
from hce.network.hcefs.manifest import PlacementManifest, disperse, read_manifest
from hce.service.intake import errors, rules
from hce.service.mailbox.errors import AddressFull, RecordErased
from hce.service.mailbox.quotas import Bounds, Quotas
from hce.service.terms import mailbox, payloads
from hce.service.terms.certification import OrganisationNotCertified
from hce.service.terms.intake import record_ids, shards_cid
from hce.service.terms.records import digest_of_envelope


def stored(node: Any, scene: Any, batch: Any) -> tuple[int, int, int]:
    """How many session entries, envelopes and blobs of the batch the node serves."""
    entries = envelopes = 0
    for feed in (0, 1):
        for what, signer in (("feed", scene.readers[feed]), ("quarantine", scene.owners[feed])):
            entries += len(node.mailbox.read(scene.read(what, feed, signer)).items)
        page = node.mailbox.read(scene.read("owner", feed, scene.owners[feed], record_ids(batch)))
        envelopes += len(page.found)
    blobs = sum(node.packs.has(cid_of_raw(blob)) for blob in batch.blobs)
    return entries, envelopes, blobs


def test_a_batch_is_stored_and_signed_for(scene: Any, node: Any) -> None:
    batch = scene.batch()
    receipt = node.intake.accept(batch)
    assert stored(node, scene, batch) == (2, 3, 3)
    assert node.packs.get(cid_of_dag_cbor(batch.placement)) == batch.placement
    assert receipt.shard == shards_cid([cid_of_raw(blob) for blob in batch.blobs])
    entries = [
        payloads.RecordEntry(record.nonce, digest_of_envelope(record.envelope), bytes(32), bytes(32)) for record in batch.records
    ]
    message = payloads.availability_message(
        scene.chain,
        cid_of_dag_cbor(batch.placement),
        receipt.shard,
        payloads.envelopes_root(entries),
        0,
        scene.epoch,
        receipt.hold_until,
    )
    assert verify(scene.node_key.public, message, receipt.signature)
    assert receipt.hold_until > scene.height + 300_000_000


def test_what_came_with_a_token_is_in_the_feed_and_the_rest_waits(scene: Any, node: Any) -> None:
    node.intake.accept(scene.batch())
    assert len(node.mailbox.read(scene.read("feed", 0, scene.readers[0])).items) == 1
    assert node.mailbox.read(scene.read("feed", 1, scene.readers[1])) == mailbox.MailPage([], False)
    assert len(node.mailbox.read(scene.read("quarantine", 1, scene.owners[1])).items) == 1


def test_the_same_batch_again_gets_the_same_receipt_even_later(scene: Any, node: Any) -> None:
    batch = scene.batch()
    first = node.intake.accept(batch)
    scene.height += 100
    assert node.intake.accept(batch) == first
    assert stored(node, scene, batch) == (2, 3, 3)


def test_a_new_epoch_gets_a_new_receipt_for_the_same_bytes(scene: Any, node: Any) -> None:
    batch = scene.batch()
    first = node.intake.accept(batch)
    scene.epoch = 1
    assert node.intake.accept(batch) != first
    assert stored(node, scene, batch) == (2, 3, 3)


def test_a_node_without_shards_vouches_for_envelopes_alone(scene: Any, node: Any) -> None:
    receipt = node.intake.accept(scene.batch(blobs=[]))
    assert receipt.shard is None


@pytest.mark.parametrize("scene", [2, 4, 5, 7, 9], indirect=True)
def test_a_node_takes_its_shards_of_every_record_and_knows_where_the_others_lie(scene: Any, node: Any) -> None:
    batch = scene.batch()
    receipt = node.intake.accept(batch)
    names = [cid_of_raw(shard) for shard in batch.blobs]
    assert receipt.shard == shards_cid(names)
    assert all(node.packs.has(name) for name in names)
    for one in read_manifest(batch.placement, scene.chain):
        assert node.placements.find(one.ciphertext) == [one]
    owned = node.placements.own_shards(b"", 10)
    assert {own.placed.shards[own.number] for own in owned} == set(names)


@pytest.mark.parametrize("scene", [4], indirect=True)
def test_the_shard_of_another_node_is_refused(scene: Any, node: Any) -> None:
    first, *others = scene.batch().blobs
    one = read_manifest(scene.batch().placement, scene.chain)[0]
    shards = disperse(scene.ciphertexts[0], 4).shards
    foreign = shards[(one.shard_at(0) + 1) % 4]
    assert shards[one.shard_at(0)] == first
    with pytest.raises(errors.PlacementMismatch):
        node.intake.accept(scene.batch(blobs=[foreign, *others]))


@pytest.mark.parametrize("scene", [4], indirect=True)
def test_a_dispersal_that_bears_less_loss_than_the_ladder_is_refused(scene: Any, node: Any) -> None:
    for changes in ({"k": 3}, {"n": 5}, {"n": 3}):
        with pytest.raises(PlacementInvalid):
            node.intake.accept(respell(scene, **changes))


def respell(scene: Any, **changes: Any) -> Any:
    """The placement manifest with some fields changed."""
    manifest = decode_as(PlacementManifest, scene.batch().placement)
    return scene.batch(placement=encode(structs.replace(manifest, **changes)))


def placed(scene: Any, **changes: Any) -> Any:
    """The first placed blob with some fields changed."""
    manifest = decode_as(PlacementManifest, scene.batch().placement)
    blobs = [structs.replace(manifest.blobs[0], **changes), *manifest.blobs[1:]]
    return respell(scene, blobs=blobs)


def listed(scene: Any, *records: Any) -> Any:
    return scene.batch(records=list(records))


def foreign_wrap(scene: Any) -> Any:
    first, *others = scene.batch().records
    return listed(scene, structs.replace(first, owner_wrap=bytes(80)), *others)


def repeated_nonce(scene: Any) -> Any:
    first, second, third = scene.batch().records
    return listed(scene, first, structs.replace(second, nonce=first.nonce), third)


REFUSED: dict[str, tuple[type[HceError], Callable[[Any], Any]]] = {
    "a batch for another chain": (errors.WrongChain, lambda scene: scene.batch(chain=bytes(16))),
    "a manifest of another chain": (PlacementInvalid, lambda scene: respell(scene, chain=bytes(16))),
    "an unknown organisation": (OrganisationNotCertified, lambda scene: scene.batch(org_id=bytes(32))),
    "a batch signed by nobody": (
        errors.BadSignature,
        lambda scene: structs.replace(scene.batch(), signature=bytes(64)),
    ),
    "a batch changed after signing": (
        errors.BadSignature,
        lambda scene: structs.replace(scene.batch(), posts=scene.batch().posts[::-1]),
    ),
    "bytes that are no manifest": (Malformed, lambda scene: scene.batch(placement=encode(["hce/placement/2"]))),
    "a blob too few": (errors.PlacementMismatch, lambda scene: scene.batch(blobs=scene.batch().blobs[:2])),
    "a manifest of fewer records": (
        errors.PlacementMismatch,
        lambda scene: respell(scene, blobs=decode_as(PlacementManifest, scene.batch().placement).blobs[:2]),
    ),
    "blobs in another order": (errors.PlacementMismatch, lambda scene: scene.batch(blobs=scene.batch().blobs[::-1])),
    "other bytes than the manifest names": (
        errors.PlacementMismatch,
        lambda scene: scene.batch(blobs=[b"other", *scene.batch().blobs[1:]]),
    ),
    "a false size": (errors.PlacementMismatch, lambda scene: placed(scene, size_bytes=1)),
    "a record named twice": (errors.RecordRepeated, repeated_nonce),
    "an owner wrap that is not the envelope's": (errors.OwnerWrapMismatch, foreign_wrap),
    "a feed without an entry": (errors.EntryMismatch, lambda scene: scene.batch(posts=scene.batch().posts[:1])),
    "an entry without records": (
        errors.EntryMismatch,
        lambda scene: scene.batch(posts=[*scene.batch().posts, scene.batch().posts[0]]),
    ),
    "an entry that names other records": (
        errors.EntryMismatch,
        lambda scene: scene.batch(
            posts=[structs.replace(scene.batch().posts[0], entry=scene.batch().posts[1].entry), scene.batch().posts[1]]
        ),
    ),
    "an entry that is none": (
        Malformed,
        lambda scene: scene.batch(posts=[structs.replace(post, entry=b"\x80") for post in scene.batch().posts]),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_batch_that_is_not_what_it_says_is_refused_and_nothing_is_stored(what: str, scene: Any, node: Any) -> None:
    error, make = REFUSED[what]
    with pytest.raises(error):
        node.intake.accept(make(scene))
    assert stored(node, scene, scene.batch()) == (0, 0, 0)


@pytest.mark.parametrize("certificate", [{"powers": ["read"]}, {"powers": ["write"], "revoked_height": 50}])
def test_an_uncertified_organisation_is_refused_before_anything_is_written(certificate: Any, scene: Any, node: Any) -> None:
    scene.certify(**certificate)
    with pytest.raises(OrganisationNotCertified) as refused:
        node.intake.accept(scene.batch())
    assert refused.value.code == "organisation.not_certified"
    assert stored(node, scene, scene.batch()) == (0, 0, 0)


def test_more_bytes_than_one_batch_may_bring_are_refused(scene: Any) -> None:
    with pytest.raises(errors.BatchTooLarge):
        rules.placed_shards(scene.batch(), node=0, nodes=1, max_bytes=100)


def test_nobody_can_occupy_the_id_of_another_organisations_record(scene: Any) -> None:
    batch = scene.batch()
    assert set(record_ids(batch)).isdisjoint(record_ids(structs.replace(batch, org_id=bytes(32))))


def test_an_erased_record_is_refused_with_its_whole_batch(scene: Any, node: Any) -> None:
    batch = scene.batch()
    scene.commit(batch)
    node.mailbox.act(scene.erasure(record_ids(batch)[0]))
    with pytest.raises(RecordErased):
        node.intake.accept(batch)
    assert stored(node, scene, batch) == (0, 0, 0)


def test_a_stored_batch_whose_record_was_erased_gets_no_receipt_again(scene: Any, node: Any) -> None:
    batch = scene.batch()
    node.intake.accept(batch)
    node.mailbox.act(scene.erasure(record_ids(batch)[0]))
    with pytest.raises(RecordErased):
        node.intake.accept(batch)


def test_a_full_quarantine_refuses_the_batch_whole(scene: Any, tmp_path: Path) -> None:
    quotas = Quotas(quarantine=Bounds(512 << 10, 0, 1 << 20, 1 << 20, None))
    with scene.node(tmp_path / "node", quotas=quotas) as node:
        with pytest.raises(AddressFull):
            node.intake.accept(scene.batch())
        assert stored(node, scene, scene.batch())[:2] == (0, 0)


def test_a_kill_between_any_two_flushes_leaves_the_batch_in_or_out(
    scene: Any, tmp_path: Path, killed_at: Callable[[int], Any], killed: type[BaseException]
) -> None:
    batch = scene.batch()
    with scene.node(tmp_path / "reference") as node:
        expected = node.intake.accept(batch)
    kills = 0
    for at in range(200):
        path = tmp_path / f"killed-{at}"
        with scene.node(path):
            pass
        try:
            with scene.node(path, killed_at(at)) as node:
                assert node.intake.accept(batch) == expected
            break
        except killed:
            kills += 1
        with scene.node(path) as node:
            assert stored(node, scene, batch)[:2] in ((0, 0), (2, 3))
            assert node.intake.accept(batch) == expected
            assert stored(node, scene, batch) == (2, 3, 3)
            slots = (path / "mailbox" / "slots").read_bytes()
            assert sum(any(slots[start : start + 32]) for start in range(32, len(slots), 32)) == 3  # no key without a record
    assert kills >= 8


def test_a_kill_while_erasing_never_brings_the_record_back(
    scene: Any, tmp_path: Path, killed_at: Callable[[int], Any], killed: type[BaseException]
) -> None:
    batch = scene.batch()
    name = record_ids(batch)[0]
    for at in range(50):
        path = tmp_path / f"killed-{at}"
        with scene.node(path) as node:
            node.intake.accept(batch)
        signed = scene.erasure(name)
        try:
            with scene.node(path, killed_at(at)) as node:
                receipt = node.mailbox.act(signed)
            break
        except killed:
            receipt = None
        with scene.node(path) as node:
            page = node.mailbox.read(scene.read("owner", 0, scene.owners[0], [name]))
            held = [record.record_id for record in page.found]
            assert (held, page.erased) in (([name], []), ([], [name]))
            slots = (path / "mailbox" / "slots").read_bytes()
            keys = sum(any(slots[start : start + 32]) for start in range(32, len(slots), 32))
            assert keys == 3 - len(page.erased)  # forgotten means wiped
            assert node.mailbox.act(signed) is not None
    assert receipt is not None
    assert at >= 4
