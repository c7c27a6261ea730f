// The formulas of the two locks and the owner's wrap (`docs/formats.md`, section Records), each in one place.
//
//     session_secret --ss-a, record--> ssA --+
//     seed_b --capsule's label-------> ssB --+--> WK (bound to header, lock_a, capsule, key id, epoch) --> wraps the DEK
//     session_secret --opening, record-----> seals the opening
//     owner_secret --owner-wrap, record----> seals DEK + seed_b for the owner
//
// Every key here seals one message: each names a record, and a record is sealed once.

import { type Bytes, concat } from "../bytes.ts";
import { encode } from "../codec/dagcbor.ts";
import { hkdf } from "../keys/derive.ts";
import { SecretBytes } from "../keys/secret.ts";
import { type RecordHeader, wrappingInfo } from "../terms/records.ts";
import type { Capsule } from "../threshold/tdh2.ts";

export const SECRET_BYTES = 32;

/** ssA: lock A's half of the wrapping key. */
export function shareA(sessionSecret: SecretBytes, recordId: Bytes): Promise<Bytes> {
  return hkdf(sessionSecret, encode(["hce/ss-a/1", recordId]));
}

export function openingKey(sessionSecret: SecretBytes, recordId: Bytes): Promise<Bytes> {
  return hkdf(sessionSecret, encode(["hce/opening/1", recordId]));
}

export function ownerWrapKey(ownerSecret: SecretBytes, recordId: Bytes): Promise<Bytes> {
  return hkdf(ownerSecret, encode(["hce/owner-wrap/1", recordId]));
}

/** WK: both halves, bound to everything that could be swapped. */
export function wrappingKey(
  ssA: Bytes,
  ssB: Bytes,
  header: RecordHeader,
  lockA: Bytes,
  capsule: Capsule,
  readingEpoch: number,
): Promise<Bytes> {
  return hkdf(new SecretBytes(concat(ssA, ssB)), wrappingInfo(header, lockA, capsule, readingEpoch));
}
