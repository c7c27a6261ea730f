// ristretto255 (RFC 9496) with every input checked: points are canonical and never the identity, scalars are reduced.
// Not in constant time: JavaScript cannot promise it. Nothing here works with a keyholder's share.

import { ristretto255, ristretto255_hasher } from "@noble/curves/ed25519.js";
import type { Bytes } from "../bytes.ts";
import type { Item } from "../codec/dagcbor.ts";
import { wideDigest } from "../codec/hashing.ts";
import { Malformed } from "../errors.ts";

const { Point: Group } = ristretto255;
const { deriveToCurve } = ristretto255_hasher;
/** What this room needs of a point; the library's class has more. */
export interface Point {
  add(other: Point): Point;
  subtract(other: Point): Point;
  multiply(scalar: bigint): Point;
  precompute(windowSize: number): Point;
  equals(other: Point): boolean;
  toBytes(): Bytes;
}

const TABLE_BITS = 4;
/** The prime order of the group. */
export const ORDER: bigint = Group.Fn.ORDER;
export const GENERATOR: Point = Group.BASE;

/** A point from outside; `threshold.bad_point` unless canonical and not the identity. */
export function readPoint(raw: Bytes): Point {
  try {
    return notIdentity(Group.fromBytes(raw));
  } catch {
    throw badPoint("not a ristretto255 point");
  }
}

/** A scalar from outside; `threshold.bad_point` unless 32 bytes below the group order. */
export function readScalar(raw: Bytes): bigint {
  const scalar = littleEndian(raw);
  if (raw.length !== 32 || scalar >= ORDER) throw badPoint("not a reduced scalar");
  return scalar;
}

export function scalarBytes(scalar: bigint): Bytes {
  const raw = new Uint8Array(32);
  let left = scalar;
  for (let i = 0; i < 32; i += 1) {
    raw[i] = Number(left & 0xffn);
    left >>= 8n;
  }
  return raw;
}

/** SHA-512(DAG-CBOR([domain, ...parts])), read little-endian, modulo the group order. */
export function hashToScalar(domain: string, ...parts: readonly Item[]): bigint {
  return littleEndian(wideDigest(domain, ...parts)) % ORDER;
}

/** RFC 9496 element derivation from SHA-512(DAG-CBOR([domain, ...parts])): nobody knows its discrete logarithm. */
export function hashToPoint(domain: string, ...parts: readonly Item[]): Point {
  return deriveToCurve!(wideDigest(domain, ...parts));
}

/** point^scalar; `threshold.bad_point` when the scalar is zero. */
export function times(point: Point, scalar: bigint): Point {
  if (scalar === 0n) throw badPoint("the identity");
  return point.multiply(scalar);
}

export function plus(left: Point, right: Point): Point {
  return notIdentity(left.add(right));
}

export function minus(left: Point, right: Point): Point {
  return notIdentity(left.subtract(right));
}

/** The inverse of a public number modulo the group order. */
export function inverse(number: bigint): bigint {
  return Group.Fn.inv(Group.Fn.create(number));
}

/** The same point, remembered with a table: many powers of one point cost a third. The table takes as long as five powers. */
export function remembered(point: Point): Point {
  return point.precompute(TABLE_BITS);
}

function notIdentity(point: Point): Point {
  if (point.equals(Group.ZERO)) throw badPoint("the identity");
  return point;
}

function badPoint(detail: string): Malformed {
  return new Malformed(detail, {}, "threshold.bad_point");
}

function littleEndian(raw: Uint8Array): bigint {
  return raw.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
