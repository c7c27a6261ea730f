"""Lock B: any six of nine open, five do not, and nothing that was bent passes a check."""

from __future__ import annotations

from itertools import combinations
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.crypto.errors import BadCapsule, BadPoint, NotEnough
from hce.foundation.crypto.ristretto import ORDER, base_times, scalar_of
from hce.foundation.crypto.threshold import (
    Capsule,
    Partial,
    combine,
    combine_weighed,
    deal,
    encapsulate,
    key_id_of,
    part_of,
    partial,
    verify_capsule,
    verify_partial,
    weighed,
    weighed_of,
)

S = TypeVar("S", Capsule, Partial)

SEED = bytes(range(32))
LABEL, TRANSCRIPT = b"label", b"transcript"
DEALT = deal(9, 6, SEED)
CAPSULE, SHARED = encapsulate(DEALT.public_key, LABEL, SEED)
PARTS = [partial(share, CAPSULE, TRANSCRIPT) for share in DEALT.shares]
OTHER_POINT = base_times(scalar_of(7))
SECOND_SPELLING = CAPSULE.u[:31] + bytes([CAPSULE.u[31] | 0x80])
NO_POINTS = [bytes(32), b"\xff" * 32, b"\x01" + bytes(31), SECOND_SPELLING]


def test_any_six_members_open_and_agree() -> None:
    for chosen in list(combinations(PARTS, 6))[::7]:
        assert combine(CAPSULE, list(chosen), 6) == SHARED
        assert combine(CAPSULE, list(reversed(chosen)), 6) == SHARED


def test_more_than_enough_parts_are_fine() -> None:
    assert combine(CAPSULE, PARTS, 6) == SHARED


def test_five_members_do_not_open() -> None:
    with pytest.raises(NotEnough) as refusal:
        combine(CAPSULE, PARTS[:5], 6)
    assert refusal.value.fields == {"actual": 5, "expected": 6}
    assert combine(CAPSULE, PARTS[:5], 5) != SHARED


def test_one_member_twice_is_not_two_members() -> None:
    with pytest.raises(NotEnough):
        combine(CAPSULE, [*PARTS[:5], PARTS[0]], 6)


@pytest.mark.parametrize(("n", "t"), [(1, 1), (2, 2), (3, 2), (4, 3), (256, 2)])
def test_other_sizes(n: int, t: int) -> None:
    dealt = deal(n, t)
    capsule, shared = encapsulate(dealt.public_key, LABEL)
    parts = [partial(share, capsule, TRANSCRIPT) for share in dealt.shares[n - t :]]
    assert combine(capsule, parts, t) == shared


@pytest.mark.parametrize(("n", "t"), [(0, 0), (3, 0), (3, 4), (257, 5)])
def test_impossible_sizes_are_refused(n: int, t: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        deal(n, t)


def test_a_seed_gives_the_same_key_and_the_same_capsule() -> None:
    assert deal(9, 6, SEED) == DEALT
    assert encapsulate(DEALT.public_key, LABEL, SEED) == (CAPSULE, SHARED)
    assert deal(9, 6).public_key != DEALT.public_key
    assert encapsulate(DEALT.public_key, LABEL)[0] != CAPSULE


def test_one_seed_under_two_labels_shares_nothing() -> None:
    """The same r and s with two challenges would reveal r."""
    capsule, shared = encapsulate(DEALT.public_key, b"another label", SEED)
    assert shared != SHARED
    assert not {capsule.u, capsule.u_bar, capsule.c, capsule.f} & {CAPSULE.u, CAPSULE.u_bar, CAPSULE.c, CAPSULE.f}


def test_the_key_id_survives_resharing_because_only_the_public_key_names_it() -> None:
    assert DEALT.key_id == key_id_of(DEALT.public_key)


def test_a_capsule_belongs_to_its_label_and_key() -> None:
    assert verify_capsule(DEALT.public_key, LABEL, CAPSULE)
    assert not verify_capsule(DEALT.public_key, b"another label", CAPSULE)
    assert not verify_capsule(deal(9, 6).public_key, LABEL, CAPSULE)
    assert not verify_capsule(bytes(32), LABEL, CAPSULE)


@settings(max_examples=60, deadline=None)
@given(field=st.sampled_from(Capsule.__struct_fields__), bit=st.integers(0, 255))
def test_no_bit_of_a_capsule_can_change(field: str, bit: int) -> None:
    assert not verify_capsule(DEALT.public_key, LABEL, _flip(CAPSULE, field, bit))


@settings(max_examples=60, deadline=None)
@given(field=st.sampled_from(("value", "e", "f")), bit=st.integers(0, 255))
def test_no_bit_of_a_part_can_change(field: str, bit: int) -> None:
    assert not verify_partial(DEALT.member_keys[0], CAPSULE, _flip(PARTS[0], field, bit), TRANSCRIPT)


def test_a_part_belongs_to_its_member_capsule_and_transcript() -> None:
    other_capsule, _ = encapsulate(DEALT.public_key, LABEL)
    for key, part in zip(DEALT.member_keys, PARTS, strict=True):
        assert verify_partial(key, CAPSULE, part, TRANSCRIPT)
    assert not verify_partial(DEALT.member_keys[1], CAPSULE, PARTS[0], TRANSCRIPT)
    assert not verify_partial(DEALT.member_keys[0], other_capsule, PARTS[0], TRANSCRIPT)
    assert not verify_partial(DEALT.member_keys[0], CAPSULE, PARTS[0], b"another transcript")
    assert not verify_partial(DEALT.member_keys[0], CAPSULE, msgspec.structs.replace(PARTS[0], index=1), TRANSCRIPT)


def test_a_wrong_part_gives_a_wrong_secret_and_its_proof_names_the_liar() -> None:
    lie = msgspec.structs.replace(PARTS[2], value=OTHER_POINT)
    parts = [*PARTS[:2], lie, *PARTS[3:6]]
    assert combine(CAPSULE, parts, 6) != SHARED
    honest = [verify_partial(DEALT.member_keys[part.index], CAPSULE, part, TRANSCRIPT) for part in parts]
    assert honest == [True, True, False, True, True, True]


@pytest.mark.parametrize("raw", NO_POINTS, ids=bytes.hex)
def test_what_is_no_point_is_refused_by_name(raw: bytes) -> None:
    bent = msgspec.structs.replace(CAPSULE, u=raw)
    assert not verify_capsule(DEALT.public_key, LABEL, bent)
    assert not verify_capsule(DEALT.public_key, LABEL, msgspec.structs.replace(CAPSULE, u_bar=raw))
    assert not verify_partial(DEALT.member_keys[0], bent, PARTS[0], TRANSCRIPT)
    assert not verify_partial(raw, CAPSULE, PARTS[0], TRANSCRIPT)
    with pytest.raises(BadCapsule):
        partial(DEALT.shares[0], bent, TRANSCRIPT)
    with pytest.raises(BadCapsule):
        combine(bent, PARTS, 6)
    with pytest.raises(BadPoint):
        combine(CAPSULE, [msgspec.structs.replace(PARTS[0], value=raw), *PARTS[1:]], 6)
    with pytest.raises(BadPoint):
        encapsulate(raw, LABEL)


def test_scalars_have_one_spelling() -> None:
    longer = (int.from_bytes(CAPSULE.f, "little") + ORDER).to_bytes(32, "little")
    assert not verify_capsule(DEALT.public_key, LABEL, msgspec.structs.replace(CAPSULE, f=longer))


def test_the_nonce_is_hedged_and_still_reproducible_for_vectors() -> None:
    first, second = (partial(DEALT.shares[0], CAPSULE, TRANSCRIPT) for _ in range(2))
    assert first.e != second.e
    assert first.value == second.value
    assert partial(DEALT.shares[0], CAPSULE, TRANSCRIPT, SEED) == partial(DEALT.shares[0], CAPSULE, TRANSCRIPT, SEED)
    assert partial(DEALT.shares[0], CAPSULE, TRANSCRIPT, SEED).e != partial(DEALT.shares[0], CAPSULE, b"other", SEED).e


def test_shares_do_not_print() -> None:
    secret = DEALT.shares[0].secret.reveal()
    assert secret.hex() not in repr(DEALT)
    assert repr(secret) not in repr(DEALT)


def _flip(struct: S, field: str, bit: int) -> S:
    raw = bytearray(getattr(struct, field))
    raw[bit // 8] ^= 1 << bit % 8
    return msgspec.structs.replace(struct, **{field: bytes(raw)})


def weighed_parts(members: tuple[int, ...], together: tuple[int, ...]) -> dict[int, bytes]:
    return {one: weighed(DEALT.shares[one], [CAPSULE], together)[0] for one in members}


@pytest.mark.parametrize(
    ("members", "together"),
    [
        ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5)),
        ((8, 2, 5, 0, 3, 1), (0, 1, 2, 3, 5, 8)),
        ((0, 1, 2, 3, 4, 8), (0, 1, 2, 3, 4, 5)),
        ((6, 7, 8, 0, 1, 2), (0, 1, 2, 3, 4, 5)),
        ((0, 1, 2, 3, 4, 5), ()),
        ((0, 1, 2, 3, 4, 5), (0, 1, 2)),
        ((0, 1, 2, 3, 4, 5), (0, 0, 200, 255)),
        ((0, 1, 2, 3, 4, 5, 6, 7, 8), (0, 1, 2, 3, 4, 5)),
    ],
    ids=["as told", "in another order", "one came instead", "other half", "nobody told", "fewer told", "told nonsense", "all came"],
)
def test_weighed_parts_of_any_six_members_open_whoever_they_were_told_of(
    members: tuple[int, ...], together: tuple[int, ...]
) -> None:
    assert combine_weighed(CAPSULE, weighed_parts(members, together), 6, together) == SHARED


def test_five_weighed_parts_do_not_open() -> None:
    five = weighed_parts((0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5))
    with pytest.raises(NotEnough):
        combine_weighed(CAPSULE, five, 6, (0, 1, 2, 3, 4, 5))
    assert combine_weighed(CAPSULE, five, 5, (0, 1, 2, 3, 4, 5)) != SHARED


@pytest.mark.parametrize("together", [(0, 1, 2, 3, 4, 5), ()], ids=["weighed", "bare"])
@pytest.mark.parametrize("bent", [*NO_POINTS, b"", bytes(31)])
def test_a_weighed_part_that_is_no_point_is_named(bent: bytes, together: tuple[int, ...]) -> None:
    parts = weighed_parts((0, 1, 2, 3, 4, 5), together)
    for member in (0, 5):
        with pytest.raises(BadPoint):
            combine_weighed(CAPSULE, parts | {member: bent}, 6, together)


def test_no_weighed_part_is_made_of_a_capsule_whose_point_is_none() -> None:
    with pytest.raises(BadCapsule):
        weighed(DEALT.shares[0], [msgspec.structs.replace(CAPSULE, u=bytes(32))], (0, 1))


@pytest.mark.parametrize("together", [(0, 1, 2, 3, 4, 5), (8, 7), ()])
def test_from_six_proven_parts_everybody_elses_follows_proven_or_weighed(together: tuple[int, ...]) -> None:
    for proven in (PARTS[:6], PARTS[3:], [PARTS[8], *PARTS[1:6]]):
        for member, share in enumerate(DEALT.shares):
            assert part_of(member, proven) == PARTS[member].value
            assert weighed_of(member, PARTS[member].value, together) == weighed(share, [CAPSULE], together)[0]
