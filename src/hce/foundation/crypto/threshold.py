"""Lock B: threshold decryption by the keyholders. TDH2 (Shoup and Gennaro, Eurocrypt 1998, section 6) on ristretto255.

Written multiplicatively as in the paper; g is the ristretto255 generator, g_bar a second generator nobody knows the logarithm of,
h = g^x the keyholders' key, x shared by a polynomial of degree threshold - 1 with member index i at the place i + 1.

    capsule   c = ssB xor M(h^r, u),  u = g^r,  u_bar = g_bar^r,  w = g^s,  w_bar = g_bar^s,
              e = E(h, label, c, u, w, u_bar, w_bar),  f = s + r e
    check     w = g^f u^-e,  w_bar = g_bar^f u_bar^-e,  then e again
    partial   value = u^x_i with a proof that log_u(value) = log_g(member key), bound to the caller's transcript
    combine   h^r = product of value_i^lambda_i
    weighed   value_i^lambda_i, made by the member itself for the members it is told, without a proof: combining them is a product

The proof in the capsule is why a keyholder can check *before* it decrypts that the capsule was made for this label by somebody
who knew what is inside: an attacker cannot rewrap another record's capsule under a label he may read (chosen-ciphertext security).

ssB, r and s come from one 32-byte seed together with key and label, so that the owner of a record, who is given the seed,
recomputes the capsule and compares, without asking keyholders. Key and label are hashed in because the same r and s under two
labels would reveal r. Lock B is classical, not post-quantum; lock A is (`docs/threat-model.md`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.errors import BadCapsule, BadPoint, NotEnough
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.ristretto import (
    ORDER,
    Point,
    Scalar,
    base_times,
    canonical_point,
    hash_to_point,
    hash_to_scalar,
    minus,
    plus,
    read_point,
    read_scalar,
    scalar_of,
    scalar_plus,
    scalar_times,
    times,
)
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.scalars import Bytes32, NodeIndex

MAX_MEMBERS = 256
"""As many as `NodeIndex` can name."""
SECOND_GENERATOR = hash_to_point("hce/tdh2/second-generator/1")


class Capsule(Struct, frozen=True, array_like=True):
    """ssB under the keyholders' key, with the proof that its maker knew r."""

    c: Bytes32
    u: Bytes32
    u_bar: Bytes32
    e: Bytes32
    f: Bytes32


class Partial(Struct, frozen=True, array_like=True):
    """One member's part of a decryption, with its DLEQ proof."""

    index: NodeIndex
    value: Bytes32
    e: Bytes32
    f: Bytes32


class KeyShare(Struct, frozen=True):
    """One member's share of x; `index` counts from 0."""

    index: int
    secret: SecretBytes


class DealtKey(Struct, frozen=True):
    """A key as a dealer hands it out. Only `shares` is secret."""

    key_id: bytes
    threshold: int
    public_key: bytes
    member_keys: list[bytes]
    """g^share of every member, by index."""
    shares: list[KeyShare]


def key_id_of(public_key: bytes) -> bytes:
    """Names a key for ever: resharing keeps it, because it keeps the public key."""
    return digest("hce/tdh2/key-id/1", public_key)


def deal(n: int, t: int, seed: bytes | None = None) -> DealtKey:
    """Split a fresh key (or the key of a 32-byte seed) into n shares, any t of which open. ValueError unless 1 <= t <= n <= 256.

    Whoever runs this sees the whole key: docs/cautions.md.
    """
    if not 1 <= t <= n <= MAX_MEMBERS:
        raise ValueError("a key has 1 <= threshold <= members <= 256")
    root = _seed_or_fresh(seed)
    coefficients = [hash_to_scalar("hce/tdh2/deal/1", root, n, t, power) for power in range(t)]
    secrets = [_evaluate(coefficients, index + 1) for index in range(n)]
    public_key = base_times(coefficients[0])
    return DealtKey(
        key_id=key_id_of(public_key),
        threshold=t,
        public_key=public_key,
        member_keys=[base_times(secret) for secret in secrets],
        shares=[KeyShare(index, SecretBytes(secret)) for index, secret in enumerate(secrets)],
    )


def encapsulate(public_key: bytes, label: bytes, seed: bytes | None = None) -> tuple[Capsule, bytes]:
    """(capsule, ssB) for one label. The same 32-byte seed, key and label give the same bytes; no seed means a fresh one."""
    h = _known_point(public_key)
    root = _seed_or_fresh(seed)
    shared = digest("hce/tdh2/secret/1", root, h, label)
    r = hash_to_scalar("hce/tdh2/r/1", root, h, label)
    s = hash_to_scalar("hce/tdh2/s/1", root, h, label)
    u, u_bar = base_times(r), times(SECOND_GENERATOR, r)
    c = _xor(shared, _mask(times(h, r), u))
    e = _capsule_challenge(h, label, c, u, base_times(s), u_bar, times(SECOND_GENERATOR, s))
    return Capsule(c, u, u_bar, e, scalar_plus(s, scalar_times(r, e))), shared


def verify_capsule(public_key: bytes, label: bytes, capsule: Capsule) -> bool:
    """True when the capsule was made for this key and label by somebody who knew its randomness."""
    try:
        h, u, u_bar = _known_point(public_key), read_point(capsule.u), read_point(capsule.u_bar)
        e, f = read_scalar(capsule.e), read_scalar(capsule.f)
        w = minus(base_times(f), times(u, e))
        w_bar = minus(times(SECOND_GENERATOR, f), times(u_bar, e))
    except BadPoint:
        return False
    return e == _capsule_challenge(h, label, capsule.c, u, w, u_bar, w_bar)


def partial(share: KeyShare, capsule: Capsule, transcript: bytes, entropy: bytes | None = None) -> Partial:
    """This member's part. The capsule must have passed `verify_capsule` (not repeated here); `BadCapsule` for points that are none.

    `transcript` is whatever the proof is to be bound to: statement, member, sharing epoch, entry, recipient. The nonce is hedged:
    hashed from share, statement and 32 bytes of entropy, so that neither a weak generator nor a repeated call reveals the share.
    """
    (part,) = partials(share, [(capsule, transcript)], entropy)
    return part


def partials(share: KeyShare, asked: Iterable[tuple[Capsule, bytes]], entropy: bytes | None = None) -> list[Partial]:
    """`partial` of many capsules with their transcripts: what follows from the share alone is computed once."""
    secret = read_scalar(share.secret.reveal())
    member_key = base_times(secret)
    made = []
    for capsule, transcript in asked:
        u, encoded = _capsule_point(capsule), encode(capsule)
        value = times(u, secret)
        nonce = hash_to_scalar("hce/tdh2/nonce/1", secret, share.index, encoded, transcript, _seed_or_fresh(entropy))
        e = _partial_challenge(share.index, member_key, encoded, value, base_times(nonce), times(u, nonce), transcript)
        made.append(Partial(share.index, value, e, scalar_plus(nonce, scalar_times(secret, e))))
    return made


def weighed(share: KeyShare, capsules: Iterable[Capsule], together: Sequence[int]) -> list[bytes]:
    """This member's parts without proofs, each already to the power of its weight among the members it is asked together with.

    A member that is not among them gives its bare part. Which members are named costs nobody a secret: weights are public. As with
    `partial` each capsule must have passed `verify_capsule`; `BadCapsule` for points that are none.
    """
    weight = _weights(frozenset(together)).get(share.index)
    secret = read_scalar(share.secret.reveal())
    power = secret if weight is None else scalar_times(secret, weight)
    return [times(_capsule_point(capsule), power) for capsule in capsules]


def weighed_of(index: int, value: bytes, together: Sequence[int]) -> bytes:
    """What the member with this part had to answer when it was asked for a weighed one: tells whether it lied then. `BadPoint`."""
    weight = _weights(frozenset(together)).get(index)
    return value if weight is None else times(read_point(value), weight)


def part_of(index: int, proven: Sequence[Partial]) -> bytes:
    """The value the part of any member must have, from threshold or more parts that were verified; it has no proof. `BadPoint`."""
    if own := next((part for part in proven if part.index == index), None):
        return own.value
    places = tuple(part.index + 1 for part in proven)
    powers = [times(read_point(part.value), scalar_of(_weight(part.index + 1, places, index + 1))) for part in proven]
    product = powers[0]
    for power in powers[1:]:
        product = plus(product, power)
    return product


def combine_weighed(capsule: Capsule, parts: Mapping[int, bytes], threshold: int, together: Sequence[int]) -> bytes:
    """ssB from the `weighed` parts (member -> value) of the first `threshold` members, all told the same `together`.

    Optimistic as `combine`, and nothing can be verified afterwards: who lied is found by asking for parts with proofs. `NotEnough`,
    `BadPoint`.
    """
    if len(parts) < threshold or threshold < 1:
        raise NotEnough("too few parts", actual=len(parts), expected=threshold)
    chosen = tuple(parts)[:threshold]
    product: Point | None = None
    for index, correction in zip(chosen, _corrections(chosen, frozenset(together)), strict=True):
        power = canonical_point(parts[index]) if correction is None else times(read_point(parts[index]), correction)
        product = power if product is None else plus(product, power)
    assert product is not None  # threshold >= 1
    return _xor(capsule.c, _mask(product, Point(capsule.u)))


def verify_partial(member_key: bytes, capsule: Capsule, partial: Partial, transcript: bytes) -> bool:
    """True when the member with this key made this part of this capsule for this transcript."""
    try:
        key, u, value = _known_point(member_key), read_point(capsule.u), read_point(partial.value)
        e, f = read_scalar(partial.e), read_scalar(partial.f)
        w = minus(base_times(f), times(key, e))
        w_u = minus(times(u, f), times(value, e))
    except BadPoint:
        return False
    return e == _partial_challenge(partial.index, key, encode(capsule), value, w, w_u, transcript)


def combine(capsule: Capsule, partials: list[Partial], threshold: int) -> bytes:
    """ssB from the first `threshold` parts. Proofs are not checked (optimistic): a wrong part gives a wrong ssB, which the key
    commitment shows; then the caller finds it with `verify_partial`.

    `NotEnough` for too few members or one named twice, `BadPoint` for a part that is no point, `BadCapsule` for a bad capsule.
    """
    indexes = [part.index for part in partials]
    if len(set(indexes)) != len(indexes):
        raise NotEnough("a member counts once", indexes=sorted(indexes))
    if len(indexes) < threshold or threshold < 1:
        raise NotEnough("too few parts", actual=len(indexes), expected=threshold)
    u = _capsule_point(capsule)
    chosen = partials[:threshold]
    weights = _weights(frozenset(part.index for part in chosen))
    powers = [times(read_point(part.value), weights[part.index]) for part in chosen]
    product = powers[0]
    for power in powers[1:]:
        product = plus(product, power)
    return _xor(capsule.c, _mask(product, u))


def _capsule_challenge(h: Point, label: bytes, c: bytes, u: Point, w: Point, u_bar: Point, w_bar: Point) -> Scalar:
    return hash_to_scalar("hce/tdh2/capsule/1", h, label, c, u, w, u_bar, w_bar)


def _partial_challenge(
    index: int, member_key: Point, capsule: bytes, value: Point, w: Point, w_u: Point, transcript: bytes
) -> Scalar:
    return hash_to_scalar("hce/tdh2/partial/1", index, member_key, capsule, value, w, w_u, transcript)


def _mask(power: Point, u: Point) -> bytes:
    return digest("hce/tdh2/mask/1", power, u)


def _capsule_point(capsule: Capsule) -> Point:
    try:
        return read_point(capsule.u)
    except BadPoint as error:
        raise BadCapsule("u is not a point") from error


def _evaluate(coefficients: list[Scalar], place: int) -> Scalar:
    """The polynomial at a place, by Horner's rule."""
    x = scalar_of(place)
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = scalar_plus(scalar_times(total, x), coefficient)
    return total


@lru_cache(maxsize=MAX_MEMBERS)
def _weights(members: frozenset[int]) -> Mapping[int, Scalar]:
    """The weight of each member's place when a polynomial is read at 0 (Lagrange); places are public, so plain integers do."""
    places = tuple(member + 1 for member in members)
    return {place - 1: scalar_of(_weight(place, places)) for place in places}


@lru_cache(maxsize=MAX_MEMBERS)
def _corrections(chosen: tuple[int, ...], together: frozenset[int]) -> tuple[Scalar | None, ...]:
    """What each chosen member's part still lacks, when it was weighed among others than the chosen; None: nothing."""
    if together == frozenset(chosen):
        return (None,) * len(chosen)
    wanted = _weights(frozenset(chosen))
    given = {member: int.from_bytes(weight, "little") for member, weight in _weights(together).items()}
    inverses = {member: pow(weight, -1, ORDER) for member, weight in given.items()}
    return tuple(scalar_of(int.from_bytes(wanted[one], "little") * inverses.get(one, 1)) for one in chosen)


def _weight(place: int, places: tuple[int, ...], at: int = 0) -> int:
    numerator = denominator = 1
    for other in places:
        if other != place:
            numerator = numerator * (other - at) % ORDER
            denominator = denominator * (other - place) % ORDER
    return numerator * pow(denominator, -1, ORDER)


@lru_cache(maxsize=MAX_MEMBERS)
def _known_point(raw: bytes) -> Point:
    """`read_point` of keys that come again and again: the keyholders' key and its members'."""
    return read_point(raw)


def _seed_or_fresh(seed: bytes | None) -> bytes:
    fresh = os.urandom(32) if seed is None else seed
    if len(fresh) != 32:
        raise ValueError("a seed has 32 bytes")
    return fresh


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
