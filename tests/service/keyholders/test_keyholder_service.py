"""Keyholders at work: receipts first, sealed answers, revocations that count at once, shares that stay private."""

from __future__ import annotations

from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.service.keyholders.scene import NODE_KEY, Scene, seed

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.sign import SigningKey, verify
from hce.foundation.crypto.threshold import DealtKey, combine, combine_weighed, encapsulate, verify_partial
from hce.foundation.store.kv import commit_durably
from hce.service.keyholders import errors
from hce.service.keyholders.keyshare import load_share, write_share
from hce.service.keyholders.revoked import RevokedSet
from hce.service.mailbox.anchors import ReceiptLeaf
from hce.service.mailbox.errors import AddressFull
from hce.service.mailbox.quotas import Bounds, Quotas
from hce.service.terms import grants, records


def opened(sealed: bytes, scene: Scene, opening_key: OpeningKey, node: int) -> grants.ReleaseReply:
    info = grants.release_info(scene.world.chain, scene.request.entry_id, node)
    return decode_as(grants.ReleaseReply, opening_key.open(info, sealed))


def test_enough_keyholders_open_lock_b_and_every_part_is_proven(scene: Scene, dealt: DealtKey, opening_key: OpeningKey) -> None:
    replies = [opened(scene.keyholder(index).release(scene.request), scene, opening_key, index) for index in (2, 0)]
    for place, piece in enumerate(scene.world.records):
        parts = [reply.partials[place] for reply in replies]
        assert [part.record_id for part in parts] == [piece.record_id] * 2
        for reply, part in zip(replies, parts, strict=True):
            transcript = grants.dleq_transcript(
                scene.world.chain,
                dealt.key_id,
                0,
                reply.node,
                scene.request.entry_id,
                piece.record_id,
                scene.request.access.response_key,
            )
            assert verify_partial(dealt.member_keys[reply.node], piece.capsule, part.partial, transcript)
        assert combine(piece.capsule, [part.partial for part in parts], dealt.threshold) == shared_secret(scene, dealt, place)
    assert [reply.weighed for reply in replies] == [[], []]


@pytest.mark.parametrize("together", [[0, 1], [2, 0], [0, 1, 2], [1], []], ids=str)
@pytest.mark.parametrize("requested", [[0, 1], [1, 0], [1]], ids=str)
def test_nodes_asked_together_give_weighed_parts_alone_and_any_enough_of_them_open(
    requested: list[int], together: list[int], scene: Scene, dealt: DealtKey, opening_key: OpeningKey
) -> None:
    request = structs.replace(part_of(scene, requested), together=together)
    replies = [opened(scene.keyholder(index).release(request), scene, opening_key, index) for index in range(3)]
    assert [(reply.partials, len(reply.weighed)) for reply in replies] == [([], len(requested))] * 3
    for place, number in enumerate(requested):
        capsule, secret = scene.world.records[number].capsule, shared_secret(scene, dealt, number)
        for members in permutations(range(3), dealt.threshold):
            parts = {node: replies[node].weighed[place] for node in members}
            assert combine_weighed(capsule, parts, dealt.threshold, together) == secret


def shared_secret(scene: Scene, dealt: DealtKey, number: int) -> bytes:
    """What the keyholders' parts of this record are to give."""
    piece, name = scene.world.records[number], ("first", "second")[number]
    label = records.capsule_label("record", scene.world.chain, piece.record_id, piece.state.policy_commitment, dealt.key_id)
    return encapsulate(dealt.public_key, label, seed("capsule " + name))[1]


def test_the_owner_finds_a_signed_receipt_of_what_was_released(scene: Scene, opening_key: OpeningKey) -> None:
    scene.keyholder().release(scene.request)
    (item,) = scene.log()
    signed = decode_as(grants.SignedReceipt, opening_key.open(grants.receipt_info(scene.world.chain), item.data))
    assert verify(NODE_KEY.public, grants.receipt_message(signed.receipt), signed.signature)
    assert signed.receipt.entry_id == scene.request.entry_id
    assert signed.receipt.access == scene.request.access
    assert signed.receipt.records == scene.request.entry_records


def test_the_same_request_is_answered_again_under_the_first_receipt(scene: Scene, opening_key: OpeningKey) -> None:
    keyholder = scene.keyholder()
    first, second = keyholder.release(scene.request), keyholder.release(scene.request)
    values = [[part.partial.value for part in opened(sealed, scene, opening_key, 0).partials] for sealed in (first, second)]
    assert values[0] == values[1]
    assert len(scene.log()) == 1


def test_one_receipt_names_the_whole_entry_and_covers_every_part_of_it(scene: Scene, opening_key: OpeningKey) -> None:
    keyholder = scene.keyholder()
    for requested in ([1], [0], [0, 1], [1, 0]):
        keyholder.release(part_of(scene, requested))
    (item,) = scene.log()
    signed = decode_as(grants.SignedReceipt, opening_key.open(grants.receipt_info(scene.world.chain), item.data))
    assert signed.receipt.records == scene.request.entry_records


def part_of(scene: Scene, numbers: list[int]) -> grants.ReleaseRequest:
    """The same entry, asked for some of its records."""
    requested = [scene.request.requested[number] for number in numbers]
    message = grants.release_message(scene.world.chain, scene.request.entry_id, scene.request.access.response_key, requested)
    return structs.replace(
        scene.request,
        requested=requested,
        openings=[scene.request.openings[number] for number in numbers],
        credential_signature=scene.world.person.sign(message),
    )


def test_a_grant_of_another_owner_that_names_this_log_key_fills_another_log(world: Any, tmp_path: Path) -> None:
    """The log of the grant belongs to who signed the grant: naming somebody's log key is of no use."""
    victim = SigningKey(seed("the victim's owner key"))
    scene = Scene(world, tmp_path)
    scene.keyholder().release(scene.request)
    assert len(scene.log()) == 1
    assert scene.log(owner=victim.public) == []
    scene.mailbox.close()
    scene.revoked.close()


def test_without_room_for_the_receipt_nothing_is_released(scene: Scene) -> None:
    full = scene.open_mailbox("full", quotas=Quotas(log=Bounds(64 << 10, 0, 1 << 20, 1 << 20, None)))
    with pytest.raises(AddressFull):
        scene.keyholder(mailbox=full).release(scene.request)
    full.close()


def test_a_refusal_leaves_no_receipt(scene: Scene) -> None:
    with pytest.raises(errors.EntryUnknown):
        scene.keyholder().release(structs.replace(scene.request, entry_id=bytes(32)))
    assert scene.log() == []


def test_openings_and_salts_are_written_nowhere(scene: Scene, tmp_path: Path) -> None:
    scene.keyholder().release(scene.request)
    secrets = [opening.policy.salt for opening in scene.request.openings]
    secrets += [scene.request.access.salt, scene.request.grant.nonce, scene.world.compartment_id]
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert not any(secret in content for secret in secrets), file.name


def test_another_sharing_epoch_never_answers(scene: Scene) -> None:
    with pytest.raises(errors.NoKeyholders):
        scene.keyholder(sharing_epoch=1).release(scene.request)


def test_a_seen_revocation_stops_the_next_read_until_the_chain_itself_does(scene: Scene) -> None:
    keyholder, grant_id = scene.keyholder(), scene.request.access.grant_id
    scene.revoked.add({grant_id: b"signed"})
    with pytest.raises(errors.RevokeSeen):
        keyholder.release(scene.request)
    keyholder.revocations_final([grant_id])  # said too early: the state does not show it yet
    with pytest.raises(errors.RevokeSeen):
        keyholder.release(scene.request)
    scene.revoke_on_chain()
    keyholder.revocations_final([grant_id])
    assert grant_id not in scene.revoked
    with pytest.raises(errors.GrantRevoked):
        keyholder.release(scene.request)


def test_a_revocation_that_comes_while_the_answer_is_made_stops_it(scene: Scene) -> None:
    class RevokedMeanwhile:
        def append_log(self, address: bytes, compartment_id: bytes, item_id: bytes, data: bytes, entered: ReceiptLeaf) -> bool:
            scene.revoked.add({scene.request.access.grant_id: b"signed"})
            return True

    with pytest.raises(errors.RevokeSeen):
        scene.keyholder(mailbox=RevokedMeanwhile()).release(scene.request)


def test_a_revocation_that_became_final_and_was_forgotten_meanwhile_stops_it_too(scene: Scene) -> None:
    class FinalMeanwhile:
        def append_log(self, address: bytes, compartment_id: bytes, item_id: bytes, data: bytes, entered: ReceiptLeaf) -> bool:
            scene.revoke_on_chain()
            return True

    with pytest.raises(errors.GrantRevoked):
        scene.keyholder(mailbox=FinalMeanwhile()).release(scene.request)


def test_a_seen_revocation_survives_the_process(tmp_path: Path) -> None:
    first = RevokedSet.open(tmp_path / "revoked")
    first.add({b"\x01" * 32: b"one", b"\x02" * 32: b"two"})
    first.add({b"\x01" * 32: b"again"})
    first.close()
    second = RevokedSet.open(tmp_path / "revoked")
    assert b"\x01" * 32 in second
    second.forget([b"\x01" * 32])
    second.close()
    third = RevokedSet.open(tmp_path / "revoked")
    assert b"\x01" * 32 not in third
    assert b"\x02" * 32 in third
    assert len(third) == 1
    third.close()


def test_a_list_of_revocations_that_was_lost_says_so_until_it_is_known_again(tmp_path: Path) -> None:
    first = RevokedSet.open(tmp_path / "revoked", lost_ms=1_700_000_000_000)
    first.close()
    second = RevokedSet.open(tmp_path / "revoked", lost_ms=1_800_000_000_000)
    assert second.lost_ms == 1_700_000_000_000
    second.known_again()
    second.close()
    third = RevokedSet.open(tmp_path / "revoked", lost_ms=1_800_000_000_000)
    assert third.lost_ms is None
    third.close()


def test_a_new_nodes_list_of_revocations_is_whole_from_the_start(tmp_path: Path) -> None:
    first = RevokedSet.open(tmp_path / "revoked")
    assert first.lost_ms is None
    first.close()
    second = RevokedSet.open(tmp_path / "revoked", lost_ms=1_700_000_000_000)
    assert second.lost_ms is None
    second.close()


@pytest.mark.parametrize("commits", range(4))
def test_a_kill_while_a_lost_list_begins_anew_makes_no_list_that_seems_whole(commits: int, tmp_path: Path) -> None:
    left = commits

    def dies(transaction: Any) -> None:
        nonlocal left
        if left == 0:
            raise OSError("killed")
        left -= 1
        commit_durably(transaction)

    with suppress(OSError):
        RevokedSet.open(tmp_path / "revoked", lost_ms=1_700_000_000_000, commit=dies).close()
    again = RevokedSet.open(tmp_path / "revoked", lost_ms=1_800_000_000_000)
    assert again.lost_ms is not None
    again.close()


def test_a_revocation_the_disk_did_not_take_is_not_reported_as_kept(tmp_path: Path) -> None:
    def fail(transaction: Any) -> None:
        raise OSError("no disk")

    RevokedSet.open(tmp_path / "revoked").close()
    broken = RevokedSet.open(tmp_path / "revoked", commit=fail)
    with pytest.raises(OSError, match="no disk"):
        broken.add({b"\x01" * 32: b"one"})
    assert b"\x01" * 32 in broken  # strict while it lives
    broken.close()


def test_a_share_is_written_once_read_back_and_private(world: Any, tmp_path: Path) -> None:
    path, share = tmp_path / "share", world.dealt.shares[1]
    write_share(path, share, world.chain, world.dealt.key_id, 0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_share(path, world.chain, world.keyholders) == share
    with pytest.raises(FileExistsError):
        write_share(path, share, world.chain, world.dealt.key_id, 0)
    for mode in (0o644, 0o640, 0o602):
        path.chmod(mode)
        with pytest.raises(errors.ShareExposed):
            load_share(path, world.chain, world.keyholders)


def test_a_share_that_is_not_this_members_is_refused(world: Any, tmp_path: Path) -> None:
    write_share(tmp_path / "a", world.dealt.shares[1], world.chain, world.dealt.key_id, 0)
    with pytest.raises(errors.ShareUnfit):
        load_share(tmp_path / "a", world.chain, structs.replace(world.keyholders, member_keys=world.dealt.member_keys[:1]))
    with pytest.raises(errors.ShareUnfit):
        load_share(tmp_path / "a", world.chain, structs.replace(world.keyholders, sharing_epoch=1))
    with pytest.raises(errors.ShareUnfit):
        load_share(tmp_path / "a", bytes(16), world.keyholders)
    swapped = structs.replace(world.keyholders, member_keys=[*world.dealt.member_keys[1:], world.dealt.member_keys[0]])
    with pytest.raises(errors.ShareUnfit):
        load_share(tmp_path / "a", world.chain, swapped)
    (tmp_path / "b").write_bytes(b"\x80")
    (tmp_path / "b").chmod(0o600)
    with pytest.raises(errors.ShareUnfit):
        load_share(tmp_path / "b", world.chain, world.keyholders)
