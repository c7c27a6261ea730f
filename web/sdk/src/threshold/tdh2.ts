// Lock B: threshold decryption by the keyholders. TDH2 (Shoup and Gennaro, Eurocrypt 1998, section 6) on ristretto255; the whole
// story is at the head of `src/hce/foundation/crypto/threshold.py`. Here is what authors, readers and owners do: make a capsule, check
// parts, combine them. Making a part needs a share, which no client has.

import { type Bytes, toHex } from "../bytes.ts";
import { encode, type Item } from "../codec/dagcbor.ts";
import { digest } from "../codec/hashing.ts";
import { bytes, integer, type Of, struct } from "../codec/shape.ts";
import { HceError, Refused } from "../errors.ts";
import {
  GENERATOR,
  hashToPoint,
  hashToScalar,
  inverse,
  minus,
  ORDER,
  plus,
  type Point,
  readPoint,
  readScalar,
  remembered,
  scalarBytes,
  times,
} from "./ristretto.ts";

/** ssB under the keyholders' key, with the proof that its maker knew r. */
export const CapsuleShape = struct({ c: bytes(32), u: bytes(32), uBar: bytes(32), e: bytes(32), f: bytes(32) });
export type Capsule = Of<typeof CapsuleShape>;

/** One member's part of a decryption, with its proof. */
export const PartialShape = struct({ index: integer(0, 255), value: bytes(32), e: bytes(32), f: bytes(32) });
export type Part = Of<typeof PartialShape>;

let secondGenerator: Point | null = null;
/** The keyholders' key of the last capsule: a network has one, and an owner makes a capsule for every record. */
let lastKey: { readonly name: string; readonly point: Point } | null = null;

/** ḡ: nobody knows its logarithm. */
export function gBar(): Point {
  secondGenerator ??= remembered(hashToPoint("hce/tdh2/second-generator/1"));
  return secondGenerator;
}

/** Names a key for ever: resharing keeps it, because it keeps the public key. */
export function keyIdOf(publicKey: Bytes): Bytes {
  return digest("hce/tdh2/key-id/1", publicKey);
}

/** Capsule and ssB for one label from a 32-byte seed: the same seed, key and label give the same bytes. */
export function encapsulate(publicKey: Bytes, label: Bytes, seed: Bytes): { capsule: Capsule; shared: Bytes } {
  if (seed.length !== 32) throw new RangeError("a seed has 32 bytes");
  const h = keyPoint(publicKey);
  const shared = digest("hce/tdh2/secret/1", seed, publicKey, label);
  const r = hashToScalar("hce/tdh2/r/1", seed, publicKey, label);
  const s = hashToScalar("hce/tdh2/s/1", seed, publicKey, label);
  const [u, uBar] = [times(GENERATOR, r), times(gBar(), r)];
  const c = xor(shared, mask(times(h, r), u));
  const e = capsuleChallenge(h, label, c, u, times(GENERATOR, s), uBar, times(gBar(), s));
  const f = (s + r * e) % ORDER;
  return { capsule: { c, u: u.toBytes(), uBar: uBar.toBytes(), e: scalarBytes(e), f: scalarBytes(f) }, shared };
}

/** True when the capsule was made for this key and label by somebody who knew its randomness. */
export function verifyCapsule(publicKey: Bytes, label: Bytes, capsule: Capsule): boolean {
  return unlessBadPoint(() => {
    const [h, u, uBar] = [readPoint(publicKey), readPoint(capsule.u), readPoint(capsule.uBar)];
    const [e, f] = [readScalar(capsule.e), readScalar(capsule.f)];
    const w = minus(times(GENERATOR, f), times(u, e));
    const wBar = minus(times(gBar(), f), times(uBar, e));
    return e === capsuleChallenge(h, label, capsule.c, u, w, uBar, wBar);
  });
}

/** True when the member with this key made this part of this capsule for this transcript. */
export function verifyPartial(memberKey: Bytes, capsule: Capsule, part: Part, transcript: Bytes): boolean {
  return unlessBadPoint(() => {
    const [key, u, value] = [readPoint(memberKey), readPoint(capsule.u), readPoint(part.value)];
    const [e, f] = [readScalar(part.e), readScalar(part.f)];
    const w = minus(times(GENERATOR, f), times(key, e));
    const wU = minus(times(u, f), times(value, e));
    const statement: readonly Item[] = [part.index, memberKey, encode(CapsuleShape.write(capsule)), part.value];
    return e === hashToScalar("hce/tdh2/partial/1", ...statement, w.toBytes(), wU.toBytes(), transcript);
  });
}

/**
 * ssB from the first `threshold` parts. Proofs are not checked: a wrong part gives a wrong ssB, which the key commitment shows; then
 * the caller finds it with `verifyPartial`. `threshold.not_enough`, `threshold.bad_point`, `threshold.bad_capsule`.
 */
export function combine(capsule: Capsule, parts: readonly Part[], threshold: number): Bytes {
  if (new Set(parts.map((part) => part.index)).size !== parts.length)
    throw new Refused("threshold.not_enough", "a member counts once");
  if (parts.length < threshold || threshold < 1) {
    throw new Refused("threshold.not_enough", "too few parts", { actual: parts.length, expected: threshold });
  }
  const u = capsulePoint(capsule);
  const chosen = parts.slice(0, threshold);
  const places = chosen.map((part) => BigInt(part.index) + 1n);
  const powers = chosen.map((part, i) => times(readPoint(part.value), lagrangeAtZero(places[i]!, places)));
  return xor(capsule.c, mask(powers.reduce(plus), u));
}

function keyPoint(publicKey: Bytes): Point {
  const name = toHex(publicKey);
  if (lastKey?.name !== name) lastKey = { name, point: remembered(readPoint(publicKey)) };
  return lastKey.point;
}

function capsulePoint(capsule: Capsule): Point {
  try {
    return readPoint(capsule.u);
  } catch {
    throw new Refused("threshold.bad_capsule", "u is not a point");
  }
}

function capsuleChallenge(h: Point, label: Bytes, c: Bytes, u: Point, w: Point, uBar: Point, wBar: Point): bigint {
  return hashToScalar("hce/tdh2/capsule/1", h.toBytes(), label, c, u.toBytes(), w.toBytes(), uBar.toBytes(), wBar.toBytes());
}

function mask(power: Point, u: Point): Bytes {
  return digest("hce/tdh2/mask/1", power.toBytes(), u.toBytes());
}

/** The weight of one place when a polynomial is read at 0. */
function lagrangeAtZero(place: bigint, places: readonly bigint[]): bigint {
  const others = places.filter((other) => other !== place);
  return others.reduce((weight, other) => (((weight * other) % ORDER) * inverse(other - place)) % ORDER, 1n);
}

function unlessBadPoint(holds: () => boolean): boolean {
  try {
    return holds();
  } catch (error) {
    if (error instanceof HceError) return false;
    throw error;
  }
}

function xor(left: Bytes, right: Bytes): Bytes {
  return left.map((byte, i) => byte ^ right[i]!);
}
